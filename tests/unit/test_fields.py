"""What is of use in a field is read, what is not is left out; what is left breaks nothing that follows."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.fields import clean, fields, identity, link, moment, number, suffix, text, whole
from service.manifest import moment as written
from tests.unit.announcements import json_values

texts = st.text(st.characters(codec=None, exclude_categories=[]))


@pytest.mark.parametrize("odd", [None, 1, "x", [1], [["a", 1]], True])
def test_what_is_no_object_has_no_fields(odd: object) -> None:
    assert fields(odd) == {}
    assert fields({"a": 1}) == {"a": 1}


@given(texts)
@example("a\x00b\ud800c\x7fd\x1fe")
def test_a_clean_text_can_be_stored_and_loses_nothing_else(given: str) -> None:
    made = clean(given)

    assert made.encode().decode() == made
    assert not any(character < " " or character == "\x7f" for character in made)
    assert clean(made) == made
    assert [c for c in given if c in made] == list(made)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("r1", "r1"), ("Ä/ö 会", "Ä/ö 会"), ("x" * 200, "x" * 200), ("x" * 201, None), (" r1", None),
        ("r1 ", None), ("", None), (" ", None), ("r\x001", None), ("\ud800", None), (7, None), (None, None),
        (True, None), (["r1"], None),
    ],
)  # fmt: skip
def test_an_id_is_taken_exactly_or_not_at_all(given: object, found: str | None) -> None:
    assert identity(given) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (" a ", "a"), ("a\x00b", "ab"), ("\n", None), ("", None), ("\ud800 ", None), (5, None), ({}, None),
        ("x" * 3000, "x" * 2000),
    ],
)  # fmt: skip
def test_a_text_is_cleaned_and_not_blank(given: object, found: str | None) -> None:
    assert text(given) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (5, 5.0), (5.5, 5.5), ("5.5", 5.5), (" 5 ", 5.0), (0, 0.0), ("0", 0.0), (2**53, 2.0**53),
        (2**53 + 2, None), (-1, None), ("-0.1", None), (True, None), (False, None), ("", None),
        ("5 MB", None), ("nan", None), ("inf", None), (float("nan"), None), (float("inf"), None),
        (10**400, None), ("9" * 400, None), ([5], None), (None, None),
    ],
)  # fmt: skip
def test_a_number_is_one_or_as_text_and_not_negative(given: object, found: float | None) -> None:
    assert number(given) == found
    assert whole(given) == (None if found is None else int(found))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("2023-01-25 04:51:35.903816Z", 1674622295.903816),
        ("2026-06-03T10:00:00.000Z", 1780480800.0),
        (" 2026-06-03T12:00:00+02:00\n", 1780480800.0),
        ("2026-06-03T10:00:00", 1780480800.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("0001-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-00:01", None),
        ("10000-01-01T00:00:00Z", None),
        ("tomorrow", None), ("", None), (1780480800, None), (None, None), ([], None),
    ],
)  # fmt: skip
def test_a_moment_is_read_in_both_documented_forms(given: object, found: float | None) -> None:
    assert moment(given) == found


@given(
    st.datetimes().map(datetime.isoformat),
    st.sampled_from(["", "Z", "+23:59", "-23:59", "+05:30"]),
)
@example("0001-01-01T00:00:00", "+23:59")
@example("9999-12-31T23:59:59", "-23:59")
def test_a_moment_that_is_read_can_be_written_in_a_manifest(given: str, zone: str) -> None:
    found = moment(given + zone)

    if found is not None:
        again = moment(written(found))
        assert again == pytest.approx(found, abs=0.002)


@pytest.mark.parametrize(
    ("given", "is_link"),
    [
        ("https://h/a?b=c#d", True), ("http://h", True), ("ftp://h/a", True), ("//h/a", False),
        ("h/a", False), ("https:///a", False), ("https://[::1", False), ("https://h/a\n", False),
        ("https://h/\ud800", False), ("https://h/" + "a" * 16_374, True),
        ("https://h/" + "a" * 16_375, False), ("", False), (None, False), (5, False), (["https://h"], False),
    ],
)  # fmt: skip
def test_a_link_is_an_absolute_address_of_bearable_length(given: object, *, is_link: bool) -> None:
    assert link(given) == (given if is_link else None)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://h/a.mp4?x=.exe", ".mp4"), ("https://h/a.tar.gz#x.y", ".gz"), ("https://h.com", ""),
        ("https://h/a.b/c", ""), ("https://h/.mp4", ""), ("https://h/a.", ""), ("https://h/a.m%34", ""),
        ("https://h/a.123456789", ""), ("https://h/a.12345678", ".12345678"), ("https://h/a.é", ""),
    ],
)  # fmt: skip
def test_a_suffix_is_the_paths_own_and_one_that_a_name_may_have(url: str, found: str) -> None:
    assert suffix(url) == found


@given(json_values | texts)
def test_nothing_whatever_raises(given: object) -> None:
    for read in (fields, identity, text, number, whole, moment, link):
        read(given)
    if (url := link(given)) is not None:
        suffix(url)


def test_a_moment_is_utc() -> None:
    assert moment("2026-06-03T10:00:00Z") == datetime(2026, 6, 3, 10, tzinfo=UTC).timestamp()
