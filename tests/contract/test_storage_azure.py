"""Proves what only Azure has: sessions made of blocks, the right to a name, what a blob carries."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from service.errors import NameTaken, StorageMismatch, StorageRefused, UploadLost
from service.transfer import checksum_of, whole_checksum
from tests.contract.place_azure import azurite_place, blob_in, given
from tests.contract.places import File, Place, read
from tests.doubles.azure_proxy import AzureProxy
from tests.doubles.azurite import Azurite

FILE = File()


@pytest.fixture
def place(azurite: Azurite) -> Place:
    """Azurite alone, instead of every place."""
    return azurite_place(azurite)


@pytest.fixture
async def proxy(azurite: Azurite) -> AsyncIterator[AzureProxy]:
    async with AzureProxy(azurite.endpoint) as proxy:
        yield proxy


@pytest.fixture
def behind(azurite: Azurite, proxy: AzureProxy) -> Place:
    """A place whose storage goes through `proxy`."""
    return azurite_place(azurite, endpoint=proxy.endpoint)


async def test_two_uploads_under_one_name_never_mix(place: Place) -> None:
    other = File(seed=2)
    async with place.open() as storage:
        ours, theirs = await FILE.begin(storage), await other.begin(storage)
        parts = [await FILE.send(storage, ours, 1)]
        others = [await other.send(storage, theirs, 1)]
        parts.append(await FILE.send(storage, ours, 2))
        others.append(await other.send(storage, theirs, 2))
        assert place.sessions() == 2

        await storage.complete(ours, parts, whole_checksum(parts))

        with pytest.raises(NameTaken):
            await storage.complete(theirs, others, whole_checksum(others))
        assert await read(storage, FILE.key) == FILE.body
    assert place.sessions() == 0


async def test_aborting_an_upload_leaves_another_under_its_name_as_it_is(place: Place) -> None:
    async with place.open() as storage:
        old, new = await FILE.begin(storage), await FILE.begin(storage)
        await FILE.send_all(storage, old)
        parts = await FILE.send_all(storage, new)

        await storage.abort(old)

        assert place.sessions() == 1
        assert await storage.confirm(new, parts) == {1, 2}
        assert place.objects() == {}
        await storage.complete(new, parts, whole_checksum(parts))
        assert await read(storage, FILE.key) == FILE.body


async def test_another_try_of_a_part_with_other_content_has_another_receipt(place: Place) -> None:
    other = File(seed=2)
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        former, latter = await other.send(storage, upload, 1), await FILE.send(storage, upload, 1)
        assert former.receipt != latter.receipt

        claimed = replace(former, checksum=latter.checksum)
        assert await storage.confirm(upload, [claimed, await FILE.send(storage, upload, 2)]) == {1, 2}
        parts = [latter, await FILE.send(storage, upload, 2)]
        await storage.complete(upload, parts, whole_checksum(parts))

        assert await read(storage, FILE.key) == FILE.body


async def test_a_file_with_a_part_that_is_not_there_is_a_lost_upload(place: Place) -> None:
    async with place.open() as storage:
        upload, other = await FILE.begin(storage), await File(key="other.mp4").begin(storage)
        parts = [await FILE.send(storage, upload, 1), await FILE.send(storage, other, 2)]

        with pytest.raises(UploadLost):
            await storage.complete(upload, parts, whole_checksum(parts))

        assert await storage.stat(FILE.key) is None


async def test_parts_that_do_not_make_up_the_file_are_not_committed(place: Place) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)

        with pytest.raises(StorageMismatch):
            await storage.complete(upload, parts[::-1], whole_checksum(parts))

        assert await storage.stat(FILE.key) is None


@pytest.mark.parametrize("size", [0, 10, FILE.size], ids=str)
async def test_an_object_takes_a_name_that_has_only_blocks(place: Place, size: int) -> None:
    file = File(size)
    async with place.open() as storage:
        await FILE.send_all(storage, await FILE.begin(storage))

        assert (await file.put(storage)).size == size

        assert await read(storage, file.key) == file.body
    assert place.sessions() == 0


@pytest.mark.parametrize("kind", ["foreign blocks", "append", "page", "leased"])
async def test_a_name_that_others_write_in_their_own_way_is_taken(
    azurite: Azurite, place: Place, kind: str
) -> None:
    blob = blob_in(azurite, place)
    match kind:
        case "foreign blocks":
            blob.stage_block("a", b"theirs")
        case "append":
            blob.create_append_blob()
        case "page":
            blob.create_page_blob(512)
        case "leased":
            blob.upload_blob(b"theirs")
            blob.acquire_lease()
    async with place.open() as storage:
        with pytest.raises(NameTaken):
            await FILE.begin(storage)
        with pytest.raises(NameTaken):
            await FILE.put(storage)


async def test_a_file_of_the_same_size_that_is_not_ours_is_another(azurite: Azurite, place: Place) -> None:
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)
        blob_in(azurite, place).upload_blob(bytes(FILE.size), overwrite=True)

        with pytest.raises(NameTaken):
            await storage.complete(upload, parts, whole_checksum(parts))
        with pytest.raises(NameTaken):
            await FILE.put(storage)

        assert await read(storage, FILE.key) == bytes(FILE.size)


async def test_the_same_bytes_of_another_artifact_are_another_file(place: Place) -> None:
    twin = File(artifact_id="another/video")
    async with place.open() as storage:
        await twin.put(storage)
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)

        with pytest.raises(NameTaken):
            await storage.complete(upload, parts, whole_checksum(parts))
        with pytest.raises(NameTaken):
            await FILE.put(storage)

        found = await storage.stat(FILE.key)
    assert found is not None
    assert found.artifact_id == twin.artifact_id


async def test_a_manifest_that_may_not_be_replaced_is_refused_with_what_to_mend(
    azurite: Azurite, place: Place
) -> None:
    async with place.open() as storage:
        await File(10).put(storage, replace=True)
        blob_in(azurite, place).acquire_lease()

        with pytest.raises(StorageRefused) as refused:
            await File(20).put(storage, replace=True)

    assert "lease" in refused.value.mend


@pytest.mark.parametrize("tier", ["hot", "COOL", "Cold", "archive"])
async def test_a_file_and_an_object_carry_what_the_config_says(
    azurite: Azurite, place: Place, tier: str
) -> None:
    tags = {"department": "sales + support", "kept:until": "2030/01"}
    fields = {"storage_class": tier, "tags": tags}
    async with given(place, **fields).open() as storage:
        await FILE.store(storage)
        await File(10, key="small.mp4").put(storage)
        await File(10, key="call.mp4.json").put(storage, replace=True)
        await File(20, key="call.mp4.json").put(storage, replace=True)
        found = await storage.stat(FILE.key)

    assert found is not None
    assert found.crc64nvme == FILE.checksum.crc64nvme
    for key in (FILE.key, "small.mp4", "call.mp4.json"):
        blob = blob_in(azurite, place, key)
        properties = blob.get_blob_properties()
        replaceable = key.endswith(".json")
        kept_online = "Hot" if replaceable and tier == "archive" else tier.capitalize()
        assert properties.blob_tier == kept_online
        assert blob.get_blob_tags() == tags
        assert properties.content_settings.content_type == "video/mp4"
        facts = properties.metadata
        assert facts.pop("dyte_archiver_crc64nvme")
        assert facts == {
            "dyte_archiver_artifact": "recording/video",
            "recording_id": "recording",
            "meeting_id": "meeting",
            "session_id": "session",
        }


@pytest.mark.parametrize(
    ("lock", "mode"), [({"mode": "governance", "days": 30}, "Unlocked"), ({"mode": "COMPLIANCE"}, "Locked")]
)
async def test_locks_and_scopes_are_asked_for_where_azure_wants_them(
    behind: Place, proxy: AzureProxy, lock: dict[str, Any], mode: str
) -> None:
    """Azurite takes these headers and does nothing with them: what is asked has to be enough."""
    until = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    lock = lock if "days" in lock else {**lock, "until": until.isoformat()}
    fields = {"object_lock": lock, "legal_hold": True, "encryption_scope": "archive"}
    async with given(behind, **fields).open() as storage:
        await FILE.store(storage)
        await File(10, key="small").put(storage)

    for head in (*proxy.heads["Put Marker"], *proxy.heads["Put Block"]):
        assert head["x-ms-encryption-scope"] == "archive"
        assert not [name for name in head.fields if "immutability" in name or "hold" in name]
    for head in (*proxy.heads["Put Block List"], *proxy.heads["Put Blob"]):
        assert head["x-ms-encryption-scope"] == "archive"
        assert head["x-ms-legal-hold"].lower() == "true"
        assert head["x-ms-immutability-policy-mode"] == mode
        asked = parsedate_to_datetime(head["x-ms-immutability-policy-until-date"])
        assert abs(asked - until) < timedelta(minutes=1)


async def test_nothing_is_asked_for_that_the_config_does_not_say(behind: Place, proxy: AzureProxy) -> None:
    async with behind.open() as storage:
        await FILE.store(storage)
        await File(10, key="small").put(storage)

    for head in (*proxy.heads["Put Block List"], *proxy.heads["Put Blob"]):
        asked = {name for name in head.fields if name.startswith("x-ms-")}
        assert not [
            name for name in asked if any(word in name for word in ("tier", "tag", "hold", "immut", "scope"))
        ]
        assert head["if-none-match"] == "*"


async def test_ids_of_blocks_are_of_one_length_and_short_enough(behind: Place, proxy: AzureProxy) -> None:
    async with behind.open() as storage:
        upload = await FILE.begin(storage)
        for number in (1, 9_999, 50_000):
            body = memoryview(bytes(number % 7 + 3))
            await storage.put_part(upload, number, body, checksum_of(body))

    heads = (*proxy.heads["Put Marker"], *proxy.heads["Put Block"])
    ids = [parse_qs(head.start[1].partition("?")[2])["blockid"][0] for head in heads]
    assert {len(base64.b64decode(each)) for each in ids} == {39}
    assert len(ids) == len(set(ids)) == 4


async def test_the_path_is_a_folder_in_the_container(place: Place) -> None:
    async with given(place, path="/").open() as storage:
        await File(10, key=f"{place.config['path']}/{quote('ü')}").put(storage)

    assert place.objects() == {quote("ü"): 10}
