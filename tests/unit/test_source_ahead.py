"""What is asked for ahead is on its way when it is read, and nothing of it is left when it is not."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

import pytest

from service.errors import SourceRefused
from tests.doubles.source import FaultySource
from tests.unit.reading import Reader, reading

MIB = 1 << 20


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    async with reading(stall_s=5) as reader:
        yield reader


@pytest.fixture
async def faults() -> AsyncIterator[list[dict[str, Any]]]:
    """What nobody waited for; none is expected."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
    yield faults
    gc.collect()
    await asyncio.sleep(0)
    assert faults == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the source cannot say it
            await asyncio.sleep(0.01)


async def test_what_was_asked_for_ahead_is_asked_for_once(
    files: FaultySource, reader: Reader, faults: list[dict[str, Any]]
) -> None:
    opened = await reader.source.open(files.add("a.mp4", 8 * MIB), start=0, length=MIB)
    with closing(opened):
        for start in (3, 5):
            opened.ask_ahead(start * MIB, MIB)
        await until(lambda: len(files["a.mp4"].requests) == 3)
        await asyncio.sleep(0.2)  # by now no more of it fits into what lies between
        for start in (5, 0, 3, 6):
            view = memoryview(bytearray(MIB))
            await opened.read_into(start * MIB, view)
            assert view == files["a.mp4"].content.read(start * MIB, (start + 1) * MIB)

    assert [request.range for request in files["a.mp4"].requests] == [
        f"bytes={start * MIB}-{(start + 1) * MIB - 1}" for start in (0, 3, 5, 6)
    ]
    assert reader.pauses == []


async def test_what_is_not_read_is_dropped(
    files: FaultySource, reader: Reader, faults: list[dict[str, Any]]
) -> None:
    opened = await reader.source.open(files.add("a.mp4", 64 * MIB), start=0, length=MIB)
    opened.ask_ahead(MIB, 60 * MIB)
    await until(lambda: len(files["a.mp4"].requests) == 2)
    opened.ask_ahead(2 * MIB, MIB)  # and this one is not even under way
    opened.close()

    await until(lambda: not files["a.mp4"].active)
    assert files["a.mp4"].sent < 32 * MIB


@pytest.mark.parametrize("slowness", [{"no_answer": "stall"}, {"rate": MIB}])
async def test_a_reading_that_is_broken_off_drops_its_answer(
    files: FaultySource, reader: Reader, faults: list[dict[str, Any]], slowness: Any
) -> None:
    opened = await reader.source.open(files.add("a.mp4", 64 * MIB), start=0, length=MIB)
    with closing(opened):
        files["a.mp4"].fail(**slowness)
        opened.ask_ahead(MIB, 60 * MIB)
        task = asyncio.create_task(opened.read_into(MIB, memoryview(bytearray(60 * MIB))))
        await until(lambda: len(files["a.mp4"].requests) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: not files["a.mp4"].active)
    assert files["a.mp4"].sent < 32 * MIB


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_failure_is_the_reading_s(
    files: FaultySource, reader: Reader, faults: list[dict[str, Any]], *, is_read: bool
) -> None:
    opened = await reader.source.open(files.add("a.mp4", 8 * MIB), start=0, length=MIB)
    with closing(opened):
        files["a.mp4"].fail(status=403)
        opened.ask_ahead(MIB, MIB)
        await until(lambda: len(files["a.mp4"].requests) == 2)
        if is_read:
            with pytest.raises(SourceRefused):
                await opened.read_into(MIB, memoryview(bytearray(MIB)))


async def test_a_failure_that_passes_is_asked_again(files: FaultySource, reader: Reader) -> None:
    opened = await reader.source.open(files.add("a.mp4", 8 * MIB), start=0, length=MIB)
    with closing(opened):
        files["a.mp4"].fail(status=503, status_first=1)
        opened.ask_ahead(MIB, MIB)
        await until(lambda: len(files["a.mp4"].requests) == 2)
        view = memoryview(bytearray(MIB))
        await opened.read_into(MIB, view)
        assert view == files["a.mp4"].content.read(MIB, 2 * MIB)
        assert len(reader.pauses) == 1

        # It has asked for fewer requests: none that can wait is made.
        opened.ask_ahead(2 * MIB, MIB)
        await asyncio.sleep(0.1)
    assert len(files["a.mp4"].requests) == 3
