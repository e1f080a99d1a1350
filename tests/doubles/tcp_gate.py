"""A door before any server: shut, it ends every connection and lets none in, for those alone that use it."""

import asyncio
from typing import Self
from urllib.parse import urlsplit

from tests.doubles.threaded import threaded
from tests.doubles.wire import Listener

__all__ = ["TcpGate", "threaded"]

CHUNK_BYTES = 256 * 1024


class TcpGate(Listener):
    """Passes bytes to and from the server of `url`; use it through `threaded()`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._parts = urlsplit(url)
        self._is_shut = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """The server's URL, by way of this door."""
        name, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{name}{at}127.0.0.1:{self.port}").geturl()

    def shut(self) -> None:
        """End what is open; whoever comes is turned away."""
        assert self._loop is not None
        self._is_shut = True
        self._loop.call_soon_threadsafe(self._end_all)

    def open(self) -> None:
        """Let everybody in again."""
        self._is_shut = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await super().__aenter__()
        return self

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side until one of them ends."""
        if self._is_shut:
            writer.transport.abort()
            return
        there, to_there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        ways = [asyncio.create_task(_pass(*way)) for way in ((reader, to_there), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_there.transport.abort()
            writer.transport.abort()

    def _end_all(self) -> None:
        for writer in self._connections.values():
            writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
