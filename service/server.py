"""uvicorn, held to this service's limits and signals."""

import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 5.0
"""A sender that has not sent a whole request head by then is cut off."""
HEAD_LIMIT = 64 * 1024
CONNECTIONS = 1000


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with what it lacks: a limit in time and in bytes for the head of a request."""

    _head_timer: TimerHandle | None = None
    _head_size = 0

    def connection_made(self, transport: Any) -> None:
        """A new connection: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

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
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_done()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is out. What is left of a body that nobody reads counts as part of the next head."""
        super().on_response_complete()
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


class Server(uvicorn.Server):
    """A uvicorn server on a socket of ours that leaves the process's signals alone."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                server_header=False,
                limit_concurrency=CONNECTIONS,
                backlog=1024,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=3,
            )
        )

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
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
