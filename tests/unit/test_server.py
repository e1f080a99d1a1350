"""The server lets nobody hold a connection without a whole request, and honest senders never notice."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.server import HEAD_LIMIT, Server, listen
from tests.doubles.sender import Sender
from tests.unit.public_port import PublicPort, Stage, receiving

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
async def port(stage: Stage, ledger: Path, sender: Sender) -> AsyncIterator[PublicPort]:
    async with receiving(stage, ledger, sender) as port:
        yield port


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head may take a moment only."""
    monkeypatch.setattr("service.server.HEAD_S", 0.1)


def delivery(sender: Sender, body: bytes, *fields: str) -> tuple[bytes, bytes]:
    """A delivery's head in two pieces, the second one with the body."""
    lines = [f"{name}: {value}" for name, value in sender.headers(body).items()]
    first = f"POST /webhook HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n".encode()
    return first, "\r\n".join([*lines, *fields, "", ""]).encode() + body


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("sent", [b"", b"P", b"POST /webhook HTTP/1.1\r\nHost: h\r\nX-Slow: "])
async def test_a_head_that_does_not_end_is_cut_off(port: PublicPort, sent: bytes) -> None:
    async with port.wire() as wire:
        await wire.send(sent)
        assert await wire.is_closed()


@pytest.mark.usefixtures("hurried")
async def test_a_head_that_drips_is_cut_off_however_often_a_byte_comes(port: PublicPort) -> None:
    async with port.wire() as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        closed = asyncio.create_task(wire.is_closed())
        for _ in range(200):
            if closed.done():
                break
            try:
                await wire.send(b"x")
            except OSError:
                break
            await asyncio.sleep(0.01)
        assert await closed


@pytest.mark.usefixtures("hurried")
async def test_the_next_head_on_a_kept_connection_has_its_time_too(port: PublicPort) -> None:
    async with port.wire() as wire:
        await wire.send(HEALTH)
        assert await wire.status() == 200
        await asyncio.sleep(0.2)  # between requests nothing is due
        await wire.send(HEALTH)
        assert await wire.status() == 200
        await wire.send(HEALTH[:-1])
        assert await wire.is_closed()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("path", ["/webhook", "/nowhere"])
async def test_a_body_that_nobody_reads_does_not_hold_the_connection(port: PublicPort, path: str) -> None:
    async with port.wire() as wire:
        await wire.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n".encode())
        assert await wire.status() in (401, 404)
        await wire.send(b"x" * 10)
        assert await wire.is_closed()


async def test_a_head_without_end_is_cut_off_at_its_limit(port: PublicPort) -> None:
    sent = 0
    async with port.wire() as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            while sent < 100 * HEAD_LIMIT:
                await wire.send(b"X-%d: %s\r\n" % (sent, b"y" * 4000))
                sent += 4000
                await asyncio.sleep(0)
    assert HEAD_LIMIT - 4000 <= sent < 50 * HEAD_LIMIT


async def test_a_head_in_pieces_with_a_large_body_after_it_is_taken(port: PublicPort, sender: Sender) -> None:
    body = b'{"event":"meeting.ended","padding":"%s"}' % (b"x" * 150_000)
    first, second = delivery(sender, body)
    async with port.wire() as wire:
        await wire.send(first)
        await asyncio.sleep(0.02)
        await wire.send(second)
        assert await wire.status() == 200


async def test_a_head_of_many_fields_below_the_limit_is_taken(port: PublicPort, sender: Sender) -> None:
    fields = [f"X-{number}: {'y' * 900}" for number in range(50)]
    async with port.wire() as wire:
        for piece in delivery(sender, b'{"event":"meeting.ended"}', *fields):
            await wire.send(piece)
        assert await wire.status() == 200


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELO example.com\r\n", b"GET\r\n\r\n", b"\x00" * 100]
)
async def test_what_is_not_http_is_refused_and_closed(port: PublicPort, raw: bytes) -> None:
    async with port.wire() as wire:
        await wire.send(raw)
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
    async with port.wire() as wire:
        await wire.send(HEALTH)
        assert await wire.status() == 200


async def test_a_server_that_stops_lets_the_answer_under_way_go_out() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_scope: object, _receive: object, send: object) -> None:
        began.set()
        await go_on.wait()
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    listener = listen("127.0.0.1", 0)
    server = Server(slow)
    address = listener.getsockname()
    running = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*address)
    writer.write(HEALTH)
    await began.wait()
    server.should_exit = True
    await asyncio.sleep(0.15)
    go_on.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await running


async def test_answers_leave_at_once(port: PublicPort) -> None:
    began_at = time.monotonic()
    async with port.wire() as wire:
        for _ in range(50):
            await wire.send(HEALTH)
            assert await wire.status() == 200
    assert time.monotonic() - began_at < 1.0  # two seconds where each answer waits for an acknowledgement


def test_a_port_that_is_taken_is_an_error() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_ipv6_addresses_are_listened_on() -> None:
    with contextlib.closing(listen("::1", 0)) as listener:
        assert listener.getsockname()[0] == "::1"
