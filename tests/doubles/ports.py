"""Free TCP ports on loopback for servers that cannot be told to choose their own."""

import socket
from contextlib import ExitStack

__all__ = ["free_ports"]


def free_ports(count: int) -> list[int]:
    """Return `count` distinct ports that were free a moment ago.

    All are held at once while choosing, so that none is given twice. Another process may still take one
    before the server binds it: whoever starts a server tries again with new ones.
    """
    with ExitStack() as held:
        listeners = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
