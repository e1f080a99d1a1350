"""Proves what storages make of a place that refuses, is absent or gets damaged bytes, and of cancellation."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.errors import StorageError, StorageRefused, StorageUnavailable
from service.model import Upload
from service.storage import Storage
from service.transfer import checksum_of, whole_checksum
from tests.contract.conftest import local_place
from tests.contract.place_s3 import s3_place
from tests.contract.places import PART, File, Place, read
from tests.doubles.ports import free_ports
from tests.doubles.servers import SeaweedFS

FILE = File()
UPLOAD = Upload("0123456789abcdef", FILE.key, PART, FILE.size, FILE.attributes)

ASKING: Mapping[str, Callable[[Storage], Awaitable[Any]]] = {
    "begin": FILE.begin,
    "put_part": lambda storage: FILE.send(storage, UPLOAD, 2),
    "put": File(10).put,
    "confirm": lambda storage: storage.confirm(UPLOAD, []),
    "complete": lambda storage: storage.complete(UPLOAD, [], FILE.checksum),
    "abort": lambda storage: storage.abort(UPLOAD),
    "uploads": lambda storage: storage.uploads(FILE.key),
    "stat": lambda storage: storage.stat(FILE.key),
    "read": lambda storage: read(storage, FILE.key),
}


@pytest.fixture
def seaweedfs_place(seaweedfs: SeaweedFS) -> Place:
    return s3_place(seaweedfs)


@pytest.mark.parametrize("operation", ["begin", "put", "read"])
async def test_a_wrong_bucket_is_refused_with_what_to_mend(seaweedfs_place: Place, operation: str) -> None:
    wrong = replace(seaweedfs_place, config={**seaweedfs_place.config, "bucket": "not-there"})

    async with wrong.open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)

    assert "bucket" in refused.value.mend


@pytest.mark.parametrize("operation", ASKING)
@pytest.mark.parametrize("field", ["access_key", "secret"])
async def test_wrong_keys_are_refused_with_what_to_mend(
    seaweedfs_place: Place, field: str, operation: str
) -> None:
    wrong = replace(seaweedfs_place, config={**seaweedfs_place.config, field: "WRONGKEY"})

    async with wrong.open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)

    assert "access_key and secret" in refused.value.mend
    assert "WRONGKEY" not in str(refused.value)


@pytest.mark.parametrize("operation", ASKING)
async def test_a_place_that_does_not_answer_is_unavailable(seaweedfs_place: Place, operation: str) -> None:
    (port,) = free_ports(1)
    config = {**seaweedfs_place.config, "endpoint_url": f"http://127.0.0.1:{port}"}

    async with replace(seaweedfs_place, config=config).open() as storage:
        with pytest.raises(StorageUnavailable):
            await ASKING[operation](storage)


async def test_an_encrypted_place_that_speaks_plainly_is_unavailable(seaweedfs_place: Place) -> None:
    address = str(seaweedfs_place.config["endpoint_url"]).replace("http://", "https://")

    async with replace(
        seaweedfs_place, config={**seaweedfs_place.config, "endpoint_url": address}
    ).open() as storage:
        with pytest.raises(StorageError):
            await storage.stat(FILE.key)


async def test_a_part_with_a_wrong_checksum_is_refused_and_the_right_one_taken(seaweedfs: SeaweedFS) -> None:
    async with s3_place(seaweedfs, checksum="crc64nvme").open() as storage:
        upload = await FILE.begin(storage)
        with pytest.raises(StorageError):
            await storage.put_part(upload, 1, FILE.piece(1), checksum_of(FILE.piece(2)))

        parts = await FILE.send_all(storage, upload)
        await storage.complete(upload, parts, whole_checksum(parts))

        assert await read(storage, FILE.key) == FILE.body


async def test_an_object_with_a_wrong_checksum_is_refused(seaweedfs: SeaweedFS) -> None:
    async with s3_place(seaweedfs, checksum="crc64nvme").open() as storage:
        with pytest.raises(StorageError):
            await storage.put(
                FILE.key,
                FILE.body,
                checksum=checksum_of(FILE.piece(1)),
                attributes=FILE.attributes,
                replace=False,
            )
        assert await storage.stat(FILE.key) is None


async def test_a_file_with_a_wrong_whole_checksum_is_refused(seaweedfs: SeaweedFS) -> None:
    async with s3_place(seaweedfs, checksum="crc64nvme").open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        with pytest.raises(StorageError):
            await storage.complete(upload, parts, checksum_of(FILE.piece(1)))


@pytest.mark.parametrize("turns", [1, 5, 20, 60])
async def test_a_part_cancelled_in_the_middle_may_be_sent_again(
    storage: Storage, place: Place, turns: int
) -> None:
    upload = await FILE.begin(storage)
    sending = asyncio.create_task(FILE.send(storage, upload, 1))
    for _ in range(turns):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])

    parts = await FILE.send_all(storage, upload)
    await storage.complete(upload, parts, whole_checksum(parts))

    assert await read(storage, FILE.key) == FILE.body
    assert place.sessions() == 0


async def test_an_object_cancelled_in_the_middle_may_be_stored_again(storage: Storage, place: Place) -> None:
    for turns in (1, 2, 5, 20):
        storing = asyncio.create_task(FILE.put(storage))
        for _ in range(turns):
            await asyncio.sleep(0)
        storing.cancel()
        await asyncio.wait([storing])

    await FILE.put(storage)

    assert await read(storage, FILE.key) == FILE.body
    assert place.sessions() == 0


async def test_two_that_store_different_files_under_one_name_leave_one_of_them_whole(
    storage: Storage,
) -> None:
    files = [File(1000, artifact_id=f"{number}/video", seed=number) for number in range(4)]

    answers = await asyncio.gather(*(file.put(storage) for file in files), return_exceptions=True)

    assert any(not isinstance(answer, BaseException) for answer in answers)
    assert await read(storage, files[0].key) in [bytes(file.body) for file in files]


async def test_a_crash_while_a_local_file_gets_its_name_leaves_it_whole(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        (temporary,) = tmp_path.iterdir()
        (tmp_path / FILE.key).hardlink_to(temporary)

        await storage.complete(upload, parts, whole_checksum(parts))

        assert await read(storage, FILE.key) == FILE.body
    assert place.sessions() == 0
