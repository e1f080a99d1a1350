"""What the whole process may use at once: memory for parts, and requests to a storage that asks for less."""

import asyncio
import contextlib
import mmap
from collections import deque
from collections.abc import AsyncIterator, Callable

_WORTH_KEEPING = 1024 * 1024


class Budget:
    """Memory for parts in flight, shared by all files, handed out first come, first served.

    A buffer larger than the whole budget is handed out alone. Buffers are used again: new memory of this size
    costs the kernel a page fault for every 4 KiB. When none was needed for ``keep_s`` seconds the system has
    them back. ``in_flight`` is how many are handed out.
    """

    def __init__(self, limit_bytes: int, *, keep_s: float = 5.0) -> None:
        self.limit_bytes = limit_bytes
        self._keep_s = keep_s
        self._giving_back: asyncio.TimerHandle | None = None
        self.used_bytes = 0
        self.in_flight = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._spare: list[mmap.mmap] = []

    @contextlib.asynccontextmanager
    async def buffer(self, size: int) -> AsyncIterator[memoryview]:
        """Memory of ``size`` bytes, for as long as the block runs. What is in it is left over from before."""
        await self._take(size)
        self.in_flight += 1
        if self._giving_back is not None:
            self._giving_back.cancel()
        try:
            memory = self._find(size)
            # On an error the memory is not used again: a dying connection may still be sending from it.
            yield memoryview(memory)[:size]
            if isinstance(memory, mmap.mmap):
                self._spare.append(memory)
        finally:
            self.in_flight -= 1
            self.used_bytes -= size
            self._hand_out()
            if not self.in_flight:
                self._giving_back = asyncio.get_running_loop().call_later(self._keep_s, self._spare.clear)

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for memory."""
        return bool(self._waiting)

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self.used_bytes += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.used_bytes -= size  # it was handed out in the same moment
            elif (size, turn) in self._waiting:
                self._waiting.remove((size, turn))
            self._hand_out()
            raise

    def _fits(self, size: int) -> bool:
        return self.used_bytes + size <= self.limit_bytes or self.used_bytes == 0

    def _hand_out(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.cancelled():  # who waited for it may not know yet
                self.used_bytes += size
                turn.set_result(None)

    def _find(self, size: int) -> bytearray | mmap.mmap:
        for index, memory in enumerate(self._spare):
            if len(memory) == size:
                return self._spare.pop(index)
        # None fits, and those that lie idle must not add to what may be in use.
        if self.used_bytes + sum(len(memory) for memory in self._spare) > self.limit_bytes:
            self._spare.clear()
        return bytearray(size) if size < _WORTH_KEEPING else _mapped(size)


def _mapped(size: int) -> mmap.mmap:
    """New memory that the kernel clears as it is filled.

    A ``bytearray`` is cleared at once, and several of them before the source is asked for the first part.
    """
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Gate:
    """How many requests one storage gets at once: halved when it asks for less, widened as they pass.

    Additive increase, multiplicative decrease, as TCP does it (RFC 5681).
    """

    def __init__(self, most: int, *, clock: Callable[[], float]) -> None:
        """``clock`` counts monotonic seconds."""
        self._most = most
        self._clock = clock
        self._limit = float(most)
        self._narrowed_at = float("-inf")
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many requests may run at once now."""
        return int(self._limit)

    @property
    def is_narrowed(self) -> bool:
        """Whether fewer run at once than may, since less was asked for."""
        return self._limit < self._most

    @contextlib.asynccontextmanager
    async def request(self) -> AsyncIterator[float]:
        """A place for one request; gives the moment it began, for :meth:`narrow`."""
        while self._running >= self.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                self._wake()  # it may have been woken in the same moment: then it is another's turn
                raise
        self._running += 1
        try:
            yield self._clock()
        finally:
            self._running -= 1
            self._wake()

    def narrow(self, began_at: float) -> None:
        """The storage asked for less: halve, but once for all the requests that were already under way."""
        if began_at >= self._narrowed_at:
            self._narrowed_at = self._clock()
            self._limit = max(1.0, self._limit / 2)

    def widen(self) -> None:
        """A request passed: one more at once for about as many as run at once."""
        self._limit = min(float(self._most), self._limit + 1.0 / self._limit)
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self._running
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
