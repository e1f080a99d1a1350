"""Bodies too large, too slow or cut off take neither memory nor time; connections go on where they can."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.receiver import BODY_LIMIT
from tests.doubles.sender import Sender
from tests.unit.public_port import PublicPort, Stage, receiving

LINK = "https://files.example.com/rec.mp4"


@pytest.fixture
async def port(stage: Stage, ledger: Path, sender: Sender) -> AsyncIterator[PublicPort]:
    async with receiving(stage, ledger, sender) as port:
        yield port


def head_of(sender: Sender, body: bytes, *lines: str, length: int | str | None = None) -> bytes:
    """The head of a delivery of ``body``; ``length`` as stated, or none and chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    fields = [f"{name}: {value}" for name, value in sender.headers(body).items()]
    return "\r\n".join(["POST /webhook HTTP/1.1", "Host: h", framing, *fields, *lines, "", ""]).encode()


def padded(size: int) -> bytes:
    """A good body of exactly this size."""
    body = b'{"event":"meeting.ended","padding":""}'
    return body[:-2] + b"x" * (size - len(body)) + b'"}'


async def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_413(
    port: PublicPort, sender: Sender
) -> None:
    for size, status in ((BODY_LIMIT, 200), (BODY_LIMIT + 1, 413)):
        body = padded(size)
        async with port.wire() as wire:
            await wire.send(head_of(sender, body, length=size))
            if status == 200:
                await wire.send(body)
            assert await wire.status() == status
    assert port.rows("SELECT count(*) FROM deliveries") == [(1,)]


async def test_a_body_said_to_be_too_large_is_413_before_any_of_it_is_sent(
    port: PublicPort, sender: Sender
) -> None:
    for length in (BODY_LIMIT + 1, 10**15):
        async with port.wire() as wire:
            await wire.send(head_of(sender, b"", length=length))
            assert await wire.status() == 413
            assert await wire.is_closed()


async def test_a_body_without_a_length_is_413_before_all_of_it_is_sent(
    port: PublicPort, sender: Sender
) -> None:
    async with port.wire() as wire:
        await wire.send(head_of(sender, b""))
        answer = asyncio.create_task(wire.status())
        for _ in range(BODY_LIMIT // 65536 + 1):
            await wire.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        assert await answer == 413
        assert await wire.is_closed()


async def test_a_body_in_chunks_is_taken(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    async with port.wire() as wire:
        await wire.send(head_of(sender, body))
        for byte in body[:50]:
            await wire.send(b"1\r\n%c\r\n" % byte)
        await wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 50, body[50:]))
        assert await wire.status() == 200


async def test_a_body_that_does_not_come_is_408(
    monkeypatch: pytest.MonkeyPatch, port: PublicPort, sender: Sender
) -> None:
    monkeypatch.setattr("service.receiver.ANSWER_S", 0.05)
    body = sender.uploaded("r1", LINK)
    for sent in (b"", body[:-1]):
        async with port.wire() as wire:
            await wire.send(head_of(sender, body, length=len(body)) + sent)
            assert await wire.status() == 408
            assert await wire.is_closed()
    assert port.counted(provider="dyte", event_name="none", outcome="408") == 2


async def test_a_body_that_drips_is_408_however_often_a_byte_comes(
    monkeypatch: pytest.MonkeyPatch, port: PublicPort, sender: Sender
) -> None:
    monkeypatch.setattr("service.receiver.ANSWER_S", 0.1)
    async with port.wire() as wire:
        await wire.send(head_of(sender, b"", length=1000))
        answer = asyncio.create_task(wire.status())
        for _ in range(100):
            if answer.done():
                break
            await wire.send(b"x")
            await asyncio.sleep(0.01)
        assert await answer == 408


async def test_a_sender_that_leaves_in_the_middle_leaves_nothing(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    async with port.wire() as wire:
        await wire.send(head_of(sender, body, length=len(body)) + body[:-1])
    for _ in range(500):
        if port.counted(provider="dyte", event_name="none", outcome="408"):
            break
        await asyncio.sleep(0.01)
    assert port.counted(provider="dyte", event_name="none", outcome="408") == 1
    assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]


@pytest.mark.parametrize("length", ["-1", "1, 2", "0x10", "9" * 30, "1 1", "\u0662"])
async def test_a_length_that_is_none_is_refused(port: PublicPort, sender: Sender, length: str) -> None:
    async with port.wire() as wire:
        await wire.send(head_of(sender, b"{}", length=length) + b"{}")
        assert await wire.status() in (400, 413)
        assert await wire.is_closed()
    assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]


async def test_expect_100_continue_is_told_to_go_on(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    async with port.wire() as wire:
        await wire.send(head_of(sender, body, "Expect: 100-continue", length=len(body)))
        assert await wire.status() == 100
        await wire.send(body)
        assert await wire.status() == 200


async def test_expect_100_continue_is_answered_at_once_where_the_body_is_not_wanted(
    port: PublicPort, sender: Sender
) -> None:
    async with port.wire() as wire:
        await wire.send(head_of(sender, b"", "Expect: 100-continue", length=BODY_LIMIT + 1))
        assert await wire.status() == 413
    async with port.wire() as wire:
        await wire.send(
            b"POST /webhook HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        assert await wire.status() == 401


async def test_a_connection_serves_one_delivery_after_another(port: PublicPort, sender: Sender) -> None:
    async with port.wire() as wire:
        for number in range(5):
            body = sender.uploaded(f"r{number}", LINK)
            await wire.send(head_of(sender, body, length=len(body)) + body)
            assert await wire.status() == 200
        # A refusal that has read the body is no reason to hang up either.
        await wire.send(head_of(sender, b"{}", length=2) + b"[]")
        assert await wire.status() == 401
        await wire.send(head_of(sender, b"{}", length=2) + b"{}")
        assert await wire.status() == 400
    assert port.rows("SELECT count(*) FROM artifacts") == [(5,)]


async def test_deliveries_sent_without_waiting_are_answered_in_their_order(
    port: PublicPort, sender: Sender
) -> None:
    body = sender.uploaded("r1", LINK)
    good = head_of(sender, body, length=len(body)) + body
    async with port.wire() as wire:
        await wire.send(good + b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n" + good)
        assert [await wire.status() for _ in range(3)] == [200, 404, 200]
