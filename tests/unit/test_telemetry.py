"""A log line is one line of JSON, and no secret and no signed link's query is in it, whoever wrote it."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from yarl import URL

from service.errors import SourceRefused
from service.telemetry import Metrics, Redaction, configure_logging
from tests.unit.announcements import json_values
from tests.unit.public_port import samples_in

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
SIGNATURE = "5f2aSIGNATURE9c"
LINK = f"https://files.example.com/rec%20final.mp4?X-Amz-Credential=AK&X-Amz-Signature={SIGNATURE}"
PASSWORD_LINK = f"postgresql://archiver:{SIGNATURE}@db.example.com/ledger"

Configured = Callable[..., io.StringIO]
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configured]:
    """Sets logging up and gives what it writes."""

    def configure(form: str = "json", *secrets: str) -> io.StringIO:
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        configure_logging(level="info", form=form, secrets=secrets)
        return stderr

    yield configure
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines(configured: Configured) -> Lines:
    """What was logged as JSON since; one value for each line, or the test fails."""
    stderr = configured("json", SECRET, "MDENG", "abc")

    def read() -> list[dict[str, Any]]:
        text = stderr.getvalue()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.split("\n")[:-1]]

    return read


class Odd:
    """Something that is no JSON."""

    def __repr__(self) -> str:
        return f"<Odd {LINK} {SECRET}>"


# ---- lines


def test_a_line_says_when_what_and_who(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(recording_id="r1")
    structlog.get_logger("service.worker").warning("artifact_failed", attempts=3, error="no\nline\r\nbreaks")
    (line,) = lines()
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {
        "event": "artifact_failed",
        "level": "warning",
        "recording_id": "r1",
        "attempts": 3,
        "error": "no\nline\r\nbreaks",
    }


def test_a_librarys_line_is_one_like_ours(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").warning("%s went\nwrong %d times", "it", 2)
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == (
        "it went\nwrong 2 times",
        "warning",
        "uvicorn.error",
    )


def test_an_exception_is_its_text_and_places_in_one_line(lines: Lines) -> None:
    def break_off() -> None:
        raise SourceRefused(f"it answered\n403 to {LINK}")

    for write in (structlog.get_logger().exception, logging.getLogger("aiohttp.server").exception):
        try:
            break_off()
        except SourceRefused:
            write("transfer_broke_off")
    for line in lines():
        assert line["event"] == "transfer_broke_off"
        assert line["error"].startswith(
            "SourceRefused: The source refuses the link: it answered\n403 to https://"
        )
        assert [place.rpartition(" ")[2] for place in line["places"]][-1] == "break_off"
    assert len(lines()) == 2


def test_an_exception_may_be_given_as_itself(lines: Lines) -> None:
    structlog.get_logger().error("delivery_broke_off", exc_info=ValueError(f"odd {SECRET}"))
    (line,) = lines()
    assert line["error"] == "ValueError: odd ***"


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    structlog.get_logger().debug("seen")
    logging.getLogger("service").debug("seen")
    logging.getLogger("botocore.hooks").info("Signing with %s", SECRET)
    logging.getLogger("botocore").info("executing")
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").info("Request URL: %r", LINK)
    assert lines() == []
    structlog.get_logger().info("seen")
    assert len(lines()) == 1


def test_a_line_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full, Path(os.devnull).open("w") as null:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging(level="info", form="json")
        with pytest.raises(OSError, match="No space left"):
            print("so it is", file=full)
        for _ in range(1000):
            structlog.get_logger().info("delivery_recorded", of="x" * 100)
            logging.getLogger("uvicorn.error").warning("a library's")
        monkeypatch.undo()
        os.dup2(null.fileno(), full.fileno())  # so that it can be closed


def test_for_people_lines_are_text_without_secrets_too(configured: Configured) -> None:
    written = configured("console", SECRET)
    structlog.get_logger().info("artifact_archived", url=LINK, key=SECRET)
    logging.getLogger("uvicorn.error").warning("asked %s with %s", LINK, SECRET)
    text = written.getvalue()
    assert "artifact_archived" in text
    assert SIGNATURE not in text
    assert SECRET not in text


def test_setting_up_twice_does_not_double_the_lines(configured: Configured) -> None:
    before, written = configured(), configured()
    structlog.get_logger().info("seen")
    assert (before.getvalue(), written.getvalue().count("\n")) == ("", 1)


# ---- secrets


@pytest.mark.parametrize(
    "value",
    [
        LINK,
        f"asked {LINK}, refused",
        f"'{LINK}'",
        [LINK, 5],
        (LINK, (LINK,)),
        {"inner": {"links": [LINK]}},
        {LINK: 1},
        {LINK},
        LINK.encode(),
        URL(LINK),
        Odd(),
        ValueError(LINK),
        LINK.upper().replace(SIGNATURE.upper(), SIGNATURE),
        f"https://h/it's.mp4?sig={SIGNATURE}",
        f"https://h/rec.mp4?rscd=filename*%3DUTF-8''rec.mp4&sig={SIGNATURE}",
        f"https://h/rec.mp4?a=(1)!*~$,;:@/?&sig={SIGNATURE}",
        PASSWORD_LINK,
        f"could not reach {PASSWORD_LINK}: refused",
        f"postgresql://archiver:p@ss:{SIGNATURE}@db/ledger",
        f"https://{SIGNATURE}@h/rec.mp4",
        f"['{PASSWORD_LINK}', '{LINK}']",
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_links_query_and_no_password_in_it_is_logged(lines: Lines, value: object) -> None:
    log = structlog.get_logger()
    log.info("seen", value=value)
    text = f"seen {value}"
    log.info(text)
    log.bind(value=value).info("seen")
    logging.getLogger("library").warning("seen %s", value)
    logging.getLogger("library").warning("seen", exc_info=ValueError(str(value)))
    assert len(lines()) == 5
    assert SIGNATURE not in json.dumps(lines())


def test_what_is_not_secret_of_a_link_stays(lines: Lines) -> None:
    structlog.get_logger().info("seen", url=LINK, database=PASSWORD_LINK, plain="https://h/a.mp4 is a?b")
    (line,) = lines()
    assert line["url"] == "https://files.example.com/rec%20final.mp4?***"
    assert line["database"] == "postgresql://***@db.example.com/ledger"
    assert line["plain"] == "https://h/a.mp4 is a?b"


@pytest.mark.parametrize(
    "value",
    [SECRET, f"x{SECRET}x", [{"a": (SECRET,)}], {SECRET: 1}, Odd(), ValueError(SECRET), SECRET.encode()],
)
def test_no_configured_secret_is_logged(lines: Lines, value: object) -> None:
    structlog.get_logger().info("seen " + str(value), value=value)
    logging.getLogger("library").warning("seen %s", value, exc_info=ValueError(str(value)))
    assert SECRET not in json.dumps(lines())


def test_a_secret_that_holds_another_one_is_masked_as_a_whole(lines: Lines) -> None:
    structlog.get_logger().info("seen", long=SECRET, short="MDENG")
    (line,) = lines()
    assert (line["long"], line["short"]) == ("***", "***")


def test_a_secret_too_short_to_be_one_does_not_eat_the_log(lines: Lines) -> None:
    structlog.get_logger().info("seen", value="abcdef")
    assert lines()[0]["value"] == "abcdef"


@given(st.text(), st.text(), json_values)
def test_wherever_a_secret_stands_it_is_masked(before: str, after: str, beside: object) -> None:
    event = {
        "event": f"{before}{SECRET}{after}",
        "deep": [beside, {f"{before}{SECRET}": {"a": f"{SECRET}{after}"}}],
    }
    assert SECRET not in repr(Redaction([SECRET])(None, "", event))


in_links = st.text(st.characters(exclude_characters='<>"', exclude_categories=["Z", "C"]), max_size=20)


@given(in_links, in_links)
def test_whatever_stands_in_a_query_is_masked(path: str, query: str) -> None:
    event = {"event": f"https://{path}?{query}{SIGNATURE}"}
    assert SIGNATURE not in repr(Redaction()(None, "", event))


# ---- metrics


def test_the_metrics_of_one_process_are_its_own() -> None:
    first, second = Metrics(), Metrics()
    first.moved_bytes.labels("main").inc(5)
    second.moved_bytes.labels("main")
    first.deliveries.labels("default", "dyte", "other", "ignored").inc()
    mine = samples_in(generate_latest(first.registry).decode())
    others = samples_in(generate_latest(second.registry).decode())
    series = "dyte_archiver_moved_bytes_total[('storage', 'main')]"
    assert (mine[series], others[series]) == (5, 0)
    assert all(name.startswith(("dyte_archiver_", "process_")) for name in mine)
