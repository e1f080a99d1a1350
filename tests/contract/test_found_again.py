"""Proves on every storage that a ledger which knows nothing moves nothing that is there already."""

import asyncio
import shutil
from pathlib import Path

import pytest

from service.model import ONLY, Artifact, Kind
from service.storage import Storage
from tests.contract.places import PART, Place, read
from tests.doubles.source import FaultySource
from tests.unit.workshop import Workshop, workshop


def everything(shop: Workshop) -> tuple[list[Artifact], Artifact]:
    """A recording, and a chat of its session; the video is two parts."""
    recording = [
        shop.file(Kind.VIDEO, size=PART + 1),
        shop.file(Kind.AUDIO, name="call.mp3"),
        shop.file(Kind.TRACK, track="layer/peer.webm", name="peer.webm"),
    ]
    return recording, shop.file(Kind.CHAT, id="session")


async def archived(ledger: Path, folder: Path, storage: Storage) -> tuple[list[str], float]:
    """Archive everything with this ledger; returns what was asked of the source, and how much was found."""

    async def always(_name: str) -> Storage:
        await asyncio.sleep(0)
        return storage

    async with (
        FaultySource() as source,
        workshop(ledger, folder, source, stores=always, part_size=PART) as shop,
    ):
        recording, chat = everything(shop)
        await shop.hear(*recording)
        await shop.hear(chat)
        await shop.work()
        states = await shop.states()
        assert len(states) == 4
        assert set(states.values()) == {"archived"}, await shop.ledger.rows("copies")
        asked = [name for name in source._recordings if source[name].requests]
        found = sum(shop.metrics.artifacts.labels(ONLY, kind, "found")._value.get() for kind in Kind)
        return asked, found


@pytest.fixture
def ledgers(_migrated_sqlite: Path, tmp_path: Path) -> list[Path]:
    """Two that know nothing."""
    return [Path(shutil.copy(_migrated_sqlite, tmp_path / f"ledger-{number}.db")) for number in (1, 2)]


async def test_what_is_archived_is_found_again_by_a_new_ledger(
    place: Place, ledgers: list[Path], tmp_path: Path
) -> None:
    async with place.open() as storage:
        asked, found = await archived(ledgers[0], tmp_path, storage)
        assert (len(asked), found) == (4, 0)
        objects = place.objects()
        texts = {key: await read(storage, key) for key in objects if key.endswith(".json")}
        assert len(texts) == 2

    async with place.open() as storage:
        asked, found = await archived(ledgers[1], tmp_path, storage)

        assert (asked, found) == ([], 4)
        assert place.objects() == objects
        assert {key: await read(storage, key) for key in texts} == texts
        assert place.sessions() == 0
