"""What the ledger shows of all that there is: each function is one look in a transaction that only reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from service.artifacts import RETENTION_S
from service.ledger import tables
from service.ledger.tables import MOMENT, PAUSED, artifacts, copies, now, parts, recordings
from service.model import STATUS_RANK, Kind, Scope, State

DAY_S = 24 * 3600.0

NOT_OFFERED = "NOT OFFERED"
"""What a recording is called whose file the provider gave to the customer's own storage alone."""


@dataclass(frozen=True, slots=True)
class Line:
    """One copy of an artifact as ``status`` shows it; times in seconds from the database's now.

    An artifact that is not routed yet is one line, with ``storage`` None.
    """

    artifact_id: str
    storage: str | None
    kind: Kind
    state: State
    name: str
    title: str | None
    key: str | None
    size: int | None
    moved: int
    attempts: int
    error: str | None
    mend: str | None
    due_in_s: float | None
    expires_in_s: float
    is_paused: bool = False
    is_cancelled: bool = False
    crc64nvme: str | None = None
    crc32c: str | None = None
    stored_at: float | None = None
    verify_at: float | None = None
    verified_at: float | None = None
    fault: str | None = None
    recording_id: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An artifact that is stored nowhere yet, and the time that the provider leaves it."""

    artifact_id: str
    app: str
    expires_in_s: float
    error: str | None
    recording_id: str = ""
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A recording of which there is no file to archive, and since when that is known."""

    recording_id: str
    app: str
    title: str | None
    reason: str | None
    seen_s_ago: float


@dataclass(frozen=True, slots=True)
class Overview:
    """The ledger at one moment; each field is what the function of its name gives."""

    counts: dict[State, int]
    lines: list[Line]
    statuses: dict[str, int]
    lost: list[Lost]
    deadlines: list[Deadline]


def overview(
    connection: Connection, *, limit: int, lost_limit: int, within_s: float, near_limit: int
) -> Overview:
    """All of it: ``limit`` lines, the ``near_limit`` deadlines that come ``within_s``."""
    return Overview(
        counts(connection),
        lines(connection, limit=limit),
        statuses(connection),
        lost(connection, limit=lost_limit),
        deadlines(connection, within_s=within_s, limit=near_limit),
    )


def lines(connection: Connection, *, limit: int) -> list[Line]:
    """The open artifacts, soonest expiry first, then the newest finished ones; ``limit`` of each."""
    given = {"most": limit}
    finished = [*connection.execute(_STORED, given)]
    if len(finished) < limit:
        finished += connection.execute(_EXPIRED, given).all()
    return [_line(row) for row in (*connection.execute(_OPEN, given), *finished[:limit])]


def moving(connection: Connection, *, limit: int) -> list[Line]:
    """The copies of what is being moved now, soonest expiry first."""
    return [_line(row) for row in connection.execute(_MOVING, {"most": limit})]


def deadlines(connection: Connection, *, within_s: float, limit: int) -> list[Deadline]:
    """Those that the provider deletes within this time and that are stored nowhere, the soonest first."""
    rows = connection.execute(_NEAREST, {"within_s": within_s, "most": limit})
    return [
        Deadline(row.id, row.app, row.expires_at - row.now, row.error, row.recording_id, row.title)
        for row in rows
    ]


def backlog(connection: Connection) -> int:
    """How many artifacts are to be moved now, those that are moved already included."""
    return int(connection.execute(_DUE).scalar_one())


def statuses(connection: Connection) -> dict[str, int]:
    """How many recordings of the last 7 days are in each status, but for those with links to files.

    ``NOT OFFERED`` are those that the provider uploaded to the customer's storage alone.
    """
    rows = connection.execute(_UNOFFERED)
    return {NOT_OFFERED if status == "UPLOADED" else status: count for status, count in rows if count}


def lost(connection: Connection, *, limit: int) -> list[Lost]:
    """The recordings that ended as ``ERRORED`` in the last 7 days, the newest first."""
    rows = connection.execute(_ERRORED, {"most": limit})
    return [Lost(row.id, row.app, row.title, row.stop_reason, row.now - row.told_at) for row in rows]


def volume(connection: Connection) -> int:
    """How many bytes were archived in the last 24 hours, each file counted once."""
    return int(connection.execute(_LATELY_BYTES).scalar_one())


def counts(connection: Connection) -> dict[State, int]:
    """How many artifacts are in each state; of the archived ones, those of the last 24 hours."""
    found = {State(state): count for state, count in connection.execute(_OPEN_STATES)}
    archived = connection.execute(_LATELY_ARCHIVED).scalar_one()
    return dict.fromkeys(State, 0) | found | {State.ARCHIVED: archived}


# The statements are made once: that takes longer than to run them.

_MOST = bindparam("most", type_=Integer)
_UNARCHIVED = artifacts.c.state != literal_column(f"'{State.ARCHIVED}'")
"""With the state as a literal: so the planner sees that the index of these rows serves."""


_OF_COPIES = ("crc64nvme", "crc32c", "stored_at", "verify_at", "verified_at", "fault")


def _lines() -> Select[Any]:
    moved = (
        # PostgreSQL sums big integers up to a decimal.
        select(cast(func.coalesce(func.sum(parts.c.size), 0), BigInteger))
        .where(parts.c.artifact_id == copies.c.artifact_id, parts.c.storage == copies.c.storage)
        .scalar_subquery()
    )
    of_both = ("state", "size", "due_at", "attempts", "error", "mend")
    own = ("id", "recording_id", "kind", "name", "announced_size", "expires_at", "cancelled_at", *of_both)
    return (
        select(
            *(artifacts.c[name] for name in own),
            *(copies.c[name].label(f"copy_{name}") for name in ("storage", "key", *of_both)),
            *(copies.c[name].label(f"copy_{name}") for name in _OF_COPIES),
            recordings.c.title,
            moved.label("moved"),
            now().label("now"),
        )
        .join_from(artifacts, recordings)
        .outerjoin(copies)
    )


# Apart, so that each is read off an index.
_OPEN = (
    _lines()
    .where(artifacts.c.due_at.is_not(None))
    .order_by(artifacts.c.expires_at, artifacts.c.id, copies.c.storage)
    .limit(_MOST)
)
_MOVING = (
    _lines()
    .where(_UNARCHIVED, artifacts.c.state == literal_column(f"'{State.MOVING}'"))
    .order_by(artifacts.c.expires_at, artifacts.c.id, copies.c.storage)
    .limit(_MOST)
)
_STORED = (
    _lines()
    .where(artifacts.c.due_at.is_(None), artifacts.c.stored_at.is_not(None))
    .order_by(artifacts.c.stored_at.desc(), artifacts.c.id, copies.c.storage)
    .limit(_MOST)
)
_EXPIRED = (
    _lines()
    .where(_UNARCHIVED, artifacts.c.state == State.EXPIRED, artifacts.c.due_at.is_(None))
    .order_by(artifacts.c.expires_at.desc(), artifacts.c.id, copies.c.storage)
    .limit(_MOST)
)
_THEIRS = (
    _lines()
    .where(artifacts.c.recording_id.in_(bindparam("ids", expanding=True)))
    .order_by(artifacts.c.id, copies.c.storage)
)

# Counted, since for a NOT EXISTS PostgreSQL may read all copies that there are.
SAFE = (
    select(func.count())
    .where(copies.c.artifact_id == artifacts.c.id, copies.c.state.in_([State.STORED, State.ARCHIVED]))
    .scalar_subquery()
)
"""How many copies of an artifact are whole."""
_NEAREST = (
    select(
        *(artifacts.c[name] for name in ("id", "recording_id", "expires_at", "error")),
        *(recordings.c[name] for name in ("app", "title")),
        now().label("now"),
    )
    .join_from(artifacts, recordings)
    .where(artifacts.c.due_at.is_not(None), artifacts.c.state != State.EXPIRED, SAFE == 0)
    .where(artifacts.c.expires_at < MOMENT + bindparam("within_s", type_=Double))
    .order_by(artifacts.c.expires_at, artifacts.c.id)
    .limit(_MOST)
)

_DUE = select(func.count()).where(artifacts.c.due_at.is_not(None), artifacts.c.due_at <= MOMENT)

_UNOFFERED = union_all(
    *(
        select(literal(status), func.count()).where(
            recordings.c.scope == Scope.RECORDING,
            recordings.c.status == status,
            recordings.c.seen_at > MOMENT - RETENTION_S,
            recordings.c.offered_at.is_(None),
        )
        for status in STATUS_RANK
    )
)
# What an older version took in has no times of its statuses.
_TOLD = tables.statuses
_TOLD_AT = func.coalesce(_TOLD.c.seen_at, recordings.c.seen_at)
_ERRORED = (
    select(
        *(recordings.c[name] for name in ("id", "app", "title", "stop_reason")),
        _TOLD_AT.label("told_at"),
        now().label("now"),
    )
    .outerjoin(_TOLD, and_(_TOLD.c.recording_id == recordings.c.id, _TOLD.c.status == recordings.c.status))
    .where(recordings.c.scope == Scope.RECORDING, recordings.c.status == "ERRORED")
    # The first news of a recording is a day older at most, which is how long it may be.
    .where(_TOLD_AT > MOMENT - RETENTION_S, recordings.c.seen_at > MOMENT - 2 * RETENTION_S)
    .order_by(_TOLD_AT.desc(), recordings.c.id)
    .limit(_MOST)
)

_OPEN_STATES = select(artifacts.c.state, func.count()).where(_UNARCHIVED).group_by(artifacts.c.state)
_LATELY = (artifacts.c.stored_at > MOMENT - DAY_S, artifacts.c.state == State.ARCHIVED)
_LATELY_ARCHIVED = select(func.count()).where(*_LATELY)
_ITS_SIZE = func.coalesce(
    artifacts.c.size,  # of one that went whole, in one request, its copies alone tell it
    select(func.max(copies.c.size)).where(copies.c.artifact_id == artifacts.c.id).scalar_subquery(),
)
_LATELY_BYTES = select(cast(func.coalesce(func.sum(_ITS_SIZE), 0), BigInteger)).where(*_LATELY)


def lines_of(connection: Connection, recording_ids: Sequence[str]) -> dict[str, list[Line]]:
    """The copies of these recordings' files, by the recording."""
    found: dict[str, list[Line]] = {}
    for row in connection.execute(_THEIRS, {"ids": recording_ids}):
        found.setdefault(row.recording_id, []).append(_line(row))
    return found


def _line(row: Row[Any]) -> Line:
    state = State(row.state)
    if row.copy_state in (State.STORED, State.ARCHIVED):
        state = State(row.copy_state)
    elif state is State.MOVING and row.copy_due_at is not None and row.copy_due_at > row.now:
        state = State.WAITING  # another copy moves
    trouble = row.copy_error or row.error
    due = [moment for moment in (row.due_at, row.copy_due_at) if moment is not None]
    sizes = (row.copy_size, row.size, row.announced_size)
    return Line(
        artifact_id=row.id,
        storage=row.copy_storage,
        kind=Kind(row.kind),
        state=state,
        name=row.name,
        title=row.title,
        key=row.copy_key,
        size=next((size for size in sizes if size is not None), None),
        moved=row.moved,
        attempts=row.copy_attempts if row.copy_error else row.attempts,
        error=trouble,
        mend=row.copy_mend if row.copy_error else row.mend,
        due_in_s=None if row.due_at is None else max(due) - row.now,
        expires_in_s=row.expires_at - row.now,
        is_paused=row.due_at == PAUSED,
        is_cancelled=row.cancelled_at is not None,
        recording_id=row.recording_id,
        **{name: getattr(row, f"copy_{name}") for name in _OF_COPIES},
    )
