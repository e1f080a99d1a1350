"""Taking facts into the ledger, in one transaction, as often as they come and in any order."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, or_, select, update

from service.artifacts import RETENTION_S
from service.ledger.database import Database
from service.ledger.tables import artifacts, deliveries, now, recordings, statuses
from service.model import STATUS_RANK, Artifact, Delivery, Event, Kind, Recording, Scope, State


class Outcome(StrEnum):
    """What a delivery, or an answer of the provider's API, brought."""

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

    def __init__(self, database: Database, *, kinds: Collection[Kind] = tuple(Kind)) -> None:
        """``kinds``: which artifacts are wanted; of the others only the news is kept."""
        self._database = database
        self._kinds = frozenset(kinds)

    async def record(self, delivery: Delivery, event: Event) -> Outcome:
        """Commit a delivery's ``event``; when this returns it is durable.

        Raises :class:`~service.errors.LedgerUnavailable`: then nothing of it is.
        """

        def record(connection: Connection) -> Outcome:
            outcome = self._take(connection, event, is_delivery=True)
            connection.execute(
                deliveries.insert().values(
                    received_at=now(),
                    app=delivery.app,
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

    async def learn(self, events: Sequence[Event]) -> list[Outcome]:
        """Commit what the provider's API says; ``ANNOUNCED`` only for what the ledger did not have.

        An artifact that is known keeps its link, but for one that had expired and is offered for longer.
        """
        # Everybody locks in this order: of two batches with the same in them, one waits for the other.
        by_id = sorted(range(len(events)), key=lambda number: _id(events[number]))

        def learn(connection: Connection) -> list[Outcome]:
            outcomes = {number: self._take(connection, events[number], is_delivery=False) for number in by_id}
            return [outcomes[number] for number in range(len(events))]

        return await self._database.write(learn)

    async def prune(self, *, keep_s: float) -> int:
        """Forget deliveries older than ``keep_s``; returns how many. What they announced stays."""
        old = delete(deliveries).where(deliveries.c.received_at < now() - keep_s)
        return await self._database.write(lambda connection: connection.execute(old).rowcount)

    def _take(self, connection: Connection, event: Event, *, is_delivery: bool) -> Outcome:
        if event.recording is None:
            return Outcome.IGNORED
        outcome = self._note(connection, event.recording, is_offered=bool(event.artifacts))
        if outcome is Outcome.NOTED and _lacks_something(event):
            # The API knows: it is asked once, of a session again and again.
            ask = update(recordings).where(recordings.c.id == event.recording.id).values(ask_at=now())
            connection.execute(ask)
        for artifact in sorted(event.artifacts, key=lambda artifact: artifact.id):
            if artifact.kind in self._kinds and self._announce(connection, artifact, is_delivery=is_delivery):
                outcome = Outcome.ANNOUNCED
        return outcome

    def _note(self, connection: Connection, recording: Recording, *, is_offered: bool) -> Outcome:
        rank = STATUS_RANK.get(recording.status)
        if rank is None:
            return Outcome.IGNORED
        values = {name: getattr(recording, name) for name in recording.__slots__} | {"status_rank": rank}
        known = (
            connection.execute(select(recordings.c.status_rank).where(recordings.c.id == recording.id))
        ).scalar()
        statement = self._database.insert(recordings).values(
            **values, seen_at=now(), offered_at=now() if is_offered else None
        )
        new, old = statement.excluded, recordings.c
        # News of a higher rank wins field by field, older news only fills in what was missing.
        newer = new.status_rank >= old.status_rank
        merged: dict[str, Any] = {
            name: case(
                (newer, func.coalesce(new[name], old[name])), else_=func.coalesce(old[name], new[name])
            )
            for name in values
            if name not in ("id", "provider", "scope")
        }
        merged["offered_at"] = func.coalesce(old.offered_at, new.offered_at)
        connection.execute(statement.on_conflict_do_update(index_elements=[old.id], set_=merged))
        heard = self._database.insert(statuses).values(
            recording_id=recording.id, status=recording.status, seen_at=now()
        )
        connection.execute(heard.on_conflict_do_nothing())
        return Outcome.NOTED if known is None or known < rank else Outcome.KNOWN

    def _announce(self, connection: Connection, artifact: Artifact, *, is_delivery: bool) -> bool:
        """Add the artifact, or freshen the link of one that is not stored yet. Returns whether it did."""
        expires_at: Any = now() + RETENTION_S if artifact.expires_at is None else artifact.expires_at
        statement = self._database.insert(artifacts).values(
            id=artifact.id,
            recording_id=artifact.recording_id,
            kind=artifact.kind,
            track=artifact.track,
            state=State.WAITING,
            url=artifact.url,
            name=artifact.name,
            announced_size=artifact.announced_size,
            seen_at=now(),
            announced_at=now(),
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
        if not is_delivery:
            # The API signs a new link for every answer; it is asked for one when the old is refused.
            later = and_(new.expires_at > old.expires_at, new.expires_at > now())
            fresher = and_(old.state == State.EXPIRED, fresher, later)
        # While it is moving, its lease stands: the worker meets the new link at its next try.
        moving = old.state == State.MOVING
        freshened = statement.on_conflict_do_update(
            index_elements=[old.id],
            set_={
                "url": new.url,
                "announced_at": now(),
                "expires_at": new.expires_at,
                "announced_size": func.coalesce(new.announced_size, old.announced_size),
                "state": case((moving, old.state), else_=State.WAITING.value),
                "due_at": case((moving, old.due_at), else_=now()),
                "attempts": 0,
            },
            where=and_(unstored, fresher),
        ).returning(old.id)
        return (connection.execute(freshened)).first() is not None


def _id(event: Event) -> str:
    return "" if event.recording is None else event.recording.id


def _lacks_something(event: Event) -> bool:
    """Whether there may be files that the event does not tell: a recording's links, or a session's others."""
    recording = event.recording
    if recording is None or recording.scope is Scope.SESSION:
        return recording is not None
    return recording.status == "UPLOADED" and not event.artifacts
