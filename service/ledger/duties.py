"""What one process at a time does now and then, and what is to be asked at the provider's API."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement, Connection, Update, or_, select, update

from service.errors import LeaseLost
from service.ledger.database import Database
from service.ledger.tables import MOMENT, artifacts, duties, now, recordings
from service.ledger.view import recording_of
from service.model import Kind, Recording


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A recording or session of which the ledger may not know all files.

    ``known`` are the kinds that it has; ``ended_s_ago`` counts from the end, or where that is not told from
    the first news.
    """

    recording: Recording
    known: frozenset[Kind]
    ended_s_ago: float


def own_name() -> str:
    """What this process is known by to the others, as the owner of what it leases; another at each call."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Duties:
    """The duties as one process, known to the others as ``owner``, takes them."""

    def __init__(self, database: Database, *, owner: str, lease_s: float) -> None:
        """``lease_s``: how long a silent process keeps a duty."""
        self._database = database
        self._owner = owner
        self._lease_s = lease_s

    async def take(self, name: str) -> bool:
        """Lease a duty that is due and nobody has; a new one is due at once."""
        free = or_(duties.c.lease_until.is_(None), duties.c.lease_until <= now())
        taken = (
            update(duties)
            .where(duties.c.name == name, duties.c.due_at <= now(), free)
            .values(owner=self._owner, lease_until=now() + self._lease_s)
        )
        new = self._database.insert(duties).values(name=name, due_at=now()).on_conflict_do_nothing()

        def take(connection: Connection) -> bool:
            connection.execute(new)
            return connection.execute(taken).rowcount == 1

        return await self._database.write(take)

    async def holding(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        """Do ``job`` while the duty is kept; :class:`~service.errors.LeaseLost` if another process has it."""
        running, keeping = asyncio.ensure_future(job()), asyncio.ensure_future(self._keep(name))
        try:
            await asyncio.wait([running, keeping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                keeping.result()
            await running
        finally:
            for task in (running, keeping):
                task.cancel()
            await asyncio.wait([running, keeping])

    async def _keep(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            kept = update(duties).where(*self._mine(name)).values(lease_until=now() + self._lease_s)
            if not await self._database.write(partial(_is_changed, kept)):
                raise LeaseLost(name)

    async def done(self, name: str, *, again_in_s: float, error: str | None = None) -> None:
        """Give a duty back until it is due again; ``error`` is why it was not done."""
        given = {"owner": None, "lease_until": None, "due_at": now() + again_in_s, "error": error}
        if error is None:
            given["done_at"] = now()
        back = update(duties).where(*self._mine(name)).values(**given)
        await self._database.write(lambda connection: connection.execute(back))

    async def inquiries(self, app: str, *, limit: int) -> list[Inquiry]:
        """What is to be asked for at the app's API now: recordings first, then the longest due."""
        due = (
            select(recordings, now().label("now"))
            .where(recordings.c.ask_at.is_not(None), recordings.c.ask_at <= MOMENT, recordings.c.app == app)
            .order_by(recordings.c.scope, recordings.c.ask_at, recordings.c.id)
            .limit(limit)
        )

        def look(connection: Connection) -> list[Inquiry]:
            rows = connection.execute(due).all()
            ids = [row.id for row in rows]
            known: dict[str, set[Kind]] = {}
            theirs = select(artifacts.c.recording_id, artifacts.c.kind).where(
                artifacts.c.recording_id.in_(ids)
            )
            for recording_id, kind in connection.execute(theirs):
                known.setdefault(recording_id, set()).add(Kind(kind))
            return [
                Inquiry(
                    recording_of(row),
                    frozenset(known.get(row.id, ())),
                    row.now - (row.stopped_at or row.seen_at),
                )
                for row in rows
            ]

        return await self._database.read(look)

    async def answered(self, recording_id: str, *, again_in_s: float | None) -> None:
        """The API has been asked for this recording or session; None: nothing more is to be asked."""
        ask_at = None if again_in_s is None else now() + again_in_s
        noted = update(recordings).where(recordings.c.id == recording_id).values(ask_at=ask_at)
        await self._database.write(lambda connection: connection.execute(noted))

    def _mine(self, name: str) -> tuple[ColumnElement[bool], ...]:
        return duties.c.name == name, duties.c.owner == self._owner


def _is_changed(statement: Update, connection: Connection) -> bool:
    return connection.execute(statement).rowcount == 1
