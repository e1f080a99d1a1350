"""Lines between processes and their servers that lose what is sent, for one process and one server at a time.

Where this machine lets us make network namespaces (Linux, root, `ip`) each process has one of its own and
the kernel drops its packets: nothing is acknowledged, nothing refused, no connection ends. Elsewhere the
processes are on loopback and relays hold what is sent until the line is mended: the same silence, but that
the relay's own kernel takes what comes in.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tests.doubles.bad_line import BadLine, threaded
from tests.doubles.namespaces import CannotBeMade, Namespace, namespaces

__all__ = ["Line", "Way", "lines"]


class Way(StrEnum):
    """What is lost."""

    BOTH = "all"
    THERE = "what the process says"
    BACK = "what it is answered"


class Line(Protocol):
    """What one process reaches its servers by; a test reaches the process in any case."""

    @property
    def before(self) -> Sequence[str]:
        """What stands before the process's command, so that it runs at the end of this line."""

    @property
    def host(self) -> str:
        """The address that it is to listen on."""

    @property
    def urls(self) -> Mapping[str, str]:
        """The servers' URLs, as it is to be told them."""

    @property
    def own(self) -> Sequence[str]:
        """The servers that it can be cut off from while others are not."""

    def cut(self, *servers: str, way: Way = Way.BOTH) -> None:
        """From now on what goes to these servers and back is lost, all of it or one way."""

    def mend(self) -> None:
        """Lose nothing any more."""


@contextmanager
def lines(count: int, servers: Mapping[str, str], *, shared: str) -> Iterator[list[Line]]:
    """Lines for `count` processes to servers given by their URLs on loopback.

    The URL of the server `shared` is the same on every line, and leads there also from beside the lines.
    On loopback it is cut for all of them at once, and so is no line's own.
    """
    with ExitStack() as stack:
        try:
            pods, addresses = stack.enter_context(namespaces(count, list(servers)))
        except CannotBeMade:
            pods, addresses = [], {}

        def relay(server: str) -> BadLine:
            line = BadLine(servers[server], address=addresses.get(server, "127.0.0.1"))
            return stack.enter_context(threaded(line))

        common = {server: relay(server) for server in (servers if pods else [shared])}
        if pods:
            urls = {server: line.url for server, line in common.items()}
            yield [_Dropping(pod, addresses, urls) for pod in pods]
        else:
            yield [
                _Holding({server: common.get(server) or relay(server) for server in servers}, shared)
                for _ in range(count)
            ]


@dataclass(frozen=True)
class _Dropping:
    pod: Namespace
    addresses: Mapping[str, str]
    urls: Mapping[str, str]

    @property
    def before(self) -> Sequence[str]:
        return self.pod.before

    @property
    def host(self) -> str:
        return self.pod.address

    @property
    def own(self) -> Sequence[str]:
        return list(self.urls)

    def cut(self, *servers: str, way: Way = Way.BOTH) -> None:
        for server in servers:
            if way is not Way.BACK:
                self.pod.lose(self.pod.address, self.addresses[server])
            if way is not Way.THERE:
                self.pod.lose(self.addresses[server], self.pod.address)

    def mend(self) -> None:
        self.pod.lose_nothing()


@dataclass(frozen=True)
class _Holding:
    relays: Mapping[str, BadLine]
    shared: str
    before: Sequence[str] = ()
    host: str = "127.0.0.1"
    is_cut: set[str] = field(default_factory=set)

    @property
    def urls(self) -> Mapping[str, str]:
        return {server: relay.url for server, relay in self.relays.items()}

    @property
    def own(self) -> Sequence[str]:
        return [server for server in self.relays if server != self.shared]

    def cut(self, *servers: str, way: Way = Way.BOTH) -> None:
        self.is_cut.update(servers)
        for server in servers:
            if way is not Way.BACK:
                self.relays[server].mute()
            if way is not Way.THERE:
                self.relays[server].deafen()

    def mend(self) -> None:
        while self.is_cut:  # the shared one may be cut by another line
            self.relays[self.is_cut.pop()].mend()
