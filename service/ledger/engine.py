"""Both databases' engines with their quirks, and their failures in the ledger's families."""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url

from service.errors import LedgerRefused, LedgerUnavailable, LedgerUnfit, add

POOL = 8
"""Connections to PostgreSQL at the same time."""

_BUSY_TIMEOUT_MS = 2000
_IN_TRANSACTION = text(
    # For the one transaction: a pooler between may give the session to somebody else after it.
    "SELECT set_config('idle_in_transaction_session_timeout', '10s', true),"
    " set_config('lock_timeout', '10s', true), set_config('statement_timeout', '30s', true),"
    # What is acknowledged outlives a crash of the server, whatever its default is.
    " set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
).text
_REFUSED = re.compile(
    # Before a session there is no SQLSTATE to go by, only PostgreSQL's and pgbouncer's words. In another
    # language they are not known: then the refusal counts as an outage.
    r"authentication failed|auth(entication)? failed|no password supplied|no pg_hba\.conf entry"
    r'|database "[^"]*" does not exist|role "[^"]*" does not exist|is not permitted to log in'
    r"|no such (database|user)",
    re.IGNORECASE,
)


def open_engine(url: str, *, create: bool, taken: Callable[[Any], None]) -> Engine:
    """The engine for ``url``; ``create``: whether a missing SQLite file is made.

    ``taken`` is called in the transaction's thread with the driver's connection to PostgreSQL that it gets,
    before and after the first statement; what it raises ends the transaction.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, create=create)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return _postgresql_engine(parsed, taken)


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database, if it has one."""
    is_file = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return Path(url.database or "") if is_file else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's failures into the ledger's families; wrong statements stay what they are."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError, OSError) as error:
        told = _brief(error)
        if isinstance(error, exc.OperationalError) and _is_refusal(error.orig):
            raise LedgerRefused(told, mend="set ARCHIVER_DATABASE_URL, or let its user in") from error
        raise LedgerUnavailable(told) from error
    except exc.DBAPIError as error:
        if type(error) is exc.DatabaseError:  # SQLite's word for a file that is damaged or none of its own
            raise LedgerUnfit(_brief(error), mend="restore the file, or move it away") from error
        if not error.connection_invalidated:
            raise
        raise LedgerUnavailable(_brief(error)) from error


def _brief(error: Exception) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def _is_refusal(error: BaseException | None) -> bool:
    # What has a SQLSTATE came in a session: that was let in.
    return getattr(error, "sqlstate", "") is None and _REFUSED.search(str(error)) is not None


def _postgresql_engine(url: URL, taken: Callable[[Any], None]) -> Engine:
    if find_spec("psycopg") is None:
        raise LedgerUnavailable("PostgreSQL needs the package psycopg", mend=add("postgresql"))
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
    engine = create_engine(
        url, pool_size=POOL, max_overflow=0, pool_timeout=2, connect_args=options, hide_parameters=True
    )

    @event.listens_for(engine, "connect", insert=True)  # before SQLAlchemy asks the server what it is
    def _connected(connection: Any, _record: Any) -> None:
        taken(connection)

    @event.listens_for(engine, "checkout")
    def _prepare(connection: Any, record: Any, _proxy: Any) -> None:
        """Begin the transaction; if the connection has died in the pool, a new one is made."""
        taken(connection)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_IN_TRANSACTION)
        except psycopg.Error as error:
            taken(connection)  # raises if nobody waits for it any more
            if record.info.get("has_served"):
                # So have the others, in all likelihood.
                raise exc.InvalidatePoolError from error
            raise LedgerUnavailable(_brief(error)) from error  # a new one is no better
        record.info["has_served"] = True

    @event.listens_for(engine, "handle_error")
    def _lead_elsewhere(context: Any) -> None:
        """After a failover the old connections may still lead to what is a standby now."""
        if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
            context.is_disconnect = True

    return engine


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    path = file_of(url)
    if path is not None:
        if not create and not path.exists():
            raise LedgerUnavailable(f"there is no file {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Signed links lie in it: for the owner's eyes only.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": 2}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to the listener below
        cursor = connection.cursor()
        # The time-out comes first: switching to WAL needs a lock that another process may hold.
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        # Ids are random, so that a commit touches pages all over: each is written to its place less often.
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA cache_size=-8000")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
        # SQLite's own knows the case of English letters alone.
        connection.create_function("lower", 1, _lower, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


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
