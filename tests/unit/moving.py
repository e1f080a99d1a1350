"""A transfer between a source and a storage in memory, whose every step a test may hold."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from service.budget import Budget, Gate
from service.model import Checksum, Part, Stored, Upload
from service.source import Identity, Opened
from service.storage import Storage
from service.transfer import Transfer, checksum_of

__all__ = ["BODY", "COUNT", "PART", "Reading", "Rig", "stored"]

PART = 10
BODY = bytes(range(95))
COUNT = 10


class Reading:
    """An opened source in memory."""

    def __init__(self, body: bytes, *, chunk: int = 7) -> None:
        self.identity = Identity(len(body), None)
        self._body = body
        self._chunk = chunk

    async def read_into(self, start: int, view: memoryview) -> None:
        await asyncio.sleep(0)
        view[:] = self._body[start : start + len(view)]

    async def stream(self, size: int) -> AsyncIterator[memoryview]:
        length = min(self._chunk, size)
        for start in range(0, len(self._body), length):
            await asyncio.sleep(0)
            yield memoryview(self._body[start : start + length])


@dataclass
class Parts:
    """What was stored, and a hook at the beginning of every attempt."""

    hook: Callable[[int], Any] | None = None
    stored: dict[int, bytes] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
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
            assert checksum == checksum_of(body)
            self.stored[number] = bytes(body)
        finally:
            self.running.remove(len(body))
        return f"receipt {number}"


class Rig:
    """A transfer with its surroundings; pauses are noted, not waited for."""

    def __init__(
        self,
        *,
        hook: Callable[[int], Any] | None = None,
        lanes: int = 4,
        budget: int = 1000,
        part_size: int = PART,
    ) -> None:
        self.storage = Parts(hook)
        self.budget = Budget(budget)
        self.kept: list[Part] = []
        self.whole = b""
        self.delays: list[float] = []
        self.part_size = part_size
        self.transfer = Transfer(
            cast("Storage", self.storage),
            self.budget,
            Gate(lanes, clock=asyncio.get_running_loop().time),
            parts_in_flight=lanes,
            draining=asyncio.Event(),
            sleep=self._sleep,
            jitter=lambda: 0.5,
        )

    async def ranges(self, body: bytes = BODY, done: Sequence[Part] = ()) -> list[Part]:
        upload = Upload("upload", "key", self.part_size, len(body), "artifact")
        return await self.transfer.ranges(
            cast("Opened", Reading(body)), upload, {part.number: part for part in done}, self._keep
        )

    async def stream(self, body: bytes = BODY, done: Sequence[Part] = ()) -> list[Part]:
        moved = await self.streamed(Reading(body), done)
        assert isinstance(moved, list)
        return moved

    async def streamed(self, reading: Reading, done: Sequence[Part] = ()) -> list[Part] | Stored:
        return await self.transfer.stream(
            cast("Opened", reading),
            self.part_size,
            await self._begin() if done else None,
            {part.number: part for part in done},
            begin=self._begin,
            keep=self._keep,
            put=self._put,
        )

    async def _begin(self) -> Upload:
        return Upload("upload", "key", self.part_size, None, "artifact")

    async def _keep(self, part: Part) -> None:
        await asyncio.sleep(0)
        self.kept.append(part)

    async def _put(self, view: memoryview) -> Stored:
        self.whole = bytes(view)
        return Stored("key", len(view), "whole")

    async def _sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)


def stored(number: int, body: bytes = BODY) -> Part:
    """The receipt of a part that was stored before."""
    piece = memoryview(body)[(number - 1) * PART : number * PART]
    return Part(number, len(piece), checksum_of(piece), f"before {number}")
