"""Sizes, spans and moments, as people read and write them."""

import pytest

from service.wording import moment_of, moment_text, size_text, span_of, span_text

HOUR = 3600.0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (7.2e9, "7.2 GB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes_are_for_people(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1.0 min"), (5400, "1.5 h"), (36 * HOUR, "1.5 d")],
)
def test_spans_are_for_people(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 30 * 24 * HOUR),
        ("12h", 12 * HOUR),
        ("1.5h", 1.5 * HOUR),
        ("90min", 1.5 * HOUR),
        ("90m", 1.5 * HOUR),
        (" 2 w ", 14 * 24 * HOUR),
        ("45s", 45.0),
        ("30", None),
        ("d", None),
        ("-3d", None),
        ("3y", None),
        ("2026-11-01", None),
        ("", None),
    ],
)
def test_a_span_is_read_with_its_unit(text: str, seconds: float | None) -> None:
    assert span_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-02", 24 * HOUR),
        ("1970-01-01T02:00:00+01:00", HOUR),
        ("1970-01-01 00:00:01Z", 1.0),
        ("1d", 1e9 - 24 * HOUR),
        ("tuesday", None),
        ("2026-13-01", None),
    ],
)
def test_a_moment_is_a_day_a_time_or_so_long_ago(text: str, at: float | None) -> None:
    assert moment_of(text, now=1e9) == at


def test_a_moment_is_shown_in_utc() -> None:
    assert moment_text(86399.9) == "1970-01-01 23:59:59"
