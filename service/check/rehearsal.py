"""Whether the ledger's database would do: a start and a delivery are rehearsed, and nothing of them stays."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from service.check.steps import Note, Steps
from service.check.volume import NETWORK, doubt_about, file_system
from service.errors import LedgerUnfit
from service.ledger import Database, Intake
from service.model import Delivery, Event, Provider

_CLOSE_S = 3.0
_RIGHTS = "let the database's user make tables in its schema, read them and write them"
_T = TypeVar("_T")


class Rehearsal:
    """What a start and a delivery ask of the database at ``url``, in transactions that are rolled back.

    ``file`` is the SQLite file. If there is none yet, they run on one in a temporary folder where it will be:
    a check by another user must not leave a ledger that the service cannot write.
    """

    def __init__(self, url: str, *, file: Path | None, steps: Steps) -> None:
        self._url = url
        self._file = file
        self._steps = steps
        self._temporary: Path | None = None
        self._database: Database | None = None
        self._has_tables = False

    async def run(self) -> None:
        """Try every step that makes sense after the ones before it."""
        try:
            for step, work in (
                ("open", self._open),
                ("know its tables", self._migrate),
                ("write", self._write),
            ):
                if not await self._steps.run(step, work):
                    return
        finally:
            await self._close()

    async def _open(self) -> Note | None:
        told = await asyncio.to_thread(self._look_at, self._file) if self._file else None
        # In a thread: making it opens the file, or imports the driver.
        self._database = await asyncio.to_thread(self._opened)
        with contextlib.suppress(LedgerUnfit):
            await self._database.check()
            self._has_tables = True
        return told

    def _look_at(self, file: Path) -> Note | None:
        folder = file.absolute().parent
        if not file.exists():
            above = next(each for each in (folder, *folder.parents) if each.exists())
            self._temporary = Path(tempfile.mkdtemp(prefix=".dyte-archiver-check-", dir=above))
        doubt = doubt_about(folder)
        if not doubt and (kind := file_system(folder)) in NETWORK:
            doubt = f"{folder} is on {kind}, where SQLite's locks cannot be relied on: use PostgreSQL"
        return Note(doubt) if doubt else None

    def _opened(self) -> Database:
        if self._temporary is not None:
            return Database(f"sqlite:///{self._temporary}/archiver.db")
        return _RollingBack(self._url, create=False)

    async def _migrate(self) -> str | None:
        assert self._database is not None
        await self._database.migrate()
        return None if self._has_tables else "there are none yet: the service makes them when it starts"

    async def _write(self) -> None:
        assert self._database is not None
        if self._has_tables or self._temporary is not None:  # else making the tables was writing
            await Intake(self._database).record(Delivery(Provider.DYTE, None, None), Event("check"))

    async def _close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._database.close()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)


class _RolledBack(Exception):
    """Ends a transaction that went well."""


class _RollingBack(Database):
    """A database that does everything and keeps nothing."""

    async def write(self, work: Callable[[Connection], _T], *, within_s: float | None = 15.0) -> _T:
        """Run ``work`` as ever, then roll back what it did."""
        answers: list[_T] = []

        def rehearsed(connection: Connection) -> None:
            answers.append(work(connection))
            raise _RolledBack

        try:
            await super().write(rehearsed, within_s=within_s)
        except _RolledBack:
            pass
        except ProgrammingError as error:  # none of ours is wrong: the user lacks a right
            raise LedgerUnfit(str(error.orig).partition("\n")[0], mend=_RIGHTS) from error
        return answers[0]
