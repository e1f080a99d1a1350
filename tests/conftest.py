"""What every kind of test may ask for: async tests, shared real servers, a sender, the shared folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.doubles.azurite import Azurite
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import GoogleFront
from tests.doubles.rclone_s3 import RcloneS3
from tests.doubles.sender import Sender
from tests.doubles.servers import Moto, Postgres, SeaweedFS
from tests.doubles.sftp_server import EXTENSIONS, RENAMES, SftpServerDouble
from tests.doubles.sshd import OpenSSH, RcloneSftp
from tests.doubles.threaded import threaded

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Run every `async def` test under the anyio plugin, without a marker on each."""
    config.option.anyio_mode = "auto"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio only, as the product. For the session, so that async fixtures of any scope may use it."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test may set logging up as the service does; the next one finds it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


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
def rclone_s3() -> Iterator[RcloneS3]:
    """One `rclone serve s3` for the session: a third opinion."""
    with RcloneS3() as server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One emulator of Azure Blob Storage for the session; ask it for a `container()` of your own."""
    with Azurite() as server:
        yield server


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """One server of Google's JSON API for the session; ask it for a `bucket()` of your own."""
    with FakeGcs() as server:
        yield server


@pytest.fixture(scope="session")
def google(fake_gcs: FakeGcs) -> Iterator[GoogleFront]:
    """What Google itself checks, before that server; a test that changes it takes one of its own."""
    with threaded(GoogleFront(fake_gcs.endpoint_url)) as front:
        yield front


@pytest.fixture(scope="session")
def openssh() -> Iterator[OpenSSH]:
    """One sshd for the session; use a folder of your own in it."""
    with OpenSSH() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_sftp() -> Iterator[RcloneSftp]:
    """One `rclone serve sftp` for the session: another opinion on what SFTP is."""
    with RcloneSftp() as server:
        yield server


@pytest.fixture(scope="session")
def bare_sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServerDouble]:
    """One SFTP server for the session that knows version 3 of the protocol and nothing beyond."""
    with threaded(SftpServerDouble(tmp_path_factory.mktemp("sftp"), lacks=EXTENSIONS)) as server:
        yield server


@pytest.fixture(scope="session")
def sftp_without_rename(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServerDouble]:
    """One for the session that cannot give a file another name either."""
    with threaded(SftpServerDouble(tmp_path_factory.mktemp("sftp"), lacks=EXTENSIONS | RENAMES)) as server:
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
