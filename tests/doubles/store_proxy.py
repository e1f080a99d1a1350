"""A store that fails on request: a proxy before a real S3 server, which knows S3's operations."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.doubles.store_faults import Fault, Injection, Operation, Traffic, classify, render_error
from tests.doubles.threaded import threaded
from tests.doubles.wire import READ_LIMIT, Head, Listener, read_body, read_head

__all__ = ["Fault", "FaultyStore", "Injection", "Operation", "Traffic", "threaded"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class FaultyStore(Listener):
    """Forwards signed requests byte by byte to `upstream` and breaks those that a fault was put before.

    Give its `endpoint_url` to the client: that signs the proxy's address as Host, which reaches the store
    unchanged, so the signature stays true. Bodies stream through. `traffic` counts by operation. Use it as
    `async with`, or through `threaded()`.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__()
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.injections: list[Injection] = []
        self.traffic: defaultdict[Operation, Traffic] = defaultdict(Traffic)

    @property
    def endpoint_url(self) -> str:
        """What an S3 client takes as `endpoint_url`."""
        return self.base_url

    def inject(
        self,
        operation: Operation,
        fault: Fault,
        *,
        first: int | None = None,
        every: int = 1,
        skip: int = 0,
        status: int | None = None,
        code: str | None = None,
        retry_after: str | None = None,
    ) -> Injection:
        """Put a fault before an operation, after those already there; the first that takes a request has it.

        Unless told, an error answer is 503 SlowDown when the store has done nothing and 500 InternalError
        when it has.
        """
        usual = (500, "InternalError") if fault.after else (503, "SlowDown")
        injection = Injection(
            operation, fault, first, every, skip, status or usual[0], code or usual[1], retry_after
        )
        self.injections.append(injection)
        return injection

    def recover(self) -> None:
        """Forward everything from now on; injections keep their counts."""
        self.injections.clear()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass requests on until one of them ends the connection."""
        while (head := await read_head(reader)) is not None:
            method, target, _ = head.start
            operation = classify(method, target)
            traffic = self.traffic[operation]
            traffic.requests += 1
            traffic.targets.append(target)
            traffic.active += 1
            traffic.peak = max(traffic.peak, traffic.active)
            try:
                injection = next((each for each in self.injections if each.strikes(operation)), None)
                if not await self._pass_on(head, injection, traffic, reader, writer):
                    return
            finally:
                traffic.active -= 1

    async def _pass_on(
        self,
        head: Head,
        injection: Injection | None,
        traffic: Traffic,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Have one request answered; False where the connection has to end with it."""
        if injection is not None and injection.fault is Fault.DROP:
            return False
        if head["expect"].lower() == "100-continue":
            writer.write(CONTINUE)  # the store's own comes too, and is left out
        if injection is None:
            return await self._forward(head, traffic, reader, writer)
        if injection.fault.after:
            failed = await self._have_it_done(head, traffic, reader)
            if failed:
                injection.occurrences -= 1  # the store's own refusal goes before an injected one
                writer.write(failed)
                await writer.drain()
                return False
        else:
            async for chunk in read_body(head, reader):
                traffic.received += len(chunk)
        return await _break(head, injection, traffic, reader, writer)

    async def _forward(
        self, head: Head, traffic: Traffic, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        async with self._ask(head, traffic, reader) as (answer, store_reader, whole_request_taken):
            traffic.statuses.append(int(answer.start[1]))
            writer.write(answer.raw)
            async for chunk in read_body(answer, store_reader, answer_to=head.start[0]):
                writer.write(chunk)
                await writer.drain()
            await writer.drain()
            return whole_request_taken and answer["connection"].lower() != "close"

    async def _have_it_done(self, head: Head, traffic: Traffic, reader: asyncio.StreamReader) -> bytes:
        """Return nothing when the store did it, otherwise the store's answer as received."""
        async with self._ask(head, traffic, reader) as (answer, store_reader, _):
            body = [chunk async for chunk in read_body(answer, store_reader, answer_to=head.start[0])]
            if int(answer.start[1]) < 300:
                return b""
            traffic.statuses.append(int(answer.start[1]))
            return b"".join([answer.raw, *body])

    @asynccontextmanager
    async def _ask(
        self, head: Head, traffic: Traffic, reader: asyncio.StreamReader
    ) -> AsyncIterator[tuple[Head, asyncio.StreamReader, bool]]:
        """Send a request to the store as it comes in; give the answer's head as soon as that is there.

        A connection of its own for each request: none can be stale. The store may answer before it has the
        whole body, or stop taking it; then the last value is False.
        """
        store_reader, store_writer = await asyncio.open_connection(*self._upstream, limit=READ_LIMIT)
        sending = asyncio.create_task(_send(head, traffic, reader, store_writer))
        answering = asyncio.create_task(_read_final_head(store_reader))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()  # raises where the client left in the middle: nothing will be answered then
            yield await answering, store_reader, sending.done()
        finally:
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)
            store_writer.transport.abort()


async def _send(
    head: Head, traffic: Traffic, reader: asyncio.StreamReader, store_writer: asyncio.StreamWriter
) -> None:
    store_writer.write(head.raw)
    async for chunk in read_body(head, reader):
        traffic.received += len(chunk)
        try:
            store_writer.write(chunk)
            await store_writer.drain()
        except ConnectionError:
            return  # it has answered already, or its leaving is noticed where the answer is read


async def _read_final_head(reader: asyncio.StreamReader) -> Head:
    while (head := await read_head(reader)) is not None:
        if not head.start[1].startswith("1"):
            return head
    raise ConnectionError("the store closed the connection without an answer")


async def _break(
    head: Head,
    injection: Injection,
    traffic: Traffic,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bool:
    match injection.fault:
        case Fault.STALL | Fault.STALL_AFTER:
            await reader.read()
            return False
        case Fault.DROP | Fault.DROP_AFTER:
            return False
        case Fault.ERROR_BODY | Fault.ERROR_BODY_AFTER:
            status = 200
        case Fault.REFUSE | Fault.FAIL_AFTER:
            status = injection.status
    traffic.statuses.append(status)
    answer = render_error(injection, status=status)
    writer.write(answer if head.start[0] != "HEAD" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    await writer.drain()
    return True
