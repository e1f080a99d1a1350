"""A verified body becomes the event that was meant, whatever else in it is missing or odd."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifacts import RETENTION_S
from service.event import parse
from service.model import Artifact, Event, Kind, Provider, Recording
from tests.doubles.sender import Family, Sender
from tests.unit.announcements import AUDIO_LINK, LINK, body_of, json_values

OPTIONAL = [
    "fileSize", "roomUUID", "meetingId", "startedTime", "stoppedTime", "organizationId", "outputFileName",
    "downloadUrlExpiry", "stopReason", "recordingDuration",
]  # fmt: skip


def recording_of(event: Event) -> Recording:
    assert event.recording is not None
    return event.recording


def artifacts_of(body: bytes) -> dict[Kind, Artifact]:
    return {artifact.kind: artifact for artifact in parse(body, Provider.REALTIMEKIT).artifacts}


# ---- documented bodies


def test_every_documented_webhook_body_is_an_event_of_its_name(shared: Path) -> None:
    bodies = [path for path in (shared / "dyte/payloads").glob("*.json") if ".api." not in path.name]
    assert len(bodies) >= 17
    for path in bodies:
        provider = Provider.DYTE if path.name.startswith("dyte.") else Provider.REALTIMEKIT
        event = parse(path.read_bytes(), provider)
        assert event.name.replace(".", "_", 1) == path.name.split(".")[1]
        kinds = [kind for kind in Kind if f"_{kind}" in path.name.replace("_chatSynced", "_chat")]
        if ".UPLOADED." not in path.name:
            assert [artifact.kind for artifact in event.artifacts] == kinds


def test_the_documented_dyte_announcement_gives_video_and_audio(shared: Path) -> None:
    event = parse(
        (shared / "dyte/payloads/dyte.recording_statusUpdate.UPLOADED.json").read_bytes(), Provider.DYTE
    )
    folder = "https://dyte-recordings-test.s3.ap-south-1.amazonaws.com/c94c437b-592a-4a39-b9e2-47ef1451e43b"
    identity, expires_at = "ab920f84-2d19-4013-99c7-5b80291d0188", 1682052415.608944
    assert event.recording == Recording(
        id=identity,
        provider=Provider.DYTE,
        status="UPLOADED",
        organization_id="c94c437b-592a-4a39-b9e2-47ef1451e43b",
        meeting_id="f489904b-c6d7-4a90-a9b1-cf941cb31f05",
        session_id="5a0c5abd-97a3-4dac-b2d2-19ed3d7bb3c2",
        title="Meeting from Postman v1.0",
        output_file_name="missxh-vxtest_1681447566346.mp4",
        file_size=2044680,
        started_at=1681447568.306221,
        stopped_at=1681447615.420986,
        duration_s=0,
        stop_reason="{'reason':'ALL_PEERS_LEFT','caller':{'type':'INTERNAL'}}",
    )
    assert event.artifacts == (
        Artifact(
            identity, Kind.VIDEO, f"{folder}/test.mp4", "missxh-vxtest_1681447566346.mp4", 2044680, expires_at
        ),
        Artifact(
            identity, Kind.AUDIO, f"{folder}/test.mp3", "missxh-vxtest_1681447566346.mp3", None, expires_at
        ),
    )


def test_the_documented_realtimekit_announcement_gives_video_and_audio(shared: Path) -> None:
    event = parse(
        (shared / "dyte/payloads/rtk.recording_statusUpdate.UPLOADED.json").read_bytes(), Provider.REALTIMEKIT
    )
    recording = recording_of(event)
    assert (recording.id, recording.provider) == (
        "97cb480d-5840-4528-ace3-919b5e386c68",
        Provider.REALTIMEKIT,
    )
    assert (recording.file_size, recording.duration_s) == (2044680, 1800)
    assert (recording.started_at, recording.stopped_at) == (1780480800.0, 1780482600.0)
    assert recording.session_id == "05e57591-d89e-45c9-ae44-08dc1eaad0e0"
    assert [(a.kind, a.url, a.name, a.announced_size, a.expires_at) for a in event.artifacts] == [
        (Kind.VIDEO, "https://example.com/recording.mp4", "weekly-sync.mp4", 2044680, 1781087400.0),
        (Kind.AUDIO, "https://example.com/recording.mp3", "weekly-sync.mp3", None, 1781087400.0),
    ]


@pytest.mark.parametrize("family", ["dyte", "rtk"])
def test_what_the_sender_announces_is_what_is_archived(sender: Sender, family: Family) -> None:
    event = parse(
        sender.uploaded("r7", LINK, family=family, size=9, audioDownloadUrl=AUDIO_LINK), Provider.DYTE
    )
    recording = recording_of(event)
    assert (recording.id, recording.file_size, recording.duration_s) == ("r7", 9, 47)
    assert recording.started_at == pytest.approx(1681447568.306, abs=0.001)
    assert [(a.id, a.url, a.name) for a in event.artifacts] == [
        ("r7/video", LINK, "r7.mp4"),
        ("r7/audio", AUDIO_LINK, "r7.mp3"),
    ]


# ---- what may be missing or odd


@pytest.mark.parametrize("field", [*OPTIONAL, "id", "recordingId", "audioDownloadUrl"])
def test_no_optional_field_is_missed(field: str) -> None:
    given = json.loads(body_of())
    del given["recording"][field]
    artifacts = artifacts_of(json.dumps(given).encode())
    assert artifacts[Kind.VIDEO].id == "r1/video"
    assert artifacts[Kind.VIDEO].url == LINK


@given(st.dictionaries(st.sampled_from(OPTIONAL), json_values), json_values, json_values)
def test_no_oddity_of_an_optional_field_loses_the_recording(
    odd: dict[str, Any], meeting: object, organizer: object
) -> None:
    for beside in (meeting, {"organizedBy": organizer, "id": meeting, "title": organizer}):
        event = parse(body_of(odd, meeting=beside), Provider.DYTE)
        assert [artifact.url for artifact in event.artifacts] == [LINK, AUDIO_LINK]
        assert event.artifacts[0].name != event.artifacts[1].name


@given(json_values)
def test_either_id_alone_is_enough_whatever_the_other_is(odd: object) -> None:
    assert recording_of(parse(body_of({"id": odd}), Provider.DYTE)).id == "r1"
    if not isinstance(odd, str):
        assert recording_of(parse(body_of({"recordingId": odd}), Provider.DYTE)).id == "r1"


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (2044680, 2044680), ("2044680", 2044680), (2044680.0, 2044680), (0, 0), ("0", 0),
        ("", None), (None, None), (-1, None), ("-1", None), (True, None), ("2 MB", None), ([1], None),
        ("NaN", None), ("Infinity", None), (2**63, None), ("9" * 400, None),
    ],
)  # fmt: skip
def test_a_file_size_is_a_number_of_bytes_or_nothing(given: object, size: int | None) -> None:
    event = parse(body_of({"fileSize": given}), Provider.DYTE)
    assert recording_of(event).file_size == size
    assert [artifact.announced_size for artifact in event.artifacts] == [size, None]


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2023-01-25 04:51:35.903816Z", 1674622295.903816),
        ("2026-06-03T10:00:00.000Z", 1780480800.0),
        ("2026-06-03T12:00:00+02:00", 1780480800.0),
        ("2026-06-03T10:00:00", 1780480800.0),
        ("soon", None), ("", None), (1780480800, None), (None, None), ("2026-13-45T10:00:00Z", None),
    ],
)  # fmt: skip
def test_a_time_is_read_in_both_documented_forms(given: object, moment: float | None) -> None:
    assert recording_of(parse(body_of({"startedTime": given}), Provider.DYTE)).started_at == moment


def test_a_time_without_a_zone_is_utc_wherever_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of({"startedTime": "2026-06-03T10:00:00"})
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        started_at = recording_of(parse(body, Provider.DYTE)).started_at
    time.tzset()
    assert started_at == 1780480800.0


def test_without_an_expiry_a_recording_is_kept_seven_days_from_its_stop() -> None:
    stopped_at = 1780482600.0
    kept = artifacts_of(body_of({"downloadUrlExpiry": None}))
    assert [artifact.expires_at for artifact in kept.values()] == [stopped_at + RETENTION_S] * 2


def test_without_any_time_the_expiry_is_left_to_the_ledger() -> None:
    kept = artifacts_of(body_of({"downloadUrlExpiry": "?", "stoppedTime": 7}))
    assert [artifact.expires_at for artifact in kept.values()] == [None, None]


@pytest.mark.parametrize("absent", [None, ""])
def test_where_the_provider_keeps_no_file_there_is_nothing_to_archive(absent: str | None) -> None:
    event = parse(body_of({"downloadUrl": absent, "audioDownloadUrl": absent}), Provider.DYTE)
    assert recording_of(event).status == "UPLOADED"
    assert event.artifacts == ()


@pytest.mark.parametrize("status", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "ERRORED"])
def test_only_uploaded_announces_a_file(status: str) -> None:
    event = parse(body_of({"status": status}), Provider.DYTE)
    assert (recording_of(event).status, event.artifacts) == (status, ())


def test_a_status_that_is_not_documented_is_an_event_without_files() -> None:
    event = parse(body_of({"status": "TRANSCODING"}), Provider.DYTE)
    assert (recording_of(event).status, event.artifacts) == ("TRANSCODING", ())


@given(st.text(min_size=1).filter(lambda name: name != "recording.statusUpdate"), json_values)
def test_any_other_event_is_taken_without_looking_into_it(name: str, inner: object) -> None:
    event = parse(json.dumps({"event": name, "recording": inner, "meeting": inner}).encode(), Provider.DYTE)
    assert (event.recording, event.artifacts) == (None, ())


# ---- names


@pytest.mark.parametrize(
    ("given", "video_link", "audio_link", "video", "audio"),
    [
        ("rec.mp4", LINK, AUDIO_LINK, "rec.mp4", "rec.mp3"),
        ("rec.final.webm", LINK, AUDIO_LINK, "rec.final.webm", "rec.final.mp3"),
        ("rec", LINK, AUDIO_LINK, "rec", "rec.mp3"),
        (".mp4", LINK, AUDIO_LINK, ".mp4", ".mp4.mp3"),
        ("rec.mp3", LINK, AUDIO_LINK, "rec.mp3", "rec.audio.mp3"),
        ("rec.MP3", LINK, AUDIO_LINK, "rec.MP3", "rec.audio.mp3"),
        ("rec.mp3", LINK, "https://h/x", "rec.mp3", "rec.audio.mp3"),
        ("rec.mp4", LINK, "https://h/x.%2e%2e", "rec.mp4", "rec.mp3"),
        ("rec.mp4", LINK, "https://h/x.tar?f=.exe", "rec.mp4", "rec.tar"),
        (None, LINK, AUDIO_LINK, "r1.mp4", "r1.mp3"),
        (None, "https://h/x.tar", AUDIO_LINK, "r1.tar", "r1.mp3"),
        (None, "https://h/x", "https://h/y", "r1.mp4", "r1.mp3"),
        (None, "https://h/x.webm", "https://h/y.webm", "r1.webm", "r1.audio.webm"),
    ],
)
def test_the_audio_has_the_videos_stem_and_its_own_suffix(
    given: str | None, video_link: str, audio_link: str, video: str, audio: str
) -> None:
    links = {"downloadUrl": video_link, "audioDownloadUrl": audio_link}
    artifacts = artifacts_of(body_of({"outputFileName": given, **links}))
    assert (artifacts[Kind.VIDEO].name, artifacts[Kind.AUDIO].name) == (video, audio)


paths = st.text("ab./_", max_size=8) | st.sampled_from(["x.mp4", "x.mp3", "x.webm"])


@given(st.none() | st.text() | paths, paths, paths)
def test_audio_and_video_never_have_one_name(name: str | None, video: str, audio: str) -> None:
    links = {"downloadUrl": f"https://h/{video}", "audioDownloadUrl": f"https://h/{audio}"}
    artifacts = artifacts_of(body_of({"outputFileName": name, **links}))
    assert artifacts[Kind.VIDEO].name.lower() != artifacts[Kind.AUDIO].name.lower()
