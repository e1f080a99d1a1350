"""uvicorn, held to this service's limits and signals."""

import asyncio
import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import Iterator
from typing import Any

import uvicorn
from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 5.0
"""A sender that has not sent a whole request head by then is cut off."""
HEAD_LIMIT = 64 * 1024
"""Bytes of a head, and of what follows a body in chunks."""
FIELDS = 200
"""Fields of a head, and of what follows a body in chunks."""
PIPELINE = 16
"""Requests that a sender may send on one connection without waiting for the answers."""
UNREAD_S = 10.0
"""A sender that does not take its answers for so long is cut off."""
CONNECTIONS = 500
"""No more are held, since a process may have as few as 1024 files: who keeps it waiting the longest goes."""

_TICK_S = 1.0


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with what it lacks: limits of the head of a request, and room for new senders."""

    _head_timer: TimerHandle | None = None
    _head_size = 0
    _in_head = False
    _fields = 0
    _fields_size = 0
    _turn_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """A new connection: its first head is awaited."""
        super().connection_made(transport)
        self._turn_at = self.loop.time()
        self._await_head()
        if len(self.connections) > CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Bytes came; those of a head that they do not finish are counted."""
        awaited = self._head_timer
        super().data_received(data)
        if awaited is not None and awaited is self._head_timer:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._cut()

    def on_message_begin(self) -> None:
        """The first byte of a request, perhaps a later one of a kept connection."""
        if len(self.pipeline) >= PIPELINE:
            raise HttpParserError("too many requests at once")
        super().on_message_begin()
        self._in_head, self._fields, self._fields_size = True, 0, 0
        self._turn_at = self.loop.time()
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one after a body in chunks: that one is counted and dropped."""
        self._fields += 1
        self._fields_size += len(name) + len(value)
        if self._fields > FIELDS or self._fields_size > HEAD_LIMIT:
            raise HttpParserError("too many fields")
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._head_done()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is out. What is left of a body that nobody reads counts as part of the next head."""
        super().on_response_complete()
        self._turn_at = self.loop.time()
        if self.cycle.response_complete and self.cycle.more_body:  # else it is a later request's
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._head_done()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self._cut)

    def _head_done(self) -> None:
        self._head_size = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut(self) -> None:
        self._head_done()
        self.transport.close()

    @property
    def waits_since(self) -> float | None:
        """Since when it is the sender's turn: to ask, to send its body, to take its answers; else None."""
        asked = self.cycle is not None and not self.cycle.response_complete
        is_turn = not asked or self.cycle.more_body or self.flow.write_paused
        return self._turn_at if is_turn and not self.transport.is_closing() else None

    def _make_room(self) -> None:
        # Whoever is honest has sent what is due long before its connection is the oldest.
        waiting = {
            each: each.waits_since
            for each in self.connections
            if isinstance(each, GuardedProtocol) and each.waits_since is not None
        }
        if waiting:
            min(waiting, key=lambda each: waiting[each] or 0.0).transport.abort()


class Server(uvicorn.Server):
    """A uvicorn server on a socket of ours that leaves the process's signals alone."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                server_header=False,
                proxy_headers=False,  # whose address it was nobody asks
                limit_concurrency=2 * CONNECTIONS,  # where nobody can be let go
                backlog=1024,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=3,
            )
        )

        self._ending = asyncio.Event()

    def end(self) -> None:
        """Take no more connections, answer what was asked, and return from ``serve``."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """As theirs, which tells its answers the time, but awake once a second, not ten times."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The service handles signals, for both servers and the worker together."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, since asyncio turns Nagle's delay off (40 ms an answer) only where it sees that.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; what is accepted inherits it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_S * 1000))
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
