"""Proves that a file comes whole into every storage that lacks it, whatever happens to one of the copies."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import (
    Draining,
    LeaseLost,
    NameTaken,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
    StorageError,
    StorageMismatch,
    StorageRefused,
    StorageUnavailable,
    UploadLost,
)
from service.ledger import Trouble
from service.model import Copy, State
from service.retry import PART_ATTEMPTS
from tests.doubles.content import Content
from tests.doubles.source import Faults
from tests.unit.scene import HERE, MIB, NAME, SIZE, THERE, Scene, scene

WAYS = pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])
SMALL = 4321
LOST = UploadLost("upload")
FULL = StorageRefused("full", mend="make room")


@pytest.fixture
async def set_up(ledger: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(ledger, tmp_path) as found:
        yield found


# ---- into both at once


@WAYS
@pytest.mark.parametrize("size", [SIZE, SMALL, MIB, 2 * MIB])
async def test_one_reading_serves_both(set_up: Scene, size: int, *, ranges: bool) -> None:
    claim = await set_up.announce(size, ranges=ranges)

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.served.sent == size
    assert await set_up.parts() == {HERE: [], THERE: []}


@pytest.mark.parametrize("size", [SIZE, SMALL, MIB, 0])
async def test_a_stream_that_does_not_tell_its_size_comes_whole(set_up: Scene, size: int) -> None:
    claim = await set_up.announce(size, ranges=False, framing="chunked")

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)


async def test_an_end_that_may_be_a_cut_is_doubted_a_few_times(set_up: Scene) -> None:
    faults: Faults = {"ranges": False, "framing": "close"}
    claim = await set_up.announce(SIZE, announced_size=SIZE + 1, **faults)

    for _ in range(3):
        with pytest.raises(SourceUnavailable, match="announced"):
            await set_up.store(claim)
        await set_up.ledger.work().try_later(claim, Trouble(0.0, "short", ""))
        (claim,) = await set_up.ledger.work().claim(1)
    assert [copy.state for copy in await set_up.copies()] == [State.WAITING] * 2

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)


async def test_a_name_that_is_another_files_in_one_storage_is_the_files_own_in_the_other(
    set_up: Scene,
) -> None:
    set_up.here.folder.mkdir()
    (set_up.here.folder / NAME).write_bytes(b"another")
    claim = await set_up.announce()

    await set_up.store(claim)

    await set_up.assert_whole(set_up.there)
    assert set_up.here.files == {NAME: b"another", "call-recording.mp4": set_up.content}
    assert [copy.key for copy in await set_up.copies()] == ["call-recording.mp4", NAME]


# ---- one begins anew, the other goes on


@WAYS
async def test_an_upload_that_is_lost_at_its_end_begins_anew_alone(set_up: Scene, *, ranges: bool) -> None:
    set_up.there.answers["complete"] = [LOST]
    claim = await set_up.announce(ranges=ranges)

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.here.requests.count("put_part") == 4
    assert set_up.there.requests.count("put_part") == 8
    assert set_up.there.requests.count("abort") == 1
    assert set_up.served.sent == 2 * SIZE


@WAYS
async def test_an_upload_that_is_lost_on_the_way_begins_anew_alone(set_up: Scene, *, ranges: bool) -> None:
    set_up.here.answers["put_part"] = [None, None, LOST]
    claim = await set_up.announce(ranges=ranges)

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.there.requests.count("put_part") == 4
    assert set_up.there.requests.count("complete") == 1


@WAYS
async def test_an_only_copy_begins_anew_when_its_upload_is_lost(set_up: Scene, *, ranges: bool) -> None:
    set_up.there.answers["begin"] = [FULL]
    set_up.here.answers["put_part"] = [None, LOST]
    claim = await set_up.announce(ranges=ranges)

    here, there = await set_up.store(claim)

    await set_up.assert_whole(set_up.here)
    assert (here.failure, there.failure) == (None, FULL)


async def test_an_upload_that_is_lost_every_time_is_given_back_after_a_few(set_up: Scene) -> None:
    set_up.there.answers["complete"] = [LOST] * 100
    claim = await set_up.announce()

    here, there = await set_up.store(claim)

    assert (here.failure, there.failure) == (None, LOST)
    await set_up.assert_whole(set_up.here)
    assert set_up.there.requests.count("complete") == 4
    assert (await set_up.copies())[1] == Copy(THERE, State.WAITING, key=NAME)
    assert set_up.there.files == {}


async def test_a_name_that_is_taken_in_the_meantime_is_left_to_its_owner(set_up: Scene) -> None:
    def take() -> None:
        (set_up.there.folder / NAME).write_bytes(b"another")

    set_up.there.answers["complete"] = [take]
    claim = await set_up.announce()

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here)
    assert set_up.there.files == {NAME: b"another", "call-recording.mp4": set_up.content}
    assert [copy.state for copy in await set_up.copies()] == [State.STORED] * 2
    assert set_up.here.requests.count("complete") == 1


async def test_a_small_file_whose_name_is_taken_in_the_meantime_gets_another(set_up: Scene) -> None:
    def take() -> None:
        set_up.there.folder.mkdir()
        (set_up.there.folder / NAME).write_bytes(b"another")

    set_up.there.answers["put"] = [take]
    claim = await set_up.announce(SMALL)

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here)
    assert set_up.there.files == {NAME: b"another", "call-recording.mp4": set_up.content}
    assert set_up.here.requests.count("put") == 1


@pytest.mark.parametrize("error", [NameTaken(NAME), StorageMismatch("another size")])
async def test_what_is_stored_wrongly_begins_anew(set_up: Scene, error: StorageError) -> None:
    set_up.here.answers["complete"] = [error]
    claim = await set_up.announce()

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.there.requests.count("put_part") == 4


@WAYS
async def test_another_file_at_the_source_begins_anew_in_both(set_up: Scene, *, ranges: bool) -> None:
    claim = await set_up.announce(ranges=ranges, etag=ranges)
    set_up.here.answers["put_part"] = [None, LeaseLost("killed")]
    with pytest.raises(LeaseLost):
        await set_up.store(claim)
    before = set_up.content
    set_up.served.replace(seed=1)

    await set_up.store(await set_up.again(claim))

    assert set_up.content != before
    await set_up.assert_whole(set_up.here, set_up.there)


async def test_a_file_that_changes_on_the_way_comes_whole_as_it_is_now(set_up: Scene) -> None:
    claim = await set_up.announce(changes_after=2 * MIB)

    await set_up.store(claim)

    assert set_up.served.content == Content(1, SIZE)
    await set_up.assert_whole(set_up.here, set_up.there)


async def test_a_copy_that_is_stored_stays_as_it_is_when_the_file_changes_for_the_other(
    set_up: Scene,
) -> None:
    claim = await set_up.announce()
    before = set_up.content

    def change() -> None:
        set_up.served.replace(seed=1)
        raise LOST

    set_up.there.answers["complete"] = [change]

    await set_up.store(claim)

    await set_up.assert_whole(set_up.here, content=before)
    await set_up.assert_whole(set_up.there, content=Content(1, SIZE).read())


# ---- a storage that fails, and one that is in trouble


@WAYS
@pytest.mark.parametrize("request_", ["begin", "put_part", "complete"])
async def test_a_storage_that_refuses_fails_its_copy_alone(
    set_up: Scene, request_: str, *, ranges: bool
) -> None:
    set_up.here.answers[request_] = [FULL] * 9
    claim = await set_up.announce(ranges=ranges)

    here, there = await set_up.store(claim)

    assert (here.failure, there.failure) == (FULL, None)
    assert here.was_tried
    await set_up.assert_whole(set_up.there)
    assert set_up.here.requests.count("complete") <= 1


@WAYS
async def test_storages_that_both_refuse_are_not_the_sources_fault(set_up: Scene, *, ranges: bool) -> None:
    set_up.here.answers["put_part"] = [FULL] * 9
    set_up.there.answers["put_part"] = [FULL] * 9
    claim = await set_up.announce(ranges=ranges)

    targets = await set_up.store(claim)

    assert [target.failure for target in targets] == [FULL, FULL]


async def test_a_copy_that_failed_goes_on_with_the_parts_that_are_there(set_up: Scene) -> None:
    set_up.there.answers["put_part"] = [None, None, *[StorageUnavailable("down")] * 2 * PART_ATTEMPTS]
    claim = await set_up.announce()
    await set_up.store(claim)
    assert (await set_up.parts())[THERE] == [1, 2]

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.here.requests.count("put_part") == 4
    assert set_up.served.sent == SIZE + (SIZE - 2 * MIB)


@pytest.mark.parametrize("size", [SIZE, SMALL])
async def test_a_storage_in_trouble_is_passed_over_without_a_request(set_up: Scene, size: int) -> None:
    set_up.mover.destinations[HERE].failed(FULL)
    claim = await set_up.announce(size)

    here, there = await set_up.store(claim)

    assert (here.failure, here.was_tried, there.failure, there.was_tried) == (FULL, False, None, True)
    assert set_up.here.requests == []
    await set_up.assert_whole(set_up.there)


async def test_where_every_storage_is_in_trouble_the_source_is_left_alone_too(set_up: Scene) -> None:
    for destination in set_up.mover.destinations.values():
        destination.failed(FULL)
    claim = await set_up.announce()

    await set_up.store(claim)

    assert set_up.served.requests == []
    assert set_up.here.requests == set_up.there.requests == []


# ---- a copy read from the other


@WAYS
@pytest.mark.parametrize("status", [404, 410, 403])
@pytest.mark.parametrize("size", [SIZE, SMALL])
async def test_what_the_source_has_no_more_is_read_from_the_copy_that_is_stored(
    set_up: Scene, size: int, status: int, *, ranges: bool
) -> None:
    set_up.there.answers["stat"] = [FULL]
    claim = await set_up.announce(size, ranges=ranges)
    _, there = await set_up.store(claim)
    assert there.failure is FULL
    set_up.served.fail(status=status)

    (there,) = await set_up.store(await set_up.again(claim))

    assert there.failure is None
    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.here.requests.count("read") == 1


async def test_a_copy_that_is_half_there_is_filled_up_from_the_other(set_up: Scene) -> None:
    set_up.there.answers["put_part"] = [None, None, FULL, FULL]
    claim = await set_up.announce()
    await set_up.store(claim)
    assert (await set_up.parts())[THERE] == [1, 2]
    set_up.there.requests.clear()
    set_up.served.fail(status=404)

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.there.requests.count("put_part") == 2


async def test_a_copy_that_cannot_be_read_leaves_the_other_for_later(set_up: Scene) -> None:
    set_up.there.answers["begin"] = [FULL]
    claim = await set_up.announce()
    await set_up.store(claim)
    set_up.served.fail(status=404)
    taken = await set_up.again(claim)
    set_up.here.answers["read"] = [StorageUnavailable("down")]

    with pytest.raises(SourceUnavailable):
        await set_up.store(taken)

    await set_up.store(taken)
    await set_up.assert_whole(set_up.here, set_up.there)


@pytest.mark.parametrize(("status", "family"), [(404, SourceGone), (403, SourceRefused)])
async def test_what_the_source_has_no_more_and_no_storage_has_is_gone(
    set_up: Scene, status: int, family: type[Exception]
) -> None:
    claim = await set_up.announce(status=status)

    with pytest.raises(family):
        await set_up.store(claim)


# ---- after a stop, a kill, a lost lease


@WAYS
async def test_what_a_stop_left_is_all_that_is_moved_after_it(set_up: Scene, *, ranges: bool) -> None:
    draining = set_up.mover.transfer.draining
    set_up.here.answers["put_part"] = [None, draining.set]
    claim = await set_up.announce(ranges=ranges)
    with pytest.raises(Draining):
        await set_up.store(claim)
    moved = await set_up.parts()
    assert 2 <= len(moved[HERE]) < 4
    assert moved[HERE] == moved[THERE]
    draining.clear()

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)
    for storage in (set_up.here, set_up.there):
        assert storage.requests.count("put_part") == 4
        assert storage.requests.count("begin") == 1


async def test_a_part_that_the_storage_lost_is_moved_again_alone(set_up: Scene) -> None:
    set_up.here.answers["complete"] = [FULL]
    set_up.there.answers["put_part"] = [None, None, None, FULL]
    claim = await set_up.announce()
    await set_up.store(claim)
    (begun,) = set_up.there.folder.glob(".*.part")
    with begun.open("r+b") as file:
        file.write(bytes(MIB))
    before = set_up.served.sent
    lacking = {1, 2, 3, 4} - set((await set_up.parts())[THERE]) | {1}
    set_up.here.requests.clear()
    set_up.there.requests.clear()

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)
    assert set_up.there.requests.count("put_part") == len(lacking) < 4
    assert set_up.here.requests == ["complete"]
    assert set_up.served.sent - before < SIZE - MIB


async def test_what_was_completed_before_the_kill_is_settled_without_the_source(set_up: Scene) -> None:
    for storage in (set_up.here, set_up.there):
        storage.answers["complete"] = [LeaseLost("killed")]
    claim = await set_up.announce()
    with pytest.raises(LeaseLost):
        await set_up.store(claim)
    asked = len(set_up.served.requests)
    set_up.served.fail(status=404)

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)
    assert len(set_up.served.requests) == asked


async def test_a_session_that_no_ledger_knows_is_ended_before_the_next_is_begun(set_up: Scene) -> None:
    claim = await set_up.announce()
    assert await set_up.ledger.progress.reserve(claim, THERE, NAME)
    await set_up.there.begin(NAME, None)
    assert len(set_up.there.files) == 1

    await set_up.store(await set_up.again(claim))

    await set_up.assert_whole(set_up.here, set_up.there)


async def test_a_session_that_was_begun_as_the_lease_was_lost_is_ended(set_up: Scene) -> None:
    set_up.mover.destinations[THERE].failed(FULL)
    claim = await set_up.announce()
    assert await set_up.ledger.progress.reserve(claim, HERE, NAME)
    claim = await set_up.ledger.work().current(claim)
    await set_up.again(claim)

    with pytest.raises(LeaseLost):
        await set_up.store(claim)

    assert "begin" in set_up.here.requests
    assert set_up.here.files == {}


async def test_freeing_ends_the_session_and_forgets_its_parts(set_up: Scene) -> None:
    set_up.there.answers["put_part"] = [None, None, FULL, FULL]
    claim = await set_up.announce()
    _, there = await set_up.store(claim)
    assert (await set_up.parts())[THERE]

    await set_up.mover.free(await set_up.ledger.work().current(claim), there, keep_key=True)

    assert set_up.there.files == {}
    assert (await set_up.parts())[THERE] == []
    assert (await set_up.copies())[1] == Copy(THERE, State.WAITING, key=NAME)
