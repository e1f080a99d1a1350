"""The API's answers become the values that deliveries give, whatever in them is missing or odd."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from service.apps import App
from service.artifacts import RETENTION_S
from service.event import parse
from service.model import Artifact, Event, Kind, Provider, Recording
from service.provider import answers
from tests.unit.announcements import json_values

APP = App(name="staging", provider=Provider.REALTIMEKIT, organization_id="org-of-the-app")
LINK = "https://files.example.com/rec.mp4?X-Signature=s3cret"
AUDIO = "https://files.example.com/rec.mp3?X-Signature=s3cret"
STOPPED = 1674622295.903816

RECORDING = {
    "id": "97440c6a-140b-40a9-9499-b23fd7a3868a",
    "download_url": LINK,
    "download_url_expiry": "2023-02-01T04:51:35.903Z",
    "audio_download_url": AUDIO,
    "file_size": 2044680,
    "session_id": "session-1",
    "output_file_name": "prefix_1674622295.mp4",
    "status": "UPLOADED",
    "invoked_time": "2023-01-25T04:41:30.000Z",
    "started_time": "2023-01-25T04:41:35.000Z",
    "stopped_time": "2023-01-25 04:51:35.903816Z",
    "recording_duration": 600,
    "stop_reason": {"reason": "ALL_PEERS_LEFT", "caller": {"type": "ORGANIZATION"}},
    "meeting": {"id": "meeting-1", "title": "Weekly"},
    "storage_config": None,
}


def event_of(**changes: Any) -> Event | None:
    return answers.recording_event({**RECORDING, **changes}, APP, Provider.REALTIMEKIT)


def recording_of(**changes: Any) -> Recording:
    event = event_of(**changes)
    assert event is not None
    assert event.recording is not None
    return event.recording


def without(*names: str) -> Recording:
    item = {name: value for name, value in RECORDING.items() if name not in names}
    event = answers.recording_event(item, APP, Provider.DYTE)
    assert event is not None
    assert event.recording is not None
    return event.recording


# ---- recordings


def test_a_documented_recording_is_read_whole() -> None:
    identity, expires_at = str(RECORDING["id"]), 1675227095.903
    assert event_of() == Event(
        "api",
        Recording(
            id=identity,
            provider=Provider.REALTIMEKIT,
            status="UPLOADED",
            app="staging",
            organization_id="org-of-the-app",
            meeting_id="meeting-1",
            session_id="session-1",
            title="Weekly",
            output_file_name="prefix_1674622295.mp4",
            file_size=2044680,
            invoked_at=1674621690.0,
            started_at=1674621695.0,
            stopped_at=STOPPED,
            duration_s=600,
            stop_reason="ALL_PEERS_LEFT",
        ),
        (
            Artifact(identity, Kind.VIDEO, LINK, "prefix_1674622295.mp4", 2044680, expires_at),
            Artifact(identity, Kind.AUDIO, AUDIO, "prefix_1674622295.mp3", None, expires_at),
        ),
    )


def test_the_api_and_a_delivery_give_the_same_artifacts() -> None:
    told = {
        "event": "recording.statusUpdate",
        "recording": {
            "id": RECORDING["id"],
            "status": "UPLOADED",
            "downloadUrl": LINK,
            "audioDownloadUrl": AUDIO,
            "downloadUrlExpiry": RECORDING["download_url_expiry"],
            "fileSize": "2044680",
            "outputFileName": RECORDING["output_file_name"],
        },
    }
    asked = event_of()
    assert asked is not None
    assert parse(json.dumps(told).encode(), Provider.REALTIMEKIT).artifacts == asked.artifacts


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("file_size", "2044680", "file_size", 2044680),
        ("file_size", "12.0", "file_size", 12),
        ("file_size", "many", "file_size", None),
        ("recording_duration", "600.5", "duration_s", 600.5),
        ("stopped_time", "2026-06-03T10:00:00.000Z", "stopped_at", 1780480800.0),
        ("stopped_time", "yesterday", "stopped_at", None),
        ("stop_reason", "{'reason':'API_CALL'}", "stop_reason", "{'reason':'API_CALL'}"),
        ("stop_reason", {"caller": {}}, "stop_reason", None),
        ("meeting_id", "its-own", "meeting_id", "its-own"),
        ("meeting", None, "title", None),
        ("meeting", "none", "meeting_id", None),
        ("organization_id", "org-of-its-own", "organization_id", "org-of-its-own"),
        ("session_id", None, "session_id", None),
    ],
)
def test_a_field_in_another_form_is_read_or_left_out(
    name: str, value: object, field: str, expected: object
) -> None:
    assert getattr(recording_of(**{name: value}), field) == expected


def test_names_in_camel_case_are_understood() -> None:
    event = answers.recording_event(
        {"recordingId": "rec-1", "status": "UPLOADED", "downloadUrl": LINK,
         "stoppedTime": "2023-01-25 04:51:35.903816Z"},
        APP,
        Provider.DYTE,
    )  # fmt: skip
    assert event is not None
    assert event.artifacts == (Artifact("rec-1", Kind.VIDEO, LINK, "rec-1.mp4", None, STOPPED + RETENTION_S),)


@pytest.mark.parametrize("name", [name for name in RECORDING if name not in ("id", "status")])
def test_a_recording_without_a_field_is_still_a_recording(name: str) -> None:
    assert without(name).id == RECORDING["id"]


@pytest.mark.parametrize("name", ["audio_download_url", "download_audio_url"])
@pytest.mark.parametrize("other", [None, ""])
def test_the_audio_is_found_under_both_of_its_names(name: str, other: str | None) -> None:
    event = event_of(**{"audio_download_url": other, name: AUDIO})
    assert event is not None
    assert [artifact.url for artifact in event.artifacts] == [LINK, AUDIO]


@pytest.mark.parametrize(
    "status", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "ERRORED", "SOMETHING_NEW"]
)
def test_only_an_uploaded_recording_has_files(status: str) -> None:
    event = event_of(status=status)
    assert event is not None
    assert event.recording is not None
    assert (event.recording.status, event.artifacts, event.odd) == (status, (), ())


def test_a_track_recording_has_a_file_for_each_participant(shared: Path) -> None:
    body = (shared / "dyte/payloads/rtk.track_recording.api.json").read_bytes()
    event = answers.recording_event(answers.one(answers.read(body), "recording"), APP, Provider.REALTIMEKIT)
    assert event is not None
    assert [(each.kind, each.url, each.track) for each in event.artifacts] == [
        (
            Kind.TRACK,
            "https://example.com/presigned-url",
            "default/speaker_user-123_peer-456_peer_audio_1760000000000.webm",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "odd"),
    [
        ({"download_url": "soon"}, ("download_url",)),
        ({"download_url": 7, "audio_download_url": "soon"}, ("download_url", "audio_download_url")),
        ({"download_url": [{"layer_name": "default"}]}, ("download_url",)),
        ({"download_url": None, "audio_download_url": ""}, ()),
    ],
)
def test_what_should_be_a_link_and_is_none_is_named(changes: dict[str, Any], odd: tuple[str, ...]) -> None:
    event = event_of(**changes)
    assert event is not None
    assert event.odd == odd


@pytest.mark.parametrize(
    "item",
    [None, "text", [], {}, {"id": "rec-1"}, {"status": "UPLOADED"}, {"id": " ", "status": "UPLOADED"},
     {"id": 7, "status": "UPLOADED"}, {"id": "rec-1", "status": 5}, {"id": "rec-1", "status": " "}],
)  # fmt: skip
def test_an_item_without_a_usable_id_or_status_is_none(item: object) -> None:
    assert answers.recording_event(item, APP, Provider.DYTE) is None
    assert answers.session(item, APP, Provider.DYTE) is None


@given(item=json_values)
def test_no_field_whatever_breaks_the_reading_of_a_recording(item: Any) -> None:
    for name in RECORDING:
        event_of(**{name: item})


# ---- where the customer told the provider to put it


def test_where_the_customer_wanted_it_is_kept_in_one_form_and_never_with_a_secret() -> None:
    secrets = dict.fromkeys(
        ("access_key", "secret", "secret_key", "password", "private_key", "auth"), "S3CRET"
    )
    told = {
        "type": "aws",
        "region": "us-east-1",
        "bucket": "b",
        "path": "x/y",
        "port": "22",
        "host": "h",
        **secrets,
    }
    config = recording_of(storage_config={**told, "username": "u"}).storage_config
    assert config == json.dumps(
        {"bucket": "b", "host": "h", "path": "x/y", "port": 22, "region": "us-east-1", "type": "aws",
         "username": "u"}
    )  # fmt: skip
    shuffled = {"username": "u", **dict(reversed(told.items()))}
    assert recording_of(storage_config=shuffled).storage_config == config


@pytest.mark.parametrize(
    "told", [None, {}, "aws", [], {"bucket": "b"}, {"type": None, "bucket": "b"}, {"type": ""}]
)
def test_a_config_that_names_no_type_is_none(told: object) -> None:
    assert recording_of(storage_config=told).storage_config is None


def test_what_a_config_leaves_empty_is_left_out() -> None:
    told = {"type": "azure", "bucket": "container", "region": "", "path": None, "port": "x"}
    assert recording_of(storage_config=told).storage_config == '{"bucket": "container", "type": "azure"}'
