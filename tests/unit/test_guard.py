"""A link leads nowhere but to public addresses over https, unless the operator trusts its host by name."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.errors import SourceError, SourceUnavailable, SourceUntrusted
from service.guard import Guard, GuardedResolver, is_public
from service.server import listen
from service.source import Source
from tests.doubles.source import FaultySource

Sources = Callable[..., Source]

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "104.16.0.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1",
    "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::8.8.8.8",
]  # fmt: skip
INNER = [
    "0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "fe80::1", "fe80::1%eth0", "fe80::1%25eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "ff0e::1",
    "2001:db8::1", "100::1", "5f00::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "192.0.0.1", "192.0.0.192", "168.63.129.16", "192.88.99.1", "100.100.100.200", "::ffff:168.63.129.16",
    "64:ff9b::168.63.129.16", "::ffff:0:8.8.8.8", "::8.8.8.8", "fd00:ec2::254", "3fff::1",
    "::ffff:192.0.0.192", "2606:4700::1111%1", "2606:4700::1111%25lo",
]  # fmt: skip
ODD_LOOPBACK = [
    "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0x7f.0x0.0x0.0x1", "0177.0.0.1",
    "017700000001", "127.0.0.1.", "0", "\uff11\uff12\uff17.0.0.1", "localhost", "LOCALHOST",
]  # fmt: skip


class Names(AbstractResolver):
    """A resolver that knows some names; each time one is asked for, the next of its answers is given."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._names = {name: iter(answers) for name, answers in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = next(self._names.get(host, iter(())), None)
        if addresses is None:
            raise OSError(f"{host} is not known")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


async def no_pause(_seconds: float) -> None:
    pass


@pytest.fixture
async def source_of() -> AsyncIterator[Sources]:
    """Makes sources that trust the patterns given; all are closed at the end."""
    sources: list[Source] = []

    def make(*trusted: str) -> Source:
        sources.append(Source(Guard(trusted), sleep=no_pause, jitter=lambda: 0.0, stall_s=2.0))
        return sources[-1]

    yield make
    for source in sources:
        await source.close()


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine at which nobody may ever arrive."""
    with closing(listen("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield int(listener.getsockname()[1])
        with pytest.raises(BlockingIOError):
            listener.accept()


# ---- addresses and links


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INNER)
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [*PUBLIC, *INNER])
def test_a_link_to_an_address_is_judged_by_the_address(address: str) -> None:
    link = URL(f"https://[{address}]/x" if ":" in address else f"https://{address}/x", encoded=True)
    if is_public(address):
        Guard().check_link(link)
    else:
        with pytest.raises(SourceUntrusted):
            Guard().check_link(link)


@pytest.mark.parametrize(
    "link",
    [
        "http://files.example.com/rec.mp4", "ftp://files.example.com/rec.mp4", "file:///etc/passwd",
        "file://files.example.com/x", "gopher://files.example.com/", "data:text/plain,x", "/etc/passwd",
        "//files.example.com/rec.mp4", "files.example.com/rec.mp4", "https:///rec.mp4", "https:rec.mp4", "",
        "https://user@files.example.com/rec.mp4", "https://user:secret@files.example.com/rec.mp4",
        "https://:secret@files.example.com/", "https://8.8.8.8@127.0.0.1/", "https://127.0.0.1/", "https://[::1]/",
    ],
)  # fmt: skip
def test_only_plain_https_links_are_followed(link: str) -> None:
    with pytest.raises(SourceUntrusted):
        Guard().check_link(URL(link, encoded=True))


def test_a_refusal_tells_what_to_do_and_nothing_of_the_links_query() -> None:
    with pytest.raises(SourceUntrusted) as caught:
        Guard().check_link(URL("http://user:secret@files.example.com/x?sig=abc", encoded=True))
    assert "ARCHIVER_SOURCE_HOSTS" in caught.value.mend
    assert "files.example.com" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "sig" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "link", "trusted"),
    [
        ("files.example.com", "http://files.example.com/x", True),
        ("FILES.example.com", "http://files.EXAMPLE.com/x", True),
        ("*.example.com", "http://a.b.example.com/x", True),
        ("*.example.com", "http://example.com/x", False),
        ("*.example.com", "http://a.example.com.evil.net/x", False),
        ("files.example.com", "http://files.example.com.evil.net/x", False),
        ("files.example.com", "http://files.example.com@evil.net/x", False),
        ("10.0.0.?", "http://10.0.0.7/x", True),
        ("10.0.0.?", "http://10.0.0.77/x", False),
        ("[::1]", "http://[::1]:8080/x", True),
        ("::1", "http://[::1]:8080/x", True),
        ("files.example.com", "https://user:secret@files.example.com/x", True),
        ("*", "file:///etc/passwd", False),
        ("*", "ftp://files.example.com/x", False),
    ],
)
def test_a_host_that_the_operator_trusts_is_taken_as_it_is(pattern: str, link: str, *, trusted: bool) -> None:
    guard, url = Guard([pattern]), URL(link, encoded=True)
    if trusted:
        guard.check_link(url)
    else:
        with pytest.raises(SourceUntrusted):
            guard.check_link(url)


def test_a_trusted_name_is_trusted_in_any_case_of_its_letters() -> None:
    assert Guard(["Files.Example.com"]).trusts("FILES.example.COM")
    assert not Guard([]).trusts("files.example.com")


# ---- connections


@pytest.mark.parametrize("host", ODD_LOOPBACK)
async def test_no_way_of_writing_loopback_reaches_it(source_of: Sources, port: int, host: str) -> None:
    with pytest.raises(SourceUntrusted):
        await source_of().open(f"https://{host}:{port}/rec.mp4", start=0, length=10)


async def test_a_name_that_stands_for_an_inner_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, source_of: Sources, port: int
) -> None:
    names = {
        "inner.example.com": [["127.0.0.1"]],
        "mixed.example.com": [["93.184.216.34", "127.0.0.1"]],
        "mapped.example.com": [["::ffff:127.0.0.1"]],
        "scoped.example.com": [["fe80::1%lo"]],
    }
    monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names(names))
    with_names = source_of()
    for name in names:
        with pytest.raises(SourceUntrusted):
            await with_names.open(f"https://{name}:{port}/x", start=0, length=10)


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, source_of: Sources, files: FaultySource
) -> None:
    # The name exists nowhere else: a second look-up by anybody would find nothing, or the second answer.
    files.add("rec.mp4", 100)
    names = {"files.example.com": [["127.0.0.1"], ["127.9.9.9"]]}
    monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names(names))
    source = source_of("files.example.com")
    with closing(
        await source.open(f"http://files.example.com:{files.port}/rec.mp4", start=0, length=100)
    ) as opened:
        view = memoryview(bytearray(100))
        await opened.read_into(0, view)
    assert view == files["rec.mp4"].content.read()


async def test_an_answer_that_turns_inward_later_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"files.example.com": [["93.184.216.34"], ["127.0.0.1"]]}
    monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names(names))
    resolver = GuardedResolver(Guard())
    assert (await resolver.resolve("files.example.com"))[0]["host"] == "93.184.216.34"
    with pytest.raises(SourceUntrusted):
        await resolver.resolve("files.example.com")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_trusted_host_cannot_redirect_to_where_one_may_not_go(
    source_of: Sources, files: FaultySource, port: int, scheme: str
) -> None:
    source = source_of("127.0.0.1")
    for host in ("localhost", "127.0.0.2", "[::1]", "169.254.169.254", "2130706433"):
        link = files.add("rec.mp4", 100, redirect=f"{scheme}://{host}:{port}/latest/meta-data")
        with pytest.raises(SourceUntrusted):
            await source.open(link, start=0, length=10)
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"):
        link = files.add("rec.mp4", 100, redirect=target)
        with pytest.raises(SourceUntrusted):
            await source.open(link, start=0, length=10)


async def test_a_name_that_nobody_knows_may_be_known_later(
    monkeypatch: pytest.MonkeyPatch, source_of: Sources
) -> None:
    monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names({}))
    source = source_of()
    with pytest.raises(SourceUnavailable):
        await source.open("https://files.example.com/x", start=0, length=10)


@pytest.mark.parametrize(
    "link",
    [
        "https://[::1/x", "https://h:99999/x", "https://h:port/x", "https://\u24dbocalhost\\@h/x", "https://a..b/x",
        "https://" + "a" * 64 + ".example.com/x", "https://exa mple.com/x", "https://[v1.x]/", "https://%00/",
    ],
)  # fmt: skip
async def test_a_link_that_cannot_be_asked_is_a_fault_of_the_link(source_of: Sources, link: str) -> None:
    with pytest.raises(SourceError):
        await source_of().open(link, start=0, length=10)
