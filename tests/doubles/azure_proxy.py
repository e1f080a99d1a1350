"""A proxy before Azurite: it keeps what is asked, and on request damages, loses, refuses or stalls.

The signature covers no host, so a client may be given the proxy's address in its connection string.
"""

import asyncio
import base64
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from tests.doubles.wire import READ_LIMIT, Head, Listener, read_body, read_head

__all__ = ["Answer", "AzureProxy", "Fault", "Operation"]

Operation = Literal[
    "Put Marker",  # a Put Block as well, but of no part
    "Put Block",
    "Put Block List",
    "Get Block List",
    "Put Blob",
    "Get Blob",
    "Get Blob Properties",
    "Delete Blob",
]


class Fault(Enum):
    """What happens to a request."""

    DAMAGE = "forwarded with the first byte of its body turned over"
    LOSE = "done by the store; the connection is closed without an answer"
    DROP = "not forwarded; the connection is closed"
    STALL = "not forwarded; no answer, the connection stays open"


@dataclass(frozen=True)
class Answer:
    """An answer that the store did not give; without a code it is not one of Azure's."""

    status: int
    code: str = ""
    retry_after: str = ""

    def render(self) -> bytes:
        """The whole answer. It has no body, as one to HEAD has none: the code stands in a header too."""
        lines = [f"HTTP/1.1 {self.status} Injected", "Content-Length: 0"]
        if 300 <= self.status < 400:
            lines.append("Location: http://127.0.0.1:1/elsewhere")
        if self.code:
            lines.append(f"x-ms-error-code: {self.code}")
        if self.retry_after:
            lines.append(f"Retry-After: {self.retry_after}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class AzureProxy(Listener):
    """Usable once, as `async with`. `heads` has every request's, in order, by operation."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        parts = urlsplit(endpoint)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._account = parts.path
        self._faults: defaultdict[Operation, deque[Fault | Answer]] = defaultdict(deque)
        self.heads: defaultdict[Operation, list[Head]] = defaultdict(list)

    @property
    def endpoint(self) -> str:
        """What stands for the store's endpoint."""
        return self.base_url + self._account

    def inject(self, operation: Operation, *faults: Fault | Answer) -> None:
        """Have the next requests of a kind go wrong, one each."""
        self._faults[operation].extend(faults)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass requests on until one of them ends the connection."""
        while (head := await read_head(reader)) is not None:
            body = b"".join([chunk async for chunk in read_body(head, reader)])
            operation = classify(head)
            self.heads[operation].append(head)
            faults = self._faults[operation]
            fault = faults.popleft() if faults else None
            if isinstance(fault, Answer):
                writer.write(fault.render())
                await writer.drain()
                continue
            if fault is Fault.DROP:
                return
            if fault is Fault.STALL:
                await reader.read()
                return
            if fault is Fault.DAMAGE:
                body = bytes([body[0] ^ 1]) + body[1:]
            async with self._ask(head, body) as (answer, store):
                if fault is Fault.LOSE:
                    return
                writer.write(answer.raw)
                async for chunk in read_body(answer, store, answer_to=head.start[0]):
                    writer.write(chunk)
                    await writer.drain()

    @asynccontextmanager
    async def _ask(self, head: Head, body: bytes) -> AsyncIterator[tuple[Head, asyncio.StreamReader]]:
        """A connection of its own for each request: none can be stale."""
        reader, writer = await asyncio.open_connection(*self._upstream, limit=READ_LIMIT)
        try:
            writer.write(head.raw + body)
            await writer.drain()
            answer = await read_head(reader)
            if answer is None:
                raise ConnectionError("the store closed the connection without an answer")
            yield answer, reader
        finally:
            writer.transport.abort()


def classify(head: Head) -> Operation:
    """Return what a request means, as the REST reference calls it."""
    method, target, _ = head.start
    query = parse_qs(target.partition("?")[2])
    what = query.get("comp", [""])[0]
    match method, what:
        case "PUT", "block":
            return "Put Marker" if b"-00000-" in base64.b64decode(query["blockid"][0]) else "Put Block"
        case "PUT", "blocklist":
            return "Put Block List"
        case "GET", "blocklist":
            return "Get Block List"
        case "PUT", "":
            return "Put Blob"
        case "GET", "":
            return "Get Blob"
        case "HEAD", "":
            return "Get Blob Properties"
        case "DELETE", "":
            return "Delete Blob"
    raise AssertionError(f"{method} {target} is not one of the calls that the storage makes")
