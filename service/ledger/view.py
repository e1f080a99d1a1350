"""Reading the ledger: for the manifest, for people, for metrics. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, cast, func, select

from service.errors import LedgerUnfit
from service.ledger.database import Database
from service.ledger.tables import artifacts, now, parts, recordings
from service.model import Archived, Checksum, Kind, Provider, Recording, State


@dataclass(frozen=True, slots=True)
class Line:
    """One artifact as ``status`` shows it; times in seconds from the database's now."""

    artifact_id: str
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

    async def recording(self, recording_id: str) -> tuple[Recording, list[Archived], list[Kind]]:
        """A recording, its stored artifacts, and the kinds of those that expired unstored."""
        theirs = (
            select(artifacts)
            .where(artifacts.c.recording_id == recording_id)
            .order_by(artifacts.c.kind.desc())  # video before audio
        )

        def look(connection: Connection) -> tuple[Row[Any] | None, Sequence[Row[Any]]]:
            found = connection.execute(select(recordings).where(recordings.c.id == recording_id))
            return found.one_or_none(), connection.execute(theirs).all()

        found, rows = await self._database.read(look)
        if found is None:
            raise LedgerUnfit(f"recording {recording_id} has artifacts but no row")
        stored = [_archived(row) for row in rows if row.state in (State.STORED, State.ARCHIVED)]
        return _recording(found), stored, [Kind(row.kind) for row in rows if row.state == State.EXPIRED]

    async def manifest_keys(self) -> list[str]:
        """The manifest of every archived recording, oldest first."""
        keys = (
            select(recordings.c.manifest_key)
            .where(recordings.c.manifest_key.is_not(None))
            .order_by(recordings.c.archived_at)
        )
        return await self._database.read(lambda connection: list(connection.execute(keys).scalars()))

    async def lines(self, *, limit: int) -> list[Line]:
        """The open artifacts, soonest expiry first, then the newest finished ones; ``limit`` of each."""
        moved = (
            # PostgreSQL sums big integers up to a decimal.
            select(cast(func.coalesce(func.sum(parts.c.size), 0), BigInteger))
            .where(parts.c.artifact_id == artifacts.c.id)
            .scalar_subquery()
        )
        columns = select(artifacts, recordings.c.title, moved.label("moved"), now().label("now"))
        lines = columns.join(recordings).limit(limit)
        unfinished = artifacts.c.due_at.is_not(None)
        soonest = lines.where(unfinished).order_by(artifacts.c.expires_at, artifacts.c.id)
        newest = lines.where(~unfinished).order_by(artifacts.c.stored_at.desc().nulls_last())
        rows = await self._database.read(
            lambda connection: [*connection.execute(soonest), *connection.execute(newest)]
        )
        return [_line(row) for row in rows]

    async def counts(self) -> dict[State, int]:
        """How many artifacts are in each state."""
        by_state = select(artifacts.c.state, func.count()).group_by(artifacts.c.state)
        rows = await self._database.read(lambda connection: connection.execute(by_state).all())
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}


def _recording(row: Row[Any]) -> Recording:
    values = {name: getattr(row, name) for name in Recording.__slots__}
    return Recording(**values | {"provider": Provider(row.provider)})


def _archived(row: Row[Any]) -> Archived:
    return Archived(
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
    return Line(
        artifact_id=row.id,
        kind=Kind(row.kind),
        state=State(row.state),
        name=row.name,
        title=row.title,
        key=row.key,
        size=row.size if row.size is not None else row.announced_size,
        moved=row.moved,
        attempts=row.attempts,
        error=row.error,
        mend=row.mend,
        due_in_s=None if row.due_at is None else row.due_at - row.now,
        expires_in_s=row.expires_at - row.now,
    )
