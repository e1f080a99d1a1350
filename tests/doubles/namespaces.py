"""Network namespaces whose packets the kernel drops when told: a partition as a broken switch makes it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

__all__ = ["CannotBeMade", "Namespace", "namespaces"]

_FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"


class CannotBeMade(Exception):
    """This machine does not allow namespaces, or lacks what they take."""


@dataclass
class Namespace:
    """A host of its own, behind a router that is a namespace, too, from where it reaches this machine.

    Packets are lost in the router: who sends them is not told, as a process is that its own host cuts off.
    """

    name: str
    address: str
    _router: str
    _preference: int
    _rules: int = 0

    @property
    def before(self) -> list[str]:
        """What stands before a command that is to run in it."""
        return ["ip", "netns", "exec", self.name]

    def lose(self, sender: str, receiver: str) -> None:
        """Lose every packet from one address to another from now on."""
        _ip(f"-n {self._router} rule add pref {self._preference} from {sender} to {receiver} blackhole")
        self._rules += 1

    def lose_nothing(self) -> None:
        """End that."""
        while self._rules:
            _ip(f"-n {self._router} rule del pref {self._preference}")
            self._rules -= 1


@contextmanager
def namespaces(count: int, servers: Sequence[str]) -> Iterator[tuple[list[Namespace], Mapping[str, str]]]:
    """So many namespaces, and for each server's name an address of this machine to listen on.

    Raises :class:`CannotBeMade`. Nothing is left at the end.
    """
    pid = os.getpid()
    router, port = f"router-{pid}", f"up{pid}"
    # Servers and the router's near side are in the subnet's first half, namespaces in pairs in the second.
    subnet = f"10.213.{pid % 256}"
    addresses = {name: f"{subnet}.{number}" for number, name in enumerate(servers, 2)}
    made = []
    with ExitStack() as stack:
        try:
            _make(stack, router)
            _ip(f"link add {port} type veth peer name top netns {router}")
            stack.callback(_remove, f"link del {port}")
            for number in range(1, len(servers) + 2):
                _ip(f"addr add {subnet}.{number}/25 dev {port}")
            _ip(f"link set dev {port} up")
            _ip(f"-n {router} addr add {subnet}.126/25 dev top")
            _ip(f"-n {router} link set dev top up")
            _ip(f"netns exec {router} sh -c", _FORWARD)
            _ip(f"route add {subnet}.128/25 via {subnet}.126")
            for number in range(count):
                name, near, far = f"pod{number}-{pid}", 128 + 2 * number, 129 + 2 * number
                _make(stack, name)
                _ip(f"-n {router} link add pod{number} type veth peer name eth0 netns {name}")
                _ip(f"-n {router} addr add {subnet}.{near}/31 dev pod{number}")
                _ip(f"-n {router} link set dev pod{number} up")
                _ip(f"-n {name} addr add {subnet}.{far}/31 dev eth0")
                _ip(f"-n {name} link set eth0 up")
                _ip(f"-n {name} route add default via {subnet}.{near}")
                made.append(Namespace(name, f"{subnet}.{far}", router, 100 + number))
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotBeMade from error
        yield made, addresses


def _make(stack: ExitStack, name: str) -> None:
    _ip(f"netns add {name}")
    stack.callback(_remove, f"netns del {name}")
    _ip(f"-n {name} link set lo up")


def _remove(command: str) -> None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # a link goes with its other end
        _ip(command)


def _ip(command: str, *arguments: str) -> None:
    subprocess.run(["ip", *command.split(), *arguments], check=True, capture_output=True)
