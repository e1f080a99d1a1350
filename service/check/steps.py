"""Steps that are tried one after another, each bounded in time, and the row that tells what came of each."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from service.errors import ArchiverError, StorageUnavailable

_GRACE_S = 3.0


class Outcome(StrEnum):
    """What came of a step."""

    PASS = "pass"  # noqa: S105 - no password
    NOTE = "note"
    """It passed, and there is something to know."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Row:
    """One step on one subject: what came of it, and of a fault what to mend."""

    outcome: Outcome
    subject: str
    step: str
    seconds: float
    told: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What a step answers that passed, but with something to know."""

    told: str


Step = Callable[[], Awaitable[str | Note | None]]
"""Answers what is worth telling; raises what went wrong."""


class Steps:
    """The steps tried on one subject; after one that got no answer the rest is left out: it would only wait.

    ``mend`` is what a person can do about a failure that does not say so itself.
    """

    def __init__(self, subject: str, *, mend: str, limit_s: float) -> None:
        self.rows: list[Row] = []
        self.ran_late = False
        """Whether a step did not end in time: a thread of it may still hang in the system."""
        self._subject = subject
        self._mend = mend
        self._limit_s = limit_s
        self._gives_no_answer = False

    async def run(self, step: str, work: Step, *, in_any_case: bool = False) -> bool:
        """Try ``work`` and add its row; returns whether it passed."""
        if self._gives_no_answer and not in_any_case:
            return False
        began_at = time.monotonic()
        outcome, told, mend = await self._tried(work)
        seconds = time.monotonic() - began_at
        self.rows.append(Row(outcome, self._subject, step, round(seconds, 3), told, mend))
        return outcome is not Outcome.FAULT

    async def _tried(self, work: Step) -> tuple[Outcome, str, str]:
        try:
            answer = await self._bounded(work)
        except (StorageUnavailable, TimeoutError) as error:
            self._gives_no_answer = True
            told = str(error) or f"no answer within {self._limit_s:g} s"
            return Outcome.FAULT, told, getattr(error, "mend", "") or self._mend
        except ArchiverError as error:
            return Outcome.FAULT, str(error), error.mend or self._mend
        except Exception as error:  # a check that breaks off would hide what the others found
            first_line = next(iter(str(error).strip().splitlines()), "")
            return Outcome.FAULT, f"{type(error).__name__}: {first_line}".rstrip(": "), self._mend
        if isinstance(answer, Note):
            return Outcome.NOTE, answer.told, ""
        return Outcome.PASS, answer or "", ""

    async def _bounded(self, work: Step) -> str | Note | None:
        task = asyncio.ensure_future(work())
        # One that is left behind fails when nobody listens any more.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            await asyncio.wait([task], timeout=self._limit_s)
        finally:
            if not task.done():
                task.cancel()
                self.ran_late = True
                await asyncio.wait([task], timeout=_GRACE_S)
        if not task.done() or task.cancelled():
            raise TimeoutError
        return task.result()
