"""Taking facts into the ledger, in one transaction, as often as they come and in any order."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Connection

from service.ledger.database import Database
from service.ledger.rows import given
from service.ledger.statements import ASK, BEFORE, TOLD, announcing, hearing, keeping, noting
from service.ledger.together import Together
from service.model import STATUS_RANK, Artifact, Delivery, Event, Kind, Recording, Scope

_TOGETHER = 256
"""How many deliveries one transaction takes at most."""


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

    def __init__(
        self, database: Database, *, kinds: Collection[Kind] = tuple(Kind), within_s: float = 30.0
    ) -> None:
        """``kinds``: which artifacts are wanted; of the others only the news is kept.

        ``within_s``: how long a delivery may wait for its commit.
        """
        self._database = database
        self._kinds = frozenset(kinds)
        self._within_s = within_s
        self._together = Together(
            self._record_all, apart=lambda item: _id(item[1]) or None, most=_TOGETHER, within_s=within_s
        )
        self._note = noting(database)
        self._hear = hearing(database)
        self._keep = keeping(database)
        self._announce = {
            (is_delivery, is_told): announcing(database, is_delivery=is_delivery, is_told=is_told)
            for is_delivery in (True, False)
            for is_told in (True, False)
        }

    async def record(self, delivery: Delivery, event: Event) -> Outcome:
        """Commit a delivery's ``event``; when this returns it is durable.

        Raises :class:`~service.errors.LedgerUnavailable`: then nothing of it is, but for a commit that was
        cut off from its answer.
        """
        return await self._together.take((delivery, event))

    async def learn(self, events: Sequence[Event]) -> list[Outcome]:
        """Commit what the provider's API says; ``ANNOUNCED`` only for what the ledger did not have.

        An artifact that is known keeps its link, but for one that had expired and is offered for longer.
        """
        outcomes: dict[int, Outcome] = {}
        for numbers in _distinct(events):
            some = [events[number] for number in numbers]
            take = partial(self._take_all, events=some, is_delivery=False)
            outcomes |= zip(numbers, await self._database.write(take), strict=True)
        return [outcomes[number] for number in range(len(events))]

    async def _record_all(self, items: Sequence[tuple[Delivery, Event]]) -> list[Outcome]:
        def record(connection: Connection) -> list[Outcome]:
            outcomes = self._take_all(connection, [event for _, event in items], is_delivery=True)
            rows = [
                {
                    "app": delivery.app,
                    "provider": delivery.provider,
                    "delivery_id": delivery.delivery_id,
                    "webhook_id": delivery.webhook_id,
                    "event_name": event.name,
                    "recording_id": event.recording.id if event.recording else None,
                    "status": event.recording.status if event.recording else None,
                    "outcome": outcome,
                }
                for (delivery, event), outcome in zip(items, outcomes, strict=True)
            ]
            connection.execute(self._keep, given(rows))
            return outcomes

        return await self._database.write(record, within_s=self._within_s)

    def _take_all(
        self, connection: Connection, events: Sequence[Event], *, is_delivery: bool
    ) -> list[Outcome]:
        """Take in events of different recordings; each one's outcome."""
        outcomes = [Outcome.IGNORED] * len(events)
        known = {
            number: event.recording
            for number, event in enumerate(events)
            if event.recording is not None and event.recording.status in STATUS_RANK
        }
        if not known:
            return outcomes
        ids = [recording.id for recording in known.values()]
        before = {row.id: row.status_rank for row in connection.execute(BEFORE, {"ids": ids})}
        for number, recording in known.items():
            is_news = before.get(recording.id, 0) < STATUS_RANK[recording.status]
            outcomes[number] = Outcome.NOTED if is_news else Outcome.KNOWN
        rows = [
            _row(recording, is_offered=bool(events[number].artifacts)) for number, recording in known.items()
        ]
        # What was pruned was archived long before. Told now that they are locked, not before.
        noted = connection.execute(self._note, given(rows))
        closed = {recording_id for recording_id, closed_at in noted if closed_at is not None}
        heard = [{"recording_id": each.id, "status": each.status} for each in known.values()]
        connection.execute(self._hear, given(heard))
        # The API knows: it is asked once, of a session again and again.
        lacking = [
            recording.id
            for number, recording in known.items()
            if recording.id not in closed
            and outcomes[number] is Outcome.NOTED
            and _lacks_something(events[number])
        ]
        if lacking:
            connection.execute(ASK, {"ids": lacking})
        files = [
            _artifact(artifact, recording)
            for number, recording in known.items()
            if recording.id not in closed
            for artifact in events[number].artifacts
            if artifact.kind in self._kinds
        ]
        announced = self._announced(connection, files, is_delivery=is_delivery)
        for number, recording in known.items():
            if recording.id in announced:
                outcomes[number] = Outcome.ANNOUNCED
        return outcomes

    def _announced(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]], *, is_delivery: bool
    ) -> set[str]:
        """Add artifacts, and freshen the links of those that are not stored yet; the recordings of these."""
        announced: set[str] = set()
        for is_told in (True, False):
            some = [row for row in rows if (row["told_expires_at"] is not None) == is_told]
            if some:
                changed = connection.execute(self._announce[is_delivery, is_told], given(some))
                announced.update(changed.scalars())
        return announced


def _row(recording: Recording, *, is_offered: bool) -> dict[str, Any]:
    values = {name: getattr(recording, name) for name in Recording.__slots__}
    return values | {"status_rank": STATUS_RANK[recording.status], "is_offered": is_offered}


def _artifact(artifact: Artifact, recording: Recording) -> dict[str, Any]:
    values = {name: getattr(artifact, name) for name in TOLD if name != "customer"}
    customer = f"{recording.app}/{recording.organization_id or ''}"
    return values | {"customer": customer, "told_expires_at": artifact.expires_at}


def _distinct(events: Sequence[Event]) -> Iterator[list[int]]:
    """The events' numbers in groups without two of the same recording, in which the order is kept."""
    left = list(range(len(events)))
    while left:
        group: dict[object, int] = {}
        for number in left:
            group.setdefault(_id(events[number]) or number, number)
        yield list(group.values())
        taken = set(group.values())
        left = [number for number in left if number not in taken]


def _id(event: Event) -> str:
    return "" if event.recording is None else event.recording.id


def _lacks_something(event: Event) -> bool:
    """Whether there may be files that the event does not tell: a recording's links, or a session's others."""
    recording = event.recording
    if recording is None or recording.scope is Scope.SESSION:
        return recording is not None
    return recording.status == "UPLOADED" and not event.artifacts
