"""Where the service may read from: https and public addresses, or hosts that the operator trusts.

A link comes from a signed delivery, yet it must not turn the pod into a way into its own network. The address
that is checked is the address that is connected to: the check sits in the resolver, so a second look-up
cannot give another one (DNS rebinding). Redirects are checked like links.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from service.errors import SourceUntrusted

_MEND = "if this host is to be trusted, name it in ARCHIVER_SOURCE_HOSTS"
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""What IANA gives out for the public internet; beside it lie site-local, SRv6 and other inner ranges."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_INNER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own host beside each machine: a public address that leads inward
        "192.0.0.0/24",  # the protocols' own, where clouds have put metadata too
        "192.88.99.0/24",  # the nearest relay of 6to4, whoever that is
        "3fff::/20",  # documentation
    )
)
"""What :mod:`ipaddress` calls global, at least in one of the Pythons that this runs on."""


class Guard:
    """Says no to links by raising :class:`~service.errors.SourceUntrusted`."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        """``trusted`` are host patterns (``*.example.com``), taken as they are: any scheme, any address."""
        self._trusted = tuple(_as_asked(pattern).strip("[]") for pattern in trusted)

    def trusts(self, host: str) -> bool:
        """Whether the operator trusts this host."""
        return any(fnmatchcase(_as_asked(host), pattern) for pattern in self._trusted)

    def check_link(self, link: URL) -> None:
        """Refuse any link but https without userinfo; of a literal address, check the address."""
        host = link.raw_host or ""  # as the resolver will be asked
        if link.scheme not in ("https", "http") or not host:
            raise SourceUntrusted(f"it is not a web address ({link.scheme or 'no scheme'})")
        if self.trusts(host):
            return
        if link.scheme != "https":
            raise SourceUntrusted(f"{host} is not asked over https", mend=_MEND)
        if link.user is not None or link.password is not None:
            raise SourceUntrusted("it carries a user name", mend=_MEND)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            # A name: the resolver checks what it stands for. But what looks like a number (127.1, 2130706433)
            # may be taken for an address and never meet it.
            if ":" in host or host.replace(".", "").isdigit():
                raise SourceUntrusted(f"{host} is not a plain address", mend=_MEND) from None
            return
        self.check_address(host, host)

    def check_address(self, host: str, address: str) -> None:
        """Refuse an address that is not public, unless ``host`` is trusted."""
        if not self.trusts(host) and not is_public(address):
            raise SourceUntrusted(f"{host} is at an address that is not public", mend=_MEND)


class GuardedResolver(AbstractResolver):
    """The system's resolver, of whose answers none but permitted addresses are handed on."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host``; raises if any of them is not permitted."""
        found = await self._resolver.resolve(host, port, family)
        for address in found:
            self._guard.check_address(host, address["host"])
        return found

    async def close(self) -> None:
        """Close the system's resolver."""
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet; of an IPv6 one that wraps an IPv4 one, the latter."""
    if "%" in address:
        return False  # a zone is one of this machine's own links
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is None:
            return ip in _UNICAST and _is_global(ip)
        ip = wrapped
    return _is_global(ip) and not ip.is_multicast


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not any(ip in network for network in _INNER)


def _as_asked(host: str) -> str:
    """A host as DNS knows it: in small letters, and letters of other alphabets as ``xn--...``."""
    with contextlib.suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode()
    return host.lower()
