"""The worker's side of the ledger: claims, leases, and writes that only the lease's holder can make.

A claim sets owner, lease and ``epoch + 1`` in one statement, on the database's clock. Every later write names
owner and epoch and raises :class:`~service.errors.LeaseLost` if they no longer stand: a worker that hung, or
came back from the dead, changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, Row, case, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.errors import LeaseLost
from service.ledger.database import Database
from service.ledger.tables import artifacts, now, parts, recordings
from service.model import Artifact, Checksum, Claim, Kind, Part, State, Stored


class Work:
    """Claims for one worker, known to the others as ``owner``."""

    def __init__(self, database: Database, *, owner: str, storage: str, lease_s: float) -> None:
        """``storage`` names the place that keys are unique in; ``lease_s`` how long a silent claim holds."""
        self._database = database
        self._owner = owner
        self._storage = storage
        self._lease_s = lease_s

    async def claim(self, limit: int) -> list[Claim]:
        """Lease up to ``limit`` artifacts that are due and nobody holds, soonest expiry first."""
        free = or_(artifacts.c.lease_until.is_(None), artifacts.c.lease_until <= now())
        due = (
            select(artifacts.c.id)
            .where(artifacts.c.due_at.is_not(None), artifacts.c.due_at <= now(), free)
            .order_by(artifacts.c.expires_at, artifacts.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        leased = (
            update(artifacts)
            .where(artifacts.c.id.in_(select(due.c.id)))
            .values(
                owner=self._owner,
                lease_until=now() + self._lease_s,
                epoch=artifacts.c.epoch + 1,
                state=_stored_or(State.MOVING),
            )
            .returning(artifacts, now().label("now"))
        )
        rows = await self._database.write(lambda connection: connection.execute(leased).all())
        return sorted((_claim(row) for row in rows), key=lambda claim: claim.expires_at)

    async def renew(self, claim: Claim) -> None:
        """Hold the claim for another lease from now."""
        await self._settle(claim, lease_until=now() + self._lease_s)

    async def current(self, claim: Claim) -> Claim:
        """The claim with all that was settled since."""
        held = select(artifacts, now().label("now")).where(*_held(claim))
        row = await self._database.read(lambda connection: connection.execute(held).one_or_none())
        if row is None:
            raise LeaseLost(claim.id)
        return _claim(row)

    async def reserve(self, claim: Claim, key: str) -> bool:
        """Settle the artifact's name in the storage, once; False if another artifact has it."""
        try:
            await self._settle(claim, storage=self._storage, key=key)
        except IntegrityError:
            return False
        return True

    async def begun(
        self, claim: Claim, *, upload_id: str, part_size: int, size: int | None, source_etag: str | None
    ) -> None:
        """Settle the multipart session; a resumed artifact goes on with exactly this."""
        await self._settle(
            claim, upload_id=upload_id, part_size=part_size, size=size, source_etag=source_etag
        )

    async def restart(self, claim: Claim, *, keep_key: bool) -> None:
        """Forget the multipart session and its parts: the next try begins anew."""
        cleared: dict[str, Any] = dict.fromkeys(["upload_id", "part_size", "size", "source_etag"])
        if not keep_key:
            cleared |= dict.fromkeys(["key", "storage"])
        await self._settle(claim, delete(parts).where(parts.c.artifact_id == claim.id), **cleared)

    async def part_stored(self, claim: Claim, part: Part) -> None:
        """Keep the receipt of a part that the storage confirmed; holds the claim for another lease."""
        values = {
            "artifact_id": claim.id,
            "number": part.number,
            "size": part.size,
            "crc64nvme": f"{part.checksum.crc64nvme:016x}",
            "crc32c": f"{part.checksum.crc32c:08x}",
            "receipt": part.receipt,
        }
        statement = self._database.insert(parts).values(**values)
        kept = statement.on_conflict_do_update(
            index_elements=[parts.c.artifact_id, parts.c.number],
            set_={name: statement.excluded[name] for name in values},
        )
        await self._settle(claim, kept, lease_until=now() + self._lease_s)

    async def parts(self, claim: Claim) -> list[Part]:
        """The receipts so far, by number."""
        receipts = select(parts).where(parts.c.artifact_id == claim.id).order_by(parts.c.number)
        return [
            Part(row.number, row.size, Checksum(int(row.crc64nvme, 16), int(row.crc32c, 16)), row.receipt)
            for row in await self._database.read(lambda connection: connection.execute(receipts).all())
        ]

    async def forget_parts(self, claim: Claim, numbers: Iterable[int]) -> None:
        """Drop receipts that the storage does not confirm."""
        unconfirmed = delete(parts).where(parts.c.artifact_id == claim.id, parts.c.number.in_(list(numbers)))
        await self._settle(claim, unconfirmed, lease_until=now() + self._lease_s)

    async def stored(
        self, claim: Claim, stored: Stored, *, checksum: Checksum, part_size: int, content_type: str
    ) -> None:
        """The artifact is whole in the storage; from now on only its manifest is missing."""
        await self._settle(
            claim,
            delete(parts).where(parts.c.artifact_id == claim.id),
            state=State.STORED,
            size=stored.size,
            etag=stored.etag,
            part_size=part_size,
            crc64nvme=f"{checksum.crc64nvme:016x}",
            crc32c=f"{checksum.crc32c:08x}",
            content_type=content_type,
            stored_at=now(),
            upload_id=None,
            attempts=0,
            error=None,
            mend=None,
        )

    async def await_siblings(self, claim: Claim) -> bool:
        """Leave the manifest to a sibling that is still open, and finish; False if there is none.

        A claim that is not stored finishes as ``expired``. The recording's row is locked, so that of two
        siblings that finish together the later one is told False.
        """
        others = select(artifacts.c.id).where(
            artifacts.c.recording_id == claim.artifact.recording_id,
            artifacts.c.id != claim.id,
            artifacts.c.state.in_([State.WAITING, State.MOVING]),
        )

        def leave(connection: Connection) -> bool:
            _lock_recording(connection, claim)
            # Also who is told to write the manifest has to hold its claim.
            _set(connection, claim, lease_until=now() + self._lease_s)
            if connection.execute(others.limit(1)).first() is None:
                return False
            _set(connection, claim, state=_stored_or(State.EXPIRED), due_at=None, **_UNHELD)
            return True

        return await self._database.write(leave)

    async def archived(self, claim: Claim, *, manifest_key: str | None) -> None:
        """The manifest is written: the artifact and all that waited for it are archived.

        A claim that is not itself stored ends as ``expired``; ``manifest_key`` is None where nothing at all
        could be stored.
        """
        recording_id = claim.artifact.recording_id
        waited = artifacts.c.due_at.is_(None)  # a sibling that is still held ends by itself

        def finish(connection: Connection) -> None:
            _lock_recording(connection, claim)
            _set(connection, claim, state=_stored_or(State.EXPIRED), due_at=None, **_UNHELD)
            connection.execute(
                update(artifacts)
                .where(artifacts.c.recording_id == recording_id, artifacts.c.state == State.STORED, waited)
                .values(state=State.ARCHIVED)
            )
            if manifest_key is not None:
                connection.execute(
                    update(recordings)
                    .where(recordings.c.id == recording_id)
                    .values(manifest_key=manifest_key, archived_at=now())
                )

        await self._database.write(finish)

    async def try_later(self, claim: Claim, *, delay_s: float, error: str, mend: str) -> None:
        """Give the claim back after a failure; at once if a fresher link has come in the meantime."""
        same_link = artifacts.c.url == claim.artifact.url
        await self._settle(
            claim,
            state=_stored_or(State.WAITING),
            due_at=case((same_link, now() + delay_s), else_=now()),
            attempts=artifacts.c.attempts + 1,
            error=error,
            mend=mend or None,
            **_UNHELD,
        )

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back without a failure, due at once. Those that are lost already are left alone."""

        def give_back(connection: Connection) -> None:
            for claim in claims:
                connection.execute(
                    update(artifacts).where(*_held(claim)).values(state=_stored_or(State.WAITING), **_UNHELD)
                )

        await self._database.write(give_back)

    async def _settle(self, claim: Claim, *statements: Executable, **values: Any) -> None:
        """Set ``values`` on the artifact and run ``statements`` after it, in one transaction.

        The artifact's row comes first: it fences, and locks out another claim until all is in.
        """

        def settle(connection: Connection) -> None:
            _set(connection, claim, **values)
            for statement in statements:
                connection.execute(statement)

        await self._database.write(settle)


_UNHELD: dict[str, Any] = {"owner": None, "lease_until": None}


def _lock_recording(connection: Connection, claim: Claim) -> None:
    # First, and its artifacts after it, as news is taken in: else each could wait for the other.
    connection.execute(
        select(recordings.c.id).where(recordings.c.id == claim.artifact.recording_id).with_for_update()
    )


def _set(connection: Connection, claim: Claim, **values: Any) -> None:
    if connection.execute(update(artifacts).where(*_held(claim)).values(**values)).rowcount != 1:
        raise LeaseLost(claim.id)


def _stored_or(state: State) -> Any:
    return case((artifacts.c.state == State.STORED, State.STORED.value), else_=state.value)


def _held(claim: Claim) -> tuple[Any, ...]:
    return (
        artifacts.c.id == claim.id,
        artifacts.c.owner == claim.owner,
        artifacts.c.epoch == claim.epoch,
    )


def _claim(row: Row[Any]) -> Claim:
    artifact = Artifact(
        recording_id=row.recording_id,
        kind=Kind(row.kind),
        url=row.url,
        name=row.name,
        announced_size=row.announced_size,
        expires_at=row.expires_at,
    )
    return Claim(
        artifact=artifact,
        state=State(row.state),
        owner=row.owner,
        epoch=row.epoch,
        attempts=row.attempts,
        now=row.now,
        expires_at=row.expires_at,
        key=row.key,
        upload_id=row.upload_id,
        part_size=row.part_size,
        size=row.size,
        source_etag=row.source_etag,
    )
