"""Proves that requests are narrowed and widened as the storage asks, and that each gets its turn."""

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from service.budget import Gate


async def turns(count: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.sampled_from(["let go", "cancel"]), st.integers(0, 20)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
    ),
    max_size=40,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


async def test_a_gate_is_halved_once_for_all_that_were_under_way() -> None:
    gate = Gate(8, clock=Clock())
    async with AsyncExitStack() as running:
        began = [await running.enter_async_context(gate.request()) for _ in range(8)]
        for began_at in began:
            gate.narrow(began_at)
    assert gate.limit == 4

    async with gate.request() as began_at:
        gate.narrow(began_at)
    assert gate.limit == 2


async def test_a_gate_never_closes_and_never_opens_further_than_it_was() -> None:
    gate = Gate(8, clock=Clock())
    for _ in range(20):
        async with gate.request() as began_at:
            gate.narrow(began_at)
    assert gate.limit == 1

    widths = []
    for _ in range(100):
        gate.widen()
        widths.append(gate.limit)
    assert widths == sorted(widths)
    assert widths[0] == 2
    assert widths[-1] == 8


async def test_a_gate_widens_by_one_for_about_as_many_requests_as_run_at_once() -> None:
    gate = Gate(16, clock=Clock())
    async with gate.request() as began_at:
        gate.narrow(began_at)
    passed = 0
    while gate.limit < 12:
        gate.widen()
        passed += 1
    assert 8 + 9 + 10 + 11 <= passed <= 9 + 10 + 11 + 12


class Asker:
    """A task with a request that runs until it is told to end."""

    def __init__(self, gate: Gate) -> None:
        self.runs = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._ask(gate))

    async def _ask(self, gate: Gate) -> None:
        async with gate.request():
            self.runs = True
            try:
                await self._end.wait()
            finally:
                self.runs = False

    def end(self) -> None:
        self._end.set()


async def test_no_more_requests_run_than_the_gate_lets_through_and_each_gets_its_turn() -> None:
    gate = Gate(2, clock=Clock())
    askers = [Asker(gate) for _ in range(7)]
    for _ in range(10):
        await turns()
        running = [asker for asker in askers if asker.runs]
        assert len(running) <= 2
        for asker in running:
            asker.end()
    assert all(asker.task.done() for asker in askers)


async def test_a_gate_that_widens_wakes_who_waits() -> None:
    gate = Gate(2, clock=Clock())
    async with gate.request() as began_at:
        gate.narrow(began_at)
    first, second = Asker(gate), Asker(gate)
    await turns()
    assert (first.runs, second.runs) == (True, False)

    gate.widen()
    await turns()

    assert second.runs
    for asker in (first, second):
        asker.end()
        await asker.task


async def test_a_request_cancelled_just_after_its_turn_leaves_it_to_the_next() -> None:
    gate = Gate(1, clock=Clock())
    async with gate.request():
        second, third = Asker(gate), Asker(gate)
        await turns()
    second.task.cancel()  # it was woken, and has not run since

    await turns()

    assert third.runs
    third.end()
    await third.task


@given(steps=steps)
@settings(max_examples=200)
async def test_whatever_happens_nobody_waits_at_a_gate_that_is_free(steps: list[tuple[str, int]]) -> None:
    gate = Gate(3, clock=Clock())
    askers: list[Asker] = []
    for step, value in steps:
        if step == "take":
            askers.append(Asker(gate))
        elif step == "turn":
            await turns(value)
        elif value < len(askers):
            if step == "cancel":
                askers[value].task.cancel()
            else:
                askers[value].end()
        assert sum(asker.runs for asker in askers) <= 3
    for asker in askers:
        asker.end()
    if askers:
        _, waiting = await asyncio.wait([asker.task for asker in askers], timeout=5)
        assert not waiting
