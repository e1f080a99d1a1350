"""The intake's statements: each takes in any number of rows at once."""

from typing import Any

from sqlalchemy import Boolean, Double, Executable, and_, bindparam, case, func, literal, or_, select, update

from service.artifacts import RETENTION_S
from service.ledger.database import Database
from service.ledger.rows import rows_of, types_of
from service.ledger.tables import PAUSED, artifacts, deliveries, now, recordings, statuses
from service.model import Recording, State

TOLD = ("id", "recording_id", "kind", "track", "url", "name", "announced_size", "customer")
"""The columns of an artifact that the news tells."""
BEFORE = select(recordings.c.id, recordings.c.status_rank).where(
    recordings.c.id.in_(bindparam("ids", expanding=True))
)
"""What is known of ``ids``."""
ASK = update(recordings).where(recordings.c.id.in_(bindparam("ids", expanding=True))).values(ask_at=now())
"""Have the provider's API asked for what the news of ``ids`` lacked."""


def keeping(database: Database) -> Executable:
    """The statement that keeps what came."""
    names = [column.name for column in deliveries.c if column.name not in ("number", "received_at")]
    rows = rows_of(types_of(deliveries, *names), is_sqlite=database.is_sqlite)
    every = select(*(rows.c[name] for name in names), now())
    return database.insert(deliveries).from_select([*names, "received_at"], every)  # type: ignore[no-any-return]


def hearing(database: Database) -> Executable:
    """The statement that notes when a status was first heard of."""
    names = ("recording_id", "status")
    rows = rows_of(types_of(statuses, *names), is_sqlite=database.is_sqlite)
    every = select(*(rows.c[name] for name in names), now()).order_by(rows.c.recording_id)
    statement = database.insert(statuses).from_select([*names, "seen_at"], every)
    return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]


def noting(database: Database) -> Executable:
    """The statement that takes in a recording: what is told, and what was known before.

    It returns when each was closed.
    """
    names = (*Recording.__slots__, "status_rank")
    types = types_of(recordings, *names) | {"is_offered": Boolean()}
    rows = rows_of(types, is_sqlite=database.is_sqlite)
    offered_at = case((rows.c.is_offered, now()), else_=None)
    # Everybody locks in this order: of two batches with the same in them one waits for the other here, before
    # it comes to anything else.
    every = select(*(rows.c[name] for name in names), now(), offered_at).order_by(rows.c.id)
    statement = database.insert(recordings).from_select([*names, "seen_at", "offered_at"], every)
    new, old = statement.excluded, recordings.c
    # News of a higher rank wins field by field, older news only fills in what was missing.
    newer = new.status_rank >= old.status_rank
    merged: dict[str, Any] = {
        name: case((newer, func.coalesce(new[name], old[name])), else_=func.coalesce(old[name], new[name]))
        for name in names
        if name not in ("id", "provider", "scope")
    }
    merged["offered_at"] = func.coalesce(old.offered_at, new.offered_at)
    noting = statement.on_conflict_do_update(index_elements=[old.id], set_=merged)
    return noting.returning(old.id, old.closed_at)  # type: ignore[no-any-return]


def announcing(database: Database, *, is_delivery: bool, is_told: bool) -> Executable:
    """The statement that adds an artifact, or freshens the link of one that is not stored yet.

    It returns the recordings of those that it did that for. ``is_told``: whether the provider said when the
    link expires.
    """
    types = types_of(artifacts, *TOLD) | {"told_expires_at": Double()}
    rows = rows_of(types, is_sqlite=database.is_sqlite)
    values = {name: rows.c[name] for name in TOLD} | {
        "state": literal(State.WAITING.value),
        "seen_at": now(),
        "announced_at": now(),
        "expires_at": rows.c.told_expires_at if is_told else now() + RETENTION_S,
        "due_at": now(),
        "epoch": literal(0),
        "attempts": literal(0),
    }
    every = select(*values.values()).order_by(rows.c.id)
    statement = database.insert(artifacts).from_select(list(values), every)
    new, old = statement.excluded, artifacts.c
    unstored = and_(old.state != State.STORED, old.state != State.ARCHIVED)
    another = new.url != old.url
    is_given_up = old.cancelled_at.is_not(None)
    fresher = or_(new.expires_at > old.expires_at, and_(new.expires_at == old.expires_at, another))
    if not is_told:
        # Counted from its arrival a replay would always be fresher than what it repeats.
        fresher = and_(another, fresher)
    if not is_delivery:
        # The API signs a new link for every answer; it is asked for one when the old is refused.
        later = and_(new.expires_at > old.expires_at, new.expires_at > now())
        fresher = and_(old.state == State.EXPIRED, fresher, later)
    # While it is moving, its lease stands: the worker meets the new link at its next try.
    moving = old.state == State.MOVING
    return statement.on_conflict_do_update(  # type: ignore[no-any-return]
        index_elements=[old.id],
        set_={
            "url": new.url,
            "announced_at": now(),
            "expires_at": new.expires_at,
            "announced_size": func.coalesce(new.announced_size, old.announced_size),
            "state": case((moving, old.state), else_=State.WAITING.value),
            "due_at": case((or_(moving, old.due_at == PAUSED), old.due_at), else_=now()),
            "attempts": 0,
            "renew_at": case((another, None), else_=old.renew_at),
        },
        where=and_(unstored, fresher, ~is_given_up),
    ).returning(old.recording_id)
