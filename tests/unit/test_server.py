"""The server lets nobody hold a connection without a whole request, and honest senders never notice."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.server import FIELDS, HEAD_LIMIT, PIPELINE, Server, listen
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


async def test_a_head_that_comes_whole_has_the_same_limits(port: PublicPort) -> None:
    for fields in (
        b"X: y\r\n" * FIELDS,
        b"X: %s\r\n" % (b"y" * HEAD_LIMIT),
        b"X%s: y\r\n" % (b"x" * HEAD_LIMIT),
    ):
        async with port.wire() as wire:
            await wire.send(HEALTH[:-2] + fields + b"\r\n")
            assert (await wire.rest()).startswith((b"HTTP/1.1 400 ", b""))
    async with port.wire() as wire:
        await wire.send(HEALTH[:-2] + b"X: y\r\n" * (FIELDS - 1) + b"\r\n")
        assert await wire.status() == 200


async def test_requests_sent_without_waiting_are_limited(port: PublicPort) -> None:
    async with port.wire() as wire:
        await wire.send(HEALTH * (PIPELINE + 1))
        assert [await wire.status() for _ in range(PIPELINE + 1)] == [200] * (PIPELINE + 1)
    async with port.wire() as wire:
        await wire.send(HEALTH * 1000)
        assert (await wire.rest()).count(b"HTTP/1.1 200 ") <= PIPELINE + 1


async def test_fields_after_a_body_in_chunks_are_not_taken_for_the_heads(
    port: PublicPort, sender: Sender
) -> None:
    body = b'{"event":"meeting.ended"}'
    first, second = delivery(sender, body)
    head = (first + second).replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    signed = head[: -len(body)]
    unsigned = signed.replace(b"dyte-signature", b"x-signature")
    signature = b"dyte-signature: " + sender.headers(body)["dyte-signature"].encode()
    for begin, end, status in ((signed, b"", 200), (signed, signature, 200), (unsigned, signature, 401)):
        async with port.wire() as wire:
            # All at once, so that the end has come before anybody looks at the head.
            await wire.send(begin + chunks + (end + b"\r\n" if end else b"") + b"\r\n")
            assert await wire.status() == status
    async with port.wire() as wire:
        await wire.send(signed + chunks + b"X: y\r\n" * FIELDS + b"\r\n")
        assert b"HTTP/1.1 200 " not in await wire.rest()


async def test_whoever_keeps_the_server_waiting_the_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch, port: PublicPort, sender: Sender
) -> None:
    monkeypatch.setattr("service.server.CONNECTIONS", 3)
    first, second = delivery(sender, b'{"event":"meeting.ended"}')
    async with contextlib.AsyncExitStack() as open_wires:
        wires = [await open_wires.enter_async_context(port.wire()) for _ in range(3)]
        idle, headless, bodiless = wires
        await idle.send(HEALTH)
        assert await idle.status() == 200
        await headless.send(HEALTH[:-2])
        await bodiless.send(first + second[:-1])
        for _ in range(2):  # the server has taken notice of all three
            await idle.send(HEALTH)
            assert await idle.status() == 200
        for gone in (headless, bodiless, idle):
            newest = await open_wires.enter_async_context(port.wire())
            await newest.send(HEALTH)
            assert await newest.status() == 200
            assert await gone.is_closed()


async def test_a_sender_that_does_not_take_its_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.UNREAD_S", 0.5)
    done = asyncio.Event()

    async def endless(_scope: object, _receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not done.is_set():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)

    listener = listen("127.0.0.1", 0)
    server = Server(endless)
    address = listener.getsockname()
    running = asyncio.create_task(server.serve(sockets=[listener]))
    _, writer = await asyncio.open_connection(*address, limit=1)
    writer.write(HEALTH)
    for are_there in (True, False):
        for _ in range(3000):
            if bool(server.server_state.connections) is are_there:
                break
            await asyncio.sleep(0.01)
        assert bool(server.server_state.connections) is are_there
    done.set()
    server.end()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await running


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
    server.end()
    await asyncio.sleep(0.15)
    go_on.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    await running


async def test_answers_leave_at_once(port: PublicPort) -> None:
    took_s = []
    async with port.wire() as wire:
        for _ in range(50):
            began_at = time.monotonic()
            await wire.send(HEALTH)
            assert await wire.status() == 200
            took_s.append(time.monotonic() - began_at)
    assert statistics.median(took_s) < 0.03  # 0.04 where each answer waits for an acknowledgement


def test_a_port_that_is_taken_is_an_error() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_ipv6_addresses_are_listened_on() -> None:
    with contextlib.closing(listen("::1", 0)) as listener:
        assert listener.getsockname()[0] == "::1"
