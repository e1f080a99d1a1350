"""Which copies are to be read back, and what was found: so that whoever is interrupted can go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, cast, func, or_, select, tuple_, update

from service.ledger.database import Database
from service.ledger.tables import MOMENT, artifacts, copies, now
from service.ledger.view import archived_of
from service.model import Archived, State

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Amount:
    """So many copies, of so many bytes together."""

    count: int
    size: int


class Verifications:
    """What is known of stored copies. ``before`` is a moment: only what was not verified since; None: all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def amounts(self, *, before: float | None, storage: str | None) -> dict[str, Amount]:
        """How much there is to be read back in each storage, or in one."""
        size = cast(func.coalesce(func.sum(copies.c.size), 0), BigInteger)
        totals = select(copies.c.storage, func.count(), size).where(*_wanted(before, storage))
        rows = await self._database.read(
            lambda connection: connection.execute(totals.group_by(copies.c.storage)).all()
        )
        return {name: Amount(count, size) for name, count, size in rows}

    async def batch(
        self, after: tuple[str, str] | None, *, before: float | None, storage: str | None, limit: int
    ) -> list[tuple[str, Archived]]:
        """The next copies, each with its storage, by artifact and storage; ``after`` that of the last."""
        key = tuple_(copies.c.artifact_id, copies.c.storage)
        some = _copies().where(*_wanted(before, storage))
        if after is not None:
            some = some.where(key > tuple_(*after))
        return await self._read(some.order_by(copies.c.artifact_id, copies.c.storage).limit(limit))

    async def sample(
        self, count: int, *, before: float | None, storage: str | None
    ) -> list[tuple[str, Archived]]:
        """As many copies as asked for, or as there are, each as likely as every other."""
        return await self._read(
            _copies().where(*_wanted(before, storage)).order_by(func.random()).limit(count)
        )

    async def known(self, storage: str, entries: Sequence[Archived]) -> set[str]:
        """The keys of those entries of a manifest of which the ledger has the very same copy."""
        named = {entry.key: entry for entry in entries}
        theirs = _copies().where(*_wanted(None, storage), copies.c.key.in_(named))
        found = [copy for _, copy in await self._read(theirs)]
        return {
            copy.key
            for copy in found
            if (copy.size, copy.checksum) == (named[copy.key].size, named[copy.key].checksum)
        }

    async def found(self, storage: str, entry: Archived, fault: str | None) -> None:
        """Note what reading a copy back has found, ``fault`` None: it is whole; if it is that copy still."""
        same = (
            copies.c.artifact_id == entry.artifact_id,
            copies.c.storage == storage,
            copies.c.key == entry.key,
            copies.c.stored_at == entry.stored_at,
        )
        noted = update(copies).where(*same).values(verified_at=now(), verify_at=None, fault=fault)
        await self._database.write_patiently(partial(_done, noted), for_s=_PATIENCE_S)

    async def take(self, *, lease_s: float) -> tuple[str, Archived] | None:
        """What is to be verified next, with its storage; nobody else gets it for ``lease_s`` seconds."""
        next_due = (
            select(copies.c.artifact_id, copies.c.storage)
            .where(copies.c.verify_at.is_not(None), copies.c.verify_at <= MOMENT)
            .order_by(copies.c.verify_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )

        def take(connection: Connection) -> tuple[str, Archived] | None:
            key = connection.execute(next_due).first()
            if key is None:
                return None
            this = (copies.c.artifact_id == key.artifact_id, copies.c.storage == key.storage)
            connection.execute(update(copies).where(*this).values(verify_at=now() + lease_s))
            row = connection.execute(_copies().where(*this)).one()
            return row.storage, archived_of(row)

        return await self._database.write(take)

    async def put_off(self, storage: str, entry: Archived, *, delay_s: float) -> None:
        """Have a copy that was taken verified later, unless somebody has done it meanwhile."""
        this = (
            copies.c.artifact_id == entry.artifact_id,
            copies.c.storage == storage,
            copies.c.verify_at.is_not(None),
        )
        later = update(copies).where(*this).values(verify_at=now() + delay_s)
        await self._database.write(partial(_done, later))

    async def _read(self, some: Select[Any]) -> list[tuple[str, Archived]]:
        rows: Sequence[Any] = await self._database.read(lambda connection: connection.execute(some).all())
        return [(row.storage, archived_of(row)) for row in rows]


def _done(statement: Any, connection: Connection) -> None:
    connection.execute(statement)


def _copies() -> Select[Any]:
    return select(copies, artifacts.c.kind, artifacts.c.track).join(artifacts)


def _wanted(before: float | None, storage: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [copies.c.state.in_([State.STORED, State.ARCHIVED])]
    if before is not None:
        wanted.append(or_(copies.c.verified_at.is_(None), copies.c.verified_at < before))
    if storage is not None:
        wanted.append(copies.c.storage == storage)
    return wanted
