"""A response's body read straight into memory that is there, past aiohttp's reader and its copies.

Between two bodies the connection is aiohttp's as ever: it made it, checked it, and keeps it. Only while the
bytes of one of known length come is another protocol in its place, which hands the transport the very memory
that they shall lie in (:class:`asyncio.BufferedProtocol`).
"""

import asyncio
from typing import Any

import aiohttp


async def read_body(response: aiohttp.ClientResponse, view: memoryview, *, stall_s: float) -> int:
    """Read a body whose length the response tells into the beginning of ``view``; returns how long it is.

    The response must be one that was not read from, tells its length, and fits. Raises :class:`Cut` if the
    connection ends before the body does, or gives nothing for ``stall_s`` seconds: what came is in ``view``.
    """
    length = response.content_length
    assert length is not None
    assert length <= len(view)
    first = response.content.read_nowait()
    got = len(first)
    view[:got] = first
    if got == length:
        return got
    connection = response.connection
    if connection is None or connection.transport is None or connection.transport.is_closing():
        raise Cut(got) from response.content.exception()
    reading = _Reading(connection, view[got:length], stall_s)
    try:
        await reading.ended
    except (OSError, aiohttp.ClientError) as error:
        raise Cut(got + reading.got) from error
    finally:
        reading.stop()
    # To aiohttp the body ends here: the connection is free for the next request.
    response.content.feed_eof()
    return length


class Cut(aiohttp.ClientPayloadError):
    """The connection ended before the body: ``got`` bytes of it came."""

    def __init__(self, got: int) -> None:
        super().__init__(f"the connection ended after {got} bytes")
        self.got = got


class _Reading(asyncio.BufferedProtocol):
    """In the place of aiohttp's protocol until ``view`` is full or the connection has ended."""

    def __init__(self, connection: Any, view: memoryview, stall_s: float) -> None:
        self.got = 0
        self._view = view
        self._stall_s = stall_s
        self._theirs, self._transport = connection.protocol, connection.transport
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(stall_s, self._look)
        # Theirs would count our time as silence.
        self._theirs.read_timeout = None
        self._theirs.start_timeout()
        self._is_in_place = True
        self._put(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes shall lie."""
        return self._view[self.got :]

    def buffer_updated(self, nbytes: int) -> None:
        """They lie there."""
        self.got += nbytes
        self._heard_at = self._loop.time()
        if self.got == len(self._view) and not self.ended.done():
            self._leave()
            self.ended.set_result(None)

    def eof_received(self) -> bool:
        """The other side says no more: the transport closes by itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended before the body did."""
        self._is_in_place = False
        if not self.ended.done():
            self.ended.set_exception(exc or aiohttp.ServerDisconnectedError())
        self._theirs.connection_lost(exc)

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""

    def stop(self) -> None:
        """Leave the memory alone from now on; what is left of the body is lost with the connection."""
        self._timer.cancel()
        if self._is_in_place:
            self._leave()
            self._transport.abort()

    def _look(self) -> None:
        left_s = self._heard_at + self._stall_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif not self.ended.done():
            self.ended.set_exception(aiohttp.SocketTimeoutError("it gave nothing for too long"))

    def _leave(self) -> None:
        self._is_in_place = False
        self._put(self._theirs)

    def _put(self, protocol: Any) -> None:
        if self._transport.is_closing():
            self._transport.set_protocol(protocol)
            return
        # uvloop asks a protocol for memory only if it was there when reading began.
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()
