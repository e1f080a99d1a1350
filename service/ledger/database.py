"""The connection to the ledger's database: one place for its quirks, its migrations and its errors."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from service.errors import LedgerUnavailable, LedgerUnfit

SCHEMA = "2"
"""The newest migration of this version."""

_MIGRATION_LOCK = 0x64797465  # any number, the same in every version
_BUSY_TIMEOUT_MS = 2000
_POOL = 8
_T = TypeVar("_T")


class Database:
    """An open database. A transaction is a plain function of a connection, run in a thread from begin to end.

    So a transaction costs the event loop one round trip, not one for every statement, however busy the loop
    is with parts. SQLite has one thread that writes, in which the transactions queue, and one that reads;
    PostgreSQL a small pool. If the caller is cancelled, what was begun still commits or fails as a whole.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        """``url`` is ``sqlite:///file`` or ``postgresql://...``. No connection is opened yet.

        ``create``: whether a missing SQLite file is made; else it raises :class:`LedgerUnavailable`.
        """
        with translated():
            self._engine = _engine(url, create=create)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else _POOL, "ledger")
        self._readers = ThreadPoolExecutor(1, "ledger-read") if self.is_sqlite else self._writers

    @property
    def insert(self) -> Any:
        """The dialect's ``insert`` construct, which knows ``on_conflict_do_update``."""
        return sqlite.insert if self.is_sqlite else postgresql.insert

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` in a transaction that may write: committed if it returns, rolled back if it raises.

        Raises :class:`LedgerUnavailable` for the database's failures, and whatever ``work`` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._written, work)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` in a transaction that only reads. Raises as :meth:`write` does."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def migrate(self) -> None:
        """Bring the schema up to this version; one process at a time does it, the others wait.

        Raises :class:`LedgerUnfit` if the schema is not one that this version knows.
        """
        await self.write(_migrate)

    async def check(self) -> None:
        """Return if the ledger answers and holds its tables.

        Raises :class:`LedgerUnavailable` or :class:`LedgerUnfit`.
        """
        # The youngest table: a database that lacks it is empty, or of a version before.
        if not await self.read(lambda connection: inspect(connection).has_table("duties")):
            raise LedgerUnfit("it holds no ledger of this version", mend="start the service on it once")

    async def close(self) -> None:
        """Close every connection, after what is under way."""
        for threads in (self._writers, self._readers):
            await asyncio.to_thread(threads.shutdown)
        self._engine.dispose()

    def _written(self, work: Callable[[Connection], _T]) -> _T:
        with translated(), self._engine.begin() as connection:
            return work(connection)

    def _read(self, work: Callable[[Connection], _T]) -> _T:
        with translated(), self._engine.connect() as connection:
            return work(connection.execution_options(read_only=True))


@contextlib.contextmanager
def translated() -> Iterator[None]:
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


def _engine(text_url: str, *, create: bool) -> Engine:
    url = make_url(text_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, create=create)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if find_spec("psycopg") is None:
        raise LedgerUnavailable(
            "PostgreSQL needs the package psycopg", mend="pip install 'dyte-archiver[postgresql]'"
        )
    # A server that went away without a word is noticed within seconds, not when TCP gives up.
    patience = {
        "connect_timeout": 3,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return create_engine(
        url, pool_pre_ping=True, pool_size=_POOL, max_overflow=0, pool_timeout=2, connect_args=patience
    )


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    if url.database and url.database != ":memory:":
        path = Path(url.database)
        if not create and not path.exists():
            raise LedgerUnavailable(f"there is no file {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Signed links lie in it: for the owner's eyes only.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": 2})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to the listener below
        cursor = connection.cursor()
        # The time-out comes first: switching to WAL needs a lock that another process may hold.
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _switch_to_wal(cursor: Any) -> None:
    # Of two that switch a new file at once, each may hold what the other waits for: there SQLite refuses one
    # on the spot, whatever the time-out (https://www.sqlite.org/c3ref/busy_handler.html).
    patience_until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience_until:
                raise
            time.sleep(0.01)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":  # there the write lock is already held
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    found = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(select(text("version_num")).select_from(text("alembic_version"))).scalar()
        if found == SCHEMA:
            return
    # Only now: a process that has nothing to migrate is 10 MiB smaller without Alembic.
    from alembic.command import upgrade
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "service:ledger/migrations")
    config.attributes["connection"] = connection
    try:
        upgrade(config, "head")
    except CommandError as error:
        raise LedgerUnfit(
            f"it was made by a version that this one does not know: its schema is {found!r}, not {SCHEMA!r}",
            mend="run that version or a later one, or let this one begin a new ledger in another database",
        ) from error
