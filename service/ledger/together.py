"""Group commit: what comes while one transaction runs goes into the next one, all of it together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from service.errors import LedgerUnavailable

_I = TypeVar("_I")
_O = TypeVar("_O")


class Together(Generic[_I, _O]):
    """Takes items one by one and commits those that wait at the same time in one transaction.

    A transaction costs a flush to the disk, whatever it holds: one that waits for it waits for many.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_I]], Awaitable[Sequence[_O]]],
        *,
        apart: Callable[[_I], Hashable | None],
        most: int,
        within_s: float,
    ) -> None:
        """``commit`` gives each item's result in their order; it is given at most ``most`` at once.

        Of items with the same ``apart`` (None: of no account) each gets into a transaction of its own, in the
        order in which they came. An item that is not committed after ``within_s`` seconds is given up.
        """
        self._commit = commit
        self._apart = apart
        self._most = most
        self._within_s = within_s
        self._waiting: list[tuple[_I, asyncio.Future[_O]]] = []
        self._carrying: asyncio.Task[None] | None = None

    async def take(self, item: _I) -> _O:
        """Return when the item is committed. Raises what committing it does, or ``LedgerUnavailable``.

        One that is given up may still be committed, if that had begun.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[_O] = loop.create_future()
        self._waiting.append((item, turn))
        if self._carrying is None:
            self._carrying = loop.create_task(self._carry())
        giving_up = loop.call_later(self._within_s, self._give_up, turn)
        try:
            return await turn
        finally:
            giving_up.cancel()

    def _give_up(self, turn: asyncio.Future[_O]) -> None:
        _fail(turn, LedgerUnavailable(f"nothing was committed within {self._within_s:g} s"))

    async def _carry(self) -> None:
        try:
            while batch := await self._gathered():
                await self._settle(batch)
        finally:
            self._carrying = None

    async def _gathered(self) -> list[tuple[_I, asyncio.Future[_O]]]:
        # What has arrived already, and is only to be read, comes along: a transaction that ran beside the
        # reading would be a small one, and slow both down.
        seen = -1
        while seen < len(self._waiting) < self._most:
            seen = len(self._waiting)
            await asyncio.sleep(0)
        return self._next()

    def _next(self) -> list[tuple[_I, asyncio.Future[_O]]]:
        batch: list[tuple[_I, asyncio.Future[_O]]] = []
        left, seen = [], set[Hashable]()
        for item, turn in self._waiting:
            if turn.done():
                continue  # given up
            key = self._apart(item)
            if len(batch) == self._most or key in seen:
                left.append((item, turn))
                continue
            batch.append((item, turn))
            if key is not None:
                seen.add(key)
        self._waiting = left
        return batch

    async def _settle(self, batch: list[tuple[_I, asyncio.Future[_O]]]) -> None:
        try:
            results = await self._commit([item for item, _ in batch])
        except LedgerUnavailable as error:
            for _, turn in batch:
                _fail(turn, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            for each in batch:  # what one of them brings is not the others' fault
                if not each[1].done():  # given up meanwhile
                    await self._settle([each])
        else:
            for (_, turn), result in zip(batch, results, strict=True):
                if not turn.done():
                    turn.set_result(result)


def _fail(turn: asyncio.Future[_O], error: Exception) -> None:
    if not turn.done():
        turn.set_exception(error)
