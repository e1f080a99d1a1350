"""Taking a verified event into the ledger, in one transaction, as often as it comes and in any order."""

from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, or_, select

from service.event import RETENTION_S
from service.ledger.database import Database
from service.ledger.tables import artifacts, deliveries, now, recordings
from service.model import STATUS_RANK, Artifact, Delivery, Event, Recording, State


class Outcome(StrEnum):
    """What a delivery brought."""

    ANNOUNCED = "announced"
    """Something to archive that was not known, or a fresher link for it."""
    NOTED = "noted"
    """A recording's status."""
    KNOWN = "known"
    """Nothing new."""
    IGNORED = "ignored"
    """An event or a status that carries nothing to archive."""


class Intake:
    """The receiver's side of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, delivery: Delivery, event: Event) -> Outcome:
        """Commit ``event``; when this returns it is durable.

        Raises :class:`~service.errors.LedgerUnavailable`: then nothing of it is.
        """

        def record(connection: Connection) -> Outcome:
            outcome = Outcome.IGNORED
            if event.recording is not None:
                outcome = self._note(connection, event.recording)
                for artifact in event.artifacts:
                    if self._announce(connection, artifact):
                        outcome = Outcome.ANNOUNCED
            connection.execute(
                deliveries.insert().values(
                    received_at=now(),
                    provider=delivery.provider,
                    delivery_id=delivery.delivery_id,
                    webhook_id=delivery.webhook_id,
                    event_name=event.name,
                    recording_id=event.recording.id if event.recording else None,
                    status=event.recording.status if event.recording else None,
                    outcome=outcome,
                )
            )
            return outcome

        return await self._database.write(record)

    async def prune(self, *, keep_s: float) -> int:
        """Forget deliveries older than ``keep_s``; returns how many. What they announced stays."""
        old = delete(deliveries).where(deliveries.c.received_at < now() - keep_s)
        return await self._database.write(lambda connection: connection.execute(old).rowcount)

    def _note(self, connection: Connection, recording: Recording) -> Outcome:
        rank = STATUS_RANK.get(recording.status)
        if rank is None:
            return Outcome.IGNORED
        values = {name: getattr(recording, name) for name in recording.__slots__} | {"status_rank": rank}
        known = (
            connection.execute(select(recordings.c.status_rank).where(recordings.c.id == recording.id))
        ).scalar()
        statement = self._database.insert(recordings).values(**values, seen_at=now())
        new, old = statement.excluded, recordings.c
        # News of a higher rank wins field by field, older news only fills in what was missing.
        newer = new.status_rank >= old.status_rank
        merged = {
            name: case(
                (newer, func.coalesce(new[name], old[name])), else_=func.coalesce(old[name], new[name])
            )
            for name in values
            if name not in ("id", "provider")
        }
        connection.execute(statement.on_conflict_do_update(index_elements=[old.id], set_=merged))
        return Outcome.NOTED if known is None or known < rank else Outcome.KNOWN

    def _announce(self, connection: Connection, artifact: Artifact) -> bool:
        """Add the artifact, or freshen the link of one that is not stored yet. Returns whether it did."""
        expires_at: Any = now() + RETENTION_S if artifact.expires_at is None else artifact.expires_at
        statement = self._database.insert(artifacts).values(
            id=artifact.id,
            recording_id=artifact.recording_id,
            kind=artifact.kind,
            state=State.WAITING,
            url=artifact.url,
            name=artifact.name,
            announced_size=artifact.announced_size,
            seen_at=now(),
            expires_at=expires_at,
            due_at=now(),
            epoch=0,
            attempts=0,
        )
        new, old = statement.excluded, artifacts.c
        unstored = old.state.in_([State.WAITING, State.MOVING, State.EXPIRED])
        another = new.url != old.url
        fresher = or_(new.expires_at > old.expires_at, and_(new.expires_at == old.expires_at, another))
        if artifact.expires_at is None:
            # Counted from its arrival a replay would always be fresher than what it repeats.
            fresher = and_(another, fresher)
        # While it is moving, its lease stands: the worker meets the new link at its next try.
        moving = old.state == State.MOVING
        freshened = statement.on_conflict_do_update(
            index_elements=[old.id],
            set_={
                "url": new.url,
                "expires_at": new.expires_at,
                "announced_size": func.coalesce(new.announced_size, old.announced_size),
                "state": case((moving, old.state), else_=State.WAITING.value),
                "due_at": case((moving, old.due_at), else_=now()),
                "attempts": 0,
            },
            where=and_(unstored, fresher),
        ).returning(old.id)
        return (connection.execute(freshened)).first() is not None
