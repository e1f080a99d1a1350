"""Proves that a part is read once for all copies, and that no storage's trouble is another's."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.enduring import joined
from service.errors import (
    ArchiverError,
    Draining,
    LeaseLost,
    NameTaken,
    SourceChanged,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)
from service.model import Stored
from service.retry import PART_ATTEMPTS
from service.transfer import Target
from tests.unit.moving import BODY, COUNT, PART, Hook, Reading, Rig, at_once, hang, turns

WAYS = pytest.mark.parametrize("way", ["ranges", "stream"])
LAG_S = 30.0
MIB = 1024 * 1024


def failing(error: ArchiverError | type[ArchiverError], *numbers: int) -> Hook:
    """A storage that fails with these parts, or with any if none is named."""

    def fail(number: int) -> None:
        if not numbers or number in numbers:
            raise error

    return fail


def taking(seconds: float, then: ArchiverError | None = None) -> Hook:
    """A storage that takes its time with each part."""

    async def take(number: int) -> None:
        await asyncio.sleep(seconds)
        if then is not None:
            raise then

    return take


async def timed(moving: Coroutine[Any, Any, object]) -> float:
    """How long it took."""
    began_at = asyncio.get_running_loop().time()
    await moving
    return asyncio.get_running_loop().time() - began_at


# ---- every copy gets what it lacks


@given(
    had=st.lists(st.sets(st.integers(1, COUNT)), min_size=1, max_size=3),
    broken=st.lists(st.none() | st.integers(1, COUNT), min_size=3, max_size=3),
    lanes=st.integers(1, 6),
    budget=st.sampled_from([PART, 3 * PART, 1000]),
)
@WAYS
async def test_whatever_each_copy_has_and_whichever_fails_the_others_end_whole(
    way: str, had: list[set[int]], broken: list[int | None], lanes: int, budget: int
) -> None:
    hooks = [None if number is None else failing(StorageRefused, number) for number in broken]
    rig = Rig(*hooks[: len(had)], lanes=lanes, budget=budget)
    for index, numbers in enumerate(had):
        rig.has(index, *numbers)
    reading = Reading(BODY)

    await getattr(rig, way)(reading)

    for index, numbers in enumerate(had):
        number = broken[index]
        if number is None or number in numbers:
            rig.assert_whole(index)
        else:
            assert isinstance(rig.targets[index].failure, StorageRefused)
            assert number not in rig.targets[index].done
        assert set(rig.storages[index].begun).isdisjoint(numbers)
        kept = {part.number for part in rig.kept[index]}
        assert kept == set(rig.targets[index].done) - numbers
    lacked = set(range(1, COUNT + 1)) - {number for number in had[0] if all(number in each for each in had)}
    assert len(reading.reads) == len(set(reading.reads))
    assert {start // PART + 1 for start in reading.reads} <= lacked
    rig.assert_idle()


async def test_each_part_is_read_once_for_all_that_lack_it() -> None:
    rig = Rig(None, None, None)
    rig.has(0, 1, 2, 3)
    rig.has(1, 2, 3, COUNT)
    rig.has(2, 2)
    reading = Reading(BODY)

    await rig.ranges(reading)

    rig.assert_whole(0, 1, 2)
    assert sorted(reading.reads) == [(number - 1) * PART for number in range(1, COUNT + 1) if number != 2]
    assert [sorted(storage.begun) for storage in rig.storages] == [
        [4, 5, 6, 7, 8, 9, 10],
        [1, 4, 5, 6, 7, 8, 9],
        [1, 3, 4, 5, 6, 7, 8, 9, 10],
    ]


async def test_a_stream_of_several_parts_opens_sessions_once_for_all_copies() -> None:
    rig = Rig(None, None)

    assert await rig.stream() == len(BODY)

    assert (rig.began, rig.whole) == (1, [])
    rig.assert_whole(0, 1)


@pytest.mark.parametrize("body", [b"", BODY[:1], BODY[: PART - 1]], ids=["empty", "a byte", "almost a part"])
async def test_a_stream_of_less_than_a_part_is_put_once_for_all_copies(body: bytes) -> None:
    rig = Rig(None, None)

    assert await rig.stream(body) is None

    assert (rig.began, rig.whole) == (0, [body])
    assert [storage.begun for storage in rig.storages] == [[], []]


async def test_a_stream_goes_on_where_one_copy_has_parts_and_another_has_none() -> None:
    rig = Rig(None, None)
    rig.has(0, 1, 2, 3)
    rig.has(1)

    assert await rig.stream() == len(BODY)

    rig.assert_whole(0, 1)
    assert min(rig.storages[0].begun) == 4
    assert sorted(rig.storages[1].begun) == list(range(1, COUNT + 1))
    assert rig.began == 0


@pytest.mark.parametrize("has_it", [0, 1])
async def test_a_part_read_again_is_compared_whichever_copy_has_it(has_it: int) -> None:
    rig = Rig(None, None, lanes=1)
    rig.has(has_it, 1, 2, 3)
    rig.has(1 - has_it)
    body = bytearray(BODY)
    body[2 * PART + 5] ^= 1

    with pytest.raises(SourceChanged):
        await rig.stream(bytes(body))

    assert 3 not in {part.number for kept in rig.kept for part in kept}
    assert rig.failures == [None, None]


async def test_parts_that_copies_have_of_two_files_are_another_file() -> None:
    rig = Rig(None, None, lanes=1)
    rig.has(0, 1)
    rig.has(1, 1, body=bytes(len(BODY)))

    with pytest.raises(SourceChanged):
        await rig.stream()


# ---- a failure is one copy's own


@WAYS
@pytest.mark.parametrize("error", [StorageRefused("full"), UploadLost("upload"), NameTaken("key")])
async def test_a_storage_that_fails_gets_nothing_more_and_the_other_gets_all(
    way: str, error: StorageError
) -> None:
    rig = Rig(failing(error, 3), None, lanes=1)

    await getattr(rig, way)()

    assert rig.failures == [error, None]
    assert rig.storages[0].begun == [1, 2, 3]
    assert [part.number for part in rig.targets[0].parts] == [1, 2]
    rig.assert_whole(1)


@WAYS
async def test_a_storage_that_is_unavailable_is_asked_a_few_times_before_its_copy_fails(way: str) -> None:
    rig = Rig(failing(StorageUnavailable("down"), 3), None, lanes=1)

    await getattr(rig, way)()

    assert rig.storages[0].begun == [1, 2] + [3] * PART_ATTEMPTS
    assert isinstance(rig.failures[0], StorageUnavailable)
    rig.assert_whole(1)


async def test_a_storage_that_asks_for_less_narrows_only_its_own_requests() -> None:
    def throttle(number: int) -> None:
        if len(rig.storages[0].begun) <= 4:
            raise StorageThrottled("slow down")

    rig = Rig(throttle, None, lanes=4)

    await rig.ranges()

    rig.assert_whole(0, 1)
    assert rig.storages[1].peak == 4
    assert rig.storages[0].begun[:4] == [1, 2, 3, 4]
    assert len(rig.delays) == 4


@WAYS
async def test_a_copy_that_failed_before_gets_no_request(way: str) -> None:
    rig = Rig(None, None)
    rig.targets[0].failure = StorageRefused("full")

    await getattr(rig, way)()

    assert rig.storages[0].begun == []
    rig.assert_whole(1)


@WAYS
async def test_when_every_storage_failed_the_source_is_read_no_further(way: str) -> None:
    rig = Rig(failing(StorageRefused("full"), 2), failing(UploadLost("upload"), 3), lanes=1)
    reading = Reading(BODY, chunk=PART)

    await getattr(rig, way)(reading)

    assert [type(failure) for failure in rig.failures] == [StorageRefused, UploadLost]
    assert max(reading.reads, default=0) <= 2 * PART
    assert reading.given <= 3 * PART
    assert [storage.begun for storage in rig.storages] == [[1, 2], [1, 2, 3]]
    rig.assert_idle()


async def test_what_no_storage_takes_is_not_read_at_all() -> None:
    rig = Rig(None, None)
    for target in rig.targets:
        target.failure = StorageRefused("full")
    reading = Reading(BODY)

    await rig.ranges(reading)
    await rig.stream(reading)

    assert (reading.reads, reading.given) == ([], 0)


async def test_sessions_that_cannot_be_opened_stop_the_stream() -> None:
    rig = Rig(None, None)
    reading = Reading(BODY)

    async def begin() -> None:
        for target in rig.targets:
            target.failure = StorageRefused("no permission")

    async def put(_: memoryview) -> None:
        raise AssertionError

    await rig.transfer.stream(reading, PART, rig.targets, begin=begin, put=put)  # type: ignore[arg-type]

    assert reading.given < 3 * PART
    rig.assert_idle()


# ---- a storage that hangs


@WAYS
def test_a_storage_that_hangs_is_dropped_and_the_other_gets_all(way: str) -> None:
    async def main() -> None:
        rig = Rig(None, hang(3))
        assert await timed(getattr(rig, way)()) == LAG_S
        rig.assert_whole(0)
        assert isinstance(rig.failures[1], StorageUnavailable)
        assert 3 not in rig.targets[1].done
        rig.assert_idle()

    at_once(main())


@WAYS
def test_a_storage_that_hangs_with_every_part_costs_one_wait(way: str) -> None:
    async def main() -> None:
        rig = Rig(hang(), None)
        assert await timed(getattr(rig, way)()) == LAG_S
        rig.assert_whole(1)
        assert (rig.targets[0].done, rig.kept[0]) == ({}, [])
        rig.assert_idle()

    at_once(main())


@pytest.mark.parametrize(
    ("first_s", "second_s", "is_dropped"),
    [
        (0.0, LAG_S - 1, False),
        (0.0, LAG_S + 1, True),
        (1000.0, 1000 + LAG_S - 1, False),
        (100.0, 200.0, True),
    ],
)
def test_the_wait_for_a_storage_counts_from_where_the_first_has_the_part(
    first_s: float, second_s: float, *, is_dropped: bool
) -> None:
    async def main() -> None:
        rig = Rig(taking(first_s), taking(second_s))
        await rig.ranges(BODY[:PART])
        rig.assert_whole(0, body=BODY[:PART])
        assert isinstance(rig.failures[1], StorageUnavailable) is is_dropped
        assert (1 in rig.targets[1].done) is not is_dropped
        rig.assert_idle()

    at_once(main())


@pytest.mark.parametrize("failing_s", [0.0, 100.0])
def test_the_last_storage_that_takes_the_file_may_take_its_time(failing_s: float) -> None:
    async def main() -> None:
        rig = Rig(taking(failing_s, StorageRefused("full")), taking(10_000.0))
        assert await timed(rig.ranges()) >= 10_000
        assert isinstance(rig.failures[0], StorageRefused)
        rig.assert_whole(1)

    at_once(main())


def test_without_a_limit_each_copy_takes_as_long_as_it_takes() -> None:
    async def main() -> None:
        rig = Rig(None, None)
        took_s = {id(rig.targets[0]): 1.0, id(rig.targets[1]): 5000.0}

        async def job(target: Target) -> None:
            await asyncio.sleep(took_s[id(target)])

        assert await timed(rig.transfer.each(rig.targets, job)) == 5000
        assert rig.failures == [None, None]

    at_once(main())


def test_memory_is_not_used_again_before_the_request_that_was_dropped_has_ended() -> None:
    """Parts of 1 MiB: memory of less is not used again in any case."""
    body = b"".join(bytes([number]) * MIB for number in range(1, 7))

    async def main() -> None:
        async def end_slowly() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(3600)  # a request that is still being sent
                raise

        rig = Rig(None, lambda number: end_slowly() if number == 2 else None, budget=MIB, part_size=MIB)
        assert await timed(rig.ranges(body)) == LAG_S + 3600
        assert rig.storages[1].begun == [1, 2]
        rig.assert_whole(0, body=body)
        rig.assert_idle()

    at_once(main())


def test_what_a_dropped_request_says_at_its_end_is_its_copy_s_failure() -> None:
    async def refuse_at_the_end(number: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StorageRefused("full") from None

    async def main() -> None:
        rig = Rig(None, refuse_at_the_end)
        await rig.ranges()
        rig.assert_whole(0)
        assert isinstance(rig.failures[1], StorageError)
        rig.assert_idle()

    at_once(main())


def test_a_drop_does_not_hide_what_another_part_told() -> None:
    def lose(number: int) -> Awaitable[object]:
        if number == 2:
            raise UploadLost("upload")
        return asyncio.Event().wait()

    async def main() -> None:
        rig = Rig(None, lose, lanes=2)
        await rig.ranges()
        rig.assert_whole(0)
        assert isinstance(rig.failures[1], UploadLost)

    at_once(main())


async def test_what_has_ended_gets_no_job() -> None:
    rig = Rig(None, None, None)
    rig.targets[0].failure = StorageRefused("full")
    rig.targets[1].stored = Stored("key", 1, "etag")
    done = []

    async def job(target: Target) -> None:
        done.append(target)

    await rig.transfer.each(rig.targets, job)

    assert done == rig.targets[2:]


def test_a_lost_lease_waits_for_no_other_storage() -> None:
    async def main() -> None:
        rig = Rig(None, hang())
        rig.on_keep = failing(LeaseLost("artifact"))
        moving = timed(rig.ranges())
        with pytest.raises(LeaseLost):
            await moving
        assert asyncio.get_running_loop().time() == 0
        rig.assert_idle()

    at_once(main())


# ---- the end of all of it


@WAYS
async def test_draining_is_told_where_one_open_copy_still_lacks_parts(way: str) -> None:
    rig = Rig(None, None)
    rig.has(0, *range(1, COUNT + 1))
    rig.has(1, *range(1, COUNT))
    rig.draining.set()

    with pytest.raises(Draining):
        await getattr(rig, way)()


async def test_draining_is_not_told_where_only_a_failed_copy_lacks_parts() -> None:
    rig = Rig(None, None)
    rig.has(0, *range(1, COUNT + 1))
    rig.targets[1].failure = StorageRefused("full")
    rig.draining.set()

    await rig.ranges()

    rig.assert_whole(0)


@WAYS
async def test_a_lease_that_is_lost_with_one_copy_ends_all(way: str) -> None:
    def lose(number: int) -> None:
        if number == 2:
            raise LeaseLost("artifact")

    rig = Rig(None, None)
    rig.on_keep = lose

    with pytest.raises(LeaseLost):
        await getattr(rig, way)()

    assert rig.failures == [None, None]
    for storage in rig.storages:
        assert len(storage.begun) < COUNT
    rig.assert_idle()


@WAYS
async def test_a_fault_of_ours_with_one_copy_is_raised_as_it_is(way: str) -> None:
    def stumble(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    rig = Rig(stumble, None)

    with pytest.raises(ZeroDivisionError):
        await getattr(rig, way)()
    rig.assert_idle()


@WAYS
@pytest.mark.parametrize("cancels", [1, 2, 3])
@pytest.mark.parametrize("copies", [1, 2])
async def test_however_often_it_is_cancelled_it_ends_after_every_request(
    way: str, cancels: int, copies: int
) -> None:
    release = asyncio.Event()

    async def end_slowly(number: int) -> None:
        waiting = asyncio.ensure_future(release.wait())
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError as error:
                cancelled = error
        raise cancelled

    rig = Rig(*[end_slowly] * copies, budget=2 * PART)
    moving = asyncio.create_task(getattr(rig, way)())
    for storage in rig.storages:
        await storage.until_begun(2)
    for _ in range(cancels):
        moving.cancel()
        await turns()
        assert not moving.done()
        assert rig.budget.used_bytes == 2 * PART
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await moving

    assert [sorted(storage.begun) for storage in rig.storages] == [[1, 2]] * copies
    assert rig.kept == [[]] * copies
    rig.assert_idle()


async def test_joining_passes_a_cancellation_on_but_only_when_all_have_ended() -> None:
    ends = [asyncio.get_running_loop().create_future() for _ in range(2)]
    joining = asyncio.create_task(joined(ends))
    await turns()
    joining.cancel()
    await turns()
    ends[0].set_result(None)
    await turns()
    joining.cancel()
    await turns()
    assert not joining.done()
    ends[1].set_exception(StorageRefused("full"))
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert isinstance(ends[1].exception(), StorageRefused)


async def test_joining_what_has_ended_takes_no_turn() -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    await joined([ended])
    await joined([])
