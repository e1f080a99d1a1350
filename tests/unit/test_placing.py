"""Proves that what lies in a storage is taken over by a new ledger, and nothing is moved again."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import StorageUnavailable
from service.model import ONLY, Artifact, Kind
from service.retry import PART_ATTEMPTS
from tests.doubles.source import FaultySource
from tests.unit.lives import Lives
from tests.unit.scene import MIB
from tests.unit.workshop import Workshop

SESSION = (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
def lives(empty_ledger: Path, tmp_path: Path, source: FaultySource) -> Lives:
    return Lives(empty_ledger, tmp_path, source)


def all_of(shop: Workshop) -> list[Artifact]:
    """A recording with video, audio, and the tracks of two participants."""
    return [
        shop.file(Kind.VIDEO, size=3 * MIB + 5),
        shop.file(Kind.AUDIO, name="call.mp3"),
        # Layers may have files of one name.
        shop.file(Kind.TRACK, track="layer-1/peer.webm", name="peer.webm"),
        shop.file(Kind.TRACK, track="layer-2/peer.webm", name="peer.webm"),
    ]


def ways_to_write(shop: Workshop) -> list[str]:
    """The requests that changed something in the storage."""
    return [name for name in shop.main.requests if name not in ("stat", "read", "confirm")]


async def moved_before(lives: Lives) -> dict[str, bytes]:
    """Archive everything once; returns what lies there then."""
    async with lives.another() as shop:
        await shop.hear(*all_of(shop))
        await shop.hear(*(shop.file(kind, id="session") for kind in SESSION))
        await shop.work()
        assert set((await shop.states()).values()) == {"archived"}
        return shop.main.files


# ---- taken over


async def test_a_new_ledger_moves_nothing_that_is_there(lives: Lives) -> None:
    before = await moved_before(lives)
    assert len(before) == 4 + 3 + 2

    async with lives.another() as shop:
        await shop.hear(*all_of(shop))
        await shop.hear(*(shop.file(kind, id="session") for kind in SESSION))
        names = [*shop.source._recordings]
        await shop.work()

        states = await shop.states()
        assert len(states) == 7
        assert set(states.values()) == {"archived"}
        assert [name for name in names if shop.source[name].requests] == []
        assert ways_to_write(shop) == []
        assert shop.main.files == before
        found = [shop.metrics.artifacts.labels(ONLY, kind, "found")._value.get() for kind in Kind]
        assert found == [1, 1, 2, 1, 1, 1]


async def test_the_new_ledger_knows_of_each_file_what_the_old_one_did(lives: Lives) -> None:
    async with lives.another() as shop:
        await shop.hear(*all_of(shop))
        await shop.work()
        before = await shop.ledger.rows("copies"), await shop.ledger.rows("manifests")
    async with lives.another() as shop:
        await shop.hear(*all_of(shop))
        await shop.work()
        after = await shop.ledger.rows("copies"), await shop.ledger.rows("manifests")

    for former, latter in zip(before[0], after[0], strict=True):
        former["due_at"] = latter["due_at"] = None
        # A manifest tells milliseconds.
        assert former.pop("stored_at") - latter.pop("stored_at") == pytest.approx(0, abs=0.002)
    for row in (*before[1], *after[1]):
        row["written_at"] = None
    assert after == before


async def test_a_file_that_comes_late_joins_what_was_there(lives: Lives) -> None:
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO), shop.file(Kind.AUDIO, name="call.mp3"))
        await shop.work()

        assert shop.asked_of("one-video") == []
        assert len(shop.asked_of("one-audio")) == 1
        manifest = json.loads(shop.main.files["call.mp4.json"])
        assert [entry["kind"] for entry in manifest["artifacts"]] == ["video", "audio"]


async def test_the_audio_alone_is_found_by_the_manifest_beside_the_video(lives: Lives) -> None:
    await moved_before(lives)
    async with lives.another() as shop:
        video, audio, *_ = all_of(shop)
        await shop.hear(audio)
        await shop.hear(video)
        await shop.work()

        assert shop.asked_of("one-audio") == shop.asked_of("one-video") == []


async def test_names_that_others_had_are_found_again(lives: Lives) -> None:
    async with lives.another() as shop:
        (shop.folder / ONLY).mkdir()
        for name in ("call.mp4", "call-one.mp4.json"):
            (shop.folder / ONLY / name).write_bytes(b"another")
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
        before, names = shop.main.files, await shop.keys()
        assert before.keys() == {"call.mp4", "call-one.mp4.json", "call-one.mp4", "call-one.mp4.one.json"}
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()

        assert shop.asked_of("one-video") == []
        assert await shop.keys() == names == {"one/video": "call-one.mp4"}
        assert shop.main.files == before


async def test_two_recordings_of_one_name_find_each_its_own_in_whatever_order(lives: Lives) -> None:
    async with lives.another() as shop:
        for one in ("one", "two"):
            await shop.hear(shop.file(Kind.VIDEO, id=one, size=1000 + len(one)))
            await shop.work()
        before, names = shop.main.files, await shop.keys()
        assert names == {"one/video": "call.mp4", "two/video": "call-two.mp4"}
    async with lives.another() as shop:
        for one in ("two", "one"):
            await shop.hear(shop.file(Kind.VIDEO, id=one, size=1000 + len(one)))
            await shop.work()

        assert await shop.keys() == names
        assert shop.main.files == before
        assert shop.asked_of("one-video") == shop.asked_of("two-video") == []


async def test_where_the_template_makes_folders_they_are_looked_in(lives: Lives) -> None:
    template = "{kind}/{meeting_id}/{output_file_name}"
    for _ in range(2):
        async with lives.another(template=template) as shop:
            await shop.hear(*all_of(shop), meeting_id="meeting")
            await shop.hear(*(shop.file(kind, id="session") for kind in SESSION))
            await shop.work()
            assert set((await shop.states()).values()) == {"archived"}

    assert [request for name in shop.source._recordings for request in shop.source[name].requests] == []
    manifests = [path.relative_to(shop.folder / ONLY) for path in (shop.folder / ONLY).rglob("*.json")]
    assert sorted(map(str, manifests)) == [
        "chat/unknown/session-session.json",
        "video/meeting/call.mp4.json",
    ]


async def test_a_storage_that_was_away_when_it_was_asked_is_asked_again(lives: Lives) -> None:
    before = await moved_before(lives)
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO, size=3 * MIB + 5))
        shop.main.answers["stat"] = [StorageUnavailable("down")] * PART_ATTEMPTS
        await shop.work()
        assert await shop.states() == {"one/video": "waiting"}
        await shop.due_now()

        await shop.work()

        assert await shop.states() == {"one/video": "archived"}
        assert shop.asked_of("one-video") == []
        assert shop.main.files == before
