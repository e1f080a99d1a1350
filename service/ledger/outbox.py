"""The outbox: the notices that are to be sent, until each was taken or is given up.

A notice that is sent is leased: ``due_at`` is moved beyond the time that sending may take. Whoever dies with
it leaves it to the next one.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, update

from service.ledger.database import Database
from service.ledger.tables import MOMENT, notices, now
from service.model import Topic
from service.notice import Notice


class Outbox:
    """The sending side of the notices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, room: Mapping[Topic, int], *, lease_s: float) -> list[Notice]:
        """Lease what is due, as much of each topic as there is ``room`` for, the longest due first."""
        found = await self._database.read(partial(_due_topics, room))
        return await self._database.write(partial(_lease, found, lease_s)) if found else []

    async def taken(self, notice: Notice) -> None:
        """The receiver has it."""
        told = {"due_at": None, "taken_at": func.coalesce(notices.c.taken_at, now()), "error": None}
        await self._settle(notices.c.id == notice.id, **told)

    async def later(self, notice: Notice, *, delay_s: float, error: str) -> None:
        """It is to be sent again, unless somebody else has sent it meanwhile."""
        await self._settle(_still(notice), due_at=now() + delay_s, error=error)

    async def given_up(self, notice: Notice, *, error: str) -> None:
        """It is not sent any more."""
        await self._settle(_still(notice), due_at=None, error=error)

    async def release(self, notice: Notice) -> None:
        """It is due again: whoever had it stops."""
        await self._settle(_still(notice), due_at=now())

    async def waiting(self) -> int:
        """How many are not taken yet and not given up."""
        count = select(func.count()).where(notices.c.due_at.is_not(None))
        return await self._database.read(lambda connection: int(connection.execute(count).scalar_one()))

    async def _settle(self, which: ColumnElement[bool], **values: Any) -> None:
        settled = update(notices).where(which).values(**values)
        await self._database.write(lambda connection: connection.execute(settled))


def _due_topics(room: Mapping[Topic, int], connection: Connection) -> dict[Topic, int]:
    return {
        topic: most
        for topic, most in room.items()
        if most > 0 and connection.execute(_due(topic).limit(1)).first() is not None
    }


def _lease(room: Mapping[Topic, int], lease_s: float, connection: Connection) -> list[Notice]:
    found: list[Notice] = []
    for topic, most in room.items():
        ids = connection.execute(_due(topic).limit(most).with_for_update(skip_locked=True)).scalars().all()
        leased = (
            update(notices)
            .where(notices.c.id.in_(ids))
            .values(due_at=now() + lease_s, attempts=notices.c.attempts + 1)
            .returning(notices, now().label("now"))
        )
        found += [_notice(row) for row in connection.execute(leased)]
    return sorted(found, key=lambda notice: notice.made_at)


def _due(topic: Topic) -> Select[Any]:
    return (
        select(notices.c.id)
        .where(notices.c.type == topic, notices.c.due_at.is_not(None), notices.c.due_at <= MOMENT)
        .order_by(notices.c.due_at)
    )


def _still(notice: Notice) -> ColumnElement[bool]:
    return and_(
        notices.c.id == notice.id, notices.c.attempts == notice.attempts, notices.c.taken_at.is_(None)
    )


def _notice(row: Row[Any]) -> Notice:
    return Notice(
        id=row.id,
        topic=Topic(row.type),
        recording_id=row.recording_id,
        facts=json.loads(row.body),
        made_at=row.made_at,
        attempts=row.attempts,
        now=row.now,
    )
