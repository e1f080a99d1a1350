"""A session's chat, transcript or summary is read from both providers' deliveries, whatever is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DeliveryMalformed
from service.event import SESSION_EVENTS, parse
from service.model import Artifact, Event, Kind, Provider, Recording, Scope
from tests.unit.announcements import json_values, texts_in

LINK = "https://files.example.com/s1/file.txt?sig=a%2Bb"
MEETING = {
    "id": "m1",
    "sessionId": "s1",
    "title": "Weekly",
    "startedAt": "2026-06-03T10:00:00.000Z",
    "endedAt": "2026-06-03T10:30:00.000Z",
    "organizedBy": {"id": "o1", "name": "Example"},
}
NAMES = list(SESSION_EVENTS)


def body(name: str, /, **changes: Any) -> bytes:
    """A delivery in its documented form; a field that is None is left out, also of `meeting`."""
    kind = SESSION_EVENTS[name]
    flat = {"meetingId": "m1"} | {key: value for key, value in MEETING.items() if key != "id"}
    told: dict[str, Any] = flat if kind is Kind.CHAT else {"meeting": dict(MEETING)}
    told |= {
        "event": name,
        f"{kind}DownloadUrl": LINK,
        f"{kind}DownloadUrlExpiry": "2026-06-10T10:30:00.000Z",
    }
    for field, value in changes.items():
        inside = "meeting" in told and field in told["meeting"]
        of = told["meeting"] if inside else told
        of[field] = value
        if value is None:
            del of[field]
    return json.dumps(told).encode()


def read(name: str, /, **changes: Any) -> Event:
    return parse(body(name, **changes), Provider.REALTIMEKIT)


# ---- documented bodies

_DYTE = {
    "chatSynced": ("79365b9b-e5ef-452f-934e-e171d75d254b", "d9fc4d6a-a5a0-4430-9a73-d4ba14e597f9", ".csv"),
    "transcript": ("01eab2e1-3cd4-4237-8cf3-c8c071ef87e9", "bbbba351-90c5-487f-8358-ce4885555134", ".csv"),
    "summary": ("01eab2e1-3cd4-4237-8cf3-c8c071ef87e9", "bbbba351-90c5-487f-8358-ce4885555134", ".txt"),
}


@pytest.mark.parametrize("name", _DYTE)
def test_what_dyte_documents_is_read(shared: Path, name: str) -> None:
    given = (shared / f"dyte/payloads/dyte.meeting_{name}.json").read_bytes()
    kind = SESSION_EVENTS[f"meeting.{name}"]
    session_id, meeting_id, suffix = _DYTE[name]

    event = parse(given, Provider.DYTE)

    session = event.recording
    assert session is not None
    assert (event.name, session.provider) == (f"meeting.{name}", Provider.DYTE)
    assert (session.id, session.session_id, session.meeting_id) == (session_id, session_id, meeting_id)
    assert (session.scope, session.status, session.title) == (
        (Scope.SESSION, "ENDED", None) if kind is Kind.CHAT else (Scope.SESSION, "ENDED", "Meeting")
    )
    assert session.stopped_at == (None if kind is Kind.CHAT else 1691663636.771)
    (found,) = event.artifacts
    assert found.url == json.loads(given)[f"{kind}DownloadUrl"]
    assert found.name == f"session-{session_id}-{kind}{suffix}"
    assert found.expires_at == (1670915319.051621 if kind is Kind.CHAT else 1702451319.051621)


@pytest.mark.parametrize(
    ("name", "suffix"), [("chatSynced", "json"), ("transcript", "csv"), ("summary", "txt")]
)
def test_what_realtimekit_documents_is_one_session(shared: Path, name: str, suffix: str) -> None:
    given = (shared / f"dyte/payloads/rtk.meeting_{name}.json").read_bytes()
    kind, identity = SESSION_EVENTS[f"meeting.{name}"], "05e57591-d89e-45c9-ae44-08dc1eaad0e0"

    event = parse(given, Provider.REALTIMEKIT)

    assert event.recording == Recording(
        id=identity,
        provider=Provider.REALTIMEKIT,
        status="ENDED",
        scope=Scope.SESSION,
        organization_id="c94c437b-592a-4a39-b9e2-47ef1451e43b",
        meeting_id="50c8940e-1b97-402a-97d6-2708b7feca41",
        session_id=identity,
        title="Weekly sync",
        started_at=1780480800.0,
        stopped_at=1780482600.0,
    )
    url = json.loads(given)[f"{kind}DownloadUrl"]
    name = f"session-{identity}-{kind}.{suffix}"
    assert event.artifacts == (Artifact(identity, kind, url, name, None, 1781087400.0),)


# ---- what may be missing or odd


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("field", "lost"),
    [
        ("title", "title"),
        ("startedAt", "started_at"),
        ("endedAt", "stopped_at"),
        ("organizedBy", "organization_id"),
    ],
)
def test_no_optional_field_is_missed(name: str, field: str, lost: str) -> None:
    whole, less = read(name), read(name, **{field: None})

    assert whole.recording is not None
    assert getattr(whole.recording, lost) is not None
    without: dict[str, Any] = {lost: None}
    assert less == replace(whole, recording=replace(whole.recording, **without))


@pytest.mark.parametrize("name", NAMES)
def test_without_its_time_the_expiry_is_left_to_the_ledger(name: str) -> None:
    (found,) = read(name, **{f"{SESSION_EVENTS[name]}DownloadUrlExpiry": None}).artifacts

    assert (found.url, found.expires_at) == (LINK, None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_link_the_session_is_news_and_there_is_no_file(name: str, absent: object) -> None:
    event = read(name, **{f"{SESSION_EVENTS[name]}DownloadUrl": absent})

    assert event == replace(read(name), artifacts=())


@pytest.mark.parametrize("name", NAMES)
def test_the_ids_are_found_at_the_top_and_in_the_meeting(name: str) -> None:
    kind = SESSION_EVENTS[name]
    told = {"event": name, f"{kind}DownloadUrl": LINK}
    top = told | {"sessionId": "s1", "meetingId": "m1", "title": "Weekly"}
    inside = told | {"meeting": {"sessionId": "s1", "id": "m1", "title": "Weekly"}}

    events = [parse(json.dumps(each).encode(), Provider.DYTE) for each in (top, inside)]

    assert events[0] == events[1]
    assert events[0].recording is not None
    assert (events[0].recording.id, events[0].recording.meeting_id) == ("s1", "m1")


@pytest.mark.parametrize("name", NAMES)
@given(odd=st.dictionaries(st.sampled_from([*MEETING, "meetingId", "createdAt", "status"]), json_values))
def test_no_oddity_loses_the_file_while_the_session_is_known(name: str, odd: dict[str, Any]) -> None:
    event = read(
        name, **({key: value for key, value in odd.items() if value is not None} | {"sessionId": "s1"})
    )

    assert [(each.id, each.url) for each in event.artifacts] == [(f"s1/{SESSION_EVENTS[name]}", LINK)]
    for text in texts_in(event):
        assert text.encode().decode() == text


# ---- malformed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("odd", [None, "", " s1", 7, ["s1"], "s" * 201, "\ud800", "s\x001"])
def test_a_session_without_an_id_is_told_by_its_field(name: str, odd: object) -> None:
    with pytest.raises(DeliveryMalformed) as caught:
        read(name, sessionId=odd)

    field = "sessionId" if SESSION_EVENTS[name] is Kind.CHAT else "meeting.sessionId"
    assert caught.value.field == field


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "odd", [5, {}, [LINK], False, "file.txt", "https:///x", "https://h/\n", "https://[::1/x"]
)
def test_what_should_be_a_link_and_is_none_is_told_by_its_field(name: str, odd: object) -> None:
    field = f"{SESSION_EVENTS[name]}DownloadUrl"
    with pytest.raises(DeliveryMalformed) as caught:
        read(name, **{field: odd})

    assert caught.value.field == field
    assert "file.txt" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_another_event_s_link_is_not_this_one_s(name: str) -> None:
    told = json.loads(body(name))
    link = told.pop(f"{SESSION_EVENTS[name]}DownloadUrl")

    event = parse(json.dumps(told | {"downloadUrl": link}).encode(), Provider.DYTE)

    assert event.artifacts == ()


@given(st.sampled_from(NAMES), json_values, json_values)
def test_any_body_of_such_an_event_is_one_or_malformed(name: str, inner: object, link: object) -> None:
    told = {"event": name, "meeting": inner, "sessionId": inner, f"{SESSION_EVENTS[name]}DownloadUrl": link}
    try:
        event = parse(json.dumps(told).encode(), Provider.DYTE)
    except DeliveryMalformed:
        return
    for text in texts_in(event):
        assert text.encode().decode() == text
