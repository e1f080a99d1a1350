"""Proves that what was forgotten still lies safe in its storage, and is found and verified there."""

import json
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from service.model import ONLY, Kind
from service.verify import verify
from tests.contract.test_ledger_pruning import long_ago, pruned
from tests.doubles.source import FaultySource
from tests.unit.conftest import empty_ledger
from tests.unit.environment import loading
from tests.unit.lives import Lives
from tests.unit.workshop import Workshop

__all__ = ["empty_ledger"]


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
async def shop(
    empty_ledger: Path,
    tmp_path: Path,
    source: FaultySource,
) -> AsyncIterator[Workshop]:
    """A process that has archived a recording long ago, and forgotten its files."""
    async with Lives(empty_ledger, tmp_path, source).another() as shop:
        await shop.hear(shop.file(Kind.VIDEO, id="old"), shop.file(Kind.AUDIO, id="old"))
        await shop.work()
        await long_ago(shop.ledger, "old")
        assert await pruned(shop.ledger) == 1
        assert await shop.keys() == {}
        yield shop


async def test_another_recording_s_file_of_the_same_name_gets_another(shop: Workshop) -> None:
    before = shop.main.files
    assert "call.mp4" in before

    await shop.hear(shop.file(Kind.VIDEO, id="new", size=500))
    await shop.work()

    assert await shop.states() == {"new/video": "archived"}
    assert await shop.keys() == {"new/video": "call-new.mp4"}
    after = shop.main.files
    assert {name: after[name] for name in before} == before
    assert after["call-new.mp4"] == shop.content(Kind.VIDEO, id="new")
    told = json.loads(after["call-new.mp4.json"])
    assert [entry["key"] for entry in told["artifacts"]] == ["call-new.mp4"]


async def test_news_of_it_moves_nothing(shop: Workshop) -> None:
    before, requests = shop.main.files, list(shop.main.requests)

    await shop.hear(shop.file(Kind.VIDEO, id="old", size=700), shop.file(Kind.AUDIO, id="old"))
    await shop.work()

    assert shop.main.files == before
    assert shop.main.requests == requests
    assert await shop.states() == {}


async def test_it_is_verified_as_before(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ledger,) = tmp_path.glob("ledger-*.db")
    storage = {"type": "local", "path": str(tmp_path / ONLY)}
    settings = loading(monkeypatch)(database_url=f"sqlite:///{ledger}", storage_config=json.dumps(storage))
    told = StringIO()

    assert await verify(settings, [], Console(file=told, width=200)) == 0

    assert "2 of 2 files are whole." in told.getvalue()
