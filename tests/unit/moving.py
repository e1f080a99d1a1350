"""A transfer between a source and storages in memory, whose every step a test may hold."""

import asyncio
import contextlib
import selectors
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

from service.budget import Budget, Gate
from service.destination import Destination
from service.errors import StorageError
from service.model import Attributes, Checksum, Part, Upload
from service.source import Identity, Opened
from service.storage import Storage
from service.transfer import Target, Transfer, checksum_of

__all__ = ["BODY", "COUNT", "PART", "Hook", "Parts", "Reading", "Rig", "at_once", "hang", "stored", "turns"]

PART = 10
BODY = bytes(range(95))
COUNT = 10

Hook = Callable[[int], Awaitable[object] | None]
"""Called with a part's number; what it returns is awaited."""

_UPLOAD = Upload("upload", "key", PART, None, Attributes("artifact", "video/mp4", "recording"))
_T = TypeVar("_T")


class Reading:
    """An opened source in memory.

    `reads` are the offsets that were read, `asked` are those asked for ahead, and how much of each.
    """

    def __init__(self, body: bytes, *, chunk: int = 7, hook: Hook | None = None) -> None:
        self.identity = Identity(len(body), None)
        self.reads: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.given = 0
        self.closed = False
        self._body = body
        self._chunk = chunk
        self._hook = hook

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        yield

    def ask_ahead(self, start: int, length: int) -> None:
        self.asked.append((start, length))

    async def read_into(self, start: int, view: memoryview) -> None:
        self.reads.append(start)
        await asyncio.sleep(0)
        if self._hook is not None and (waiting := self._hook(start)) is not None:
            await waiting
        view[:] = self._body[start : start + len(view)]

    async def stream(self, size: int) -> AsyncGenerator[memoryview, None]:
        length = min(self._chunk, size)
        try:
            for start in range(0, len(self._body), length):
                await asyncio.sleep(0)
                if self._hook is not None and (waiting := self._hook(start)) is not None:
                    await waiting
                self.given = min(start + length, len(self._body))
                yield memoryview(self._body[start : start + length])
        finally:
            self.closed = True


@dataclass
class Parts:
    """What was stored, and a hook at the beginning of every attempt.

    `spoiled` are the parts whose bytes changed while their request was still under way.
    """

    hook: Hook | None = None
    stored: dict[int, bytes] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    spoiled: list[int] = field(default_factory=list)
    peak: int = 0
    peak_bytes: int = 0

    async def until_begun(self, count: int) -> None:
        while len(self.begun) < count:  # noqa: ASYNC110 - it takes a few turns, no time
            await asyncio.sleep(0)

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        self.begun.append(number)
        self.running.append(len(body))
        self.peak = max(self.peak, len(self.running))
        self.peak_bytes = max(self.peak_bytes, sum(self.running))
        try:
            await asyncio.sleep(0)
            if self.hook is not None and (waiting := self.hook(number)) is not None:
                await waiting
            self.stored[number] = bytes(body)
        finally:
            if checksum_of(body) != checksum:
                self.spoiled.append(number)
            self.running.remove(len(body))
        return f"receipt {number}"


class Rig:
    """A transfer with its surroundings, a storage for each hook; pauses are noted, not waited for.

    `kept` are the parts of each target in the order in which they were kept; `on_keep` is called before.
    """

    def __init__(
        self,
        *hooks: Hook | None,
        lanes: int = 4,
        budget: int = 1000,
        part_size: int = PART,
        lag_s: float = 30.0,
    ) -> None:
        self.storages = [Parts(hook) for hook in hooks or (None,)]
        self.kept: list[list[Part]] = [[] for _ in self.storages]
        self.on_keep: Hook | None = None
        self.budget = Budget(budget)
        self.delays: list[float] = []
        self.began = 0
        self.whole: list[bytes] = []
        self.part_size = part_size
        self.draining = asyncio.Event()
        self.transfer = Transfer(self.budget, lanes, self.draining, lag_s)
        self.targets = [
            Target(self._destination(index, lanes), partial(self._keep, index))
            for index in range(len(self.storages))
        ]

    @property
    def storage(self) -> Parts:
        """The first storage, where there is one."""
        return self.storages[0]

    @property
    def target(self) -> Target:
        """The first target, where there is one."""
        return self.targets[0]

    @property
    def failures(self) -> list[StorageError | None]:
        """What stopped each target."""
        return [target.failure for target in self.targets]

    def has(self, index: int, *numbers: int, body: bytes = BODY) -> None:
        """A session is open for a target, and these parts are there from before."""
        self.targets[index].upload = replace(_UPLOAD, part_size=self.part_size)
        self.targets[index].done = {number: stored(number, body, self.part_size) for number in numbers}

    async def ranges(self, source: bytes | Reading = BODY) -> None:
        """Move by ranges; what has no session gets one first."""
        reading = Reading(source) if isinstance(source, bytes) else source
        await self._begin()
        size = reading.identity.size
        assert size is not None
        await self.transfer.ranges(cast("Opened", reading), size, self.part_size, self.targets)

    async def stream(self, source: bytes | Reading = BODY) -> int | None:
        """Move one stream."""
        reading = Reading(source) if isinstance(source, bytes) else source
        opened = cast("Opened", reading)
        self.began = 0
        return await self.transfer.stream(
            opened, self.part_size, self.targets, begin=self._begin, put=self._put
        )

    def assert_whole(self, *indices: int, body: bytes = BODY) -> None:
        """These targets have every byte, those there from before not sent again; each part kept once."""
        for index in indices:
            target = self.targets[index]
            numbers = range(1, -(-len(body) // self.part_size) + 1)
            assert target.failure is None
            assert [part.number for part in target.parts] == list(numbers)
            for part in target.parts:
                expected = stored(part.number, body, self.part_size)
                assert (part.size, part.checksum) == (expected.size, expected.checksum)
                if part in self.kept[index]:
                    start = (part.number - 1) * self.part_size
                    assert self.storages[index].stored[part.number] == body[start : start + self.part_size]
                else:
                    assert part == expected
                    assert part.number not in self.storages[index].begun
            assert len(self.kept[index]) == len({part.number for part in self.kept[index]})

    def assert_idle(self) -> None:
        """Nothing is held any more, and nothing was sent that was not read."""
        assert self.budget.used_bytes == 0
        for storage in self.storages:
            assert storage.running == []
            assert storage.spoiled == []

    async def _begin(self) -> None:
        self.began += 1
        for index, target in enumerate(self.targets):
            if target.upload is None:
                self.has(index)

    async def _put(self, view: memoryview) -> None:
        self.whole.append(bytes(view))

    async def _keep(self, index: int, part: Part) -> None:
        await asyncio.sleep(0)
        if self.on_keep is not None and (waiting := self.on_keep(part.number)) is not None:
            await waiting
        self.kept[index].append(part)

    def _destination(self, index: int, lanes: int) -> Destination:
        clock = asyncio.get_running_loop().time
        return Destination(
            f"storage {index}",
            cast("Storage", self.storages[index]),
            gate=Gate(lanes, clock=clock),
            clock=clock,
            sleep=self._sleep,
            jitter=lambda: 0.5,
        )

    async def _sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)
        await asyncio.sleep(0)


def stored(number: int, body: bytes = BODY, part_size: int = PART) -> Part:
    """The receipt of a part that was stored before."""
    piece = memoryview(body)[(number - 1) * part_size : number * part_size]
    return Part(number, len(piece), checksum_of(piece), f"before {number}")


def hang(*numbers: int) -> Hook:
    """A storage that never answers for these parts, or for any if none is named."""
    return lambda number: asyncio.Event().wait() if not numbers or number in numbers else None


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: the clock is put on to where the wait would have ended."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everything waits, and nothing will ever come"
            self.now += timeout
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def at_once(main: Coroutine[Any, Any, _T]) -> _T:
    """Run on a loop of its own whose clock jumps to the next timer: hours pass at once, and exactly."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
