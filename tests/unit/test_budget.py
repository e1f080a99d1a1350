"""Proves that memory stays within its limit and is handed out in turn, whoever fails or is cancelled."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from service.budget import Budget


async def turns(count: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


class Holder:
    """A task that takes a buffer and holds it until it is told to let go."""

    def __init__(self, budget: Budget, size: int) -> None:
        self.size = size
        self.holds = False
        self._let_go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget))

    async def _hold(self, budget: Budget) -> None:
        async with budget.buffer(self.size) as view:
            assert len(view) == self.size
            self.holds = True
            try:
                await self._let_go.wait()
            finally:
                self.holds = False

    def let_go(self) -> None:
        self._let_go.set()


async def test_buffers_are_handed_out_first_come_first_served() -> None:
    budget = Budget(10)
    first, large, small = (Holder(budget, size) for size in (6, 10, 1))
    await turns()
    assert (first.holds, large.holds, small.holds) == (True, False, False)

    first.let_go()
    await turns()
    assert (large.holds, small.holds) == (True, False)

    large.let_go()
    await turns()
    assert small.holds

    small.let_go()
    await small.task
    assert budget.used_bytes == 0


async def test_how_many_are_handed_out_is_known_also_when_one_ends_badly() -> None:
    budget = Budget(10)
    with contextlib.suppress(ValueError):
        async with budget.buffer(4), budget.buffer(4):
            assert budget.in_flight == 2
            raise ValueError
    assert budget.in_flight == 0


async def test_a_buffer_larger_than_the_budget_is_handed_out_alone() -> None:
    budget = Budget(10)
    small, oversize, next_small = (Holder(budget, size) for size in (1, 50, 1))
    await turns()
    assert (small.holds, oversize.holds) == (True, False)

    small.let_go()
    await turns()
    assert (oversize.holds, next_small.holds) == (True, False)

    oversize.let_go()
    await turns()
    assert next_small.holds
    next_small.let_go()
    await next_small.task


async def test_a_waiter_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    budget = Budget(10)
    first, large, small = (Holder(budget, size) for size in (6, 10, 4))
    await turns()

    large.task.cancel()
    await turns()

    assert small.holds
    first.let_go()
    small.let_go()
    await asyncio.wait([first.task, small.task])
    assert budget.used_bytes == 0


async def test_a_waiter_cancelled_just_before_its_turn_leaves_it_to_the_next() -> None:
    budget = Budget(10)
    first, second, third = (Holder(budget, 10) for _ in range(3))
    await turns()

    second.task.cancel()
    first.task.cancel()
    await turns()

    assert third.holds
    assert first.task.cancelled()
    third.let_go()
    await third.task
    assert budget.used_bytes == 0


async def test_a_waiter_cancelled_just_after_its_turn_leaves_it_to_the_next() -> None:
    budget = Budget(10)
    async with AsyncExitStack() as held:
        await held.enter_async_context(budget.buffer(10))
        second, third = (Holder(budget, 10) for _ in range(2))
        await turns()
    second.task.cancel()  # it was handed out, and the waiter has not run since

    await turns()

    assert second.task.cancelled()
    assert third.holds
    third.let_go()
    await third.task
    assert budget.used_bytes == 0


async def test_all_that_are_cancelled_at_once_leave_nothing_taken() -> None:
    budget = Budget(10)
    holders = [Holder(budget, 4) for _ in range(9)]
    await turns()

    for holder in holders:
        holder.task.cancel()
    await asyncio.wait([holder.task for holder in holders])

    assert all(holder.task.cancelled() for holder in holders)
    assert budget.used_bytes == 0
    async with budget.buffer(10):
        assert budget.used_bytes == 10


steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 14)),
        st.tuples(st.sampled_from(["let go", "cancel"]), st.integers(0, 20)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
    ),
    max_size=40,
)


@given(steps=steps)
@settings(max_examples=200)
async def test_whatever_happens_the_limit_and_the_order_are_kept(steps: list[tuple[str, int]]) -> None:
    budget = Budget(10)
    holders: list[Holder] = []
    for step, value in steps:
        if step == "take":
            holders.append(Holder(budget, value))
        elif step == "turn":
            await turns(value)
        elif value < len(holders):
            if step == "cancel":
                holders[value].task.cancel()
            else:
                holders[value].let_go()
        holding = [holder for holder in holders if holder.holds]
        assert sum(holder.size for holder in holding) <= 10 or len(holding) == 1
    await turns(10)
    waiting = [number for number, holder in enumerate(holders) if not (holder.holds or holder.task.done())]
    holding_now = [number for number, holder in enumerate(holders) if holder.holds]
    assert not waiting or not holding_now or max(holding_now) < min(waiting)
    assert holding_now or not waiting
    for holder in holders:
        holder.let_go()
    if holders:
        await asyncio.wait([holder.task for holder in holders])
    assert budget.used_bytes == 0


MIB = 1024 * 1024


async def test_memory_is_used_again_after_success_and_never_after_an_error() -> None:
    budget = Budget(10 * MIB)
    async with budget.buffer(5 * MIB) as first:
        first[:5] = b"first"
    async with budget.buffer(5 * MIB) as second:
        assert second.obj is first.obj
    with contextlib.suppress(KeyError):
        async with budget.buffer(5 * MIB) as failed:
            assert failed.obj is first.obj
            raise KeyError
    async with budget.buffer(5 * MIB) as after:
        assert after.obj is not first.obj


async def test_memory_that_lies_idle_makes_room_only_where_it_is_needed() -> None:
    budget = Budget(10 * MIB)
    async with budget.buffer(5 * MIB) as first, budget.buffer(1000):
        pass
    async with budget.buffer(1000), budget.buffer(5 * MIB) as second:
        assert second.obj is first.obj, "a small file does not cost the buffer of a large one"
    async with budget.buffer(6 * MIB):
        pass
    async with budget.buffer(5 * MIB) as third:
        assert third.obj is not first.obj, "both together would be more than the budget"


async def test_memory_that_nobody_needs_goes_back_to_the_system() -> None:
    budget = Budget(10 * MIB, keep_s=0.01)
    async with budget.buffer(5 * MIB) as first:
        await asyncio.sleep(0.05)
    async with budget.buffer(5 * MIB) as again:
        assert again.obj is first.obj, "it was needed a moment ago"
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    async with budget.buffer(5 * MIB) as later:
        assert later.obj is not first.obj


async def test_buffers_held_at_once_never_share_memory() -> None:
    budget = Budget(10 * MIB)
    async with budget.buffer(5 * MIB) as one, budget.buffer(5 * MIB) as other:
        assert one.obj is not other.obj
    async with budget.buffer(5 * MIB) as one, budget.buffer(5 * MIB) as other:
        assert one.obj is not other.obj


async def test_idle_memory_of_another_size_is_given_up() -> None:
    budget = Budget(10)
    async with budget.buffer(5) as first:
        pass
    async with budget.buffer(10):
        pass
    async with budget.buffer(5) as later:
        assert later.obj is not first.obj


async def test_an_empty_buffer_can_be_had() -> None:
    async with Budget(10).buffer(0) as view:
        assert len(view) == 0
