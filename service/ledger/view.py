"""Reading the ledger: for the manifest, for people, for metrics. Nothing here writes."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
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
from service.ledger.database import Database
from service.ledger.tables import MOMENT, artifacts, copies, manifests, now, parts, recordings, statuses
from service.model import STATUS_RANK, Archived, Artifact, Checksum, Kind, Provider, Recording, Scope, State

_AT_ONCE = 500
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
class Holding:
    """What one storage has of a recording or session.

    ``expired`` names those that were never stored anywhere by their ids' ends, such as ``audio``.
    ``manifest_key`` is None until a manifest was written there.
    """

    recording: Recording
    archived: tuple[Archived, ...]
    expired: tuple[str, ...]
    manifest_key: str | None


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


class View:
    """The reading side of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recording(self, recording_id: str, storage: str) -> Holding:
        """A recording or session, and what of it lies in ``storage``."""
        stored = (
            select(copies, artifacts.c.kind, artifacts.c.track)
            .join(artifacts)
            .where(
                artifacts.c.recording_id == recording_id,
                copies.c.storage == storage,
                copies.c.state.in_([State.STORED, State.ARCHIVED]),
            )
        )
        expired = select(artifacts.c.id, artifacts.c.kind).where(
            artifacts.c.recording_id == recording_id, artifacts.c.state == State.EXPIRED
        )
        manifest = select(manifests.c.key).where(
            manifests.c.recording_id == recording_id, manifests.c.storage == storage
        )

        def look(connection: Connection) -> Holding:
            found = connection.execute(select(recordings).where(recordings.c.id == recording_id)).one()
            archived = [_archived(row) for row in connection.execute(stored)]
            gone = sorted(connection.execute(expired).all(), key=lambda row: _order(row.kind, row.id))
            return Holding(
                recording_of(found),
                tuple(sorted(archived, key=lambda entry: _order(entry.kind, entry.artifact_id))),
                tuple(row.id.removeprefix(f"{recording_id}/") for row in gone),
                connection.execute(manifest).scalar(),
            )

        return await self._database.read(look)

    async def names(self, recording_id: str) -> list[Artifact]:
        """All that is known to belong to a recording or session."""
        theirs = select(artifacts).where(artifacts.c.recording_id == recording_id)
        rows = await self._database.read(lambda connection: connection.execute(theirs).all())
        return sorted((artifact_of(row) for row in rows), key=lambda each: _order(each.kind, each.id))

    async def manifests(self) -> list[tuple[str, str]]:
        """Storage and key of every manifest, oldest first."""
        written = select(manifests.c.storage, manifests.c.key).order_by(manifests.c.written_at)
        rows = await self._database.read(lambda connection: connection.execute(written).all())
        return [(row.storage, row.key) for row in rows]

    async def lines(self, *, limit: int) -> list[Line]:
        """The open artifacts, soonest expiry first, then the newest finished ones; ``limit`` of each."""
        given = {"most": limit}

        def look(connection: Connection) -> list[Row[Any]]:
            finished = [*connection.execute(_STORED, given)]
            if len(finished) < limit:
                finished += connection.execute(_EXPIRED, given).all()
            return [*connection.execute(_OPEN, given), *finished[:limit]]

        rows = await self._database.read(look)
        return [_line(row) for row in rows]

    async def known(self, artifact_ids: Collection[str]) -> set[str]:
        """Which of these artifacts are in the ledger."""
        found: set[str] = set()
        ids = list(artifact_ids)
        for start in range(0, len(ids), _AT_ONCE):
            some = select(artifacts.c.id).where(artifacts.c.id.in_(ids[start : start + _AT_ONCE]))
            rows = await self._database.read(partial(_scalars, some))
            found.update(rows)
        return found

    async def deadlines(self, *, within_s: float, limit: int) -> list[Deadline]:
        """Those that the provider deletes within this time and that are stored nowhere, the soonest first."""
        given = {"within_s": within_s, "most": limit}
        rows = await self._database.read(lambda connection: connection.execute(_NEAREST, given).all())
        return [Deadline(row.id, row.app, row.expires_at - row.now, row.error) for row in rows]

    async def statuses(self) -> dict[str, int]:
        """How many recordings of the last 7 days are in each status, but for those with links to files.

        ``NOT OFFERED`` are those that the provider uploaded to the customer's storage alone.
        """
        rows = await self._database.read(lambda connection: connection.execute(_UNOFFERED).all())
        return {NOT_OFFERED if status == "UPLOADED" else status: count for status, count in rows if count}

    async def lost(self, *, limit: int) -> list[Lost]:
        """The recordings that ended as ``ERRORED`` in the last 7 days, the newest first."""
        given = {"most": limit}
        rows = await self._database.read(lambda connection: connection.execute(_ERRORED, given).all())
        return [Lost(row.id, row.app, row.title, row.stop_reason, row.now - row.told_at) for row in rows]

    async def counts(self) -> dict[State, int]:
        """How many artifacts are in each state; of the archived ones, those of the last 24 hours."""

        def look(connection: Connection) -> dict[State, int]:
            found = {State(state): count for state, count in connection.execute(_OPEN_STATES)}
            archived = connection.execute(_LATELY_ARCHIVED).scalar_one()
            return dict.fromkeys(State, 0) | found | {State.ARCHIVED: archived}

        return await self._database.read(look)


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
_TOLD_AT = func.coalesce(statuses.c.seen_at, recordings.c.seen_at)
_ERRORED = (
    select(
        *(recordings.c[name] for name in ("id", "app", "title", "stop_reason")),
        _TOLD_AT.label("told_at"),
        now().label("now"),
    )
    .outerjoin(
        statuses, and_(statuses.c.recording_id == recordings.c.id, statuses.c.status == recordings.c.status)
    )
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


def _scalars(statement: Select[Any], connection: Connection) -> list[str]:
    return list(connection.execute(statement).scalars())


def recording_of(row: Row[Any]) -> Recording:
    """A row of the recordings as a value."""
    values = {name: getattr(row, name) for name in Recording.__slots__}
    return Recording(**values | {"provider": Provider(row.provider), "scope": Scope(row.scope)})


def artifact_of(row: Row[Any]) -> Artifact:
    """A row of the artifacts as a value."""
    values = {name: getattr(row, name) for name in Artifact.__slots__}
    return Artifact(**values | {"kind": Kind(row.kind)})


def _order(kind: str, artifact_id: str) -> tuple[int, str]:
    return list(Kind).index(Kind(kind)), artifact_id


def _archived(row: Row[Any]) -> Archived:
    return Archived(
        artifact_id=row.artifact_id,
        kind=Kind(row.kind),
        key=row.key,
        size=row.size,
        part_size=row.part_size,
        checksum=Checksum(int(row.crc64nvme, 16), int(row.crc32c, 16)),
        etag=row.etag,
        content_type=row.content_type,
        stored_at=row.stored_at,
        track=row.track,
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
