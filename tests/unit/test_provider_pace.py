"""Never more requests in any window than the provider allows, and none later than it must be."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.provider import Pace


class Clock:
    """Time that passes only by sleeping in it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.slept.append(seconds)
        self.now += seconds


def pace_of(clock: Clock, *, limit: int, window_s: float = 50.0) -> Pace:
    return Pace(limit=limit, window_s=window_s, clock=clock, sleep=clock.sleep)


async def test_requests_within_the_limit_wait_for_nothing() -> None:
    clock = Clock()
    pace = pace_of(clock, limit=900)
    for _ in range(900):
        await pace.turn()
    assert clock.slept == []


async def test_the_first_beyond_the_limit_waits_until_the_oldest_has_left_the_window() -> None:
    clock = Clock()
    pace = pace_of(clock, limit=2)
    await pace.turn()
    clock.now += 30
    await pace.turn()
    clock.now += 5
    await pace.turn()
    assert clock.slept == [15.0]
    await pace.turn()
    assert clock.slept == [15.0, 30.0]


@given(
    limit=st.integers(1, 5),
    gaps_s=st.lists(st.floats(0, 20), min_size=1, max_size=40),
    window_s=st.floats(1, 60),
)
def test_no_window_ever_sees_more_than_the_limit(limit: int, gaps_s: list[float], window_s: float) -> None:
    clock = Clock()
    pace = pace_of(clock, limit=limit, window_s=window_s)
    turns: list[float] = []

    async def run() -> None:
        for gap_s in gaps_s:
            clock.now += gap_s
            await pace.turn()
            turns.append(clock.now)

    asyncio.run(run())
    for earlier, later in zip(turns, turns[limit:], strict=False):
        assert later - earlier >= window_s * (1 - 1e-9)


async def test_many_at_once_share_one_limit_and_are_served_in_the_order_they_came() -> None:
    clock = Clock()
    pace = pace_of(clock, limit=3, window_s=10)
    served: list[tuple[int, float]] = []

    async def ask(number: int) -> None:
        await pace.turn()
        served.append((number, clock.now - 1000))

    await asyncio.gather(*(ask(number) for number in range(8)))
    assert [number for number, _ in served] == list(range(8))
    assert [at for _, at in served] == [0, 0, 0, 10, 10, 10, 20, 20]


async def test_one_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    clock = Clock()
    gate = asyncio.Event()

    async def sleep(_: float) -> None:
        await gate.wait()

    pace = Pace(limit=1, window_s=10, clock=clock, sleep=sleep)
    await pace.turn()
    waiting = asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clock.now += 10
    async with asyncio.timeout(1):
        await pace.turn()
