"""What the ledger shows of all that there is: each function is one look in a transaction that only reads."""

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
from service.ledger.tables import MOMENT, artifacts, copies, now, parts, recordings
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


@dataclass(frozen=True, slots=True)
class Deadline:
    """An artifact that is stored nowhere yet, and the time that the provider leaves it."""

    artifact_id: str
    app: str
    expires_in_s: float
    error: str | None


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


def deadlines(connection: Connection, *, within_s: float, limit: int) -> list[Deadline]:
    """Those that the provider deletes within this time and that are stored nowhere, the soonest first."""
    rows = connection.execute(_NEAREST, {"within_s": within_s, "most": limit})
    return [Deadline(row.id, row.app, row.expires_at - row.now, row.error) for row in rows]


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


def counts(connection: Connection) -> dict[State, int]:
    """How many artifacts are in each state; of the archived ones, those of the last 24 hours."""
    found = {State(state): count for state, count in connection.execute(_OPEN_STATES)}
    archived = connection.execute(_LATELY_ARCHIVED).scalar_one()
    return dict.fromkeys(State, 0) | found | {State.ARCHIVED: archived}


# The statements are made once: that takes longer than to run them.

_MOST = bindparam("most", type_=Integer)
_UNARCHIVED = artifacts.c.state != literal_column(f"'{State.ARCHIVED}'")
"""With the state as a literal: so the planner sees that the index of these rows serves."""


def _lines() -> Select[Any]:
    moved = (
        # PostgreSQL sums big integers up to a decimal.
        select(cast(func.coalesce(func.sum(parts.c.size), 0), BigInteger))
        .where(parts.c.artifact_id == copies.c.artifact_id, parts.c.storage == copies.c.storage)
        .scalar_subquery()
    )
    of_both = ("state", "size", "due_at", "attempts", "error", "mend")
    own = ("id", "kind", "name", "announced_size", "expires_at", *of_both)
    return (
        select(
            *(artifacts.c[name] for name in own),
            *(copies.c[name].label(f"copy_{name}") for name in ("storage", "key", *of_both)),
            recordings.c.title,
            moved.label("moved"),
            now().label("now"),
        )
        .join_from(artifacts, recordings)
        .outerjoin(copies)
        .limit(_MOST)
    )


# Apart, so that each is read off an index.
_OPEN = (
    _lines()
    .where(artifacts.c.due_at.is_not(None))
    .order_by(artifacts.c.expires_at, artifacts.c.id, copies.c.storage)
)
_STORED = (
    _lines()
    .where(artifacts.c.due_at.is_(None), artifacts.c.stored_at.is_not(None))
    .order_by(artifacts.c.stored_at.desc(), artifacts.c.id, copies.c.storage)
)
_EXPIRED = (
    _lines()
    .where(_UNARCHIVED, artifacts.c.state == State.EXPIRED, artifacts.c.due_at.is_(None))
    .order_by(artifacts.c.expires_at.desc(), artifacts.c.id, copies.c.storage)
)

# Counted, since for a NOT EXISTS PostgreSQL may read all copies that there are.
_SAFE = (
    select(func.count())
    .where(copies.c.artifact_id == artifacts.c.id, copies.c.state.in_([State.STORED, State.ARCHIVED]))
    .scalar_subquery()
)
_NEAREST = (
    select(artifacts.c.id, artifacts.c.expires_at, artifacts.c.error, recordings.c.app, now().label("now"))
    .join_from(artifacts, recordings)
    .where(artifacts.c.due_at.is_not(None), artifacts.c.state != State.EXPIRED, _SAFE == 0)
    .where(artifacts.c.expires_at < MOMENT + bindparam("within_s", type_=Double))
    .order_by(artifacts.c.expires_at, artifacts.c.id)
    .limit(_MOST)
)

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
_LATELY_ARCHIVED = select(func.count()).where(
    artifacts.c.stored_at > MOMENT - DAY_S, artifacts.c.state == State.ARCHIVED
)


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
    )
