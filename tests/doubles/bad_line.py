"""A line to any server that can be slow, silent (one way or both) or torn, for those alone that use it."""

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

    def __init__(self, url: str, *, address: str = "127.0.0.1") -> None:
        """`address` is this machine's that the line begins at."""
        super().__init__(address=address)
        self._parts = urlsplit(url)
        self._is_torn = False
        self._asking, self._answering = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        """The server's URL, by way of this line."""
        name, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{name}{at}{self.address}:{self.port}").geturl()

    def silence(self) -> None:
        """Nothing comes through, nothing ends: what is sent is acknowledged, as by a host that hangs."""
        self.mute()
        self.deafen()

    def mute(self) -> None:
        """What the client sends does not arrive; what the server sends does."""
        self._call(self._asking.clear)

    def deafen(self) -> None:
        """What the client sends arrives; what the server sends does not."""
        self._call(self._answering.clear)

    def tear(self) -> None:
        """Reset what is open, and whoever comes."""
        self._is_torn = True
        self._call(self._reset_all)

    def mend(self) -> None:
        """Pass everything at once from now on, and what was held back."""
        self._is_torn, self.delay_s = False, 0.0
        self._call(self._asking.set)
        self._call(self._answering.set)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._asking.set()
        self._answering.set()
        await super().__aenter__()
        return self

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side until one of them ends."""
        if self._is_torn:
            _reset(writer)
            return
        await self._asking.wait()
        try:
            there, to_there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            _reset(writer)
            return
        ways = [
            asyncio.create_task(self._pass(reader, to_there, self._asking)),
            asyncio.create_task(self._pass(there, writer, self._answering)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_there.transport.abort()
            writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await asyncio.sleep(self.delay_s)
            await is_open.wait()
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
