"""Reading the ledger: for the manifest, for people, for metrics. Nothing here writes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, cast, func, select

from service.ledger.database import Database
from service.ledger.tables import artifacts, copies, manifests, now, parts, recordings
from service.model import Archived, Checksum, Kind, Provider, Recording, State


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


class View:
    """The reading side of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recording(
        self, recording_id: str, storage: str
    ) -> tuple[Recording, list[Archived], list[Kind]]:
        """A recording, its artifacts stored in ``storage``, and the kinds of those that expired unstored."""
        stored = (
            select(copies, artifacts.c.kind)
            .join(artifacts)
            .where(
                artifacts.c.recording_id == recording_id,
                copies.c.storage == storage,
                copies.c.state.in_([State.STORED, State.ARCHIVED]),
            )
            .order_by(artifacts.c.kind.desc())  # video before audio
        )
        expired = (
            select(artifacts.c.kind)
            .where(artifacts.c.recording_id == recording_id, artifacts.c.state == State.EXPIRED)
            .order_by(artifacts.c.kind.desc())
        )

        def look(connection: Connection) -> tuple[Recording, list[Archived], list[Kind]]:
            found = connection.execute(select(recordings).where(recordings.c.id == recording_id)).one()
            archived = [_archived(row) for row in connection.execute(stored)]
            return (
                recording_of(found),
                archived,
                [Kind(kind) for kind in connection.execute(expired).scalars()],
            )

        return await self._database.read(look)

    async def manifests(self) -> list[tuple[str, str]]:
        """Storage and key of every manifest, oldest first."""
        written = select(manifests.c.storage, manifests.c.key).order_by(manifests.c.written_at)
        rows = await self._database.read(lambda connection: connection.execute(written).all())
        return [(row.storage, row.key) for row in rows]

    async def lines(self, *, limit: int) -> list[Line]:
        """The open artifacts, soonest expiry first, then the newest finished ones; ``limit`` of each."""
        moved = (
            # PostgreSQL sums big integers up to a decimal.
            select(cast(func.coalesce(func.sum(parts.c.size), 0), BigInteger))
            .where(parts.c.artifact_id == copies.c.artifact_id, parts.c.storage == copies.c.storage)
            .scalar_subquery()
        )
        of_copy = [column.label(f"copy_{column.name}") for column in copies.c]
        lines = (
            select(artifacts, *of_copy, recordings.c.title, moved.label("moved"), now().label("now"))
            .join(recordings)
            .outerjoin(copies)
            .limit(limit)
        )
        unfinished = artifacts.c.due_at.is_not(None)
        soonest = lines.where(unfinished).order_by(artifacts.c.expires_at, artifacts.c.id, copies.c.storage)
        newest = lines.where(~unfinished).order_by(
            artifacts.c.stored_at.desc().nulls_last(), artifacts.c.id, copies.c.storage
        )
        rows = await self._database.read(
            lambda connection: [*connection.execute(soonest), *connection.execute(newest)]
        )
        return [_line(row) for row in rows]

    async def counts(self) -> dict[State, int]:
        """How many artifacts are in each state."""
        by_state = select(artifacts.c.state, func.count()).group_by(artifacts.c.state)
        rows = await self._database.read(lambda connection: connection.execute(by_state).all())
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}


def recording_of(row: Row[Any]) -> Recording:
    """A row of the recordings as a value."""
    values = {name: getattr(row, name) for name in Recording.__slots__}
    return Recording(**values | {"provider": Provider(row.provider)})


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
