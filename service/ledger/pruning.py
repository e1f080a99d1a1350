"""What the ledger may forget: old deliveries, and how old files were archived; never that they were."""

from functools import partial

from sqlalchemy import Connection, delete, func, or_, select, update

from service.ledger.database import Database
from service.ledger.tables import (
    MOMENT,
    artifacts,
    copies,
    deliveries,
    failures,
    notices,
    now,
    parts,
    recordings,
    statuses,
)
from service.model import State

_AT_ONCE = 1000


class Pruning:
    """Forgets, a little in each transaction, so that nobody waits for it for long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deliveries(self, *, keep_s: float) -> int:
        """Forget deliveries older than ``keep_s``; returns how many. What they announced stays."""
        old = (
            select(deliveries.c.number)
            .where(deliveries.c.received_at < MOMENT - keep_s)
            .order_by(deliveries.c.received_at)
            .limit(_AT_ONCE)
        )
        forgotten = delete(deliveries).where(deliveries.c.number.in_(old))
        total = 0
        while count := await self._database.write(lambda connection: connection.execute(forgotten).rowcount):
            total += count
        return total

    async def notices(self, *, keep_s: float) -> int:
        """Forget notices older than ``keep_s``; returns how many. What is forgotten may be told again."""
        old = (
            select(notices.c.id)
            .where(notices.c.made_at < MOMENT - keep_s)
            .order_by(notices.c.made_at)
            .limit(_AT_ONCE)
        )
        forgotten = delete(notices).where(notices.c.id.in_(old))
        total = 0
        while count := await self._database.write(lambda connection: connection.execute(forgotten).rowcount):
            total += count
        return total

    async def files(self, *, keep_s: float) -> int:
        """Forget the files of recordings of which all were archived before ``keep_s``; how many recordings.

        The recording stays, as closed: news of it brings nothing any more. Its manifests stay known too.
        """
        total = 0
        while count := await self._database.write(partial(_close, keep_s)):
            total += count
        return total


def _close(keep_s: float, connection: Connection) -> int:
    sibling = artifacts.alias()
    # An expired one has no time of its own; the others of its recording have. Counted, since for a NOT EXISTS
    # PostgreSQL may read all artifacts that there are.
    needed = (
        select(func.count())
        .where(
            sibling.c.recording_id == artifacts.c.recording_id,
            or_(
                sibling.c.state.not_in([State.ARCHIVED, State.EXPIRED]),
                sibling.c.stored_at >= MOMENT - keep_s,
                sibling.c.due_at.is_not(None),
            ),
        )
        .scalar_subquery()
    )
    old = (
        select(artifacts.c.recording_id)
        .where(artifacts.c.stored_at < MOMENT - keep_s, needed == 0)
        .order_by(artifacts.c.stored_at)
        .limit(_AT_ONCE)
    )
    found = sorted(set(connection.execute(old).scalars()))
    if not found:
        return 0
    # What somebody has news of now, or had meanwhile, is left for the next time.
    theirs = select(recordings.c.id).where(recordings.c.id.in_(found)).with_for_update(skip_locked=True)
    locked = connection.execute(theirs).scalars().all()
    still = set(connection.execute(old.where(artifacts.c.recording_id.in_(locked))).scalars())
    files = select(artifacts.c.id).where(artifacts.c.recording_id.in_(still))
    ids = connection.execute(files).scalars().all()
    for start in range(0, len(ids), _AT_ONCE):
        some = failures.c.artifact_id.in_(ids[start : start + _AT_ONCE])
        connection.execute(delete(failures).where(some))
    for table in (parts, copies):
        connection.execute(delete(table).where(table.c.artifact_id.in_(files)))
    connection.execute(delete(artifacts).where(artifacts.c.recording_id.in_(still)))
    connection.execute(delete(statuses).where(statuses.c.recording_id.in_(still)))
    connection.execute(
        update(recordings).where(recordings.c.id.in_(still)).values(closed_at=now(), ask_at=None)
    )
    return len(still)
