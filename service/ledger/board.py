"""What the page shows at a glance, of all that there is."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, select

from service.choices import Sort, Standing
from service.ledger.backlog import Backlog, waiting
from service.ledger.browse import Found, Page, Search, browse
from service.ledger.database import Database
from service.ledger.overview import Line, Overview, moving, overview, volume
from service.ledger.tables import MOMENT

ARRIVING: Final = ("INVOKED", "RECORDING", "PAUSED", "UPLOADING")
"""The provider's statuses of recordings whose files are still to come."""


_EVER_S = 1e10


@dataclass(frozen=True, slots=True)
class Board:
    """The ledger at about one moment, ``now``; ``overview`` has its nearest deadlines of all that are.

    ``failing``: as many as there was time to find; the soonest deadline first. ``archived_bytes``: of the
    last 24 hours.
    """

    now: float
    overview: Overview
    backlog: Backlog
    moving: tuple[Line, ...]
    failing: Page
    arriving: tuple[Found, ...]
    archived_bytes: int


async def board(database: Database, *, limit: int, moving_limit: int) -> Board:
    """The board, with ``limit`` lines of each kind. Raises :class:`~service.errors.LedgerUnavailable`."""
    failing = await browse(database, Search(standing=Standing.FAILING, sort=Sort.DEADLINE, limit=limit))
    arriving = await browse(database, Search(standing=Standing.EXPECTED, limit=limit))
    return await database.read(partial(_board, failing, arriving.found, limit, moving_limit))


def _board(
    failing: Page, arriving: tuple[Found, ...], limit: int, moving_limit: int, connection: Connection
) -> Board:
    return Board(
        now=float(connection.execute(select(MOMENT)).scalar_one()),
        overview=overview(connection, limit=limit, lost_limit=limit, within_s=_EVER_S, near_limit=limit),
        backlog=waiting(connection),
        moving=tuple(moving(connection, limit=moving_limit)),
        failing=failing,
        arriving=arriving,
        archived_bytes=volume(connection),
    )
