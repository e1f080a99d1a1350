"""Proves that what is committed together is told apart: orders, answers, failures and those who gave up."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Sequence

from service.errors import DeliveryMalformed, LedgerUnavailable
from service.ledger.together import Together

PATIENCE_S = 30.0


class Scripted:
    """A commit that halts until it is let go, and keeps what it was given.

    A text is of the recording before its dot. What is `poisoned` fails whatever it is in; `away` says that
    the database cannot be reached.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = asyncio.Semaphore(0)
        self.going_on = asyncio.Semaphore(0)
        self.poisoned: set[str] = set()
        self.away = False

    async def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.begun.release()
        await self.going_on.acquire()
        if self.away:
            raise LedgerUnavailable("it is away")
        for item in items:
            if item in self.poisoned:
                raise DeliveryMalformed(item, "cannot be taken")
        return [item.upper() for item in items]

    async def until_begun(self, times: int = 1) -> None:
        """Wait until that many more commits have begun."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(times):
                await self.begun.acquire()

    def let_go(self, times: int = 1000) -> None:
        """Let that many commits end."""
        for _ in range(times):
            self.going_on.release()


def together(
    commit: Callable[[Sequence[str]], Awaitable[Sequence[str]]],
    *,
    most: int = 100,
    within_s: float = PATIENCE_S,
) -> Together[str, str]:
    def apart(item: str) -> str | None:
        return item.partition(".")[0] or None

    return Together(commit, apart=apart, most=most, within_s=within_s)


async def taking(group: Together[str, str], *items: str) -> list[asyncio.Task[str]]:
    """The items, all of them waiting."""
    tasks = [asyncio.create_task(group.take(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def answers(tasks: Sequence[asyncio.Task[str]]) -> list[str | BaseException]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_alone_is_committed_at_once() -> None:
    commit = Scripted()
    commit.let_go()

    assert await together(commit).take("a.1") == "A.1"

    assert commit.batches == [["a.1"]]


async def test_what_comes_during_a_commit_goes_into_the_next_all_of_it_and_each_gets_its_own() -> None:
    commit = Scripted()
    group = together(commit)
    first = await taking(group, "a.1")
    await commit.until_begun()
    rest = await taking(group, "b.1", "c.1", "d.1")
    commit.let_go()

    assert await answers(first + rest) == ["A.1", "B.1", "C.1", "D.1"]

    assert commit.batches == [["a.1"], ["b.1", "c.1", "d.1"]]


async def test_no_more_are_committed_at_once_than_allowed_and_none_is_left() -> None:
    commit = Scripted()
    group = together(commit, most=3)
    names = [f"{number}.x" for number in range(8)]
    tasks = await taking(group, *names)
    commit.let_go()

    assert await answers(tasks) == [name.upper() for name in names]

    assert commit.batches == [names[:3], names[3:6], names[6:]]


async def test_items_of_one_recording_are_committed_apart_in_the_order_in_which_they_came() -> None:
    commit = Scripted()
    group = together(commit)
    tasks = await taking(group, "a.1", "b.1", "a.2", "c.1", "a.3", "b.2")
    commit.let_go()

    await answers(tasks)

    assert commit.batches == [["a.1", "b.1", "c.1"], ["a.2", "b.2"], ["a.3"]]


async def test_items_of_one_recording_keep_their_order_when_a_batch_is_full() -> None:
    commit = Scripted()
    group = together(commit, most=2)
    tasks = await taking(group, "a.1", "b.1", "c.1", "a.2", "c.2", "b.2")
    commit.let_go()

    await answers(tasks)

    taken = [item for batch in commit.batches for item in batch]
    for recording in "abc":
        assert [item for item in taken if item[0] == recording] == [f"{recording}.1", f"{recording}.2"]


async def test_items_of_no_recording_are_committed_together() -> None:
    commit = Scripted()
    group = together(commit)
    tasks = await taking(group, ".1", ".2", ".3")
    commit.let_go()

    await answers(tasks)

    assert commit.batches == [[".1", ".2", ".3"]]


async def test_what_cannot_be_taken_fails_alone() -> None:
    commit = Scripted()
    commit.poisoned = {"b.1"}
    group = together(commit)
    tasks = await taking(group, "a.1", "b.1", "c.1")
    commit.let_go()

    first, second, third = await answers(tasks)

    assert (first, third) == ("A.1", "C.1")
    assert isinstance(second, DeliveryMalformed)
    assert commit.batches == [["a.1", "b.1", "c.1"], ["a.1"], ["b.1"], ["c.1"]]
    assert await group.take("d.1") == "D.1"


async def test_a_database_that_is_away_is_told_to_all_of_the_batch_and_tried_by_the_next() -> None:
    commit = Scripted()
    commit.away = True
    group = together(commit)
    tasks = await taking(group, "a.1", "b.1")
    await commit.until_begun()
    later = await taking(group, "c.1")
    commit.let_go(1)
    await commit.until_begun()
    commit.away = False
    commit.let_go()

    failed = await answers(tasks)

    assert [type(error) for error in failed] == [LedgerUnavailable] * 2
    assert await answers(later) == ["C.1"]
    assert commit.batches == [["a.1", "b.1"], ["c.1"]]


async def test_what_is_given_up_before_its_commit_began_is_never_committed() -> None:
    commit = Scripted()
    group = together(commit, within_s=0.02)
    begun = await taking(group, "a.1")
    await commit.until_begun()
    waiting = await taking(group, "b.1")

    failed = await answers(begun + waiting)
    commit.let_go()
    assert await group.take("c.1") == "C.1"

    assert [type(error) for error in failed] == [LedgerUnavailable] * 2
    assert commit.batches == [["a.1"], ["c.1"]]


async def test_what_is_given_up_while_the_others_of_its_batch_are_tried_alone_is_not_committed() -> None:
    commit = Scripted()
    commit.poisoned = {"a.1"}
    group = together(commit)
    tasks = await taking(group, "a.1", "b.1", "c.1")
    await commit.until_begun()
    commit.let_go(1)
    await commit.until_begun()
    tasks[1].cancel()
    await asyncio.sleep(0)
    commit.let_go()

    assert [type(answer) for answer in await answers(tasks)] == [
        DeliveryMalformed,
        asyncio.CancelledError,
        str,
    ]
    assert commit.batches == [["a.1", "b.1", "c.1"], ["a.1"], ["c.1"]]


async def test_a_caller_who_is_cancelled_takes_nobody_with_him() -> None:
    commit = Scripted()
    group = together(commit)
    tasks = await taking(group, "a.1", "b.1")
    await commit.until_begun()
    tasks += await taking(group, "c.1", "d.1")
    tasks[0].cancel()  # its commit has begun
    tasks[2].cancel()  # its commit has not
    await asyncio.sleep(0)
    commit.let_go()

    found = await answers(tasks)

    assert [type(answer) for answer in found[::2]] == [asyncio.CancelledError] * 2
    assert found[1::2] == ["B.1", "D.1"]
    assert commit.batches == [["a.1", "b.1"], ["d.1"]]


async def test_one_of_a_recording_that_is_given_up_does_not_keep_the_next_waiting() -> None:
    commit = Scripted()
    group = together(commit)
    tasks = await taking(group, "z.1")
    await commit.until_begun()
    tasks += await taking(group, "a.1", "a.2")
    tasks[1].cancel()
    await asyncio.sleep(0)
    commit.let_go()

    await answers(tasks)

    assert commit.batches == [["z.1"], ["a.2"]]


async def test_nothing_is_left_behind() -> None:
    commit = Scripted()
    commit.let_go(5000)
    commit.poisoned = {"7.7"}
    group = together(commit, most=10)
    before = asyncio.all_tasks()
    for number in range(5):
        tasks = await taking(group, *(f"{item}.{number}" for item in range(50)))
        tasks[number].cancel()
        await answers(tasks)
    tasks = []
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    assert group._waiting == []
    left = weakref.ref(group)
    del group
    gc.collect()
    assert left() is None
