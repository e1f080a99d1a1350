"""Who is next: what is urgent first, and then everybody in turn, each one's soonest expiry first.

So a customer whose 500 recordings come at once does not keep the others waiting, yet all slots are his when
nobody else has anything. What has a day left, or less, goes before everything else.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, func, or_, select

from service.ledger.tables import MOMENT, artifacts

URGENT_S = 24 * 3600.0
"""An artifact that the provider deletes within this time waits for nobody's turn."""


@dataclass(slots=True)
class _Customer:
    """How many artifacts of a customer are held now, and when the first that waits expires."""

    name: str
    held: int
    soonest: float


def next_due(connection: Connection, limit: int) -> list[str]:
    """The ids of up to ``limit`` artifacts to be claimed now, locked where the database locks rows."""
    chosen = list(connection.execute(_URGENT, {"most": limit}).scalars())
    if len(chosen) == limit:
        return chosen
    waiting = [
        _Customer(row.customer, row.held, row.soonest)
        for row in connection.execute(_CUSTOMERS)
        if row.soonest is not None
    ]
    while waiting and len(chosen) < limit:
        for number, share in _shares(waiting, limit - len(chosen)).items():
            customer = waiting[number]
            given = {"customer": customer.name, "most": share, "chosen": chosen}
            found = connection.execute(_THEIRS, given).scalars().all()
            chosen += found
            customer.held = customer.held + len(found) if len(found) == share else -1
        waiting = [customer for customer in waiting if customer.held >= 0]
    return chosen


def _shares(waiting: Sequence[_Customer], free: int) -> Counter[int]:
    """How many of ``free`` slots each gets, by its number: to who holds least, then the soonest expiry."""
    shares: Counter[int] = Counter()

    def turn(number: int) -> tuple[int, float]:
        return waiting[number].held + shares[number], waiting[number].soonest

    for _ in range(free):
        shares[min(range(len(waiting)), key=turn)] += 1
    return shares


_FREE = or_(artifacts.c.lease_until.is_(None), artifacts.c.lease_until <= MOMENT)
_DUE = and_(artifacts.c.due_at.is_not(None), artifacts.c.due_at <= MOMENT, _FREE)


def _first(*conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select(artifacts.c.id)
        .where(_DUE, *conditions)
        .order_by(artifacts.c.expires_at, artifacts.c.id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
    )


def _customers() -> Select[Any]:
    """Every customer with open artifacts, found by steps from one to the next in the index."""
    first = (
        select(func.min(artifacts.c.customer).label("customer"))
        .where(artifacts.c.due_at.is_not(None))
        .cte("customers", recursive=True)
    )
    beyond = (
        select(func.min(artifacts.c.customer))
        .where(artifacts.c.due_at.is_not(None), artifacts.c.customer > first.c.customer)
        .scalar_subquery()
    )
    every = first.union_all(select(beyond).where(first.c.customer.is_not(None)))
    theirs = artifacts.c.customer == every.c.customer
    held = select(func.count()).where(theirs, artifacts.c.lease_until > MOMENT).scalar_subquery()
    soonest = (
        select(artifacts.c.expires_at)
        .where(theirs, _DUE)
        .order_by(artifacts.c.expires_at, artifacts.c.id)
        .limit(1)
        .scalar_subquery()
    )
    return select(every.c.customer, held.label("held"), soonest.label("soonest")).where(
        every.c.customer.is_not(None)
    )


_URGENT = _first(artifacts.c.expires_at < MOMENT + URGENT_S)
_CUSTOMERS = _customers()
_THEIRS = _first(
    artifacts.c.customer == bindparam("customer"),
    artifacts.c.id.not_in(bindparam("chosen", expanding=True)),
)
