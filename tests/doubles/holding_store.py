"""A store whose chosen requests, or their answers, are held until told: to stop whoever asked just there."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from tests.doubles.store_faults import Injection, Operation, Traffic, classify
from tests.doubles.store_proxy import CONTINUE, FaultyStore
from tests.doubles.threaded import threaded
from tests.doubles.wire import READ_LIMIT, Head, read_body

__all__ = ["Hold", "HoldingStore", "threaded"]


@dataclass
class Hold:
    """One request: `is_reached` once it, or its answer, is there and waits; `is_over` when passed on."""

    operation: Operation
    part: str
    after: bool
    is_taken: bool = False
    is_reached: bool = False
    is_over: bool = False
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Return when released."""
        self.is_reached = True
        await self._released.wait()


class HoldingStore(FaultyStore):
    """Holds the first request that a hold was set for: before the store has it, or with its answer.

    What is held has been taken whole, and is passed on when it is released, also if its sender has gone.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._holds: list[Hold] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def hold(self, operation: Operation, part: str, *, after: bool = False) -> Hold:
        """Hold the next request for this operation whose target has `part` in it; `after`: its answer."""
        hold = Hold(operation, part, after)
        self._holds.append(hold)
        return hold

    def release(self) -> None:
        """Let all go."""
        assert self._loop is not None
        for hold in self._holds:
            self._loop.call_soon_threadsafe(hold._released.set)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await super().__aenter__()
        return self

    async def _pass_on(
        self,
        head: Head,
        injection: Injection | None,
        traffic: Traffic,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        method, target, _ = head.start
        asked = classify(method, target)
        hold = next(
            (
                hold
                for hold in self._holds
                if not hold.is_taken and hold.operation == asked and hold.part in target
            ),
            None,
        )
        if hold is None:
            return await super()._pass_on(head, injection, traffic, reader, writer)
        hold.is_taken = True
        if head["expect"].lower() == "100-continue":
            writer.write(CONTINUE)
        taken = asyncio.StreamReader(limit=READ_LIMIT)
        async for chunk in read_body(head, reader):
            taken.feed_data(chunk)
        taken.feed_eof()
        if not hold.after:
            await hold.wait()
        async with self._ask(head, traffic, taken) as (answer, store_reader, _):
            body = [chunk async for chunk in read_body(answer, store_reader, answer_to=method)]
        traffic.statuses.append(int(answer.start[1]))
        if hold.after:
            await hold.wait()
        hold.is_over = True
        writer.write(b"".join([answer.raw, *body]))
        await writer.drain()
        return True
