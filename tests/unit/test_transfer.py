"""Proves that parts move in parallel and whole, that none in flight is lost, and that checksums add up."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service import transfer as module
from service.errors import Draining, SourceChanged, SourceUnavailable, StorageRefused, StorageUnavailable
from service.model import Part, Stored
from service.transfer import MAX_PARTS, checksum_of, combined, part_size_for, whole_checksum
from tests.unit.moving import BODY, COUNT, PART, Reading, Rig, stored


@given(
    size=st.integers(1, 120),
    part_size=st.integers(1, 50),
    lanes=st.integers(1, 6),
    budget=st.integers(1, 200),
)
@settings(deadline=None)
async def test_ranges_move_every_byte_within_their_limits(
    size: int, part_size: int, lanes: int, budget: int
) -> None:
    rig = Rig(lanes=lanes, budget=budget, part_size=part_size)

    parts = await rig.ranges(BODY[:size])

    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert b"".join(rig.storage.stored[part.number] for part in parts) == BODY[:size]
    assert whole_checksum(parts) == checksum_of(memoryview(BODY[:size]))
    assert sorted(rig.kept, key=lambda part: part.number) == parts
    assert rig.storage.peak <= lanes
    assert rig.storage.peak_bytes <= max(budget, part_size)
    assert rig.budget.used_bytes == 0


@given(
    size=st.integers(0, 95), part_size=st.integers(1, 50), chunk=st.integers(1, 60), lanes=st.integers(1, 6)
)
@example(size=20, part_size=10, chunk=10, lanes=1)
@settings(deadline=None)
async def test_a_stream_moves_every_byte_in_order(size: int, part_size: int, chunk: int, lanes: int) -> None:
    rig = Rig(lanes=lanes, part_size=part_size)

    moved = await rig.streamed(Reading(BODY[:size], chunk=chunk))

    if isinstance(moved, Stored):
        assert size < part_size
        assert rig.whole == BODY[:size]
        assert rig.storage.begun == []
    else:
        assert b"".join(rig.storage.stored[part.number] for part in moved) == BODY[:size]
        assert all(part.size == part_size for part in moved[:-1])
        assert whole_checksum(moved) == checksum_of(memoryview(BODY[:size]))
    assert rig.budget.used_bytes == 0


async def test_parts_that_are_done_are_not_moved_again() -> None:
    rig = Rig()
    done = [stored(2), stored(COUNT)]

    parts = await rig.ranges(done=done)

    assert sorted(rig.storage.begun) == [1, 3, 4, 5, 6, 7, 8, 9]
    assert [part.number for part in parts] == list(range(1, COUNT + 1))
    assert [parts[1], parts[-1]] == done


@pytest.mark.parametrize("way", ["ranges", "stream"])
async def test_parts_in_flight_are_kept_after_one_fails(way: str) -> None:
    failed = asyncio.Event()

    async def wait_for_the_failure(number: int) -> None:
        if number == 2:
            await rig.storage.until_begun(4)
            failed.set()
            raise StorageRefused("full")
        await failed.wait()

    rig = Rig(hook=wait_for_the_failure)

    with pytest.raises(StorageRefused):
        await getattr(rig, way)()

    assert sorted(part.number for part in rig.kept) == [1, 3, 4]
    assert sorted(rig.storage.begun) == [1, 2, 3, 4]
    assert rig.budget.used_bytes == 0


@pytest.mark.parametrize("way", ["ranges", "stream"])
async def test_draining_ends_after_the_parts_in_flight(way: str) -> None:
    async def drain(number: int) -> None:
        if number == 1:
            await rig.storage.until_begun(4)
            rig.transfer.draining.set()

    rig = Rig(hook=drain)

    with pytest.raises(Draining):
        await getattr(rig, way)()

    assert sorted(part.number for part in rig.kept) == sorted(rig.storage.begun)
    assert 4 <= len(rig.kept) < COUNT
    assert rig.budget.used_bytes == 0


@pytest.mark.parametrize("way", ["ranges", "stream"])
async def test_draining_that_comes_with_the_last_part_ends_whole(way: str) -> None:
    def drain(number: int) -> None:
        if number == COUNT:
            rig.transfer.draining.set()

    rig = Rig(hook=drain, lanes=COUNT)

    assert len(await getattr(rig, way)()) == COUNT


async def test_what_is_whole_already_is_not_drained() -> None:
    rig = Rig()
    rig.transfer.draining.set()

    assert len(await rig.ranges(done=[stored(number) for number in range(1, COUNT + 1)])) == COUNT


@pytest.mark.parametrize("way", ["ranges", "stream"])
async def test_a_fault_of_ours_is_raised_as_it_is(way: str) -> None:
    def stumble(number: int) -> None:
        if number == 3:
            raise ZeroDivisionError

    rig = Rig(hook=stumble)

    with pytest.raises(ZeroDivisionError):
        await getattr(rig, way)()
    assert rig.budget.used_bytes == 0
    assert rig.storage.running == []


@pytest.mark.parametrize("way", ["ranges", "stream"])
@pytest.mark.parametrize("budget", [PART, 1000])
async def test_a_cancelled_transfer_holds_nothing_any_more(way: str, budget: int) -> None:
    rig = Rig(hook=lambda _: asyncio.Event().wait(), budget=budget)
    moving = asyncio.create_task(getattr(rig, way)())
    await rig.storage.until_begun(1)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving

    assert rig.budget.used_bytes == 0
    assert rig.storage.running == []


async def test_a_part_is_sent_again_while_the_storage_is_unavailable() -> None:
    def refuse(number: int) -> None:
        if number == 2 and rig.storage.begun.count(2) < 4:
            raise StorageUnavailable("busy")

    rig = Rig(hook=refuse)

    parts = await rig.ranges()

    assert whole_checksum(parts) == checksum_of(memoryview(BODY))
    assert len(rig.delays) == 3
    assert rig.delays == sorted(rig.delays)


async def test_parts_of_a_stream_that_are_done_are_compared_not_stored_again() -> None:
    rig = Rig()
    done = [stored(1), stored(2), stored(4)]

    parts = await rig.stream(done=done)

    assert sorted(rig.storage.begun) == [3, 5, 6, 7, 8, 9, 10]
    assert [parts[0], parts[1], parts[3]] == done
    assert whole_checksum(parts) == checksum_of(memoryview(BODY))


@pytest.mark.parametrize("changed", [0, 15, 39])
async def test_a_stream_that_is_not_what_it_was_is_another_file(changed: int) -> None:
    rig = Rig(lanes=1)
    body = bytearray(BODY)
    body[changed] ^= 1

    with pytest.raises(SourceChanged):
        await rig.stream(bytes(body), done=[stored(number) for number in (1, 2, 3, 4)])

    assert rig.kept == []


@pytest.mark.parametrize("left", [b"", BODY[:1], BODY[: len(BODY) // 20]])
async def test_a_stream_that_shrank_is_another_file(left: bytes) -> None:
    rig = Rig(lanes=1)

    with pytest.raises(SourceChanged):
        await rig.stream(left, done=[stored(1), stored(2)])

    assert rig.kept == []


async def test_a_stream_without_end_is_given_up_with_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 4)
    rig = Rig()

    with pytest.raises(SourceUnavailable) as endless:
        await rig.stream()

    assert "ARCHIVER_PART_SIZE_MIB" in endless.value.mend


async def test_a_stream_that_breaks_off_raises_and_keeps_what_was_stored() -> None:
    class Breaking(Reading):
        async def stream(self, size: int) -> AsyncIterator[memoryview]:
            yield memoryview(BODY[:25])
            raise SourceUnavailable("dropped")

    rig = Rig()

    with pytest.raises(SourceUnavailable):
        await rig.streamed(Breaking(BODY))

    assert sorted(part.number for part in rig.kept) == [1, 2]


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
