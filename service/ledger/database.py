"""The connection to the ledger's database: its transactions, who may serve it, and its migrations."""

import asyncio
import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, exc, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import LedgerUnavailable, LedgerUnfit
from service.ledger.engine import POOL, file_of, open_engine, translated

SCHEMA = "4"
"""The newest migration of this version."""

_MIGRATION_LOCK = 0x64797465  # any number, the same in every version
_WITHIN_S = 15.0
"""A transaction that takes longer counts as failed: its database may be frozen, or cut off without a word."""
_READY_S = 0.9
"""Who asks whether the ledger is ready wants to know it now."""
_PAUSE_S = 1.0
_CLOSE_S = 3.0
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
        self._turns: dict[int, _Turn] = {}
        with translated():
            self._engine = open_engine(url, create=create, taken=self._taken)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        self._file = file_of(self._engine.url)
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else POOL, "ledger")
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
        return await self._ended(self._writers, partial(self._written, work), within_s)

    async def write_patiently(self, work: Callable[[Connection], _T], *, for_s: float) -> _T:
        """As :meth:`write`, tried again for ``for_s`` seconds while the database is away.

        What was committed and cut off from its answer runs twice: it has to come to the same.
        """
        until = time.monotonic() + for_s
        while True:
            try:
                return await self.write(work)
            except LedgerUnavailable:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def read(self, work: Callable[[Connection], _T], *, within_s: float = _WITHIN_S) -> _T:
        """Run ``work`` in a transaction that only reads. Raises as :meth:`write` does."""
        return await self._ended(self._readers, partial(self._read, work), within_s)

    async def migrate(self) -> None:
        """Bring the schema up to this version; one process at a time does it, the others wait.

        Raises :class:`LedgerUnavailable`, or :class:`LedgerUnfit` if the schema is not one that this version
        knows, or cannot be made.
        """
        await self.read(lambda _connection: None)  # it may take its time, but has to answer
        try:
            await self.write(_migrate, within_s=None)
        except exc.ProgrammingError as error:
            raise LedgerUnfit(
                str(error.orig).partition("\n")[0],
                mend="let the database's user make tables in its schema",
            ) from error

    async def check(self) -> None:
        """Return if the ledger answers and holds its tables.

        Raises :class:`LedgerUnavailable` or :class:`LedgerUnfit`.
        """
        # The rest came with it, or before.
        if not await self.read(_has_all):
            raise _no_ledger()

    async def check_ready(self) -> None:
        """As :meth:`check`, and soon; also raises :class:`LedgerUnavailable` if nothing can be written."""

        def look(connection: Connection) -> bool:
            if connection.dialect.name != "sqlite":
                mode = connection.execute(text("SELECT current_setting('transaction_read_only')")).scalar()
                if mode == "on":
                    raise LedgerUnavailable("it can only be read: a standby, or one that was failed over")
            return _has_all(connection)

        if not await self.read(look, within_s=_READY_S):
            raise _no_ledger()

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
        """Close every connection, after what is under way, but not after what no server answers."""
        pools = (self._writers, self._readers)
        ending = [asyncio.ensure_future(asyncio.to_thread(pool.shutdown)) for pool in pools]
        await asyncio.wait(ending, timeout=_CLOSE_S)
        for turn in list(self._turns.values()):
            turn.cut()
        await asyncio.gather(*ending)
        self._engine.dispose()

    def _written(self, work: Callable[[Connection], _T]) -> _T:
        with translated(), self._engine.begin() as connection:
            return work(connection)

    def _read(self, work: Callable[[Connection], _T]) -> _T:
        with translated(), self._engine.connect() as connection:
            return work(connection.execution_options(read_only=True))

    async def _ended(self, threads: ThreadPoolExecutor, work: Callable[[], _T], within_s: float | None) -> _T:
        turn = _Turn()

        def run() -> _T:
            thread = threading.get_ident()
            self._turns[thread] = turn
            try:
                return work()
            finally:
                del self._turns[thread]
                turn.end()

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                return await loop.run_in_executor(threads, run)
        except TimeoutError as error:
            loop.call_later(max(0.0, _WITHIN_S - (within_s or 0.0)), turn.cut)
            raise LedgerUnavailable(f"it did not answer within {within_s:g} s") from error
        except asyncio.CancelledError:
            loop.call_later(_WITHIN_S, turn.cut)
            raise

    def _taken(self, connection: Any) -> None:
        # Nobody's: SQLAlchemy looks at a new server by itself.
        turn = self._turns.get(threading.get_ident())
        if turn is not None:
            turn.takes(connection)


class _Turn:
    """One transaction in its thread, for those outside: a server that is silent would hold it for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._is_cut = False

    def takes(self, connection: Any) -> None:
        """From now on it is on this connection of the driver's."""
        with self._lock:
            if self._is_cut:
                raise LedgerUnavailable("it did not answer in time")
            self._connection = connection

    def cut(self) -> None:
        """Have it fail if it has not ended: whoever waits for the server sees a lost connection."""
        with self._lock:
            self._is_cut = True
            if self._connection is None:
                return
            with contextlib.suppress(Exception):  # it was lost by itself just now
                line = socket.socket(fileno=os.dup(self._connection.fileno()))
                with line:
                    line.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """It has ended; its connection may be another's by now."""
        with self._lock:
            self._connection = None


def _no_ledger() -> LedgerUnfit:
    return LedgerUnfit("it holds no ledger of this version", mend="start the service on it once")


def _has_all(connection: Connection) -> bool:
    look = inspect(connection)
    return look.has_table("artifacts") and any(
        column["name"] == "cancelled_at" for column in look.get_columns("artifacts")
    )


def _is_later(revision: str | None) -> bool:
    """Whether a later version made it, which only added: :mod:`service.ledger.migrations`."""
    return revision is not None and revision.isdecimal() and int(revision) > int(SCHEMA)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":  # there the write lock is already held
        for patience in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {patience} = 0"))  # it may take as long as it takes
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    found = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(select(text("version_num")).select_from(text("alembic_version"))).scalar()
        if found == SCHEMA or (_is_later(found) and _has_all(connection)):
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
