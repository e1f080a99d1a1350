"""Proves that every storage keeps the promises of the `Storage` protocol for files moved in parts."""

import asyncio

import pytest

from service.errors import NameTaken, ObjectMissing, StorageError, StorageUnavailable, UploadLost
from service.model import Part, Upload
from service.storage import Storage
from service.transfer import checksum_of, whole_checksum
from tests.contract.killed import killed_while_sending
from tests.contract.places import PART, File, Place, abort_all, read
from tests.doubles.content import Content

FILE = File()


async def test_a_file_sent_out_of_order_is_read_back_byte_for_byte(storage: Storage) -> None:
    file = File(2 * PART + 1)
    upload = await file.begin(storage)
    parts = [await file.send(storage, upload, number) for number in (3, 1, 2)]
    parts.sort(key=lambda part: part.number)

    stored = await storage.complete(upload, parts, whole_checksum(parts))

    assert (stored.key, stored.size) == (file.key, file.size)
    assert stored.crc64nvme in {file.checksum.crc64nvme, None}
    assert stored.artifact_id == file.artifact_id
    assert await read(storage, file.key) == file.body


@pytest.mark.parametrize("size", [1, PART - 1, PART, PART + 1, 4 * PART], ids=str)
async def test_parts_sent_at_once_make_one_file(storage: Storage, place: Place, size: int) -> None:
    file = File(size)

    assert (await file.store(storage)).size == size

    assert await read(storage, file.key) == file.body
    assert place.sessions() == 0


async def test_every_part_sent_is_confirmed(storage: Storage) -> None:
    upload = await FILE.begin(storage)
    assert await storage.confirm(upload, []) == set()

    parts = await FILE.send_all(storage, upload)

    assert await storage.confirm(upload, parts) == {1, 2}
    assert await storage.confirm(upload, parts[1:]) == {2}


async def test_a_part_that_is_not_there_is_not_confirmed(storage: Storage) -> None:
    file = File(2 * PART + 1)
    upload, other = await file.begin(storage), await File(2 * PART + 1, key="other.mp4").begin(storage)
    first = await file.send(storage, upload, 1)
    elsewhere = await file.send_all(storage, other)

    confirmed = await storage.confirm(upload, [first, *elsewhere[1:]])

    assert confirmed == {1}


async def test_a_part_sent_again_replaces_its_former_try(storage: Storage, place: Place) -> None:
    upload = await FILE.begin(storage)
    await File(PART, seed=2).send(storage, upload, 1)
    if not place.replaces_parts:
        with pytest.raises(UploadLost):
            await FILE.send(storage, upload, 1)
        upload = await FILE.begin(storage)

    parts = await FILE.send_all(storage, upload)
    again = await FILE.send(storage, upload, 2)

    assert again == parts[1]
    await storage.complete(upload, parts, whole_checksum(parts))
    assert await read(storage, FILE.key) == FILE.body


async def test_more_than_a_thousand_parts_are_confirmed_and_make_one_file(
    storage: Storage, place: Place
) -> None:
    """S3 lists a thousand a page."""
    body, numbers = memoryview(Content(1, 1003).read()), range(1, 1004)
    upload = Upload(await storage.begin(FILE.key, FILE.attributes), FILE.key, 1, len(body), FILE.attributes)
    left = iter(numbers)

    async def lane() -> list[Part]:
        return [await send(storage, upload, body, number) for number in left]

    lanes = await asyncio.gather(*(lane() for _ in range(16)))
    parts = sorted((part for lane in lanes for part in lane), key=lambda part: part.number)

    assert await storage.confirm(upload, parts) == set(numbers)
    if place.takes_any_part:
        await storage.complete(upload, parts, whole_checksum(parts))
        assert await read(storage, FILE.key) == body
    else:
        await storage.abort(upload)
    assert place.sessions() == 0


async def test_nothing_is_visible_before_the_file_is_complete(storage: Storage) -> None:
    upload = await FILE.begin(storage)
    await FILE.send_all(storage, upload)

    assert await storage.stat(FILE.key) is None
    with pytest.raises(ObjectMissing):
        await read(storage, FILE.key)


async def test_completing_again_answers_the_same(storage: Storage) -> None:
    upload = await FILE.begin(storage)
    parts = await FILE.send_all(storage, upload)
    first = await storage.complete(upload, parts, whole_checksum(parts))

    assert await storage.complete(upload, parts, whole_checksum(parts)) == first
    assert await read(storage, FILE.key) == FILE.body


async def test_completing_a_lost_upload_without_an_object_raises_upload_lost(
    storage: Storage, place: Place
) -> None:
    upload = await FILE.begin(storage)
    parts = await FILE.send_all(storage, upload)
    await storage.abort(upload)

    with pytest.raises(UploadLost if place.knows_lost_uploads else StorageUnavailable):
        await storage.complete(upload, parts, whole_checksum(parts))
    assert await storage.stat(FILE.key) is None


async def test_completing_a_lost_upload_does_not_take_other_content_for_it(storage: Storage) -> None:
    upload = await FILE.begin(storage)
    parts = await FILE.send_all(storage, upload)
    await storage.complete(upload, parts, whole_checksum(parts))
    changed = File(FILE.size - 1, seed=2)
    await changed.put(storage, replace=True)

    with pytest.raises(StorageError):
        await storage.complete(upload, parts, whole_checksum(parts))
    assert await read(storage, FILE.key) == changed.body


async def test_completing_under_a_name_taken_meanwhile_leaves_the_other_file(
    storage: Storage, place: Place
) -> None:
    upload = await FILE.begin(storage)
    parts = await FILE.send_all(storage, upload)
    other = File(100, artifact_id="another/video", seed=2)
    await other.put(storage)

    with pytest.raises(NameTaken):
        await storage.complete(upload, parts, whole_checksum(parts))

    assert await read(storage, FILE.key) == other.body
    await storage.abort(upload)
    assert place.sessions() == 0


async def test_an_upload_goes_on_in_another_process(place: Place) -> None:
    async with place.open() as killed:
        upload = await FILE.begin(killed)
        before = await FILE.send(killed, upload, 1)

    async with place.open() as storage:
        assert await storage.confirm(upload, [before]) == {1}
        parts = [before, await FILE.send(storage, upload, 2)]
        await storage.complete(upload, parts, whole_checksum(parts))
        assert await read(storage, FILE.key) == FILE.body


async def test_an_upload_goes_on_after_its_process_was_killed(place: Place) -> None:
    file = File(4 * PART + 1)
    upload, before = await killed_while_sending(place.config, file)

    async with place.open() as storage:
        assert await storage.confirm(upload, before) == {part.number for part in before}
        missing = set(file.numbers) - {part.number for part in before}
        parts = before + [await file.send(storage, upload, number) for number in sorted(missing)]
        await storage.complete(upload, parts, whole_checksum(parts))

        assert await read(storage, file.key) == file.body
    assert place.sessions() == 0
    assert place.objects() == {file.key: file.size}


async def test_an_unknown_upload_is_lost(storage: Storage, place: Place) -> None:
    gone = await FILE.begin(storage)
    await storage.abort(gone)

    for upload in (gone, Upload("0123456789abcdef", "never.mp4", PART, FILE.size, FILE.attributes)):
        with pytest.raises(UploadLost):
            await storage.confirm(upload, [])
        if place.takes_parts_of_lost_uploads:
            part = await FILE.send(storage, upload, 1)
            with pytest.raises(UploadLost):
                await storage.complete(upload, [part], part.checksum)
            continue
        with pytest.raises(UploadLost if place.knows_lost_uploads else StorageUnavailable):
            await FILE.send(storage, upload, 1)


async def test_aborting_frees_everything_and_may_be_repeated(storage: Storage, place: Place) -> None:
    upload = await FILE.begin(storage)
    await FILE.send_all(storage, upload)
    assert place.sessions() == 1

    await storage.abort(upload)
    await storage.abort(upload)

    assert place.sessions() == 0


async def test_aborting_a_completed_upload_leaves_the_file(storage: Storage) -> None:
    upload = await FILE.begin(storage)
    parts = await FILE.send_all(storage, upload)
    await storage.complete(upload, parts, whole_checksum(parts))

    await storage.abort(upload)

    assert await read(storage, FILE.key) == FILE.body


async def test_orphans_are_aborted_for_exactly_the_key(storage: Storage, place: Place) -> None:
    await File(key="a.mp4").begin(storage)
    await File(key="a.mp4").begin(storage)
    kept = [await File(key=key).begin(storage) for key in ("a.mp4.json", "a.mp4x", "a.mp", "b/a.mp4")]

    assert await abort_all(storage, "a.mp4") == 2

    assert place.sessions() == len(kept)
    for upload in kept:
        assert await storage.confirm(upload, []) == set()
    assert await abort_all(storage, "a.mp4") == 0
    assert await abort_all(storage, "not/there.mp4") == 0


async def test_orphans_of_a_completed_key_leave_the_file(storage: Storage, place: Place) -> None:
    file = File(100)
    await file.store(storage)
    await file.begin(storage)

    assert await abort_all(storage, file.key) == 1

    assert place.sessions() == 0
    assert await read(storage, file.key) == file.body


async def send(storage: Storage, upload: Upload, body: memoryview, number: int) -> Part:
    """Store one part of `body`."""
    piece = body[(number - 1) * upload.part_size : number * upload.part_size]
    checksum = checksum_of(piece)
    return Part(number, len(piece), checksum, await storage.put_part(upload, number, piece, checksum))
