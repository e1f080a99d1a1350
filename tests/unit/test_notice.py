"""A notice says what a customer's system needs, as CloudEvents and Slack have it, and its id is its news."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker

from service.model import Archived, Artifact, Checksum, Kind, Provider, Recording, Scope, Topic
from service.notice import (
    Facts,
    Failing,
    Notice,
    Where,
    archived_facts,
    cloud_event,
    errored_facts,
    file_facts,
    masked,
    notice_id,
    slack_message,
)
from service.storage import parse_storage_config
from tests.doubles.cloudevents import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
RECORDING = Recording(
    "7f0c2d5e-94b1-4c6f-8f53-3a1d9e0b7c42",
    Provider.REALTIMEKIT,
    "UPLOADED",
    app="production",
    meeting_id="bbb5a7c1-2f0e-4f0a-9d3b-6f1e8c2a4d90",
    session_id="0d1f069d-7c3b-4a57-9a52-1b7a4de0c911",
    title="Weekly sync",
    stop_reason="no space",
)
FILE = Archived(
    f"{RECORDING.id}/video", Kind.VIDEO, "weekly-sync.mp4", 731_906_048, 8_388_608,
    Checksum(0xFEDCBA9876543210, 0x89ABCDEF), '"5d41402abc4b2a76b9719d911017c592-88"', "video/mp4",
    1_780_480_800.5,
)  # fmt: skip
ARTIFACT = Artifact(RECORDING.id, Kind.AUDIO, "https://p.example/a?sig=S1GN3D", "weekly-sync.mp3")
MEETINGS = Where("main", "aws:meetings/recordings", "aws", "meetings", "recordings")


def archived(count: int = 1, recording: Recording = RECORDING, **changed: Any) -> Facts:
    files = [replace(FILE, **changed)] * count
    return archived_facts(recording, MEETINGS, files, ["audio"], "weekly-sync.mp4.json")


def of_file(error: str | None = "the link is refused", *failures: Failing, **named: Any) -> Facts:
    recording = replace(RECORDING, **named)
    return file_facts(recording, ARTIFACT, expires_at=1_781_085_600.0, error=error, failures=failures)


def notice(topic: Topic, facts: Facts) -> Notice:
    id_ = notice_id(topic, RECORDING.id)
    return Notice(id_, topic, RECORDING.id, facts, made_at=1_780_480_801.25, attempts=1, now=0.0)


FAILING = Failing("main", "it is full", "make room", 7, 1_780_480_000.0, 1_780_480_900.0)
EVERY = {
    Topic.ARCHIVED: archived(),
    Topic.FAILING: of_file("it is full", FAILING),
    Topic.DEADLINE_NEAR: of_file(),
    Topic.EXPIRED: of_file(None),
    Topic.ERRORED: errored_facts(RECORDING),
}


def text(topic: Topic, facts: Facts) -> str:
    message = json.loads(slack_message(notice(topic, facts)))
    assert list(message) == ["text"]
    return str(message["text"])


# ---- CloudEvents


@pytest.mark.parametrize("topic", Topic)
@pytest.mark.parametrize("app", ["production", "tea & Größe #1/?"])
def test_every_event_is_one_of_cloudevents(topic: Topic, app: str) -> None:
    event = json.loads(cloud_event(notice(topic, {**EVERY[topic], "app": app})))

    OAS31Validator(SCHEMA, format_checker=oas31_format_checker).validate(event)
    assert re.fullmatch(r"/dyte-archiver/[A-Za-z0-9%_.~-]+", event["source"])
    # What Standard Webhooks asks of a type.
    assert re.fullmatch(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*", event["type"])
    assert event["time"] == "2026-06-03T10:00:01.250Z"
    assert event["data"]["meeting_id"] == RECORDING.meeting_id
    assert "S1GN3D" not in repr(event)  # the source's link is nobody's business


def test_the_schema_of_the_tests_takes_not_everything() -> None:
    event = json.loads(cloud_event(notice(Topic.ARCHIVED, archived())))
    validator = OAS31Validator(SCHEMA, format_checker=oas31_format_checker)
    for wrong in ({"time": "yesterday"}, {"id": ""}, {"specversion": "0.3"}, {"Odd-Name": 1}):
        assert not validator.is_valid({**event, **wrong}), wrong


def test_the_readme_s_example_is_what_is_sent() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r'^```json\n(\{"specversion".*?)^```', readme, re.MULTILINE | re.DOTALL)
    assert json.loads(example) == json.loads(cloud_event(notice(Topic.ARCHIVED, archived())))


def test_a_session_s_notice_names_the_session() -> None:
    session = Recording("s1", Provider.DYTE, "ENDED", scope=Scope.SESSION, meeting_id="m1")
    facts = archived(recording=session)
    assert (facts["scope"], facts["recording_id"], facts["session_id"]) == ("session", None, "s1")


@pytest.mark.parametrize(
    ("config", "where", "full_key"),
    [
        ({"type": "aws", "bucket": "meetings", "region": "eu-west-1", "path": "/a/b/"},
         Where("x", "aws:meetings/a/b", "aws", "meetings", "a/b"), "a/b/c/d.mp4"),
        ({"type": "aws", "bucket": "meetings", "region": "eu-west-1"},
         Where("x", "aws:meetings", "aws", "meetings", ""), "c/d.mp4"),
        ({"type": "local", "path": "/srv/archive"},
         Where("x", "local:/srv/archive", "local", None, "/srv/archive"), "/srv/archive/c/d.mp4"),
        ({"type": "sftp", "host": "h.example", "username": "u", "password": "p", "path": "/",
          "trust_host_key": "first_use"},
         Where("x", "sftp:u@h.example/~", "sftp", None, ""), "c/d.mp4"),
    ],
    ids=["folder", "root", "local", "sftp"],
)  # fmt: skip
def test_a_full_key_is_what_the_storage_itself_calls_it(
    config: dict[str, Any], where: Where, full_key: str
) -> None:
    assert Where.of("x", parse_storage_config(config)) == where
    assert where.full_key("c/d.mp4") == full_key


def test_a_storage_that_is_not_configured_any_more_has_its_name_alone() -> None:
    assert Where.of("x", None) == Where("x")
    assert "not configured any more" in text(
        Topic.ARCHIVED, archived_facts(RECORDING, Where("x"), [FILE], [], "m.json")
    )


def test_the_same_news_has_the_same_id_and_another_has_another() -> None:
    ids = [
        notice_id(Topic.ARCHIVED, "a", "b"),
        notice_id(Topic.EXPIRED, "a", "b"),
        notice_id(Topic.ARCHIVED, "ab", ""),
        notice_id(Topic.ARCHIVED, "a", "b", [["c", 1]]),
    ]
    assert len(set(ids)) == 4
    assert ids[0] == notice_id(Topic.ARCHIVED, "a", "b")
    # No full stop, which ends an id where it is signed; nothing that a header cannot carry.
    odd = notice_id(Topic.DEADLINE_NEAR, "a.b\r\nx: y", "Größe")
    assert re.fullmatch(r"[a-z0-9_]{1,64}", odd)


def test_what_others_said_is_masked_at_any_depth_and_nothing_else() -> None:
    facts = masked(EVERY[Topic.FAILING], lambda _: "***")
    assert facts["file"]["error"] == facts["failures"][0]["error"] == facts["failures"][0]["mend"] == "***"
    assert facts["file"]["name"] == "weekly-sync.mp3"
    assert masked(EVERY[Topic.EXPIRED], lambda _: "***")["file"]["error"] is None
    assert masked(EVERY[Topic.ERRORED], lambda _: "***")["reason"] == "***"
    assert masked(archived(), lambda _: "***") == archived()


# ---- Slack


def test_slack_is_told_what_lies_where() -> None:
    assert text(Topic.ARCHIVED, archived()) == (
        f"*Archived*: Weekly sync (recording {RECORDING.id}): weekly-sync.mp4 (731.9 MB) in main"
        " (aws:meetings/recordings)"
    )


def test_slack_is_told_what_fails_and_what_to_mend() -> None:
    told = text(Topic.FAILING, EVERY[Topic.FAILING])
    assert told.startswith(f"*Failing*: audio weekly-sync.mp3 of Weekly sync (recording {RECORDING.id})")
    assert told.endswith("main: it is full. To mend: make room")
    assert "deleted at 2026-06-10" in text(Topic.DEADLINE_NEAR, EVERY[Topic.DEADLINE_NEAR])
    assert text(Topic.DEADLINE_NEAR, EVERY[Topic.DEADLINE_NEAR]).endswith(": the link is refused")
    assert text(Topic.EXPIRED, EVERY[Topic.EXPIRED]).endswith("is gone and was stored nowhere")
    assert text(Topic.ERRORED, EVERY[Topic.ERRORED]).endswith("has no file: no space")
    untold = replace(RECORDING, stop_reason=None, title=None)
    assert f"*Errored*: recording {RECORDING.id} has no file" in text(Topic.ERRORED, errored_facts(untold))


def test_nothing_that_others_wrote_is_mark_up_for_slack() -> None:
    odd = "<!channel> & <https://evil.example|click>\nnew line"
    for topic, facts in (
        (Topic.ARCHIVED, archived(key=odd, recording=replace(RECORDING, title=odd))),
        (Topic.FAILING, of_file(odd, replace(FAILING, error=odd, mend=odd), title=odd)),
        (Topic.ERRORED, errored_facts(replace(RECORDING, stop_reason=odd))),
    ):
        told = text(topic, facts)
        assert "<" not in told
        assert ">" not in told
        assert "\n" not in told
        assert "&lt;!channel&gt; &amp;" in told


def test_a_link_for_slack_bears_the_file_s_name() -> None:
    facts = archived(key="a|b>c.mp4")
    link = {"url": "https://s.example/a?sig=1&x=2", "expires_at": "2026-06-10T10:00:00.000Z"}
    facts = {**facts, "files": [{**facts["files"][0], "link": link}]}
    assert "<https://s.example/a?sig=1&x=2|a¦b&gt;c.mp4>" in text(Topic.ARCHIVED, facts)


def test_slack_s_message_stays_short_however_much_there_is_to_say() -> None:
    long = replace(RECORDING, title="t" * 5000)
    told = text(Topic.ARCHIVED, archived(count=500, recording=long, key="k" * 700))
    assert "490 more" in told
    assert len(told) < 4000
    many = [replace(FAILING, error="e" * 5000, mend="m" * 5000)] * 10
    assert len(text(Topic.FAILING, of_file("x", *many))) < 12_000


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_500_000_000, "2.5 GB"),
     (5_000_000_000_000_000, "5000.0 TB")],
)  # fmt: skip
def test_sizes_are_said_as_people_say_them(size: int, said: str) -> None:
    assert f"({said})" in text(Topic.ARCHIVED, archived(size=size))
