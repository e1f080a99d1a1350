"""The connection to the ledger's database: one place for its quirks, its migrations and its errors."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from alembic.command import upgrade
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, event, exc, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.errors import LedgerUnavailable, LedgerUnfit

_MIGRATION_LOCK = 0x64797465  # any number, the same in every version
_BUSY_TIMEOUT_MS = 2000


class Database:
    """An open database. Every transaction translates its errors to :class:`LedgerUnavailable`.

    On SQLite a transaction that writes takes the write lock at once (``BEGIN IMMEDIATE``; a later upgrade of
    a read lock can fail without waiting), and the writers of one process queue here instead of polling there.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        """``url`` is ``sqlite:///file`` or ``postgresql://...``. No connection is opened yet.

        ``create``: whether a missing SQLite file is made; else it raises :class:`LedgerUnavailable`.
        """
        self._engine = _engine(url, create=create)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._writing = asyncio.Lock() if self.is_sqlite else contextlib.nullcontext()

    @property
    def insert(self) -> Any:
        """The dialect's ``insert`` construct, which knows ``on_conflict_do_update``."""
        return sqlite.insert if self.is_sqlite else postgresql.insert

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; committed at the end, rolled back on any error or cancellation."""
        async with self._writing:
            with translated():
                async with self._engine.begin() as connection:
                    yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        with translated():
            async with self._engine.connect() as connection:
                yield await connection.execution_options(read_only=True)

    async def migrate(self) -> None:
        """Bring the schema up to this version; one process at a time does it, the others wait.

        Raises :class:`LedgerUnfit` if the schema is not one that this version knows.
        """
        async with self.write() as connection:
            if not self.is_sqlite:  # on SQLite the write lock is already held
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(_migrate)

    async def check(self) -> None:
        """Return if the ledger answers and holds its tables.

        Raises :class:`LedgerUnavailable` or :class:`LedgerUnfit`.
        """
        async with self.read() as connection:
            if not await connection.run_sync(lambda sync: inspect(sync).has_table("artifacts")):
                raise LedgerUnfit("it holds no ledger yet", mend="start the service on it once")

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@contextlib.contextmanager
def translated() -> Any:
    """Turn the driver's failures into the ledger's families; wrong statements stay what they are."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError, OSError) as error:
        raise LedgerUnavailable(_brief(error)) from error
    except exc.DBAPIError as error:
        if type(error) is exc.DatabaseError:  # SQLite's word for a file that is damaged or none of its own
            raise LedgerUnfit(_brief(error), mend="restore the file, or move it away") from error
        if not error.connection_invalidated:
            raise
        raise LedgerUnavailable(_brief(error)) from error


def _brief(error: Exception) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def _engine(text_url: str, *, create: bool) -> AsyncEngine:
    url = make_url(text_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, create=create)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return create_async_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        pool_timeout=2,
        connect_args={"connect_timeout": 3},
    )


def _sqlite_engine(url: URL, *, create: bool) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        path = Path(url.database)
        if not create and not path.exists():
            raise LedgerUnavailable(f"there is no file {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Signed links lie in it: for the owner's eyes only.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": 2})

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to the listener below
        cursor = connection.cursor()
        # The time-out comes first: switching to WAL needs a lock that another process may hold.
        for pragma in (
            f"busy_timeout={_BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"
        ):  # fmt: skip
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "service:ledger/migrations")
    config.attributes["connection"] = connection
    try:
        upgrade(config, "head")
    except CommandError as error:
        raise LedgerUnfit(
            "it was made by a version that this one does not know", mend="run that version or a later one"
        ) from error
