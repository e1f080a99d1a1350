"""Proves that a manifest gathers what belongs together, whenever it comes, and is nobody else's."""

import itertools
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.errors import NameTaken, StorageMismatch, StorageRefused
from service.manifests import find_manifest, manifest_keys, read_manifest
from service.model import ONLY, Kind, Provider, Recording, Scope
from service.storage import LocalConfig
from service.storage.local import LocalStorage
from tests.doubles.source import FaultySource
from tests.unit.workshop import Workshop, workshop

SESSION = (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path, source: FaultySource) -> AsyncIterator[Workshop]:
    async with workshop(ledger, tmp_path, source) as shop:
        yield shop


def manifest(shop: Workshop, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shop.main.files[key])
    return found


def kinds_in(document: dict[str, Any]) -> list[str]:
    return [entry["kind"] for entry in document["artifacts"]]


# ---- a session's


@pytest.mark.parametrize("order", list(itertools.permutations(SESSION)), ids=" ".join)
async def test_a_sessions_manifest_is_complete_in_whatever_order_its_files_come(
    shop: Workshop, order: Sequence[Kind]
) -> None:
    for count, kind in enumerate(order, 1):
        await shop.hear(shop.file(kind, id="session"))
        await shop.work()
        # Complete at every time, and always under one name.
        assert len(kinds_in(manifest(shop, "session-session.json"))) == count
        assert len(shop.main.files) == count + 1

    document = manifest(shop, "session-session.json")
    assert kinds_in(document) == ["chat", "transcript", "summary"]
    assert document["session"]["id"] == "session"
    assert "recording" not in document
    for entry in document["artifacts"]:
        assert shop.main.files[entry["key"]] == shop.content(Kind(entry["kind"]), id="session")
    assert set((await shop.states()).values()) == {"archived"}


async def test_a_sessions_manifest_keeps_its_place_when_the_folders_of_its_files_differ(
    ledger: Path, tmp_path: Path, source: FaultySource
) -> None:
    async with workshop(ledger, tmp_path, source, template="{kind}/{output_file_name}") as shop:
        for kind in reversed(SESSION):
            await shop.hear(shop.file(kind, id="session"))
            await shop.work()

        folder = shop.folder / ONLY
        (path,) = folder.rglob("*.json")
        assert path.relative_to(folder).as_posix() == "summary/session-session.json"
        assert kinds_in(json.loads(path.read_text())) == ["chat", "transcript", "summary"]


async def test_what_is_told_later_of_a_session_is_in_its_manifest(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.CHAT, id="session"))
    await shop.work()
    await shop.hear(shop.file(Kind.SUMMARY, id="session"), title="Weekly", stopped_at=1_700_000_000.5)
    await shop.work()

    document = manifest(shop, "session-session.json")
    assert document["title"] == "Weekly"
    assert document["session"]["ended_at"] == "2023-11-14T22:13:20.500Z"


async def test_a_session_and_a_recording_of_it_have_each_their_own_manifest(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO), session_id="session")
    await shop.hear(shop.file(Kind.TRANSCRIPT, id="session"))
    await shop.work()

    assert kinds_in(manifest(shop, "call.mp4.json")) == ["video"]
    assert kinds_in(manifest(shop, "session-session.json")) == ["transcript"]


# ---- a recording's


async def test_a_video_that_comes_after_its_audio_joins_the_manifest_that_is_there(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.AUDIO, name="call.mp3"))
    await shop.work()
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()

    assert shop.main.files.keys() == {"call.mp3", "call.mp3.json", "call.mp4"}
    assert kinds_in(manifest(shop, "call.mp3.json")) == ["video", "audio"]


async def test_twenty_tracks_are_one_manifest_called_by_the_recordings_id(shop: Workshop) -> None:
    names = [f"layer/peer-{number:02}.webm" for number in range(20)]
    tracks = [shop.file(Kind.TRACK, track=name, name=name.partition("/")[2]) for name in names]
    await shop.hear(*tracks[:13])
    await shop.work()
    await shop.hear(*tracks[13:])
    await shop.work()

    document = manifest(shop, "recording-one.json")
    assert [entry["track"] for entry in document["artifacts"]] == names
    assert len(shop.main.files) == 21


async def test_a_video_beside_tracks_gives_the_manifest_its_name(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.TRACK, track="layer/peer.webm", name="peer.webm"), shop.file(Kind.VIDEO))
    await shop.work()

    assert kinds_in(manifest(shop, "call.mp4.json")) == ["video", "track"]


async def test_a_manifest_that_could_not_be_written_is_written_later(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    shop.main.answers["put"] = [None, StorageRefused("full", mend="make room")]
    await shop.work()
    assert shop.main.files.keys() == {"call.mp4"}
    assert await shop.states() == {"one/video": "stored"}
    await shop.due_now()

    await shop.work()

    assert shop.main.files.keys() == {"call.mp4", "call.mp4.json"}
    assert await shop.states() == {"one/video": "archived"}
    assert len(shop.asked_of("one-video")) == 1


# ---- names that others have


@pytest.mark.parametrize("text", [b"", b"notes", b"{}", b'{"recording": {"id": "two"}, "artifacts": []}'])
async def test_what_others_have_under_the_manifests_name_stays(shop: Workshop, text: bytes) -> None:
    (shop.folder / ONLY).mkdir(exist_ok=True)
    (shop.folder / ONLY / "call.mp4.json").write_bytes(text)
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()

    assert shop.main.files["call.mp4.json"] == text
    assert kinds_in(manifest(shop, "call.mp4.one.json")) == ["video"]
    assert await shop.states() == {"one/video": "archived"}


async def test_a_recording_that_is_called_as_a_manifest_is_not_overwritten_by_it(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO, id="two", name="call.mp4.json"))
    await shop.work()
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()

    assert shop.main.files["call.mp4.json"] == shop.content(Kind.VIDEO, id="two")
    assert kinds_in(manifest(shop, "call.mp4.one.json")) == ["video"]
    assert kinds_in(manifest(shop, "call.mp4.json.json")) == ["video"]


async def test_a_folder_under_the_manifests_name_is_left_alone(shop: Workshop) -> None:
    (shop.folder / ONLY / "call.mp4.json").mkdir(parents=True)
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()

    assert kinds_in(manifest(shop, "call.mp4.one.json")) == ["video"]


async def test_where_every_name_is_anothers_the_artifact_waits_and_says_so(shop: Workshop) -> None:
    (shop.folder / ONLY).mkdir(exist_ok=True)
    (shop.folder / ONLY / "session-session.json").write_bytes(b"notes")
    await shop.hear(shop.file(Kind.CHAT, id="session"))
    await shop.work()

    (row,) = await shop.ledger.rows("artifacts")
    assert row["state"] == "stored"
    assert "session-session.json" in row["error"]
    assert shop.main.files["session-session.json"] == b"notes"

    (shop.folder / ONLY / "session-session.json").unlink()
    await shop.due_now()
    await shop.work()
    assert await shop.states() == {"session/chat": "archived"}


# ---- a new ledger


async def test_what_a_new_ledger_does_not_know_stays_in_the_manifest(
    ledger: Path, empty_ledger: Path, tmp_path: Path, source: FaultySource
) -> None:
    async with workshop(ledger, tmp_path, source) as shop:
        await shop.hear(shop.file(Kind.VIDEO), shop.file(Kind.AUDIO, name="call.mp3"))
        await shop.hear(shop.file(Kind.CHAT, id="session"), shop.file(Kind.TRANSCRIPT, id="session"))
        await shop.work()
        before = {
            entry["kind"]: entry
            for key in ("call.mp4.json", "session-session.json")
            for entry in manifest(shop, key)["artifacts"]
        }
    another = Path(shutil.copy(empty_ledger, tmp_path / "another.db"))
    async with workshop(another, tmp_path, source) as shop:
        # The chat and the audio are no longer offered.
        await shop.hear(shop.file(Kind.VIDEO), title="Weekly")
        await shop.hear(shop.file(Kind.SUMMARY, id="session"))
        await shop.work()

        assert manifest(shop, "call.mp4.json")["title"] == "Weekly"
        recording = manifest(shop, "call.mp4.json")["artifacts"]
        assert recording == [before["video"], before["audio"]]
        session = manifest(shop, "session-session.json")["artifacts"]
        assert {entry["kind"] for entry in session} == {"chat", "transcript", "summary"}
        assert [entry for entry in session if entry["kind"] != "summary"] == [
            before["chat"],
            before["transcript"],
        ]


async def test_what_comes_again_is_in_the_manifest_once(
    ledger: Path, empty_ledger: Path, tmp_path: Path, source: FaultySource
) -> None:
    async with workshop(ledger, tmp_path, source) as shop:
        await shop.hear(shop.file(Kind.CHAT, id="session"), shop.file(Kind.SUMMARY, id="session"))
        await shop.work()
    another = Path(shutil.copy(empty_ledger, tmp_path / "another.db"))
    async with workshop(another, tmp_path, source) as shop:
        await shop.hear(shop.file(Kind.SUMMARY, id="session"))
        await shop.work()
        await shop.hear(shop.file(Kind.CHAT, id="session"))
        await shop.work()

        assert kinds_in(manifest(shop, "session-session.json")) == ["chat", "summary"]
        assert [*source["session-chat"].requests, *source["session-summary"].requests] == []


# ---- where they are looked for

ONE = Recording("one", Provider.DYTE, "UPLOADED")


def test_a_manifest_is_looked_for_beside_every_name_that_its_file_may_have() -> None:
    keys = ["calls/call.mp4", "calls/call-one.mp4", "calls/call.mp4"]
    assert list(manifest_keys(ONE, Kind.VIDEO, keys)) == [
        "calls/call.mp4.json",
        "calls/call-one.mp4.json",
        "calls/call.mp4.one.json",
        "calls/call-one.mp4.one.json",
    ]
    assert list(manifest_keys(ONE, Kind.TRACK, ["a.webm", "a-one.webm"])) == ["recording-one.json"]
    session = Recording("s/1", Provider.DYTE, "ENDED", Scope.SESSION)
    assert list(manifest_keys(session, Kind.CHAT, ["calls/chat.csv"])) == ["calls/session-s_1.json"]


async def test_what_is_no_manifest_is_none_and_what_is_too_large_is_not_read_on(tmp_path: Path) -> None:
    storage = LocalStorage(LocalConfig(type="local", path=tmp_path))
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "odd.json").write_bytes(b"[]")

    for key in ("huge.json", "odd.json"):
        with pytest.raises(StorageMismatch):
            await read_manifest(storage, key)
    with pytest.raises(NameTaken):
        await read_manifest(storage, "folder.json")
    keys = ("huge.json", "odd.json", "folder.json", "missing.json")
    assert await find_manifest(storage, keys, "one") is None


async def test_another_recordings_manifest_does_not_hide_the_one_that_is_looked_for(tmp_path: Path) -> None:
    storage = LocalStorage(LocalConfig(type="local", path=tmp_path))
    for key, recording_id in (("call.mp4.json", "two"), ("call.mp4.one.json", "one")):
        (tmp_path / key).write_text(json.dumps({"recording": {"id": recording_id}, "artifacts": []}))

    found = await find_manifest(storage, ("call.mp4.json", "call.mp4.one.json"), "one")

    assert found is not None
    key, manifest = found
    assert (key, manifest.recording_id) == ("call.mp4.one.json", "one")
