"""The places of the storage contract and the ledgers of the ledger contract."""

import asyncio
import functools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import botocore.session
import pytest

from service.storage import Storage
from tests.contract.ledgers import Ledger, emptied, opened
from tests.contract.place_azure import AZURE_PLACES
from tests.contract.place_gcs import GCS_PLACES
from tests.contract.place_s3 import S3_PLACES
from tests.contract.place_sftp import SFTP_PLACES
from tests.contract.places import Place
from tests.doubles.postgres import Postgres

PLACES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Place]] = {
    "local": lambda _request, tmp_path: local_place(tmp_path / "archive"),
    **S3_PLACES,
    **AZURE_PLACES,
    **GCS_PLACES,
    **SFTP_PLACES,
}
"""Every type of storage on every server there is for it; a server that is not installed skips its tests."""


@pytest.fixture(scope="module", autouse=True)
def _spare_clients_what_they_need_not_read() -> Iterator[None]:
    """Every client reads megabytes of JSON and every authority's certificate: a tenth of a second each.

    Here they share one reading of the models, and none speaks TLS to anybody who has a certificate.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        patch.setattr("aiobotocore.httpsession.get_cert_path", lambda _verify: None)
        yield


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind in turn."""
    return PLACES[request.param](request, tmp_path)


@pytest.fixture
async def storage(place: Place) -> AsyncIterator[Storage]:
    """The storage of `place`."""
    async with place.open() as storage:
        yield storage


def local_place(root: Path) -> Place:
    """A folder that need not be there yet."""

    def files() -> dict[str, int]:
        every = [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in every}

    def is_part(name: str) -> bool:
        return name.endswith(".part")

    return Place(
        {"type": "local", "path": root},
        sessions=lambda: len([name for name in files() if is_part(name)]),
        objects=lambda: {name: size for name, size in files().items() if not is_part(name)},
    )


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an empty ledger, to be copied: migrating takes a tenth of a second."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _migrated_postgres(postgres: Postgres) -> str:
    url = postgres.create_database()
    asyncio.run(_migrate(url))
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind in turn, with nothing in it yet, not even tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty' / 'archiver.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger of each kind in turn; PostgreSQL's is shared, and emptied when `ledger` connects."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("_migrated_postgres"))
    shutil.copy(request.getfixturevalue("_migrated_sqlite"), tmp_path / "archiver.db")
    return f"sqlite:///{tmp_path / 'archiver.db'}"


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """A connection to the ledger at `ledger_url`, with nothing in its tables."""
    async with opened(ledger_url) as ledger:
        await emptied(ledger)
        yield ledger


async def _migrate(url: str) -> None:
    async with opened(url) as ledger:
        await ledger.database.migrate()
