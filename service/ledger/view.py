"""Reading the ledger: for the manifest, for people, for metrics. Nothing here writes."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from service.ledger.backlog import Backlog, waiting
from service.ledger.database import Database
from service.ledger.overview import Deadline, Line, Overview, backlog, deadlines, lines, overview
from service.ledger.tables import artifacts, copies, manifests, recordings
from service.model import Archived, Artifact, Checksum, Kind, Provider, Recording, Scope, State

_AT_ONCE = 500


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


class View:
    """The reading side of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recording(self, recording_id: str, storage: str) -> Holding:
        """A recording or session, and what of it lies in ``storage``."""
        return await self._database.read(partial(holding, recording_id=recording_id, storage=storage))

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

    async def overview(self, *, limit: int, lost_limit: int, within_s: float, near_limit: int) -> Overview:
        """What there is at one moment, in one transaction."""
        look = partial(overview, limit=limit, lost_limit=lost_limit, within_s=within_s, near_limit=near_limit)
        return await self._database.read(look)

    async def lines(self, *, limit: int) -> list[Line]:
        """The open artifacts, soonest expiry first, then the newest finished ones; ``limit`` of each."""
        return await self._database.read(partial(lines, limit=limit))

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
        return await self._database.read(partial(deadlines, within_s=within_s, limit=limit))

    async def backlog(self) -> int:
        """How many artifacts are to be moved now, those that are moved already included."""
        return await self._database.read(backlog)

    async def waiting(self) -> Backlog:
        """How many artifacts are in which state without being archived, and how long the oldest waits."""
        return await self._database.read(waiting)


def holding(connection: Connection, recording_id: str, storage: str) -> Holding:
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
    found = connection.execute(select(recordings).where(recordings.c.id == recording_id)).one()
    archived = [archived_of(row) for row in connection.execute(stored)]
    gone = sorted(connection.execute(expired).all(), key=lambda row: _order(row.kind, row.id))
    return Holding(
        recording_of(found),
        tuple(sorted(archived, key=lambda entry: _order(entry.kind, entry.artifact_id))),
        tuple(row.id.removeprefix(f"{recording_id}/") for row in gone),
        connection.execute(manifest).scalar(),
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


def archived_of(row: Row[Any]) -> Archived:
    """A row of a copy that is stored, with its artifact's kind and track, as a value."""
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
