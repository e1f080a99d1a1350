"""However an inner address is written or wrapped, it stays one; any text is judged as a link or refused."""

import contextlib
import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from service.errors import SourceUntrusted
from service.guard import Guard, GuardedResolver, is_public

INNER = [
    IPv4Address(address)
    for address in (
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.0.9", "168.63.129.16", "169.254.169.254",
        "172.16.0.1", "192.0.0.192", "192.168.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    )
]  # fmt: skip
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
addresses = st.one_of(st.sampled_from(INNER), st.ip_addresses(v=4))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """An inner address as ``inet_aton`` takes it: one to four numbers, each decimal, octal or hexadecimal."""
    number = int(draw(st.sampled_from(INNER)))
    count = draw(st.integers(1, 4))
    octets = [number >> shift & 255 for shift in (24, 16, 8, 0)]
    numbers = [*octets[: count - 1], number & (1 << 8 * (5 - count)) - 1]
    forms = ["{}", "0{:o}", "00{:o}", "0x{:x}", "0X{:X}", "0x0{:x}"]
    return ".".join(draw(st.sampled_from(forms)).format(each) for each in numbers)


@given(addresses)
def test_what_wraps_an_address_is_as_public_as_that(inner: IPv4Address) -> None:
    number = int(inner)
    wrapped = {
        "mapped": 0xFFFF << 32 | number,
        "6to4": 0x2002 << 112 | number << 80 | 1,
        "NAT64": 0x64FF9B << 96 | number,
        "Teredo": 0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF),
    }
    for way, address in wrapped.items():
        assert is_public(str(IPv6Address(address))) is is_public(str(inner)), way
    # Nobody is reached from outside by these, whatever they wrap.
    for prefix in (0, 0xFFFF << 48, 0x64FF9B0001 << 80, 0xFE80 << 112, 0xFD00 << 112):
        assert not is_public(str(IPv6Address(prefix | number)))


@given(st.ip_addresses())
def test_what_the_library_calls_private_is_never_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        wraps = isinstance(address, IPv6Address) and (address.ipv4_mapped or address in NAT64)
        assert wraps or not is_public(str(address))


async def test_no_spelling_of_an_inner_address_gets_past_link_and_resolver() -> None:
    guard = Guard()
    resolver = GuardedResolver(guard)
    spelled: list[str] = []

    @settings(max_examples=300)
    @given(spellings())
    @example("2130706433")
    @example("0x7f000001")
    @example("0177.0.0.1")
    @example("127.1")
    @example("0xA9FEA9FE")
    def collect(host: str) -> None:
        spelled.append(host)

    collect()
    past_link = []
    for host in set(spelled):
        try:
            guard.check_link(URL(f"https://{host}/x", encoded=True))
        except SourceUntrusted:
            continue
        past_link.append(host)
    assert past_link, "nothing was left for the resolver"
    for host in past_link:
        with pytest.raises(
            (SourceUntrusted, OSError)
        ):  # what the resolver does not know leads nowhere either
            await resolver.resolve(host, 443)
    await resolver.close()


@given(
    st.text(max_size=40), st.sampled_from(["https://", "http://", "https:", "", "https://[", "https://a@"])
)
@example("[::1%2f]/", "https://")
@example("xn--files-.example.com", "https://")
@example("b\u00fccher.example", "https://")
@example("\u2460\u2461.\u3002", "https://")
def test_any_text_is_a_link_that_is_judged_or_none(text: str, scheme: str) -> None:
    with contextlib.suppress(SourceUntrusted, ValueError):
        link = URL(scheme + text, encoded=True)
        Guard().check_link(link)
        assert link.scheme == "https"
        assert link.raw_host
        assert link.user is None


@pytest.mark.parametrize(
    "pattern", ["b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example", "*.example"]
)
def test_a_name_in_letters_of_its_own_is_trusted_as_dns_writes_it(pattern: str) -> None:
    guard = Guard([pattern])
    guard.check_link(URL("http://xn--bcher-kva.example/x", encoded=True))
    assert guard.trusts("xn--bcher-kva.example")
    assert guard.trusts("b\u00fccher.example")
    guard.check_address("xn--bcher-kva.example", "10.0.0.1")


def test_a_trailing_dot_or_a_port_makes_no_host_trusted_and_no_address_public() -> None:
    guard = Guard(["files.example.com"])
    for host in ("files.example.com.", "files.example.com:80@evil.net", "evil.net#files.example.com"):
        with pytest.raises(SourceUntrusted):
            guard.check_link(URL(f"http://{host}/x", encoded=True))
    for host in ("127.0.0.1:443", "127.0.0.1.:443", "[::1]:0", "10.0.0.1:65535"):
        with pytest.raises(SourceUntrusted):
            guard.check_link(URL(f"https://{host}/x", encoded=True))
