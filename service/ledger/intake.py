"""Taking facts into the ledger, in one transaction, as often as they come and in any order."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Double,
    Executable,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from service.artifacts import RETENTION_S
from service.ledger.database import Database
from service.ledger.tables import artifacts, deliveries, now, recordings, statuses
from service.ledger.together import Together
from service.model import STATUS_RANK, Artifact, Delivery, Event, Kind, Recording, Scope, State

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
        self._note = _noting(database)
        self._hear = database.insert(statuses).values(seen_at=now()).on_conflict_do_nothing()
        self._announce = {
            (is_delivery, is_told): _announcing(database, is_delivery=is_delivery, is_told=is_told)
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
            connection.execute(_DELIVERED, rows)
            return outcomes

        return await self._database.write(record, within_s=self._within_s)

    def _take_all(
        self, connection: Connection, events: Sequence[Event], *, is_delivery: bool
    ) -> list[Outcome]:
        """Take in events of different recordings; each one's outcome."""
        outcomes = [Outcome.IGNORED] * len(events)
        # Everybody locks in this order: of two batches with the same in them, one waits for the other.
        known = {
            number: event.recording
            for number, event in sorted(enumerate(events), key=lambda each: _id(each[1]))
            if event.recording is not None and event.recording.status in STATUS_RANK
        }
        if not known:
            return outcomes
        ids = [recording.id for recording in known.values()]
        before = {row.id: row.status_rank for row in connection.execute(_BEFORE, {"ids": ids})}
        for number, recording in known.items():
            is_news = before.get(recording.id, 0) < STATUS_RANK[recording.status]
            outcomes[number] = Outcome.NOTED if is_news else Outcome.KNOWN
        rows = [
            _row(recording, is_offered=bool(events[number].artifacts)) for number, recording in known.items()
        ]
        # What was pruned was archived long before. Told now that they are locked, not before.
        noted = connection.execute(self._note, rows)
        closed = {recording_id for recording_id, closed_at in noted if closed_at is not None}
        heard = [{"recording_id": each.id, "status": each.status} for each in known.values()]
        connection.execute(self._hear, heard)
        # The API knows: it is asked once, of a session again and again.
        lacking = [
            recording.id
            for number, recording in known.items()
            if recording.id not in closed
            and outcomes[number] is Outcome.NOTED
            and _lacks_something(events[number])
        ]
        if lacking:
            connection.execute(_ASK, {"ids": lacking})
        files = [
            _artifact(artifact, recording)
            for number, recording in known.items()
            if recording.id not in closed
            for artifact in sorted(events[number].artifacts, key=lambda artifact: artifact.id)
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
        # In runs, so that they are locked in their order.
        for is_told, run in groupby(rows, key=lambda row: row["told_expires_at"] is not None):
            changed = connection.execute(self._announce[is_delivery, is_told], list(run))
            announced.update(changed.scalars())
        return announced


_BEFORE = select(recordings.c.id, recordings.c.status_rank).where(
    recordings.c.id.in_(bindparam("ids", expanding=True))
)
_ASK = update(recordings).where(recordings.c.id.in_(bindparam("ids", expanding=True))).values(ask_at=now())
_DELIVERED = deliveries.insert().values(received_at=now())


def _noting(database: Database) -> Executable:
    """The statement that takes in a recording: what is told, and what was known before.

    It returns when each was closed.
    """
    names = (*Recording.__slots__, "status_rank")
    statement = database.insert(recordings).values(
        {name: bindparam(name) for name in names}
        | {
            "seen_at": now(),
            "offered_at": case((bindparam("is_offered", type_=Boolean), now()), else_=None),
        }
    )
    new, old = statement.excluded, recordings.c
    # News of a higher rank wins field by field, older news only fills in what was missing.
    newer = new.status_rank >= old.status_rank
    merged: dict[str, Any] = {
        name: case((newer, func.coalesce(new[name], old[name])), else_=func.coalesce(old[name], new[name]))
        for name in names
        if name not in ("id", "provider", "scope")
    }
    merged["offered_at"] = func.coalesce(old.offered_at, new.offered_at)
    noting = statement.on_conflict_do_update(index_elements=[old.id], set_=merged)
    return noting.returning(old.id, old.closed_at)  # type: ignore[no-any-return]


def _announcing(database: Database, *, is_delivery: bool, is_told: bool) -> Executable:
    """The statement that adds an artifact, or freshens the link of one that is not stored yet.

    It returns the recordings of those that it did that for. ``is_told``: whether the provider said when the
    link expires.
    """
    told = bindparam("told_expires_at", type_=Double)
    statement = database.insert(artifacts).values(
        {name: bindparam(name) for name in _TOLD}
        | {
            "state": State.WAITING,
            "seen_at": now(),
            "announced_at": now(),
            "expires_at": told if is_told else now() + RETENTION_S,
            "due_at": now(),
            "epoch": 0,
            "attempts": 0,
        }
    )
    new, old = statement.excluded, artifacts.c
    unstored = and_(old.state != State.STORED, old.state != State.ARCHIVED)
    another = new.url != old.url
    fresher = or_(new.expires_at > old.expires_at, and_(new.expires_at == old.expires_at, another))
    if not is_told:
        # Counted from its arrival a replay would always be fresher than what it repeats.
        fresher = and_(another, fresher)
    if not is_delivery:
        # The API signs a new link for every answer; it is asked for one when the old is refused.
        later = and_(new.expires_at > old.expires_at, new.expires_at > now())
        fresher = and_(old.state == State.EXPIRED, fresher, later)
    # While it is moving, its lease stands: the worker meets the new link at its next try.
    moving = old.state == State.MOVING
    return statement.on_conflict_do_update(  # type: ignore[no-any-return]
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
    ).returning(old.recording_id)


_TOLD = ("id", "recording_id", "kind", "track", "url", "name", "announced_size", "customer")


def _row(recording: Recording, *, is_offered: bool) -> dict[str, Any]:
    values = {name: getattr(recording, name) for name in Recording.__slots__}
    return values | {"status_rank": STATUS_RANK[recording.status], "is_offered": is_offered}


def _artifact(artifact: Artifact, recording: Recording) -> dict[str, Any]:
    values = {name: getattr(artifact, name) for name in _TOLD if name != "customer"}
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
