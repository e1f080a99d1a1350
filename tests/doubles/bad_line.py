"""A line to any server that can be slow, silent or torn, for those alone that use it."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from tests.doubles.threaded import threaded
from tests.doubles.wire import Listener

__all__ = ["BadLine", "threaded"]

CHUNK_BYTES = 256 * 1024


class BadLine(Listener):
    """Passes bytes to and from the server of `url`; use it through `threaded()`.

    `delay_s`, which may change at any time, is how long each chunk is under way.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._parts = urlsplit(url)
        self._is_torn = False
        self._passing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        """The server's URL, by way of this line."""
        name, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{name}{at}127.0.0.1:{self.port}").geturl()

    def silence(self) -> None:
        """Nothing comes through, nothing ends: what is sent is acknowledged, as by a host that hangs."""
        self._call(self._passing.clear)

    def tear(self) -> None:
        """Reset what is open, and whoever comes."""
        self._is_torn = True
        self._call(self._reset_all)

    def mend(self) -> None:
        """Pass everything at once from now on, and what was held back."""
        self._is_torn, self.delay_s = False, 0.0
        self._call(self._passing.set)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._passing.set()
        await super().__aenter__()
        return self

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side until one of them ends."""
        if self._is_torn:
            _reset(writer)
            return
        await self._passing.wait()
        try:
            there, to_there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            _reset(writer)
            return
        ways = [asyncio.create_task(self._pass(*way)) for way in ((reader, to_there), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_there.transport.abort()
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await asyncio.sleep(self.delay_s)
            await self._passing.wait()
            writer.write(chunk)
            await writer.drain()

    def _call(self, change: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(change)

    def _reset_all(self) -> None:
        for writer in self._connections.values():
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
