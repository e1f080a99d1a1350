"""Proves that what lies in a storage and is not the very file stays, and the file comes beside it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import StorageUnavailable
from service.model import ONLY, Kind, Stored
from service.retry import PART_ATTEMPTS
from tests.doubles.source import FaultySource
from tests.unit.lives import Lives
from tests.unit.scene import MIB
from tests.unit.workshop import Workshop


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
def lives(empty_ledger: Path, tmp_path: Path, source: FaultySource) -> Lives:
    return Lives(empty_ledger, tmp_path, source)


async def test_a_manifest_that_began_beside_the_audio_stays_the_only_one(lives: Lives) -> None:
    async with lives.another() as shop:
        for kind in (Kind.AUDIO, Kind.VIDEO):  # the video was announced late
            await shop.hear(shop.file(kind))
            await shop.work()
    before = shop.main.files
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO), shop.file(Kind.AUDIO))
        await shop.work()
        assert await shop.states() == {"one/audio": "archived", "one/video": "archived"}
    assert shop.main.files == before
    assert [name for name in before if name.endswith(".json")] == ["one-audio.audio.json"]


# ---- not taken over, and nothing overwritten


async def spoiled(lives: Lives, change: Any) -> tuple[Workshop, dict[str, bytes]]:
    """Archive a video, change what lies there, and archive it again with a new ledger."""
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
    change(shop.folder / ONLY)
    before = {path.name: path.read_bytes() for path in (shop.folder / ONLY).iterdir()}
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
        assert await shop.states() == {"one/video": "archived"}
        assert len(shop.asked_of("one-video")) == 1
        (key,) = (await shop.keys()).values()
        assert shop.main.files[key] == shop.content(Kind.VIDEO)
    return shop, before


def edited(folder: Path, **changes: Any) -> None:
    path = folder / "call.mp4.json"
    document = json.loads(path.read_text())
    document["artifacts"][0] |= changes
    path.write_text(json.dumps(document))


def whose(folder: Path, recording_id: str) -> None:
    path = folder / "call.mp4.json"
    document = json.loads(path.read_text())
    document["recording"]["id"] = recording_id
    path.write_text(json.dumps(document))


async def test_a_file_without_its_manifest_is_moved_again_beside_it(lives: Lives) -> None:
    shop, before = await spoiled(lives, lambda folder: (folder / "call.mp4.json").unlink())

    assert before.items() <= shop.main.files.items()
    # A folder does not say whose a file is.
    assert shop.main.files.keys() == {"call.mp4", "call-one.mp4", "call-one.mp4.json"}


async def test_a_file_whose_manifest_is_another_recordings_is_left_alone(lives: Lives) -> None:
    shop, before = await spoiled(lives, lambda folder: whose(folder, "another"))

    assert before.items() <= shop.main.files.items()
    assert "call-one.mp4" in shop.main.files


async def test_a_file_whose_manifest_is_none_is_left_alone(lives: Lives) -> None:
    shop, before = await spoiled(lives, lambda folder: (folder / "call.mp4.json").write_bytes(b"{}"))

    assert before.items() <= shop.main.files.items()
    assert "call-one.mp4" in shop.main.files


@pytest.mark.parametrize("size", [999, 1001])
async def test_a_file_of_another_size_than_its_manifest_says_is_left_alone(lives: Lives, size: int) -> None:
    shop, before = await spoiled(lives, lambda folder: (folder / "call.mp4").write_bytes(bytes(size)))

    assert shop.main.files["call.mp4"] == before["call.mp4"]
    assert "call-one.mp4" in shop.main.files


async def test_a_file_that_the_manifest_calls_otherwise_is_left_alone(lives: Lives) -> None:
    shop, before = await spoiled(lives, lambda folder: edited(folder, key="elsewhere.mp4"))

    assert shop.main.files["call.mp4"] == before["call.mp4"]
    assert "call-one.mp4" in shop.main.files


async def test_a_file_that_is_another_kind_in_the_manifest_is_left_alone(lives: Lives) -> None:
    shop, before = await spoiled(lives, lambda folder: edited(folder, kind="audio"))

    assert shop.main.files["call.mp4"] == before["call.mp4"]
    assert "call-one.mp4" in shop.main.files


@pytest.mark.parametrize(
    ("owner", "checksum", "is_taken_over"),
    [
        ("one/video", "same", True),
        ("one/video", None, True),
        (None, None, True),
        ("one/video", "other", False),
        ("two/video", "same", False),
    ],
)
async def test_what_the_storage_itself_says_of_the_file_counts(
    lives: Lives, owner: str | None, checksum: str | None, *, is_taken_over: bool
) -> None:
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
        (row,) = await shop.ledger.rows("copies")
    crc64nvme = {"same": int(row["crc64nvme"], 16), "other": 1, None: None}[checksum]
    async with lives.another() as shop:

        async def told(key: str) -> Stored | None:
            there = key in shop.main.files
            return Stored(key, 1000, "etag", crc64nvme, owner) if there else None

        shop.main.stat = told  # type: ignore[attr-defined]
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()

        assert await shop.states() == {"one/video": "archived"}
        assert (shop.asked_of("one-video") == []) is is_taken_over
        own = "call.mp4" if owner != "two/video" else "call-one.mp4"
        assert await shop.keys() == {"one/video": own}


# ---- names


async def test_a_name_that_is_settled_is_kept_whatever_lies_there_later(lives: Lives) -> None:
    async with lives.another() as shop:
        await shop.hear(shop.file(Kind.VIDEO, size=3 * MIB))
        shop.main.answers["put_part"] = [None, *[StorageUnavailable("down")] * 2 * PART_ATTEMPTS]
        await shop.work()
        assert await shop.keys() == {"one/video": "call.mp4"}
        shop.main.answers.clear()
        await shop.due_now()
        await shop.work()

        assert shop.main.files["call.mp4"] == shop.content(Kind.VIDEO)
        assert shop.main.files.keys() == {"call.mp4", "call.mp4.json"}


async def test_every_other_name_is_tried_before_the_last_which_nobody_has(lives: Lives) -> None:
    async with lives.another() as shop:
        (shop.folder / ONLY).mkdir()
        for name in ("call.mp4", "call-one.mp4", "call-one-video.mp4"):
            (shop.folder / ONLY / name).write_bytes(b"another")
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()

        assert await shop.keys() == {"one/video": "call-one-video-1.mp4"}
        assert list(shop.main.files.values()).count(b"another") == 3
