"""The connection to the ledger's database: one place for its quirks, its migrations and its errors."""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from service.errors import LedgerUnavailable, LedgerUnfit

SCHEMA = "3"
"""The newest migration of this version."""

_MIGRATION_LOCK = 0x64797465  # any number, the same in every version
_BUSY_TIMEOUT_MS = 2000
_POOL = 8
_WITHIN_S = 15.0
"""A transaction that takes longer counts as failed: its database may be frozen, or cut off without a word."""
_IN_TRANSACTION = text(
    # For the one transaction: a pooler between may give the session to somebody else after it.
    "SELECT set_config('idle_in_transaction_session_timeout', '10s', true),"
    " set_config('lock_timeout', '10s', true), set_config('statement_timeout', '30s', true),"
    # What is acknowledged outlives a crash of the server, whatever its default is.
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
).text
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
        self._file = _file_of(self._engine.url)
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else _POOL, "ledger")
        self._readers = ThreadPoolExecutor(1, "ledger-read") if self.is_sqlite else self._writers

    @property
    def insert(self) -> Any:
        """The dialect's ``insert`` construct, which knows ``on_conflict_do_update``."""
        return sqlite.insert if self.is_sqlite else postgresql.insert

    async def write(self, work: Callable[[Connection], _T], *, within_s: float | None = _WITHIN_S) -> _T:
        """Run ``work`` in a transaction that may write: committed if it returns, rolled back if it raises.

        Raises :class:`LedgerUnavailable` for the database's failures, and whatever ``work`` raises. What has
        not ended ``within_s`` seconds has failed too, but may still be committed.
        """
        return await _ended(self._writers, partial(self._written, work), within_s)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` in a transaction that only reads. Raises as :meth:`write` does."""
        return await _ended(self._readers, partial(self._read, work), _WITHIN_S)

    async def migrate(self) -> None:
        """Bring the schema up to this version; one process at a time does it, the others wait.

        Raises :class:`LedgerUnfit` if the schema is not one that this version knows.
        """
        await self.write(_migrate, within_s=None)

    async def check(self) -> None:
        """Return if the ledger answers and holds its tables.

        Raises :class:`LedgerUnavailable` or :class:`LedgerUnfit`.
        """
        # The rest came with it, or before.
        if not await self.read(_has_all):
            raise LedgerUnfit("it holds no ledger of this version", mend="start the service on it once")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the one process that serves this SQLite file, until the block ends; PostgreSQL has any number.

        Raises :class:`LedgerUnavailable` if another one is. Commands may use the file beside it.
        """
        if self._file is None:
            yield
            return
        # A file of its own, since SQLite's locks do not go together with others on its own file. It is
        # let go with the process, however that ends.
        lock = os.open(f"{self._file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LedgerUnavailable(
                    f"another process serves {self._file} already, and a SQLite file is one process's",
                    mend="end that one first, or let several share a PostgreSQL",
                ) from error
            yield
        finally:
            os.close(lock)

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


async def _ended(threads: ThreadPoolExecutor, work: Callable[[], _T], within_s: float | None) -> _T:
    try:
        async with asyncio.timeout(within_s):
            return await asyncio.get_running_loop().run_in_executor(threads, work)
    except TimeoutError as error:
        raise LedgerUnavailable(f"it did not answer within {within_s:g} s") from error


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
    import psycopg

    # A server that went away without a word is noticed within seconds, not when TCP gives up.
    options: dict[str, Any] = {
        "connect_timeout": 3,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    # No statement is prepared in a session: a pooler between may give each transaction another one.
    options["prepare_threshold"] = None
    engine = create_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=2, connect_args=options)

    @event.listens_for(engine, "checkout")
    def _prepare(connection: Any, _record: Any, _proxy: Any) -> None:
        """Begin the transaction; if the connection has died in the pool, another one is taken."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(_IN_TRANSACTION)
        except psycopg.Error as error:
            raise exc.DisconnectionError from error

    return engine


def _file_of(url: URL) -> Path | None:
    is_file = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return Path(url.database or "") if is_file else None


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    path = _file_of(url)
    if path is not None:
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


def _has_all(connection: Connection) -> bool:
    look = inspect(connection)
    return look.has_table("artifacts") and any(
        column["name"] == "customer" for column in look.get_columns("artifacts")
    )


def _migrate(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":  # there the write lock is already held
        for patience in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {patience} = 0"))  # it may take as long as it takes
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
