"""A server that is far away: a proxy on loopback that passes every byte on later.

A delay line for each way of each connection: what came in goes out `DELAY_MS` after it came. The first bytes
of a connection go out a whole round trip later still, as after TCP's handshake with a distant host. What is
missing of a real distance: losses, and TCP's slow start. On two cores it carries 290 MB/s of eight
connections held to 40 MB/s each, as they have without it, and 950 MB/s of eight that are not held.

A program of its own, so that its CPU is charged to nobody: `python -m tests.bench.far PORT UPSTREAM_PORT
DELAY_MS`, all on 127.0.0.1.
"""

import contextlib
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.programs import free_ports, running, wait_for_port

_CHUNK_BYTES = 1 << 20
_LINE_BYTES = 32 << 20
"""What one way holds at most: over a gigabyte a second at 25 ms, so only a receiver that lags fills it."""


@contextlib.contextmanager
def far_away(url: str, *, round_trip_ms: int, log: Path) -> Iterator[str]:
    """The address at which the server of `url` is `round_trip_ms` away, until the block ends."""
    parts = urlsplit(url)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.bench.far"]
    command += [str(port), str(parts.port), str(round_trip_ms / 2)]
    with running(command, log=log) as process:
        wait_for_port(process, port, log=log)
        yield parts._replace(netloc=f"127.0.0.1:{port}").geturl()


def main() -> None:
    """Serve until terminated."""
    port, upstream_port, delay_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_converse, args=(connection, upstream_port, delay_s), daemon=True).start()


def _converse(near: socket.socket, upstream_port: int, delay_s: float) -> None:
    with near, contextlib.suppress(OSError):
        time.sleep(2 * delay_s)
        with socket.create_connection(("127.0.0.1", upstream_port)) as far:
            lines = _Line(near, far, delay_s), _Line(far, near, delay_s)
            threads = [
                threading.Thread(target=work, daemon=True)
                for line in lines
                for work in (line.take, line.give)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


class _Line:
    """One way of a connection. One thread takes, one gives; an end comes through as all else does."""

    def __init__(self, come: socket.socket, go: socket.socket, delay_s: float) -> None:
        self._come = come
        self._go = go
        self._delay_s = delay_s
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        go.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def take(self) -> None:
        """Until the end, or the connection breaks."""
        chunk = b"first"
        while chunk:
            try:
                chunk = self._come.recv(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            with self._changed:
                self._chunks.append((time.monotonic() + self._delay_s, chunk))
                self._held_bytes += len(chunk)
                self._changed.notify()
                self._changed.wait_for(lambda: self._held_bytes < _LINE_BYTES)

    def give(self) -> None:
        """Until the end; when nobody takes it any more, the other side is told so by the connection's end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks)
                due, chunk = self._chunks.popleft()
                self._held_bytes -= len(chunk)
                self._changed.notify()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not chunk:
                    self._go.shutdown(socket.SHUT_WR)
                    return
                self._go.sendall(chunk)
            except OSError:
                with contextlib.suppress(OSError):
                    self._come.shutdown(socket.SHUT_RDWR)
                if not chunk:
                    return


if __name__ == "__main__":
    main()
