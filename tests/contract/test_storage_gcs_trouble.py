"""Proves what becomes of a file in Google's bucket through damage, crashes and refusals."""

import asyncio
from dataclasses import replace

import pytest

from service.errors import (
    StorageError,
    StorageMismatch,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)
from service.model import Checksum
from service.transfer import whole_checksum
from tests.contract.gcs_rig import ASKING, SMALL, final, rig
from tests.contract.place_gcs import gcs_place
from tests.contract.places import File, abort_all, read
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import Fault, GoogleFront, How
from tests.doubles.ports import free_ports


async def test_a_part_or_an_object_with_a_wrong_checksum_is_not_taken(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        upload = await SMALL.begin(it.storage)
        wrong = Checksum(SMALL.checksum.crc64nvme, SMALL.checksum.crc32c ^ 1)
        with pytest.raises(StorageUnavailable):
            await it.storage.put_part(upload, 1, SMALL.body, wrong)
        with pytest.raises(StorageUnavailable):
            await it.storage.put(
                SMALL.key, SMALL.body, checksum=wrong, attributes=SMALL.attributes, replace=False
            )
        assert await it.storage.stat(SMALL.key) is None

        part = await SMALL.send(it.storage, upload, 1)
        await it.storage.complete(upload, [part], SMALL.checksum)
        assert await read(it.storage, SMALL.key) == SMALL.body


async def test_what_is_stored_damaged_is_told_and_deleted(fake_gcs: FakeGcs) -> None:
    file = File(1000)
    async with rig(fake_gcs) as it:
        upload = await file.begin(it.storage)
        it.google.damages = lambda _name: True
        with pytest.raises(StorageMismatch):
            await file.send(it.storage, upload, 1)
        with pytest.raises(StorageMismatch):
            await file.put(it.storage)
        it.google.damages = lambda _name: False
        assert await it.storage.stat(file.key) is None

        part = await file.send(it.storage, upload, 1)
        await it.storage.complete(upload, [part], file.checksum)
        assert await read(it.storage, file.key) == file.body


async def test_a_file_that_is_not_what_was_read_is_deleted_and_its_parts_are_kept(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs, object_lock={"mode": "COMPLIANCE", "days": 1}) as it:
        upload, parts = await it.sent()
        with pytest.raises(StorageMismatch, match="CRC-32C"):
            await it.storage.complete(upload, parts, Checksum(1, 2))

        assert it.place.objects() == {}
        assert await it.storage.confirm(upload, parts) == {1, 2, 3}
        await it.complete(upload, parts)
        assert await it.reads(3)


@pytest.mark.parametrize("storage_class", ["", "COLDLINE"])
async def test_an_answer_lost_when_the_file_was_made_is_settled_by_looking(
    fake_gcs: FakeGcs, storage_class: str
) -> None:
    async with rig(fake_gcs, storage_class=storage_class) as it:
        for how in (How.DROP_AFTER, How.DROP):
            key = f"{how.name}.mp4"
            upload, parts = await it.sent(key=key)
            call = "objects.rewrite" if storage_class else "objects.compose"
            it.google.faults = [Fault(call, how, is_of=final)]
            if how is How.DROP:
                with pytest.raises(StorageUnavailable):
                    await it.complete(upload, parts)
            await it.complete(upload, parts)

            assert await it.reads(3, key=key)
        assert it.place.sessions() == 0


async def test_a_crash_before_the_parts_are_deleted_leaves_nothing_after_completing_again(
    fake_gcs: FakeGcs,
) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent(40)
        it.google.faults = [Fault("objects.delete", How.DROP, skip=5, times=99)]
        with pytest.raises(StorageUnavailable):
            await it.complete(upload, parts)
        it.google.faults.clear()
        assert it.place.sessions() == 1
        assert await it.reads(40)

        async with it.place.open() as another:
            stored = await another.complete(upload, parts, whole_checksum(parts))

        assert it.place.sessions() == 0
        assert it.google.count("objects.compose") == 2
        assert stored == await it.storage.stat("call.mp4")


async def test_a_crash_before_the_parts_are_deleted_leaves_nothing_for_a_new_upload_of_the_key(
    fake_gcs: FakeGcs,
) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent(4)
        other, _ = await it.sent(2, key="other.mp4")
        it.google.faults = [Fault("objects.delete", How.DROP, times=99)]
        with pytest.raises(StorageUnavailable):
            await it.complete(upload, parts)
        it.google.faults.clear()

        assert await abort_all(it.storage, "call.mp4") == 1

        assert it.place.sessions() == 1
        assert await it.storage.confirm(other, []) == set()
        assert await it.reads(4)


async def test_a_tree_that_broke_off_is_not_built_again(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent(100)
        it.google.faults = [Fault("objects.compose", status=503, retry_after="7", is_of=final)]
        with pytest.raises(StorageThrottled) as throttled:
            await it.complete(upload, parts)
        assert throttled.value.retry_after_s == 7.0
        made = {name for _, name in it.google.told if "/join-" in name}

        await it.complete(upload, parts)

        assert len(made) == 3
        assert await it.reads(100)


async def test_a_part_that_is_gone_loses_the_upload(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent()
        bucket, folder = it.place.config["bucket"], it.place.config["path"]
        (name,) = (name for name in fake_gcs.objects(bucket, folder) if "/part-00002-" in name)
        fake_gcs.remove(bucket, name)

        assert await it.storage.confirm(upload, parts) == {1, 3}
        with pytest.raises(UploadLost):
            await it.complete(upload, parts)
        assert it.place.objects() == {}


async def test_a_bucket_that_keeps_everything_keeps_the_parts_too_and_the_file_is_whole(
    fake_gcs: FakeGcs,
) -> None:
    async with rig(fake_gcs) as it:
        it.google.keeps_everything = True
        upload, parts = await it.sent(40)

        first = await it.complete(upload, parts)

        assert await it.reads(40)
        assert await it.complete(upload, parts) == first
        await it.storage.abort(upload)
        assert it.place.sessions() == 1
        same, other = File(10, key="manifest"), File(10, key="manifest", seed=2)
        await same.put(it.storage, replace=True)
        await same.put(it.storage, replace=True)
        with pytest.raises(StorageRefused) as refused:
            await other.put(it.storage, replace=True)
        assert "retention" in refused.value.mend


@pytest.mark.parametrize(
    ("permission", "role", "operations"),
    [
        ("storage.objects.create", "objectUser", ["begin", "put", "complete"]),
        ("storage.objects.get", "objectUser", ["stat", "read", "put_part"]),
        ("storage.objects.list", "objectUser", ["confirm", "abort", "uploads"]),
        ("storage.objects.delete", "objectUser", ["remove", "complete"]),
        ("storage.objects.setRetention", "objectAdmin", ["put", "complete"]),
    ],
)
async def test_a_permission_that_is_missing_is_named_with_a_role_that_has_it(
    fake_gcs: FakeGcs, permission: str, role: str, operations: list[str]
) -> None:
    async with rig(fake_gcs, object_lock={"mode": "GOVERNANCE", "days": 1}) as it:
        upload, parts = await it.sent(key="other.mp4")
        it.google.denied = {permission}
        for operation in operations:
            with pytest.raises(StorageRefused) as refused:
                await (
                    it.complete(upload, parts) if operation == "complete" else ASKING[operation](it.storage)
                )
            assert permission in refused.value.mend
            assert f"roles/storage.{role}" in refused.value.mend
        it.google.denied = set()
        await it.complete(upload, parts)
        assert it.place.sessions() == 0


@pytest.mark.parametrize("operation", sorted(set(ASKING) - {"stat", "remove", "put_part", "complete"}))
async def test_a_bucket_that_is_not_there_is_told(
    fake_gcs: FakeGcs, google: GoogleFront, operation: str
) -> None:
    place = gcs_place(fake_gcs, google, bucket="not-there")
    async with place.open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)
    assert "`bucket`" in refused.value.mend


@pytest.mark.parametrize("operation", ASKING)
async def test_a_server_that_is_not_there_is_unavailable(
    fake_gcs: FakeGcs, google: GoogleFront, operation: str
) -> None:
    (port,) = free_ports(1)
    place = gcs_place(fake_gcs, google, endpoint_url=f"http://127.0.0.1:{port}")
    async with place.open() as storage:
        with pytest.raises(StorageUnavailable):
            await ASKING[operation](storage)


@pytest.mark.parametrize("operation", ["begin", "put", "stat", "read", "abort"])
async def test_a_server_that_does_not_answer_is_given_up(
    fake_gcs: FakeGcs, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.storage.gcs_api._CALL_S", 0.2)
    async with rig(fake_gcs) as it:
        calls = ("objects.insert", "objects.get", "objects.list")
        it.google.faults = [Fault(call, How.STALL, times=99) for call in calls]
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(ASKING[operation](it.storage), 5)


async def test_a_page_where_the_api_should_be_is_told(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        elsewhere = {**it.place.config, "endpoint_url": f"{it.google.endpoint_url}/computeMetadata/v1"}
        async with replace(it.place, config=elsewhere).open() as storage:
            with pytest.raises(StorageError):
                await SMALL.put(storage)
