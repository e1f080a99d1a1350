"""Proves on a real store that another path than the configured one is followed, found again, and verified."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from service.model import Kind
from service.settings import Settings, load_settings
from service.storage import Storage, open_storage
from service.verify import verify
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource
from tests.unit.workshop import Workshop, workshop


@pytest.fixture
def ledger(_migrated_sqlite: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(_migrated_sqlite, tmp_path / "ledger.db"))


@asynccontextmanager
async def process(settings: Settings, ledger: Path, source: FaultySource) -> AsyncIterator[Workshop]:
    """One process, whose storages are what the settings say."""
    opened: list[Storage] = []

    async def stores(name: str) -> Storage:
        config = settings.routing.config(name)
        assert config is not None
        opened.append(await open_storage(config))
        return opened[-1]

    options = {"routing": settings.routing, "from_provider": True, "stores": stores}
    try:
        async with workshop(ledger, ledger.parent, source, **options) as shop:  # type: ignore[arg-type]
            yield shop
    finally:
        for storage in opened:
            await storage.close()


async def test_another_path_is_followed_found_again_and_verified(
    seaweedfs: SeaweedFS, ledger: Path, tmp_path: Path
) -> None:
    bucket = seaweedfs.bucket()
    configured = seaweedfs.storage_config(bucket) | {"path": "recordings"}
    settings = load_settings(
        {},
        database_url=f"sqlite:///{ledger}",
        storage_config=json.dumps(configured),
        storage_from_provider=True,
    )
    told = json.dumps({"type": configured["type"], "bucket": bucket, "path": "/calls/2026/"})
    async with FaultySource() as source:
        async with process(settings, ledger, source) as shop:
            await shop.hear(shop.file(Kind.VIDEO), storage_config=told)
            await shop.work()
        async with process(settings, ledger, source) as shop:
            await shop.hear(shop.file(Kind.AUDIO, name="call.mp3"))
            await shop.work()
            assert set((await shop.states()).values()) == {"archived"}
            assert await shop.ledger.view.manifests() == [("default//calls/2026", "call.mp4.json")]

        assert seaweedfs.objects(bucket).keys() == {
            f"calls/2026/{name}" for name in ("call.mp4", "call.mp3", "call.mp4.json")
        }
        assert seaweedfs.read(bucket, "calls/2026/call.mp4") == source["one-video"].content.read()

    console = Console(file=StringIO(), width=200)
    assert await verify(settings, [], console) == 0
    assert await verify(settings, ["call.mp4.json"], console, storage_name="default//calls/2026") == 0
    assert console.file.getvalue().count("2 of 2 files are whole") == 2  # type: ignore[attr-defined]
    await asyncio.sleep(0)
