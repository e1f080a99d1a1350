"""Proves on every storage that a file is not taken for another that a former claim stored under its name."""

import asyncio
import shutil
from pathlib import Path

import pytest

from service.manifest import parse
from service.model import Kind
from service.storage import Storage
from tests.contract.places import PART, File, Place, read
from tests.doubles.source import FaultySource
from tests.unit.workshop import workshop


@pytest.fixture
def ledger(_migrated_sqlite: Path, tmp_path: Path) -> Path:
    """One that knows nothing."""
    return Path(shutil.copy(_migrated_sqlite, tmp_path / "ledger.db"))


@pytest.mark.parametrize("size", [1000, PART + 1], ids=["at once", "in parts"])
async def test_a_file_that_is_another_than_a_former_claim_stored_is_archived_beside_it_or_over_it(
    place: Place, ledger: Path, tmp_path: Path, size: int
) -> None:
    async with place.open() as storage, FaultySource() as source:

        async def always(_name: str) -> Storage:
            await asyncio.sleep(0)
            return storage

        # Of the same size, so that nothing but the content tells.
        former = File(size, key="call.mp4", artifact_id="one/video", seed=77)
        if size > PART:
            await former.store(storage)
        else:
            await former.put(storage)
        async with workshop(ledger, tmp_path, source, stores=always, part_size=PART) as shop:
            await shop.hear(shop.file(Kind.VIDEO, size=size))
            for _ in range(3):
                await shop.work()
                await shop.due_now()

            assert await shop.states() == {"one/video": "archived"}, await shop.ledger.rows("copies")
            key = (await shop.keys())["one/video"]
            content = shop.content(Kind.VIDEO)
        assert await read(storage, key) == content
        manifests = [name for name in place.objects() if name.endswith(".json")]
        (entry,) = parse(await read(storage, manifests[0])).entries
        assert (entry.key, entry.size) == (key, size)
        assert entry.checksum.crc64nvme == File(size, seed=list(Kind).index(Kind.VIDEO)).checksum.crc64nvme
        if size > PART:  # rclone knows of no sessions before the first
            assert place.sessions() == 0
