"""Requests to one host are bounded, fewer while it asks for less, and more again as they pass."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from service.errors import SourceThrottled, SourceUnavailable
from service.guard import Guard
from service.source import Source
from tests.doubles.source import FaultySource

MIB = 1 << 20


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    source = Source(Guard(["127.0.0.1", "localhost"]), sleep=no_pause, jitter=lambda: 0.0, at_once=8)
    yield source
    await source.close()


async def read(source: Source, link: str, parts: int) -> bytes:
    """Read a file of that many parts as the transfer does: each in its turn."""
    body = bytearray(parts * MIB)
    opened = await source.open(link, start=0, length=MIB)

    async def part(number: int) -> None:
        async with opened.place():
            await opened.read_into(number * MIB, memoryview(body)[number * MIB : (number + 1) * MIB])

    with closing(opened):
        await asyncio.gather(*(part(number) for number in range(parts)))
    return bytes(body)


async def test_no_more_ranges_of_a_host_are_read_at_once_than_it_is_given(
    files: FaultySource, source: Source
) -> None:
    link = files.add("a.mp4", 24 * MIB, rate=40 * MIB)

    assert await read(source, link, 24) == files["a.mp4"].content.read()

    # The first answer was asked for before its place was taken.
    assert 6 <= files["a.mp4"].peak <= 9


async def test_a_host_that_asks_for_less_gets_less_and_then_more_again(
    files: FaultySource, source: Source
) -> None:
    link = files.add("a.mp4", 8 * MIB, status=429, status_first=2, status_after=1)
    gate = source.gate(link)

    assert await read(source, link, 8) == files["a.mp4"].content.read()

    narrowed = gate.limit
    assert narrowed < 8
    files["a.mp4"].recover()
    for _ in range(8):
        await read(source, link, 8)
    assert gate.limit == 8


async def test_one_host_s_limit_is_not_another_s(files: FaultySource, source: Source) -> None:
    link = files.add("a.mp4", 8 * MIB, status=503, status_first=3, status_after=1)
    other = link.replace("127.0.0.1", "localhost")

    await read(source, link, 8)

    assert source.gate(link).limit < 8
    assert source.gate(other).limit == 8


@pytest.mark.parametrize(("status", "family"), [(429, SourceThrottled), (503, SourceThrottled)])
async def test_what_asks_for_less_is_told_from_what_fails(
    files: FaultySource, source: Source, status: int, family: type[SourceUnavailable]
) -> None:
    with pytest.raises(family):
        await source.open(files.add("a.mp4", MIB, status=status), start=0, length=MIB)
    with pytest.raises(SourceUnavailable) as failed:
        await source.open(files.add("b.mp4", MIB, status=500), start=0, length=MIB)
    assert not isinstance(failed.value, SourceThrottled)
