"""Proves that parts move in parallel and whole, that none in flight is lost, and that checksums add up."""

import asyncio
import math
from collections.abc import AsyncGenerator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service import transfer as module
from service.errors import (
    Draining,
    LeaseLost,
    SourceChanged,
    SourceUnavailable,
    StorageRefused,
    StorageUnavailable,
)
from service.model import Part
from service.transfer import MAX_PARTS, checksum_of, combined, part_size_for, whole_checksum
from tests.unit.moving import BODY, COUNT, PART, Reading, Rig, hang, turns

WAYS = pytest.mark.parametrize("way", ["ranges", "stream"])


@given(
    size=st.integers(1, 120),
    part_size=st.integers(1, 50),
    lanes=st.integers(1, 6),
    budget=st.integers(1, 200),
)
async def test_ranges_move_every_byte_within_their_limits(
    size: int, part_size: int, lanes: int, budget: int
) -> None:
    rig = Rig(lanes=lanes, budget=budget, part_size=part_size)

    await rig.ranges(BODY[:size])

    rig.assert_whole(0, body=BODY[:size])
    assert whole_checksum(rig.target.parts) == checksum_of(memoryview(BODY[:size]))
    assert sorted(rig.kept[0], key=lambda part: part.number) == rig.target.parts
    assert rig.storage.peak <= lanes
    assert rig.storage.peak_bytes <= max(budget, part_size)
    rig.assert_idle()


@given(
    size=st.integers(0, 95), part_size=st.integers(1, 50), chunk=st.integers(1, 60), lanes=st.integers(1, 6)
)
@example(size=20, part_size=10, chunk=10, lanes=1)
async def test_a_stream_moves_every_byte_in_order(size: int, part_size: int, chunk: int, lanes: int) -> None:
    rig = Rig(lanes=lanes, part_size=part_size)
    reading = Reading(BODY[:size], chunk=chunk)

    moved = await rig.stream(reading)

    if moved is None:
        assert size < part_size
        assert rig.whole == [BODY[:size]]
        assert (rig.began, rig.storage.begun) == (0, [])
    else:
        assert moved == size
        assert rig.began == 1
        assert rig.whole == []
        rig.assert_whole(0, body=BODY[:size])
        assert all(part.size == part_size for part in rig.target.parts[:-1])
        assert whole_checksum(rig.target.parts) == checksum_of(memoryview(BODY[:size]))
    assert reading.closed
    rig.assert_idle()


async def test_parts_that_are_done_are_neither_read_nor_moved_again() -> None:
    rig = Rig()
    rig.has(0, 2, COUNT)
    reading = Reading(BODY)

    await rig.ranges(reading)

    assert sorted(rig.storage.begun) == [1, 3, 4, 5, 6, 7, 8, 9]
    assert sorted(reading.reads) == [(number - 1) * PART for number in sorted(rig.storage.begun)]
    rig.assert_whole(0)


@WAYS
async def test_parts_in_flight_are_kept_after_one_fails(way: str) -> None:
    failed = asyncio.Event()

    async def wait_for_the_failure(number: int) -> None:
        if number == 2:
            await rig.storage.until_begun(4)
            failed.set()
            raise StorageRefused("full")
        await failed.wait()

    rig = Rig(wait_for_the_failure)

    await getattr(rig, way)()

    assert isinstance(rig.target.failure, StorageRefused)
    assert sorted(part.number for part in rig.kept[0]) == [1, 3, 4]
    assert sorted(rig.storage.begun) == [1, 2, 3, 4]
    rig.assert_idle()


async def test_parts_in_flight_are_kept_after_the_source_fails() -> None:
    failed = asyncio.Event()

    async def break_off(start: int) -> None:
        if start == PART:
            await rig.storage.until_begun(3)
            failed.set()
            raise SourceUnavailable("dropped")

    rig = Rig(lambda _: failed.wait())

    with pytest.raises(SourceUnavailable):
        await rig.ranges(Reading(BODY, hook=break_off))

    assert rig.target.failure is None
    assert sorted(part.number for part in rig.kept[0]) == [1, 3, 4]
    rig.assert_idle()


async def test_each_part_but_the_first_of_each_lane_is_asked_for_while_another_is_stored() -> None:
    lanes = 3
    rig = Rig(lanes=lanes)
    reading = Reading(BODY)

    await rig.ranges(reading)

    rig.assert_whole(0)
    starts = range(0, len(BODY), PART)
    assert reading.asked == [(start, min(PART, len(BODY) - start)) for start in starts[lanes:]]
    assert sorted(reading.reads) == list(starts)


async def test_nothing_is_asked_for_ahead_where_memory_is_waited_for() -> None:
    rig = Rig(lanes=3, budget=2 * PART)
    reading = Reading(BODY)

    await rig.ranges(reading)

    rig.assert_whole(0)
    # The last of them have all the memory that they need.
    assert len(reading.asked) <= 2


@WAYS
async def test_draining_ends_after_the_parts_in_flight(way: str) -> None:
    async def drain(number: int) -> None:
        if number == 1:
            await rig.storage.until_begun(4)
            rig.draining.set()

    rig = Rig(drain)

    with pytest.raises(Draining):
        await getattr(rig, way)()

    assert sorted(part.number for part in rig.kept[0]) == sorted(rig.storage.begun)
    assert 4 <= len(rig.kept[0]) < COUNT
    rig.assert_idle()


@WAYS
async def test_draining_that_comes_with_the_last_part_ends_whole(way: str) -> None:
    def drain(number: int) -> None:
        if number == COUNT:
            rig.draining.set()

    rig = Rig(drain, lanes=COUNT)

    await getattr(rig, way)()

    rig.assert_whole(0)


async def test_what_is_whole_already_is_not_drained() -> None:
    rig = Rig()
    rig.draining.set()
    rig.has(0, *range(1, COUNT + 1))

    await rig.ranges()

    rig.assert_whole(0)


@WAYS
async def test_what_has_failed_already_is_not_drained(way: str) -> None:
    def refuse(number: int) -> None:
        if number == 2:
            rig.draining.set()
            raise StorageRefused("full")

    rig = Rig(refuse)

    await getattr(rig, way)()

    assert isinstance(rig.target.failure, StorageRefused)
    rig.assert_idle()


@WAYS
async def test_a_fault_of_ours_is_raised_as_it_is(way: str) -> None:
    def stumble(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    rig = Rig(stumble)

    with pytest.raises(ZeroDivisionError):
        await getattr(rig, way)()
    rig.assert_idle()


@WAYS
async def test_a_lease_that_is_lost_ends_it_after_the_parts_in_flight(way: str) -> None:
    def lose(number: int) -> None:
        if number == 2:
            raise LeaseLost("artifact")

    rig = Rig()
    rig.on_keep = lose

    with pytest.raises(LeaseLost):
        await getattr(rig, way)()

    assert rig.target.failure is None
    assert len(rig.storage.begun) < COUNT
    assert {part.number for part in rig.kept[0]} == set(rig.storage.begun) - {2}
    rig.assert_idle()


@WAYS
@pytest.mark.parametrize("budget", [PART, 1000])
async def test_a_cancelled_transfer_holds_nothing_any_more(way: str, budget: int) -> None:
    rig = Rig(hang(), budget=budget)
    reading = Reading(BODY)
    moving = asyncio.create_task(getattr(rig, way)(reading))
    await rig.storage.until_begun(1)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving

    assert reading.closed or way == "ranges"
    rig.assert_idle()


async def test_a_part_is_sent_again_while_the_storage_is_unavailable() -> None:
    def refuse(number: int) -> None:
        if number == 2 and rig.storage.begun.count(2) < 4:
            raise StorageUnavailable("busy")

    rig = Rig(refuse)

    await rig.ranges()

    rig.assert_whole(0)
    assert len(rig.delays) == 3
    assert rig.delays == sorted(rig.delays)


async def test_parts_of_a_stream_that_are_done_are_compared_not_stored_again() -> None:
    rig = Rig()
    rig.has(0, 1, 2, 4)

    assert await rig.stream() == len(BODY)

    assert sorted(rig.storage.begun) == [3, 5, 6, 7, 8, 9, 10]
    rig.assert_whole(0)


@pytest.mark.parametrize("changed", [0, 15, 39])
async def test_a_stream_that_is_not_what_it_was_is_another_file(changed: int) -> None:
    rig = Rig(lanes=1)
    rig.has(0, 1, 2, 3, 4)
    body = bytearray(BODY)
    body[changed] ^= 1

    with pytest.raises(SourceChanged):
        await rig.stream(bytes(body))

    assert rig.kept == [[]]


@pytest.mark.parametrize("left", [b"", BODY[:1], BODY[: len(BODY) // 20]])
async def test_a_stream_that_shrank_is_another_file(left: bytes) -> None:
    rig = Rig(lanes=1)
    rig.has(0, 1, 2)

    with pytest.raises(SourceChanged):
        await rig.stream(left)

    assert rig.kept == [[]]


async def test_a_stream_that_is_empty_now_is_another_file_where_a_session_is_open() -> None:
    rig = Rig()
    rig.has(0)

    with pytest.raises(SourceChanged):
        await rig.stream(b"")

    assert rig.whole == []


async def test_a_stream_without_end_is_given_up_with_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 4)
    rig = Rig()

    with pytest.raises(SourceUnavailable) as endless:
        await rig.stream()

    assert "ARCHIVER_PART_SIZE_MIB" in endless.value.mend


async def test_a_stream_that_breaks_off_raises_and_keeps_what_was_stored() -> None:
    class Breaking(Reading):
        async def stream(self, size: int) -> AsyncGenerator[memoryview, None]:
            yield memoryview(BODY[:25])
            raise SourceUnavailable("dropped")

    rig = Rig()

    with pytest.raises(SourceUnavailable):
        await rig.stream(Breaking(BODY))

    assert sorted(part.number for part in rig.kept[0]) == [1, 2]


@pytest.mark.parametrize("body", [BODY, BODY[:9]], ids=["parts", "whole"])
async def test_a_stream_is_not_read_when_the_service_is_stopping(body: bytes) -> None:
    rig = Rig()
    rig.draining.set()
    reading = Reading(body)

    with pytest.raises(Draining):
        await rig.stream(reading)

    assert reading.given == 0
    assert (rig.began, rig.whole) == (0, [])


async def test_no_range_is_read_that_waited_for_memory_while_the_service_was_stopping() -> None:
    release = asyncio.Event()
    rig = Rig(lambda _: release.wait(), budget=2 * PART)
    reading = Reading(BODY)
    moving = asyncio.create_task(rig.ranges(reading))
    await rig.storage.until_begun(2)
    await turns()
    rig.draining.set()
    release.set()

    with pytest.raises(Draining):
        await moving

    assert reading.reads == [0, PART]
    assert [part.number for part in rig.target.parts] == [1, 2]
    rig.assert_idle()


@given(pieces=st.lists(st.binary(max_size=40), max_size=12))
def test_the_whole_checksum_is_that_of_all_parts_in_a_row(pieces: list[bytes]) -> None:
    parts = [
        Part(number, len(piece), checksum_of(memoryview(piece)), "")
        for number, piece in enumerate(pieces, start=1)
    ]

    assert whole_checksum(parts) == checksum_of(memoryview(b"".join(pieces)))


@given(first=st.binary(max_size=50), second=st.binary(max_size=50), third=st.binary(max_size=50))
def test_checksums_combine_however_they_are_grouped(first: bytes, second: bytes, third: bytes) -> None:
    one, two, three = (checksum_of(memoryview(piece)) for piece in (first, second, third))

    left = combined(combined(one, two, len(second)), three, len(third))
    right = combined(one, combined(two, three, len(third)), len(second) + len(third))

    assert left == right == checksum_of(memoryview(first + second + third))


MIB = 1024 * 1024


@given(size=st.none() | st.integers(0, 50 * 2**40), least_mib=st.integers(5, 5120))
@example(size=8 * MIB * MAX_PARTS, least_mib=8)
@example(size=8 * MIB * MAX_PARTS + 1, least_mib=8)
def test_any_file_fits_ten_thousand_parts_and_no_part_is_larger_than_need_be(
    size: int | None, least_mib: int
) -> None:
    part_size = part_size_for(size, least=least_mib * MIB)

    assert part_size >= least_mib * MIB
    assert part_size % MIB == 0
    assert math.ceil((size or 0) / part_size) <= MAX_PARTS
    if part_size > least_mib * MIB:
        assert size is not None
        assert size > (part_size - MIB) * MAX_PARTS
