"""Bodies that are not what they should be: the fault names its field, and no unstorable text gets through."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import DeliveryMalformed
from service.event import parse
from service.model import Kind, Provider
from tests.unit.announcements import body_of, json_values, texts_in

texts = st.text(st.characters(codec=None, exclude_categories=[]))


@pytest.mark.parametrize(
    ("field", "recording"),
    [
        ("recording.id", {"id": None, "recordingId": None}),
        ("recording.id", {"id": 7, "recordingId": 7}),
        ("recording.id", {"id": "", "recordingId": ""}),
        ("recording.id", {"id": " r1", "recordingId": "r\x001"}),
        ("recording.id", {"id": "\ud800", "recordingId": "r" * 201}),
        ("recording.status", {"status": None}),
        ("recording.status", {"status": 5}),
        ("recording.status", {"status": " "}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": 5}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": [{"layer_name": "default"}]}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "rec.mp4"}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "https:///rec.mp4"}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "https://[::1/rec.mp4"}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "https://h/a\nb"}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "https://h/\ud800"}),
        ("recording.downloadUrl", {"audioDownloadUrl": None, "downloadUrl": "https://h/" + "a" * 20_000}),
        ("recording.audioDownloadUrl", {"downloadUrl": None, "audioDownloadUrl": {}}),
    ],
)
def test_the_fault_names_the_field(field: str, recording: dict[str, Any]) -> None:
    with pytest.raises(DeliveryMalformed) as caught:
        parse(body_of(recording), Provider.DYTE)
    assert caught.value.field == field
    assert field in str(caught.value)


@pytest.mark.parametrize("odd", [{}, "no link", 7, ["https://h/a.mp3"]])
def test_an_odd_link_does_not_lose_the_good_one_beside_it(odd: Any) -> None:
    event = parse(body_of({"audioDownloadUrl": odd}), Provider.DYTE)
    assert [artifact.kind for artifact in event.artifacts] == [Kind.VIDEO]
    assert event.odd == ("recording.audioDownloadUrl",)
    event = parse(body_of({"downloadUrl": odd, "audioDownloadUrl": "https://h/a.mp3"}), Provider.DYTE)
    assert [artifact.kind for artifact in event.artifacts] == [Kind.AUDIO]
    assert event.odd == ("recording.downloadUrl",)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body", b""),
        ("body", b" "),
        ("body", b"\xff\xfe\xfd"),
        ("body", b'{"event":"\xc3\x28"}'),
        ("body", b'{"event":"meeting.ended"'),
        ("body", b'{"event":"meeting.ended"} {}'),
        ("body", b"[" * 100_000),
        ("body", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        ("body", b"[]"),
        ("body", b"null"),
        ("body", b"NaN"),
        ("body", b'"recording.statusUpdate"'),
        ("event", b"{}"),
        ("event", b'{"event":""}'),
        ("event", b'{"event":null}'),
        ("event", b'{"event":["recording.statusUpdate"]}'),
        ("recording", b'{"event":"recording.statusUpdate"}'),
        ("recording", b'{"event":"recording.statusUpdate","recording":[]}'),
        ("recording.id", b'{"event":"recording.statusUpdate","recording":{}}'),
    ],
)
def test_a_body_that_is_something_else_is_told_by_its_field(field: str, body: bytes) -> None:
    with pytest.raises(DeliveryMalformed) as caught:
        parse(body, Provider.DYTE)
    assert caught.value.field == field


def test_of_a_key_given_twice_the_last_one_counts() -> None:
    body = b'{"event":"meeting.ended","event":"meeting.started"}'
    assert parse(body, Provider.DYTE).name == "meeting.started"


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-" + "9" * 5000, "0." + "1" * 5000]
)
def test_no_number_is_too_odd(number: str) -> None:
    body = body_of({"fileSize": "?", "recordingDuration": "?"}, beside="?").replace(b'"?"', number.encode())
    event = parse(body, Provider.DYTE)
    assert len(event.artifacts) == 2
    assert event.recording is not None
    assert event.recording.file_size in (None, 0)


def test_deep_nesting_below_the_parsers_limit_is_no_fault() -> None:
    nested: list[Any] = []
    for _ in range(200):
        nested = [nested]
    assert len(parse(body_of({"stopReason": nested}, meeting=nested), Provider.DYTE).artifacts) == 2


def test_what_cannot_be_stored_is_left_out_of_texts() -> None:
    event = parse(
        body_of({"outputFileName": "a\x00b\ud83dc\x1f\x7f.mp4"}, meeting={"title": "\udc00"}), Provider.DYTE
    )
    assert event.recording is not None
    assert (event.recording.output_file_name, event.recording.title) == ("abc.mp4", None)


def test_texts_keep_every_language_and_have_an_end() -> None:
    event = parse(body_of(meeting={"title": "Söndag 会議 🎬", "id": "m" * 5000}), Provider.DYTE)
    assert event.recording is not None
    assert event.recording.title == "Söndag 会議 🎬"
    event = parse(body_of({"outputFileName": "m" * 5000}), Provider.DYTE)
    assert event.recording is not None
    assert len(event.recording.output_file_name or "") == 2000


def check_whatever(body: bytes) -> None:
    try:
        event = parse(body, Provider.DYTE)
    except DeliveryMalformed:
        return
    for text in texts_in(event):
        assert text.encode().decode() == text
        assert "\x00" not in text


@given(st.binary())
@example(b"\xef\xbb\xbf{}")
@example('{"event":"recording.statusUpdate"}'.encode("utf-16"))
def test_any_bytes_are_an_event_or_malformed(body: bytes) -> None:
    check_whatever(body)


@given(json_values)
def test_any_json_is_an_event_or_malformed(document: object) -> None:
    check_whatever(json.dumps(document).encode())
    check_whatever(json.dumps({"event": "recording.statusUpdate", "recording": document}).encode())


fields_of_a_recording = st.sampled_from(
    ["id", "recordingId", "status", "downloadUrl", "audioDownloadUrl", "downloadUrlExpiry", "outputFileName",
     "stoppedTime", "startedTime", "fileSize", "meetingId", "stopReason"]
)  # fmt: skip


@given(st.dictionaries(fields_of_a_recording, texts | json_values), texts, texts)
def test_any_fields_are_an_event_or_malformed(odd: dict[str, Any], name: str, title: str) -> None:
    check_whatever(body_of(odd, meeting={"title": title, "sessionId": name}))
    check_whatever(json.dumps({"event": name}).encode())


@given(st.dates().map(str) | st.datetimes().map(str), st.sampled_from(["", "Z", "+23:59", "-23:59"]))
def test_any_time_is_a_moment_or_nothing(time: str, zone: str) -> None:
    check_whatever(body_of({"downloadUrlExpiry": time + zone, "stoppedTime": time + zone}))
