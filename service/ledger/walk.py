"""Going through many rows in the order of an index, in turns that each take a moment only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, FromClause, Select, select, tuple_

_TURN = 2000

Wanted = Callable[[FromClause], ColumnElement[bool]]
"""Makes a condition on the rows of a turn."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Going along an index: its two columns, in one direction, and what is looked for on the way.

    It goes on ``after`` a key; None: from the beginning. A condition in ``wanted`` counts where it looks at
    other tables: what PostgreSQL could make a join of, it would read whole.
    """

    key: tuple[Column[Any], Column[Any]]
    is_downwards: bool
    base: tuple[ColumnElement[bool], ...]
    """What the index answers."""
    wanted: tuple[Wanted, ...]
    """What is looked at in each row."""

    @property
    def is_picky(self) -> bool:
        """Whether there may be nothing in many rows."""
        return bool(self.wanted)

    def end(self, after: Sequence[Any] | None) -> Select[Any]:
        """The key of the last row of a turn; none if there are not as many."""
        rows = select(*self.key).where(*self.base, *self._beyond(after))
        return rows.order_by(*self._order(*self.key)).offset(_TURN - 1).limit(1)

    def matches(self, after: Sequence[Any] | None, most: int) -> Select[Any]:
        """What is looked for in a turn, as far as ``most``: whole rows, which begin with the key."""
        table = self.key[0].table
        others = [column for column in table.c if column not in self.key]
        rows = select(*self.key, *others).where(*self.base, *self._beyond(after))
        rows = rows.order_by(*self._order(*self.key))
        if not self.is_picky:
            return rows.limit(most)
        # A turn of its own: the planner cannot but read the index in its order.
        turn = rows.limit(_TURN).subquery("turn")
        found = select(turn).where(*(condition(turn) for condition in self.wanted))
        return found.order_by(*self._order(*(turn.c[column.name] for column in self.key))).limit(most)

    def _order(self, *key: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        return [each.desc() if self.is_downwards else each.asc() for each in key]

    def _beyond(self, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
        if after is None:
            return []
        key, last = tuple_(*self.key), tuple_(*after)
        return [key < last if self.is_downwards else key > last]
