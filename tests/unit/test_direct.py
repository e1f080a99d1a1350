"""A body that is read straight into memory is the file's own, on either loop, with TLS and without."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvloop

from service.direct import Cut, read_body
from tests.doubles.source import FaultySource
from tests.doubles.tls import Authority, TlsEnd

MIB = 1 << 20
SIZE = 5 * MIB + 3
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Get = Callable[..., Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Run a test's body on each loop; what a callback raises fails it, too."""

    def run(body: Awaitable[None]) -> None:
        faults: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
            await body
            gc.collect()
            await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(watched())
        assert faults == []

    return run


@pytest.fixture(params=["http", "https"])
def serving(request: pytest.FixtureRequest, authority: Authority) -> Any:
    """A source, and what asks it, over each scheme."""

    @asynccontextmanager
    async def serving() -> AsyncIterator[tuple[FaultySource, Get]]:
        trust = ssl.create_default_context(cafile=str(authority.file))
        connector = aiohttp.TCPConnector(ssl=trust)
        async with FaultySource() as source, aiohttp.ClientSession(connector=connector) as session:

            def get(link: str, first: int = 0, last: int = SIZE - 1) -> Any:
                return session.get(link, headers={"Range": f"bytes={first}-{last}"})

            if request.param == "http":
                yield source, get
                return
            async with TlsEnd(authority.context("127.0.0.1"), source.port) as end:
                yield (
                    source,
                    lambda link, *of: get(link.replace(source.base_url, end.base_url), *of),
                )

    return serving


def test_bodies_are_the_file_s_own_and_the_connection_serves_the_next(run: Any, serving: Any) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", SIZE)
            content = source["rec.mp4"].content
            memory = memoryview(bytearray(SIZE + 5))
            protocols = set()
            for first, last in ((0, SIZE - 1), (7, 7), (MIB, 2 * MIB), (3, SIZE - 1), (0, SIZE - 1)):
                async with get(link, first, last) as response:
                    if response.connection is not None:  # a small body has come with its head
                        protocols.add(response.connection.protocol)
                    got = await read_body(response, memory, stall_s=30)
                assert got == last + 1 - first
                assert memory[:got] == content.read(first, last + 1)
            assert len(protocols) == 1

    run(body())


def test_many_at_once_do_not_mix(run: Any, serving: Any) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", SIZE)
            content = source["rec.mp4"].content

            async def read(number: int) -> None:
                memory = memoryview(bytearray(SIZE))
                for first in range(number, 40 * number, 7 * number):
                    async with get(link, first) as response:
                        got = await read_body(response, memory, stall_s=30)
                    assert memory[:got] == content.read(first, SIZE)

            await asyncio.gather(*(read(number) for number in range(1, 9)))

    run(body())


@pytest.mark.parametrize("by_reset", [False, True])
def test_a_cut_says_how_much_came_and_that_is_right(run: Any, serving: Any, *, by_reset: bool) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", SIZE, cut_after=2 * MIB, cut_by_reset=by_reset)
            memory = memoryview(bytearray(SIZE))
            async with get(link) as response:
                with pytest.raises(Cut) as cut:
                    await read_body(response, memory, stall_s=30)
            assert cut.value.got <= 2 * MIB
            assert cut.value.got == 2 * MIB or by_reset
            assert memory[: cut.value.got] == source["rec.mp4"].content.read(0, cut.value.got)

    run(body())


def test_silence_is_a_cut_too(run: Any, serving: Any) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", SIZE, stall_after=2 * MIB)
            memory = memoryview(bytearray(SIZE))
            async with get(link) as response:
                with pytest.raises(Cut) as cut:
                    await read_body(response, memory, stall_s=0.3)
            assert cut.value.got == 2 * MIB
            assert isinstance(cut.value.__cause__, TimeoutError)

    run(body())


def test_who_is_slow_but_not_silent_is_waited_for(run: Any, serving: Any) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", 2 * MIB, rate=MIB)
            memory = memoryview(bytearray(2 * MIB))
            async with get(link, 0, 2 * MIB - 1) as response:
                assert await read_body(response, memory, stall_s=1.6) == 2 * MIB
            assert memory == source["rec.mp4"].content.read()

    run(body())


def test_who_is_cancelled_leaves_the_memory_alone_from_then_on(run: Any, serving: Any) -> None:
    async def body() -> None:
        async with serving() as (source, get):
            link = source.add("rec.mp4", SIZE, rate=8 * MIB)
            memory = memoryview(bytearray(SIZE))

            async def read() -> None:
                async with get(link) as response:
                    await read_body(response, memory, stall_s=30)

            reading = asyncio.create_task(read())
            while not any(memory[MIB : MIB + 64]):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
            memory[:] = bytes(SIZE)
            await asyncio.sleep(0.2)
            assert memory == bytes(SIZE)

            # And the next request is on a connection of its own.
            source["rec.mp4"].faults = {}
            async with get(link) as response:
                assert await read_body(response, memory, stall_s=30) == SIZE
            assert memory == source["rec.mp4"].content.read()

    run(body())
