"""Reading from a source as the archive does, and a file server whose answers are written out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from service.guard import Guard
from service.source import Identity, Source
from tests.doubles.wire import Head, Listener, read_head

__all__ = ["Reader", "Script", "answer", "reading"]


class Reader:
    """A source that trusts this machine, and pauses that only are noted."""

    def __init__(self, *, stall_s: float) -> None:
        self.pauses: list[float] = []
        self.source = Source(Guard(["127.0.0.1"]), sleep=self._pause, jitter=lambda: 0.0, stall_s=stall_s)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ranged(
        self, link: str, start: int, length: int, expected: Identity | None = None
    ) -> tuple[bytes, Identity]:
        """Some bytes of a source that gives ranges, and what it says it is."""
        opened = await self.source.open(link, start=start, length=length, expected=expected)
        with closing(opened):
            assert opened.ranged
            view = memoryview(bytearray(length))
            await opened.read_into(start, view)
            return bytes(view), opened.identity

    async def streamed(self, link: str, *, length: int = 1 << 20, piece: int = 1 << 16) -> tuple[bytes, bool]:
        """All of a source that gives no ranges, and whether its end is certain."""
        opened = await self.source.open(link, start=0, length=length)
        with closing(opened):
            assert not opened.ranged
            pieces = [bytes(view) async for view in opened.stream(piece)]
            assert all(len(each) <= piece for each in pieces)
            return b"".join(pieces), opened.end_is_certain


@asynccontextmanager
async def reading(*, stall_s: float = 1.0) -> AsyncIterator[Reader]:
    """A reader that is closed at the end."""
    reader = Reader(stall_s=stall_s)
    try:
        yield reader
    finally:
        await reader.source.close()


class Script(Listener):
    """Answers each request with the bytes that ``write`` makes of it, and keeps the heads it got."""

    def __init__(self, write: Callable[[Head], bytes]) -> None:
        super().__init__()
        self._write = write
        self.heads: list[Head] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer, and the connection's end."""
        if (head := await read_head(reader)) is not None:
            self.heads.append(head)
            writer.write(self._write(head))
            await writer.drain()


def answer(status: str, body: bytes = b"", **fields: str) -> bytes:
    """A whole answer; ``content_range=...`` is the field ``Content-Range``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
