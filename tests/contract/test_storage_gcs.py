"""Proves what is Google's own: parts composed in a tree, storage classes, keys and locks."""

from datetime import UTC, datetime, timedelta

import pytest

from service.errors import (
    NameTaken,
    StorageRefused,
    StorageUnavailable,
)
from service.storage.gcs_session import PARTS_FOLDER
from service.transfer import whole_checksum
from tests.contract.gcs_rig import SMALL, Rig, rig
from tests.contract.place_gcs import gcs_place
from tests.contract.places import File
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import Fault, GoogleFront, How

KMS_KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"


async def test_the_server_behind_alone_does_as_well(fake_gcs: FakeGcs, google: GoogleFront) -> None:
    place = gcs_place(fake_gcs, google, endpoint_url=fake_gcs.endpoint_url)
    async with place.open() as storage:
        it = Rig(storage, google, place)
        upload, parts = await it.sent(40)
        await it.complete(upload, parts)
        assert await it.reads(40)
        assert place.objects() == {"call.mp4": 240}
        with pytest.raises(NameTaken):
            await File(10, artifact_id="another/video").put(storage)


async def test_a_tree_of_three_levels_makes_one_file(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent(1030)

        stored = await it.complete(upload, parts)

        assert (stored.size, stored.crc64nvme) == (6180, whole_checksum(parts).crc64nvme)
        assert await it.reads(1030)
        assert it.google.count("objects.compose") == 33 + 1 + 1
        assert it.place.sessions() == 0
        assert it.place.objects() == {"call.mp4": 6180}


async def test_what_the_config_says_of_objects_is_on_the_file_and_on_no_part(fake_gcs: FakeGcs) -> None:
    lock = {"mode": "compliance", "days": 30}
    fields = {"storage_class": "nearline", "kms_key_id": KMS_KEY, "object_lock": lock, "legal_hold": True}
    async with rig(fake_gcs, **fields) as it:
        upload, parts = await it.sent(40)
        temporary = {name: told for (_, name), told in it.google.told.items() if PARTS_FOLDER in name}
        await it.complete(upload, parts)
        await File(10, key="small.mp4").put(it.storage)

        assert len(temporary) == 41
        assert all(told == {"storageClass": "STANDARD", "kmsKeyName": KMS_KEY} for told in temporary.values())
        for key in ("call.mp4", "small.mp4"):
            told = it.found(key)
            assert (told["storageClass"], told["kmsKeyName"]) == ("NEARLINE", KMS_KEY)
            assert (told["temporaryHold"], told["retention"]["mode"]) == (True, "Locked")
            until = datetime.fromisoformat(told["retention"]["retainUntilTime"])
            assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=1)
            assert it.place.described is not None
            assert it.place.described(key) == ("video/mp4", SMALL.attributes.metadata)
        assert it.place.sessions() == 0


async def test_without_a_class_of_its_own_a_file_has_the_buckets(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        it.google.default_class = "ARCHIVE"
        upload, parts = await it.sent(3)
        await it.complete(upload, parts)

        assert it.found()["storageClass"] == "ARCHIVE"
        assert it.google.count("objects.rewrite") == 1
        assert await it.reads(3)


async def test_a_copy_within_google_goes_on_until_it_is_done_or_does_not_get_on(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs, storage_class="COLDLINE") as it:
        upload, parts = await it.sent(3)
        it.google.rewritten = [0, 6, 6]
        with pytest.raises(StorageUnavailable):
            await it.complete(upload, parts)
        assert it.place.objects() == {}

        it.google.rewritten = [0, 6, 12]
        await it.complete(upload, parts)

        assert it.found()["storageClass"] == "COLDLINE"
        assert await it.reads(3)


async def test_what_may_be_replaced_is_neither_locked_nor_cold(fake_gcs: FakeGcs) -> None:
    lock = {"mode": "GOVERNANCE", "until": "2099-01-01T00:00:00Z"}
    async with rig(fake_gcs, storage_class="ARCHIVE", object_lock=lock, legal_hold=True) as it:
        for seed in (1, 2):
            await File(10, key="manifest", seed=seed).put(it.storage, replace=True)
        await SMALL.put(it.storage)

        assert it.found("manifest") == {"storageClass": "STANDARD"}
        assert it.found()["retention"] == {"mode": "Unlocked", "retainUntilTime": "2099-01-01T00:00:00Z"}
        with pytest.raises(StorageRefused):
            await it.storage.remove(SMALL.key)


async def test_a_file_whose_lock_was_not_set_before_a_crash_gets_it_when_it_is_completed_again(
    fake_gcs: FakeGcs,
) -> None:
    async with rig(fake_gcs, object_lock={"mode": "GOVERNANCE", "days": 1}) as it:
        upload, parts = await it.sent()
        it.google.faults = [Fault("objects.patch", How.DROP)]
        with pytest.raises(StorageUnavailable):
            await it.complete(upload, parts)
        assert "retention" not in it.found()

        first = await it.complete(upload, parts)

        assert it.found()["retention"]["mode"] == "Unlocked"
        assert await it.complete(upload, parts) == first
        assert it.google.count("objects.patch") == 2
