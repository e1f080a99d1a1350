"""Who is next: what is urgent first, and then everybody in turn, each one's soonest expiry first.

So a customer whose 500 recordings come at once does not keep the others waiting, yet all slots are his when
nobody else has anything. What has a day left, or less, goes before everything else.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    union_all,
)

from service.ledger.tables import MOMENT, artifacts, copies
from service.model import State

URGENT_S = 24 * 3600.0
"""An artifact that the provider deletes within this time waits for nobody's turn."""

AFTER_OTHERS_S = 5.0
"""How long a worker that doubts a storage leaves its files to workers that do not: they look every 2 s."""

_AT_ONCE = 20
"""Of how many customers one statement takes at most."""


@dataclass(slots=True)
class _Customer:
    """How many artifacts of a customer are held now, and when the first that waits expires."""

    name: str
    held: int
    soonest: float


def next_due(
    connection: Connection, limit: int, *, avoided: Collection[str] = (), doubted: Collection[str] = ()
) -> list[str]:
    """The ids of up to ``limit`` artifacts to be claimed now, locked where the database locks rows.

    Without those of which nothing is to be stored now but in the ``avoided`` storages, or in the ``doubted``
    ones and due for less than ``AFTER_OTHERS_S``.
    """
    is_picky = bool(avoided or doubted)
    elsewhere = {"avoided": sorted(avoided), "doubted": sorted(doubted)} if is_picky else {}
    urgent = connection.execute(_URGENT[is_picky], {"most": limit, **elsewhere}).all()
    chosen = [row.id for row in urgent]
    if len(chosen) == limit:
        return chosen
    served = Counter(row.customer for row in urgent)
    waiting = [
        _Customer(row.customer, row.held + served[row.customer], row.soonest)
        for row in connection.execute(_CUSTOMERS)
        if row.soonest is not None
    ]
    while waiting and len(chosen) < limit:
        shares = dict(islice(_shares(waiting, limit - len(chosen)).items(), _AT_ONCE))
        given: dict[str, Any] = {"chosen": chosen, **elsewhere}
        for place, (number, share) in enumerate(shares.items()):
            given |= {f"customer_{place}": waiting[number].name, f"most_{place}": share}
        found = connection.execute(_theirs(len(shares), is_picky=is_picky), given).all()
        chosen += [row.id for row in found]
        got = Counter(row.customer for row in found)
        for number, share in shares.items():
            customer = waiting[number]
            customer.held = customer.held + share if got[customer.name] == share else -1
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
# As a sum, of which PostgreSQL's planner knows nothing: of the column it knows that next to no row has such a
# value, and would sort all that a customer has instead of reading it in its order.
_DUE = and_(artifacts.c.due_at.is_not(None), artifacts.c.due_at + 0.0 <= MOMENT, _FREE)


def _among(name: str) -> ColumnElement[bool]:
    return copies.c.storage.in_(bindparam(name, expanding=True))


_MINE = and_(
    copies.c.due_at + case((_among("doubted"), AFTER_OTHERS_S), else_=0.0) <= MOMENT, ~_among("avoided")
)
# One number, not EXISTS: beside an OR PostgreSQL would look for it in all copies that there are. None are
# open before the first claim, when it is not known yet where the file goes, and when its manifest is due.
_ELSEWHERE = func.coalesce(
    select(func.max(case((_MINE, 1), else_=0)))
    .where(copies.c.artifact_id == artifacts.c.id, copies.c.state == State.WAITING)
    .scalar_subquery(),
    1,
)


def _first(most: str, *conditions: ColumnElement[bool], is_picky: bool) -> Select[Any]:
    return (
        select(artifacts.c.id, artifacts.c.customer)
        .where(_DUE, *conditions, *([_ELSEWHERE == 1] if is_picky else []))
        .order_by(artifacts.c.expires_at, artifacts.c.id)
        .limit(bindparam(most, type_=Integer))
        .with_for_update(skip_locked=True)
    )


@cache
def _theirs(count: int, *, is_picky: bool) -> CompoundSelect[Any]:
    """What is first of each of ``count`` customers, in one statement."""
    each = (
        _first(
            f"most_{place}",
            artifacts.c.customer == bindparam(f"customer_{place}"),
            artifacts.c.id.not_in(bindparam("chosen", expanding=True)),
            is_picky=is_picky,
        ).subquery()
        for place in range(count)
    )
    return union_all(*(select(first) for first in each))


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


_URGENT = {
    is_picky: _first("most", artifacts.c.expires_at < MOMENT + URGENT_S, is_picky=is_picky)
    for is_picky in (False, True)
}
_CUSTOMERS = _customers()
