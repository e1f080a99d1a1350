"""HTTP/1.1 as bytes on a connection, for doubles that break the rules which a library keeps."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["READ_LIMIT", "Head", "Listener", "read_body", "read_head"]

READ_LIMIT = 1 << 20
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Head:
    """The start line and header fields of a message, also exactly as received."""

    raw: bytes
    start: tuple[str, str, str]
    fields: dict[str, str]

    def __getitem__(self, name: str) -> str:
        """Return the field by its lower-case name; an absent one is an empty string."""
        return self.fields.get(name, "")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read up to the empty line; None where the peer has closed instead of beginning another message."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    first, second, third = (*start.split(" ", 2), "")[:3]
    pairs = (line.partition(":") for line in lines)
    return Head(raw, (first, second, third), {name.lower(): value.strip() for name, _, value in pairs})


async def read_body(
    head: Head, reader: asyncio.StreamReader, *, answer_to: str | None = None
) -> AsyncIterator[bytes]:
    """Give the body that follows `head` as it comes in, with the framing of chunks left in.

    `answer_to` is the method of the request that `head` answers, None where `head` is a request itself.
    Raises IncompleteReadError where the peer leaves before the end.
    """
    is_answer = answer_to is not None
    if is_answer and (answer_to == "HEAD" or head.start[1] in ("204", "304")):
        return
    if "chunked" in head["transfer-encoding"].lower():
        async for chunk in _read_chunks(reader):
            yield chunk
    elif head["content-length"] or not is_answer:
        remaining = int(head["content-length"] or 0)
        while remaining:
            chunk = await reader.read(min(remaining, CHUNK_BYTES))
            if not chunk:
                raise asyncio.IncompleteReadError(b"", remaining)
            remaining -= len(chunk)
            yield chunk
    else:
        while chunk := await reader.read(CHUNK_BYTES):
            yield chunk


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    size = -1
    while size != 0:
        line = await reader.readuntil(b"\r\n")
        yield line
        size = int(line.partition(b";")[0], 16)
        if size:
            yield await reader.readexactly(size + 2)
    while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
        yield trailer
    yield trailer


class Listener(ABC):
    """Accepts connections on a port of its own; whatever is still open at the end is ended.

    Usable once, as `async with`, or through `threaded()`. It listens on loopback, unless `address` is another
    of this machine's.
    """

    def __init__(self, *, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def base_url(self) -> str:
        """`http://<address>:<port>`, without a slash at the end."""
        return f"http://{self.address}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self.address, 0, limit=READ_LIMIT, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        connections = dict(self._connections)
        for connection, writer in connections.items():
            writer.transport.abort()
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    @abstractmethod
    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on one connection, which is closed when this returns."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections[connection] = writer
        # A peer that goes away is what these tests are about, and so is ending while others still wait.
        with suppress(ConnectionError, EOFError, asyncio.CancelledError):
            try:
                await self.converse(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()
        del self._connections[connection]
