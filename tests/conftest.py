"""What every kind of test may ask for: async tests, shared real servers, a sender, the shared folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.sender import Sender
from tests.doubles.servers import Moto, Postgres, SeaweedFS


def pytest_configure(config: pytest.Config) -> None:
    """Run every `async def` test under the anyio plugin, without a marker on each."""
    config.option.anyio_mode = "auto"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio only, as the product. For the session, so that async fixtures of any scope may use it."""
    return "asyncio"


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """One real S3 server for the session; ask it for a `bucket()` of your own."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """One imitated S3 server for the session: another opinion on what S3 answers, and quick to start."""
    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One real PostgreSQL for the session."""
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database that this test has to itself."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def sender() -> Sender:
    """A provider with one key pair for the session: making one takes a tenth of a second."""
    return Sender()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of agreed facts beside the repository; the test is skipped where it is not there."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("there is no folder `shared` beside the repository: the documented payloads are there")
    return folder
