"""What the unit tests share, so that none waits for what all need: a migrated ledger, a server."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.ledger import Database
from tests.contract.ledgers import Ledger, opened
from tests.unit.admin_port import fill
from tests.unit.environment import Load, loading
from tests.unit.public_port import Stage


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, closed; for copying only."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"

    async def migrate() -> None:
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
def ledger(empty_ledger: Path, tmp_path: Path) -> Path:
    """A migrated, empty SQLite file that this test has to itself."""
    return Path(shutil.copy(empty_ledger, tmp_path / "ledger.db"))


@pytest.fixture(scope="session")
def filled_ledger(empty_ledger: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with recordings that stand in several ways, closed; for copying only."""
    path = Path(shutil.copy(empty_ledger, tmp_path_factory.mktemp("ledger") / "filled.db"))
    asyncio.run(fill(path))
    return path


@pytest.fixture
async def full(filled_ledger: Path, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger with recordings that stand in several ways, that this test has to itself."""
    path = shutil.copy(filled_ledger, tmp_path / "full.db")
    async with opened(f"sqlite:///{path}") as ledger:
        yield ledger


@pytest.fixture(scope="session")
async def stage() -> AsyncIterator[Stage]:
    """The service's own server, listening; it waits a fifth of a second when it stops."""
    async with Stage().open() as stage:
        yield stage


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads settings from exactly the variables given, `port="80"` being `ARCHIVER_PORT`."""
    return loading(monkeypatch)
