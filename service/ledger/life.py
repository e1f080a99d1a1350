"""All that the ledger has of one recording or session: its files, their copies, and what happened when."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, Table, func, select

from service.errors import NotInLedger
from service.ledger.browse import Found
from service.ledger.database import Database
from service.ledger.overview import lines_of
from service.ledger.tables import (
    PAUSED,
    artifacts,
    audit,
    copies,
    deliveries,
    failures,
    manifests,
    notices,
    now,
    parts,
    recordings,
    statuses,
)
from service.ledger.view import recording_of
from service.model import Kind, State

_MOST = 500
"""Of what happens again and again: the newest."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a file, and how often; with the source where ``storage`` is None."""

    storage: str | None
    error: str
    mend: str | None
    owner: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Place:
    """A file's copy in one storage. ``fault`` is what its last verification found, None: it was whole."""

    storage: str
    state: State
    key: str | None
    size: int | None
    moved: int
    parts: int
    part_size: int | None
    etag: str | None
    content_type: str | None
    crc64nvme: str | None
    crc32c: str | None
    stored_at: float | None
    attempts: int
    error: str | None
    mend: str | None
    due_at: float | None
    verify_at: float | None
    verified_at: float | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class File:
    """An artifact. ``host`` is where its link leads; the link itself is not shown."""

    id: str
    kind: Kind
    track: str | None
    state: State
    name: str
    host: str
    announced_size: int | None
    size: int | None
    seen_at: float
    expires_at: float
    due_at: float | None
    owner: str | None
    lease_until: float | None
    attempts: int
    error: str | None
    mend: str | None
    stored_at: float | None
    cancelled_at: float | None
    places: tuple[Place, ...]
    failures: tuple[Failure, ...]

    @property
    def is_paused(self) -> bool:
        """Whether somebody said to leave it alone."""
        return self.due_at == PAUSED


@dataclass(frozen=True, slots=True)
class Heard:
    """A delivery."""

    received_at: float
    event_name: str
    status: str | None
    outcome: str
    delivery_id: str | None
    webhook_id: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """A manifest."""

    storage: str
    key: str
    written_at: float


@dataclass(frozen=True, slots=True)
class Ordered:
    """A line of the audit trail; ``artifact_id`` None: of all files."""

    at: float
    actor: str
    action: str
    artifact_id: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """A notice to the customer's own system; ``due_at`` None: it took it, or is told no more."""

    id: str
    type: str
    made_at: float
    due_at: float | None
    attempts: int
    error: str | None
    taken_at: float | None


@dataclass(frozen=True, slots=True)
class Life:
    """A recording or session at the moment ``now``; each list the oldest first."""

    now: float
    found: Found
    statuses: tuple[tuple[str, float], ...]
    files: tuple[File, ...]
    deliveries: tuple[Heard, ...]
    manifests: tuple[Written, ...]
    orders: tuple[Ordered, ...]
    notices: tuple[Told, ...]


async def life(database: Database, recording_id: str) -> Life:
    """All of one recording or session.

    Raises :class:`~service.errors.NotInLedger`, :class:`~service.errors.LedgerUnavailable`.
    """
    return await database.read(partial(_life, recording_id))


def _life(recording_id: str, connection: Connection) -> Life:
    row = connection.execute(
        select(recordings, now().label("now")).where(recordings.c.id == recording_id)
    ).first()
    if row is None:
        raise NotInLedger(recording_id)
    lines = lines_of(connection, [recording_id]).get(recording_id, ())
    found = Found(recording_of(row), row.seen_at, row.closed_at is not None, tuple(lines))
    return Life(
        now=row.now,
        found=found,
        statuses=tuple(
            (each.status, each.seen_at) for each in _of(connection, statuses, recording_id, "seen_at")
        ),
        files=_files(connection, recording_id),
        deliveries=_each(Heard, _of(connection, deliveries, recording_id, "received_at")),
        manifests=_each(Written, _of(connection, manifests, recording_id, "written_at")),
        orders=_each(Ordered, _of(connection, audit, recording_id, "at")),
        notices=_each(Told, _of(connection, notices, recording_id, "made_at")),
    )


def _files(connection: Connection, recording_id: str) -> tuple[File, ...]:
    theirs = select(artifacts).where(artifacts.c.recording_id == recording_id)
    rows = sorted(connection.execute(theirs), key=lambda row: (list(Kind).index(Kind(row.kind)), row.id))
    ids = [row.id for row in rows]
    count = (
        select(func.count())
        .where(parts.c.artifact_id == copies.c.artifact_id, parts.c.storage == copies.c.storage)
        .scalar_subquery()
    )
    moved = (
        select(func.coalesce(func.sum(parts.c.size), 0))
        .where(parts.c.artifact_id == copies.c.artifact_id, parts.c.storage == copies.c.storage)
        .scalar_subquery()
    )
    of_them = select(copies, count.label("parts"), moved.label("moved")).where(copies.c.artifact_id.in_(ids))
    places = connection.execute(of_them.order_by(copies.c.storage)).all()
    failed = connection.execute(
        select(failures).where(failures.c.artifact_id.in_(ids)).order_by(failures.c.first_at)
    ).all()
    return tuple(
        File(
            **_values(File, row, "kind", "state", "host", "places", "failures"),
            kind=Kind(row.kind),
            state=State(row.state),
            host=urlsplit(row.url).hostname or "",
            places=tuple(_place(each) for each in places if each.artifact_id == row.id),
            failures=tuple(_failure(each) for each in failed if each.artifact_id == row.id),
        )
        for row in rows
    )


def _place(row: Row[Any]) -> Place:
    is_open = row.state == State.WAITING
    return Place(
        **_values(Place, row, "state", "moved", "due_at"),
        state=State(row.state),
        moved=int(row.moved) if is_open else row.size or 0,
        due_at=row.due_at if is_open else None,
    )


def _failure(row: Row[Any]) -> Failure:
    return Failure(**_values(Failure, row, "storage"), storage=row.storage or None)


def _of(connection: Connection, table: Table, recording_id: str, moment: str) -> list[Row[Any]]:
    """The newest rows of a recording, the oldest of them first."""
    # Of what came in the same moment the one with the greater number came later.
    order = (table.c[moment].desc(), *(column.desc() for column in table.primary_key))
    newest = select(table).where(table.c.recording_id == recording_id).order_by(*order)
    return [*connection.execute(newest.limit(_MOST))][::-1]


def _each(kind: type[_T], rows: Sequence[Row[Any]]) -> tuple[_T, ...]:
    return tuple(kind(**_values(kind, row)) for row in rows)


def _values(kind: Any, row: Row[Any], *without: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in kind.__slots__ if name not in without}
