"""Proves what the S3 family alone has: objects' attributes, names taken atomically, faults told by field."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from service.errors import NameTaken, StorageRefused, StorageUnavailable
from service.model import Stored
from service.storage import Storage
from service.transfer import whole_checksum
from tests.contract.place_s3 import s3_place, virtual_place
from tests.contract.places import PART, File, Place, abort_all, read
from tests.doubles.object_store import S3Endpoint
from tests.doubles.servers import Moto, SeaweedFS
from tests.doubles.store_proxy import Fault, FaultyStore
from tests.doubles.wire import Head

FILE = File()
SMALL = File(100, key="small.mp4")
LOCK = {"mode": "GOVERNANCE", "days": 2}


def seen(endpoint: S3Endpoint, place: Place, key: str) -> dict[str, Any]:
    """All that the store tells of an object, looked at from outside."""
    return endpoint.head(place.config["bucket"], f"{place.config['path']}/{key}")


def versions(endpoint: S3Endpoint, place: Place, key: str) -> list[dict[str, Any]]:
    """Every version of an object, the latest first."""
    listing = endpoint.client().list_object_versions(
        Bucket=place.config["bucket"], Prefix=f"{place.config['path']}/{key}"
    )
    found: list[dict[str, Any]] = listing.get("Versions", [])
    return found


def delete(endpoint: S3Endpoint, place: Place, version: Mapping[str, Any]) -> None:
    endpoint.client().delete_object(
        Bucket=place.config["bucket"], Key=version["Key"], VersionId=version["VersionId"]
    )


@asynccontextmanager
async def behind(store: FaultyStore, place: Place) -> AsyncIterator[Storage]:
    """The storage of `place` with `store` between."""
    async with replace(place, config={**place.config, "endpoint_url": store.endpoint_url}).open() as storage:
        yield storage


@pytest.mark.parametrize("checksum", ["", "md5", "crc64nvme"])
async def test_what_is_archived_cannot_be_deleted_before_its_time(
    seaweedfs: SeaweedFS, checksum: str
) -> None:
    place = s3_place(seaweedfs, locks=True, object_lock=LOCK, checksum=checksum)
    async with place.open() as storage:
        await FILE.store(storage)
        await SMALL.put(storage)

    for key in (FILE.key, SMALL.key):
        found = seen(seaweedfs, place, key)
        assert found["ObjectLockMode"] == "GOVERNANCE"
        left = found["ObjectLockRetainUntilDate"] - datetime.now(UTC)
        assert timedelta(days=2) - timedelta(minutes=5) < left <= timedelta(days=2)
        (version,) = versions(seaweedfs, place, key)
        with pytest.raises(ClientError, match="AccessDenied"):
            delete(seaweedfs, place, version)


async def test_a_legal_hold_keeps_what_is_archived(seaweedfs: SeaweedFS) -> None:
    place = s3_place(seaweedfs, locks=True, legal_hold=True)
    async with place.open() as storage:
        await FILE.store(storage)
        await SMALL.put(storage)

    for key in (FILE.key, SMALL.key):
        assert seen(seaweedfs, place, key)["ObjectLockLegalHoldStatus"] == "ON"
        (version,) = versions(seaweedfs, place, key)
        with pytest.raises(ClientError, match="AccessDenied"):
            delete(seaweedfs, place, version)


@pytest.mark.parametrize("checksum", ["", "crc64nvme"])
async def test_moto_too_takes_what_is_locked(moto: Moto, checksum: str) -> None:
    place = s3_place(moto, locks=True, object_lock=LOCK, legal_hold=True, checksum=checksum)
    async with place.open() as storage:
        await SMALL.put(storage)

    found = seen(moto, place, SMALL.key)
    assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")


async def test_a_locked_object_that_may_be_replaced_gets_a_new_version(seaweedfs: SeaweedFS) -> None:
    place = s3_place(seaweedfs, locks=True, object_lock=LOCK | {"mode": "COMPLIANCE"})
    manifests = [File(size, key="call.mp4.json", artifact_id="recording", seed=size) for size in (100, 90)]
    async with place.open() as storage:
        for manifest in manifests:
            await manifest.put(storage, replace=True)

        assert await read(storage, "call.mp4.json") == manifests[1].body
    assert [version["Size"] for version in versions(seaweedfs, place, "call.mp4.json")] == [90, 100]


@pytest.mark.parametrize("attribute", [{"object_lock": LOCK}, {"legal_hold": True}], ids=str)
async def test_a_bucket_without_object_lock_is_told_to_have_it(
    seaweedfs: SeaweedFS, attribute: dict[str, Any]
) -> None:
    async with s3_place(seaweedfs, **attribute).open() as storage:
        for asking in (FILE.begin(storage), SMALL.put(storage)):
            with pytest.raises(StorageRefused) as refused:
                await asking
            assert next(iter(attribute)) in refused.value.mend


async def test_a_retention_that_is_over_before_it_begins_is_told(seaweedfs: SeaweedFS) -> None:
    over = {"mode": "GOVERNANCE", "until": "2020-01-01T00:00:00Z"}
    async with s3_place(seaweedfs, locks=True, object_lock=over).open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await FILE.begin(storage)
    assert "object_lock" in refused.value.mend


@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
async def test_tags_lie_on_every_object(request: pytest.FixtureRequest, server: str) -> None:
    endpoint = request.getfixturevalue(server)
    tags = {"kind": "recording", "team + co.": "a b/c+d=e:f@g Größe"}
    place = s3_place(endpoint, tags=tags)
    async with place.open() as storage:
        await FILE.store(storage)
        await SMALL.put(storage)

    for key in (FILE.key, SMALL.key):
        told = endpoint.client().get_object_tagging(
            Bucket=place.config["bucket"], Key=f"{place.config['path']}/{key}"
        )
        assert {tag["Key"]: tag["Value"] for tag in told["TagSet"]} == tags


@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
async def test_recordings_are_in_their_storage_class_and_what_is_read_again_is_not(
    request: pytest.FixtureRequest, server: str
) -> None:
    endpoint = request.getfixturevalue(server)
    place = s3_place(endpoint, storage_class="STANDARD_IA")
    manifest = File(100, key="manifest.json")
    async with place.open() as storage:
        await FILE.store(storage)
        await SMALL.put(storage)
        await manifest.put(storage, replace=True)

    classes = [seen(endpoint, place, key).get("StorageClass") for key in (FILE.key, SMALL.key, manifest.key)]
    assert classes == ["STANDARD_IA", "STANDARD_IA", None]


@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
        (
            {"encryption": "aws:kms", "kms_key_id": "recordings", "bucket_key": True},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "recordings"},
        ),
    ],
    ids=["SSE-S3", "SSE-KMS"],
)
async def test_every_object_is_encrypted_by_the_store(
    request: pytest.FixtureRequest, server: str, asked: dict[str, Any], told: dict[str, Any]
) -> None:
    endpoint = request.getfixturevalue(server)
    place = s3_place(endpoint, checksum="crc64nvme", **asked)
    async with place.open() as storage:
        await FILE.store(storage)
        await SMALL.put(storage)

        for file in (FILE, SMALL):
            assert await read(storage, file.key) == file.body
            assert told.items() <= seen(endpoint, place, file.key).items()


async def test_parts_and_objects_carry_an_md5_that_the_store_verifies(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def of_nothing(_body: memoryview) -> str:
        return "1B2M2Y8AsgTpgAmY7PhCfg=="

    async with s3_place(seaweedfs, checksum="md5").open() as storage:
        await FILE.store(storage)
        upload = await File(key="other.mp4").begin(storage)
        monkeypatch.setattr("service.storage.s3._md5", of_nothing)
        with pytest.raises(StorageUnavailable, match="BadDigest"):
            await FILE.send(storage, upload, 1)
        with pytest.raises(StorageUnavailable, match="BadDigest"):
            await SMALL.put(storage)


async def test_of_several_who_take_a_name_at_once_exactly_one_has_it(seaweedfs: SeaweedFS) -> None:
    """`cloudflare`: by conditional writes, with no look before."""
    files = [File(100, artifact_id=f"{number}/video", seed=number) for number in range(4)]
    async with s3_place(seaweedfs, type="cloudflare").open() as storage:
        answers = await asyncio.gather(*(file.put(storage) for file in files), return_exceptions=True)

        (winner,) = (file for file, answer in zip(files, answers, strict=True) if isinstance(answer, Stored))
        assert sum(isinstance(answer, NameTaken) for answer in answers) == 3
        assert await read(storage, winner.key) == winner.body


async def test_whoever_loses_a_name_that_the_store_does_not_guard_is_told_that_it_is_taken(
    seaweedfs: SeaweedFS,
) -> None:
    files = [File(100, artifact_id=f"{number}/video", seed=number) for number in range(4)]
    async with s3_place(seaweedfs).open() as storage:
        answers = await asyncio.gather(*(file.put(storage) for file in files), return_exceptions=True)

    assert {type(answer) for answer in answers} == {Stored, NameTaken}


@pytest.mark.parametrize(("conditional", "looks"), [(True, 1), (False, 2)])
async def test_a_name_is_looked_at_beforehand_only_where_the_store_does_not_guard_it(
    seaweedfs: SeaweedFS,
    conditional: bool,  # noqa: FBT001 - a parameter
    looks: int,
) -> None:
    place = s3_place(seaweedfs, conditional_writes=conditional)
    async with FaultyStore(seaweedfs.endpoint_url) as store, behind(store, place) as storage:
        await SMALL.put(storage)
        assert store.traffic["HeadObject"].requests == looks


async def test_the_bucket_stands_before_the_host_where_that_is_asked_for(
    seaweedfs: SeaweedFS, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(FaultyStore):
        async def _pass_on(self, head: Head, *rest: Any) -> bool:
            hosts.add(head["host"])
            return await super()._pass_on(head, *rest)

    hosts: set[str] = set()
    place = virtual_place(request)
    async with Watched(seaweedfs.endpoint_url) as proxy:
        monkeypatch.setenv("http_proxy", proxy.endpoint_url)
        async with place.open() as storage:
            await FILE.store(storage)
    assert hosts == {f"{place.config['bucket']}.{seaweedfs.domain}"}


async def test_orphans_are_aborted_beyond_a_page_of_a_thousand(seaweedfs: SeaweedFS) -> None:
    place = s3_place(seaweedfs)
    async with place.open() as storage:
        lanes = iter(range(1003))

        async def lane() -> None:
            for _ in lanes:
                await FILE.begin(storage)

        await asyncio.gather(*(lane() for _ in range(16)))

        assert await abort_all(storage, FILE.key) == 1003
    assert place.sessions() == 0


async def test_a_key_that_may_only_read_is_told_what_it_lacks(seaweedfs: SeaweedFS) -> None:
    access_key, secret = seaweedfs.reader
    place = s3_place(seaweedfs)
    async with place.open() as storage:
        await SMALL.put(storage)
        upload = await FILE.begin(storage)

    keys = {"access_key": access_key, "secret": secret}
    async with replace(place, config={**place.config, **keys}).open() as storage:
        assert await read(storage, SMALL.key) == SMALL.body
        assert await storage.stat(FILE.key) is None
        for asking, action in (
            (FILE.begin(storage), "s3:PutObject"),
            (FILE.send(storage, upload, 1), "s3:PutObject"),
            (FILE.put(storage), "s3:PutObject"),
            (storage.abort(upload), "s3:AbortMultipartUpload"),
            (storage.remove(SMALL.key), "s3:DeleteObject"),
        ):
            with pytest.raises(StorageRefused) as refused:
                await asking
            assert action in refused.value.mend
            assert secret not in f"{refused.value} {refused.value.mend}"


@pytest.mark.parametrize(
    ("status", "code", "mend"),
    [
        (400, "ExpiredToken", "session_token"),
        (400, "AuthorizationHeaderMalformed", "region"),
        (301, "PermanentRedirect", "region"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "QuotaExceeded", "quota"),
        (507, "InsufficientStorage", "room"),
        (501, "NotImplemented", "checksum"),
        (403, "AccessDenied", "s3:PutObject"),
        (400, "KMS.DisabledException", "kms_key_id"),
        (404, "NoSuchBucket", "bucket"),
    ],
)
async def test_what_only_a_person_can_mend_is_told_with_its_field(
    seaweedfs: SeaweedFS, status: int, code: str, mend: str
) -> None:
    async with (
        FaultyStore(seaweedfs.endpoint_url) as store,
        behind(store, s3_place(seaweedfs)) as storage,
    ):
        store.inject("PutObject", Fault.REFUSE, status=status, code=code)
        with pytest.raises(StorageRefused) as refused:
            await SMALL.put(storage)
    assert mend in refused.value.mend


async def test_an_upload_goes_on_after_the_server_was_killed_and_started_again() -> None:
    file = File(2 * PART + 1)
    with SeaweedFS() as server:
        place = s3_place(server)
        async with place.open() as storage:
            upload = await file.begin(storage)
            first = await file.send(storage, upload, 1)

            await asyncio.to_thread(server.restart)

            second = await file.send(storage, upload, 2)
            assert await storage.confirm(upload, [first, second]) == {1, 2}
            parts = [first, second, await file.send(storage, upload, 3)]
            await storage.complete(upload, parts, whole_checksum(parts))
            assert await read(storage, file.key) == file.body
