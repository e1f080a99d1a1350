"""The tables, and the database's own clock.

Moments are seconds since the Unix epoch as double precision (microseconds for centuries), so that SQLite and
PostgreSQL hold and compare the same values. Checksums are hexadecimal text: CRC-64 does not fit a signed
64-bit integer.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "fk": "%(table_name)s_%(column_0_name)s_fk",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
    }
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("received_at", Double, nullable=False),
    Column("app", Text),
    Column("provider", Text, nullable=False),
    Column("delivery_id", Text),
    Column("webhook_id", Text),
    Column("event_name", Text, nullable=False),
    Column("recording_id", Text),
    Column("status", Text),
    Column("outcome", Text, nullable=False),
    Index("deliveries_received", "received_at"),
    Index("deliveries_recording", "recording_id"),
)

# What artifacts belong to, and a manifest is of: a recording, or a session (`scope`).
recordings = Table(
    "recordings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_rank", Integer, nullable=False),
    Column("organization_id", Text),
    Column("meeting_id", Text),
    Column("session_id", Text),
    Column("title", Text),
    Column("output_file_name", Text),
    Column("file_size", BigInteger),
    Column("invoked_at", Double),
    Column("started_at", Double),
    Column("stopped_at", Double),
    Column("duration_s", Double),
    Column("stop_reason", Text),
    Column("storage_config", Text),
    Column("seen_at", Double, nullable=False),
    # When a link to a file was first told; NULL: never.
    Column("offered_at", Double),
    # When the provider's API is to be asked for what the news lacked; NULL: nothing is missing.
    Column("ask_at", Double),
    # When the rows of its files were pruned, which were all archived; NULL: they are there.
    Column("closed_at", Double),
    Index("recordings_status", "scope", "status", "seen_at"),
    Index("recordings_seen", "seen_at", "id"),
    Index("recordings_meeting", "meeting_id"),
    Index("recordings_session", "session_id"),
    Index(
        "recordings_unoffered",
        "scope",
        "status",
        "seen_at",
        sqlite_where=text("offered_at IS NULL"),
        postgresql_where=text("offered_at IS NULL"),
    ),
    Index(
        "recordings_ask",
        "ask_at",
        sqlite_where=text("ask_at IS NOT NULL"),
        postgresql_where=text("ask_at IS NOT NULL"),
    ),
)

# When each status of a recording was first heard of, in whatever order.
statuses = Table(
    "statuses",
    metadata,
    Column("recording_id", Text, ForeignKey("recordings.id"), primary_key=True),
    Column("status", Text, primary_key=True),
    Column("seen_at", Double, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("recording_id", Text, ForeignKey("recordings.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("track", Text),
    Column("state", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("announced_size", BigInteger),
    Column("seen_at", Double, nullable=False),
    # When a delivery last brought its link.
    Column("announced_at", Double),
    Column("expires_at", Double, nullable=False),
    # When it may be claimed; NULL: not by time (finished, or stored and waiting for its siblings); `PAUSED`:
    # not before somebody says so.
    Column("due_at", Double),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("epoch", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("mend", Text),
    # Settled when its first copy is begun, and the same for all.
    Column("part_size", BigInteger),
    Column("size", BigInteger),
    Column("source_etag", Text),
    Column("stored_at", Double),
    # Whose it is, among whom the work is shared out: app and organisation.
    Column("customer", Text, nullable=False, server_default=""),
    # When somebody gave it up; it ends as one that expired.
    Column("cancelled_at", Double),
    # When somebody asked for another link than this; NULL: it is good until it is refused.
    Column("renew_at", Double),
    Index("artifacts_recording", "recording_id"),
    Index("artifacts_stored", "stored_at"),
    Index(
        "artifacts_claim",
        "customer",
        "expires_at",
        "id",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "artifacts_held",
        "customer",
        "lease_until",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    Index(
        "artifacts_open",
        "state",
        "expires_at",
        sqlite_where=text("state <> 'archived'"),
        postgresql_where=text("state <> 'archived'"),
    ),
    Index(
        "artifacts_due",
        "expires_at",
        "id",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

copies = Table(
    "copies",
    metadata,
    Column("artifact_id", Text, ForeignKey("artifacts.id"), primary_key=True),
    Column("storage", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("mend", Text),
    Column("key", Text),
    Column("upload_id", Text),
    Column("part_size", BigInteger),
    Column("size", BigInteger),
    Column("etag", Text),
    Column("content_type", Text),
    Column("crc64nvme", Text),
    Column("crc32c", Text),
    Column("stored_at", Double),
    # When it is to be read back and compared, when that was last done, and what was wrong with it then.
    Column("verify_at", Double),
    Column("verified_at", Double),
    Column("fault", Text),
    UniqueConstraint("storage", "key"),
    Index(
        "copies_verify",
        "verify_at",
        sqlite_where=text("verify_at IS NOT NULL"),
        postgresql_where=text("verify_at IS NOT NULL"),
    ),
)

parts = Table(
    "parts",
    metadata,
    Column("artifact_id", Text, primary_key=True),
    Column("storage", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("crc64nvme", Text, nullable=False),
    Column("crc32c", Text, nullable=False),
    Column("receipt", Text, nullable=False),
    ForeignKeyConstraint(["artifact_id", "storage"], ["copies.artifact_id", "copies.storage"]),
)

manifests = Table(
    "manifests",
    metadata,
    Column("recording_id", Text, ForeignKey("recordings.id"), primary_key=True),
    Column("storage", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("written_at", Double, nullable=False),
)

# What went wrong with a file, once for each thing; with the source where `storage` is empty.
failures = Table(
    "failures",
    metadata,
    Column("artifact_id", Text, primary_key=True),
    Column("storage", Text, primary_key=True),
    Column("error", Text, primary_key=True),
    Column("mend", Text),
    Column("owner", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
)

# What people had done, and who.
audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("recording_id", Text, nullable=False),
    Column("artifact_id", Text),
    Index("audit_recording", "recording_id"),
)

# What the customer's own system is told; `due_at` is NULL once it has taken it, or nobody tells it any more.
notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("recording_id", Text, nullable=False),
    # Which file it is of, if it is of one alone.
    Column("artifact_id", Text),
    Column("body", Text, nullable=False),
    Column("made_at", Double, nullable=False),
    Column("due_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("taken_at", Double),
    Index("notices_recording", "recording_id"),
    Index("notices_made", "made_at"),
    Index(
        "notices_due",
        "type",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

PAUSED = 253402300799.0
"""Far beyond every time: an artifact that is due then is claimed by nobody, also by an older version."""

# What one process at a time does now and then.
duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("due_at", Double, nullable=False),
    Column("done_at", Double),
    Column("error", Text),
)


class now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock, in seconds since the epoch: one clock for all pods, however theirs are set."""

    name = "now"
    type = Double()
    inherit_cache = True  # statements with it are compiled once


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


class _moment(FunctionElement[float]):  # noqa: N801 - likewise
    name = "moment"
    type = Double()
    inherit_cache = True


@compiles(_moment, "sqlite")
def _moment_sqlite(element: _moment, compiler: Any, **options: Any) -> str:
    return "(SELECT (julianday('now') - 2440587.5) * 86400.0)"


@compiles(_moment, "postgresql")
def _moment_postgresql(element: _moment, compiler: Any, **options: Any) -> str:
    return "CAST(extract(epoch FROM statement_timestamp()) AS DOUBLE PRECISION)"


MOMENT = _moment()
"""The same, read once a statement: so a condition with it may bound a scan of an index.

The planner of PostgreSQL also sees how much that leaves, and does not read a whole table instead.
"""
