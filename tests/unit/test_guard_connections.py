"""Where a guarded source connects to: the address that was checked, and nothing that leads around it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from service.errors import SourceUnavailable, SourceUntrusted
from service.guard import Guard
from service.server import listen
from service.source import Source
from tests.doubles.source import FaultySource
from tests.doubles.tls import Authority, TlsEnd
from tests.unit.test_guard import Names, no_pause

HOST = "files.example.com"


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """A port of this machine at which nobody may ever arrive."""
    with closing(listen("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


@contextlib.asynccontextmanager
async def source(*trusted: str) -> AsyncIterator[Source]:
    source = Source(Guard(trusted), sleep=no_pause, jitter=lambda: 0.0, stall_s=5.0)
    try:
        yield source
    finally:
        await source.close()


async def read(source: Source, link: str, size: int) -> bytes:
    with closing(await source.open(link, start=0, length=size)) as opened:
        view = memoryview(bytearray(size))
        await opened.read_into(0, view)
        return bytes(view)


async def test_a_name_that_turns_inward_between_two_reads_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, files: FaultySource, tmp_path: Path
) -> None:
    # Here 127.0.0.1 stands for a public address, and 127.0.0.2 for an inner one.
    authority = Authority(tmp_path)
    monkeypatch.setattr("service.guard.is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(
        "aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=authority.file)
    )
    async with TlsEnd(authority.context(HOST), files.port) as end:
        # Without a length each answer ends its connection, and the next range needs another one.
        files.add("rec.mp4", 100, framing="close")
        link = f"https://{HOST}:{end.port}/rec.mp4"
        with closing(listen("127.0.0.2", end.port)) as inner:
            inner.settimeout(0)
            answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.1"]]
            monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names({HOST: answers}))
            async with source() as reader:
                connector = reader._session.connector
                assert isinstance(connector, aiohttp.TCPConnector)
                assert await read(reader, link, 100) == files["rec.mp4"].content.read()
                for _ in range(2):
                    connector.clear_dns_cache()  # as after the time for which an answer is kept
                    with pytest.raises(SourceUntrusted):
                        await read(reader, link, 100)
                connector.clear_dns_cache()
                assert await read(reader, link, 100) == files["rec.mp4"].content.read()
            with pytest.raises(BlockingIOError):
                inner.accept()
    assert end.asked == len(files["rec.mp4"].requests) == 2


async def test_no_proxy_and_no_netrc_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, nobody: socket.socket, tmp_path: Path
) -> None:
    # A proxy would look the name up by itself.
    proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password of-this-machine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr("service.guard.ThreadedResolver", lambda: Names({}))
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1\r\nContent-Length: 1\r\n\r\nx"
        )
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server, source("127.0.0.1") as reader:
        port = server.sockets[0].getsockname()[1]
        assert await read(reader, f"http://127.0.0.1:{port}/rec.mp4", 1) == b"x"
        with pytest.raises(SourceUnavailable):
            await read(reader, "https://files.example.com/rec.mp4", 1)
    assert len(heads) == 1
    assert b"authorization" not in heads[0].lower()


@pytest.mark.parametrize(
    "target",
    [
        "http://{0}:secret@127.0.0.2:{1}/x", "https://user@8.8.8.8/x", "https://127.0.0.1@127.0.0.2:{1}/x",
        "//127.0.0.2:{1}/x", "//127.0.0.1@127.0.0.2:{1}/x", "https://0x7f000002:{1}/x", "http://localhost.:{1}/x",
        "https://[::ffff:127.0.0.2]:{1}/x", "https://[::]:{1}/x", "https://0.0.0.0:{1}/x", "http://8.8.8.8/x",
        "https://127.2:{1}/x", "https://127.0.0.2.:{1}/x",
        "https://[64:ff9b::7f00:2]/x", "https://[fd00:ec2::254]/latest/meta-data", "https://168.63.129.16/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("hops", [1, 4])
async def test_no_chain_of_redirects_leads_from_a_trusted_host_to_where_one_may_not_go(
    files: FaultySource, nobody: socket.socket, target: str, hops: int
) -> None:
    link = target.format("user", nobody.getsockname()[1])
    for hop in range(hops):
        link = files.add(f"hop-{hop}", 1, redirect=link)
    async with source("127.0.0.1") as reader:
        with pytest.raises(SourceUntrusted):
            await reader.open(link, start=0, length=1)
    assert all(len(files[f"hop-{hop}"].requests) == 1 for hop in range(hops))
