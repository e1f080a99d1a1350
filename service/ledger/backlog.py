"""What is still to be done, in numbers, from the rows of files that are not archived."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, case, func, literal_column, select

from service.ledger.tables import MOMENT, PAUSED, artifacts
from service.model import State

STATES: Final = ("waiting", "retrying", "paused", "moving", "stored")
"""``waiting`` for a worker, ``retrying``: for another try; ``stored`` is whole, and its manifest to come."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many files are in each of :data:`STATES`, and since when the first of them is told and not stored.

    ``oldest_s`` is 0 if all are stored; those that somebody paused do not count for it.
    """

    counts: dict[str, int]
    oldest_s: float


def waiting(connection: Connection) -> Backlog:
    """The backlog at this moment."""
    counts, oldest_s = dict.fromkeys(STATES, 0), 0.0
    for row in connection.execute(_BACKLOG):
        counts[row.state] = row.files
        if row.state not in ("paused", State.STORED):
            oldest_s = max(oldest_s, row.oldest_s)
    return Backlog(counts, oldest_s)


# The states as literals, so that the planner sees that the index of these rows serves.
_OPEN = (
    select(
        case(
            (artifacts.c.due_at == PAUSED, "paused"),
            (and_(artifacts.c.state == State.WAITING, artifacts.c.due_at > MOMENT), "retrying"),
            else_=artifacts.c.state,
        ).label("state"),
        artifacts.c.seen_at,
    )
    .where(artifacts.c.state != literal_column(f"'{State.ARCHIVED}'"))
    .where(artifacts.c.state != literal_column(f"'{State.EXPIRED}'"))
    .subquery()
)
_BACKLOG = select(
    _OPEN.c.state, func.count().label("files"), (MOMENT - func.min(_OPEN.c.seen_at)).label("oldest_s")
).group_by(_OPEN.c.state)
