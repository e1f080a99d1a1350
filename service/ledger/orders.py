"""What people have done with files that the ledger knows, each time with a line in the audit trail.

An order changes rows alone: whoever works on the file meets it at the next write, or the next claim.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, or_, select, update

from service.choices import Order
from service.errors import NotInLedger, OrderRefused
from service.ledger.database import Database
from service.ledger.fence import UNHELD
from service.ledger.tables import PAUSED, artifacts, audit, copies, now, recordings
from service.model import State


class Orders:
    """Gives orders; the ``actor`` of each is who the audit trail names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def give(self, order: Order, target: str, *, actor: str) -> list[str]:
        """Give an order for a recording, a session or one file, by its id; returns the files it is for.

        Raises :class:`~service.errors.NotInLedger`, and :class:`~service.errors.OrderRefused` if there is
        none that it could be for.
        """
        return await self._database.write(partial(_given, order, target, actor))


def _given(order: Order, target: str, actor: str, connection: Connection) -> list[str]:
    recording_id = _recording_of(connection, target)
    # First, and its artifacts after it, as news is taken in: else each could wait for the other.
    connection.execute(select(recordings.c.id).where(recordings.c.id == recording_id).with_for_update())
    theirs = artifacts.c.recording_id == recording_id
    if recording_id != target:
        theirs = and_(theirs, artifacts.c.id == target)
    done = sorted(_DOING[order](connection, theirs))
    if not done:
        raise OrderRefused(_REFUSALS[order])
    line = {
        "at": now(),
        "actor": actor,
        "action": order.value,
        "recording_id": recording_id,
        "artifact_id": None if recording_id == target else target,
    }
    connection.execute(insert(audit).values(**line))
    return done


def _recording_of(connection: Connection, target: str) -> str:
    if connection.execute(select(recordings.c.id).where(recordings.c.id == target)).first():
        return target
    file = select(artifacts.c.recording_id).where(artifacts.c.id == target)
    recording_id = connection.execute(file).scalar()
    if recording_id is None:
        raise NotInLedger(target)
    return str(recording_id)


def _retry(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    return _due_now(connection, theirs, {"cancelled_at": None})


def _renew(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    return _due_now(connection, theirs, {"cancelled_at": None, "renew_at": now()})


def _due_now(connection: Connection, theirs: ColumnElement[bool], values: Mapping[str, Any]) -> list[str]:
    unstored = or_(artifacts.c.due_at.is_not(None), artifacts.c.state == State.EXPIRED)
    state = case((artifacts.c.state == State.EXPIRED, State.WAITING.value), else_=artifacts.c.state)
    done = _changed(
        connection,
        and_(theirs, unstored, ~_IS_HELD),
        {"due_at": now(), "state": state, "attempts": 0, **values},
    )
    waiting = (copies.c.artifact_id.in_(done), copies.c.state == State.WAITING)
    connection.execute(update(copies).where(*waiting).values(due_at=now()))
    return done


def _pause(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    is_open = and_(
        artifacts.c.due_at.is_not(None), artifacts.c.due_at != PAUSED, artifacts.c.cancelled_at.is_(None)
    )
    return _changed(connection, and_(theirs, is_open), {"due_at": PAUSED, **_TAKEN_AWAY})


def _resume(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    return _changed(connection, and_(theirs, artifacts.c.due_at == PAUSED), {"due_at": now(), "attempts": 0})


def _cancel(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    is_open = and_(
        artifacts.c.due_at.is_not(None),
        artifacts.c.state.in_([State.WAITING, State.MOVING]),
        artifacts.c.cancelled_at.is_(None),
    )
    # Whoever claims it next frees what was moved.
    values = {"cancelled_at": now(), "due_at": now(), "error": None, "mend": None, **_TAKEN_AWAY}
    return _changed(connection, and_(theirs, is_open), values)


def _verify(connection: Connection, theirs: ColumnElement[bool]) -> list[str]:
    stored = copies.c.state.in_([State.STORED, State.ARCHIVED])
    wanted = (copies.c.artifact_id.in_(select(artifacts.c.id).where(theirs)), stored)
    asked = update(copies).where(*wanted).values(verify_at=now()).returning(copies.c.artifact_id)
    return list(dict.fromkeys(connection.execute(asked).scalars()))


def _changed(connection: Connection, which: ColumnElement[bool], values: Mapping[str, Any]) -> list[str]:
    changed = update(artifacts).where(which).values(**values).returning(artifacts.c.id)
    return list(connection.execute(changed).scalars())


_IS_HELD = func.coalesce(artifacts.c.lease_until, 0.0) > now()
_TAKEN_AWAY: Final[dict[str, Any]] = {
    **UNHELD,
    "epoch": artifacts.c.epoch + 1,
    "state": case((artifacts.c.state == State.MOVING, State.WAITING.value), else_=artifacts.c.state),
}
"""Whoever has a claim of before can change nothing any more: it ends as one that was lost."""

_DOING: Final[Mapping[Order, Callable[[Connection, ColumnElement[bool]], list[str]]]] = {
    Order.RETRY: _retry,
    Order.RENEW: _renew,
    Order.PAUSE: _pause,
    Order.RESUME: _resume,
    Order.CANCEL: _cancel,
    Order.VERIFY: _verify,
}
_REFUSALS: Final[Mapping[Order, str]] = {
    Order.RETRY: "there is nothing to be tried again: it is stored, or it is being moved now",
    Order.RENEW: "there is no link to be renewed: it is stored, or it is being moved now",
    Order.PAUSE: "there is nothing to be paused: it is stored, was given up, or is paused already",
    Order.RESUME: "nothing of it is paused",
    Order.CANCEL: "there is nothing to be given up: it is stored, or was given up before",
    Order.VERIFY: "nothing of it is stored",
}
