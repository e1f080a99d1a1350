"""Proves that a manifest says what was stored, the same whoever writes it, and is told from anything else."""

import base64
import contextlib
import json
from dataclasses import fields, replace
from datetime import datetime

import pytest
from awscrt.checksums import crc32c, crc64nvme
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import StorageMismatch
from service.manifest import Manifest, parse, render
from service.model import Archived, Checksum, Kind, Provider, Recording, Scope

texts = st.text(max_size=30)
moments = st.floats(0, 4e9)
sizes = st.integers(0, 5 * 2**40)
checksums = st.builds(Checksum, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
recordings = st.builds(
    Recording,
    id=texts,
    provider=st.sampled_from(Provider),
    status=st.just("UPLOADED"),
    **{
        field.name: st.none() | {str: texts, int: sizes, float: moments}[kind]
        for field in fields(Recording)
        for kind in (str, int, float)
        if field.type == kind | None
    },
)
artifacts = st.builds(
    Archived, texts, st.sampled_from(Kind), texts, sizes, sizes, checksums, texts, texts, st.floats(0, 4e9)
)

RECORDING = Recording("recording", Provider.DYTE, "UPLOADED", title="Wöchentlich 🎬", file_size=9)
BODY = b"recording"
VIDEO = Archived(
    "recording/video",
    Kind.VIDEO,
    "calls/call.mp4",
    9,
    5,
    Checksum(crc64nvme(BODY), crc32c(BODY)),
    '"etag"',
    "video/mp4",
    1_700_000_000.5,
)


def rendered(*archived: Archived, recording: Recording = RECORDING) -> bytes:
    return render(recording, archived, ["audio"], storage="local:/archive", version="1.2.3")


@given(recording=recordings, archived=st.lists(artifacts, min_size=1, max_size=3))
def test_what_is_written_is_read(recording: Recording, archived: list[Archived]) -> None:
    body = rendered(*archived, recording=recording)

    manifest = parse(body)
    assert manifest.recording_id == recording.id
    assert [(found.key, found.size, found.checksum) for found in manifest.entries] == [
        (found.key, found.size, found.checksum) for found in archived
    ]


@given(recording=recordings, archived=st.lists(artifacts, min_size=1, max_size=3))
def test_the_same_facts_give_the_same_bytes(recording: Recording, archived: list[Archived]) -> None:
    copies = [replace(found) for found in archived]

    assert rendered(*archived, recording=recording) == rendered(*copies, recording=replace(recording))


def test_anyone_can_read_what_is_needed_to_check_a_file() -> None:
    document = json.loads(rendered(VIDEO))

    assert document["format"] == 1
    assert document["archiver"] == {"name": "dyte-archiver", "version": "1.2.3"}
    assert document["storage"] == "local:/archive"
    assert (document["provider"], document["title"]) == ("dyte", "Wöchentlich 🎬")
    assert document["recording"]["announced_size_bytes"] == 9
    assert document["expired"] == ["audio"]
    (found,) = document["artifacts"]
    assert (found["kind"], found["key"], found["size_bytes"]) == ("video", "calls/call.mp4", 9)
    assert (found["part_size_bytes"], found["etag"], found["content_type"]) == (5, '"etag"', "video/mp4")
    assert found["checksums"]["crc32c"] == {
        "hex": f"{crc32c(BODY):08x}",
        "base64": base64.b64encode(crc32c(BODY).to_bytes(4)).decode(),
    }
    assert found["checksums"]["crc64nvme"] == {
        "hex": f"{crc64nvme(BODY):016x}",
        "base64": base64.b64encode(crc64nvme(BODY).to_bytes(8)).decode(),
    }
    assert datetime.fromisoformat(found["archived_at"]).timestamp() == 1_700_000_000.5


def test_it_is_archived_when_its_last_artifact_was_stored() -> None:
    later = replace(VIDEO, kind=Kind.AUDIO, stored_at=VIDEO.stored_at + 60)

    document = json.loads(rendered(later, VIDEO))

    assert document["archived_at"] == "2023-11-14T22:14:20.500Z"


def test_what_a_later_version_adds_is_passed_over() -> None:
    document = json.loads(rendered(VIDEO)) | {"format": 2, "new": {"a": 1}}

    assert parse(json.dumps(document).encode()) == parse(rendered(VIDEO))


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff\xfe", b"{", b"[]", b"1", b"null", b'{"recording": 1}', b"[" * 10**5]
)
def test_garbage_is_not_a_manifest(garbage: bytes) -> None:
    with pytest.raises(StorageMismatch):
        parse(garbage)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@given(
    value=json_values, path=st.sampled_from(["recording", "artifacts", "0", "checksums", "crc64nvme", "hex"])
)
def test_a_manifest_with_any_part_replaced_is_read_or_refused(value: object, path: str) -> None:
    document = json.loads(rendered(VIDEO))
    (found,) = document["artifacts"]
    {
        "recording": document,
        "artifacts": document,
        "checksums": found,
        "crc64nvme": found["checksums"],
        "hex": found["checksums"]["crc64nvme"],
        "0": {},
    }[path][path] = value
    if path == "0":
        document["artifacts"][0] = value

    with contextlib.suppress(StorageMismatch):
        assert isinstance(parse(json.dumps(document).encode()), Manifest)


@given(length=st.integers(0, len(rendered(VIDEO)) - 3))
def test_a_manifest_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(StorageMismatch):
        parse(rendered(VIDEO)[:length])


# ---- sessions, tracks

SESSION = Recording(
    "session",
    Provider.REALTIMEKIT,
    "ENDED",
    Scope.SESSION,
    "staging",
    meeting_id="meeting",
    session_id="session",
    title="Weekly",
    started_at=1_700_000_000.0,
    stopped_at=1_700_000_060.5,
)
CHAT = replace(VIDEO, artifact_id="session/chat", kind=Kind.CHAT, key="session-session-chat.csv")
TRACKS = [
    replace(VIDEO, artifact_id=f"recording/track/{each}", kind=Kind.TRACK, key=key, track=each)
    for each, key in (("camera/peer.webm", "peer.webm"), ("screen/peer.webm", "peer-2.webm"))
]


def test_a_sessions_manifest_says_what_is_known_of_a_session() -> None:
    document = json.loads(rendered(CHAT, recording=SESSION))

    assert "recording" not in document
    assert document["session"] == {
        "id": "session",
        "started_at": "2023-11-14T22:13:20.000Z",
        "ended_at": "2023-11-14T22:14:20.500Z",
    }
    assert (document["provider"], document["app"]) == ("realtimekit", "staging")
    assert (document["meeting_id"], document["session_id"], document["title"]) == (
        "meeting",
        "session",
        "Weekly",
    )
    manifest = parse(rendered(CHAT, recording=SESSION))
    assert (manifest.recording_id, manifest.entries) == ("session", (CHAT,))


def test_tracks_keep_what_tells_them_apart_and_others_have_none() -> None:
    body = rendered(VIDEO, *TRACKS)

    manifest = parse(body)

    assert manifest.entries == (VIDEO, *TRACKS)
    assert [document.get("track") for document in manifest.documents] == [
        None,
        "camera/peer.webm",
        "screen/peer.webm",
    ]
    assert "track" not in manifest.documents[0]


# ---- what was there before

AUDIO = replace(VIDEO, artifact_id="recording/audio", kind=Kind.AUDIO, key="call.mp3")


def again(before: bytes, *archived: Archived, expired: list[str] | None = None) -> bytes:
    """The manifest as a ledger that knows only `archived` writes it over `before`."""
    return render(
        RECORDING, archived, expired or [], storage="local:/archive", version="1.2.3", before=parse(before)
    )


def test_what_a_new_ledger_does_not_know_is_kept_with_what_a_later_version_said_of_it() -> None:
    document = json.loads(rendered(AUDIO, *TRACKS))
    document["artifacts"][0]["colour"] = "red"

    after = json.loads(again(json.dumps(document).encode(), VIDEO))

    assert after["artifacts"][1:] == document["artifacts"]
    assert after["artifacts"][0] == json.loads(rendered(VIDEO))["artifacts"][0]


def test_what_the_ledger_knows_replaces_what_was_said_of_it() -> None:
    newer = replace(VIDEO, size=10, key="another.mp4")

    assert parse(again(rendered(AUDIO, VIDEO, *TRACKS), newer, TRACKS[1])).entries == (
        newer,
        TRACKS[1],
        AUDIO,
        TRACKS[0],
    )


def test_what_was_archived_before_is_not_said_to_be_expired() -> None:
    expired = ["audio", "track/camera/peer.webm", "track/screen/other.webm", "chat"]

    after = json.loads(again(rendered(AUDIO, *TRACKS), VIDEO, expired=expired))

    assert after["expired"] == ["track/screen/other.webm", "chat"]


def test_a_manifest_that_says_it_all_is_written_again_in_the_same_bytes() -> None:
    body = rendered(VIDEO, AUDIO, *TRACKS, recording=RECORDING)

    rewritten = render(
        RECORDING,
        [VIDEO, AUDIO, *TRACKS],
        ["audio"],
        storage="local:/archive",
        version="1.2.3",
        before=parse(body),
    )

    assert rewritten == body


@given(
    value=json_values | st.sampled_from([float("inf"), -float("inf"), 10**400, "9999-12-31T23:59:59-23:59"]),
    name=st.sampled_from(list(json.loads(rendered(TRACKS[0]))["artifacts"][0])),
)
@example(value=float("inf"), name="size_bytes")
def test_a_manifest_with_any_field_of_a_file_replaced_is_read_or_refused(value: object, name: str) -> None:
    document = json.loads(rendered(TRACKS[0]))
    document["artifacts"][0][name] = value

    with contextlib.suppress(StorageMismatch):
        assert isinstance(parse(json.dumps(document).encode()), Manifest)
