"""Proves that a file in Google's bucket is whole, and whose it was, when others are at work there too."""

import asyncio

import pytest

from service.errors import NameTaken, UploadLost
from service.model import Stored
from service.storage.config import GcsConfig, parse_storage_config
from service.storage.gcs_api import GcsApi
from service.transfer import checksum_of, whole_checksum
from tests.contract.gcs_rig import Rig, final, rig
from tests.contract.places import File, read
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import Fault, How


async def test_two_workers_that_complete_the_same_upload_both_find_it_done(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it, it.place.open() as another:
        upload, parts = await it.sent(40)

        answers = await asyncio.gather(
            it.complete(upload, parts),
            another.complete(upload, parts, whole_checksum(parts)),
            return_exceptions=True,
        )

        assert answers[0] == answers[1] == await it.storage.stat("call.mp4")
        assert await it.reads(40)
        assert it.place.sessions() == 0


@pytest.mark.parametrize("call", ["objects.get", "objects.compose"])
async def test_a_worker_that_comes_late_finds_the_file_done_though_the_parts_are_gone(
    fake_gcs: FakeGcs, call: str
) -> None:
    async with rig(fake_gcs) as it, it.place.open() as another:
        upload, parts = await it.sent(2)
        first: list[asyncio.Task[Stored]] = []

        def complete_meanwhile(name: str) -> bool:
            if not first and (final(name) if call == "objects.compose" else name.endswith("/session")):
                first.append(asyncio.create_task(another.complete(upload, parts, whole_checksum(parts))))
                return True
            return False

        it.google.faults = [Fault(call, How.WAIT, is_of=complete_meanwhile)]
        stored = await it.complete(upload, parts)

        assert stored == await first[0]
        assert await it.reads(2)


async def test_a_name_taken_in_the_last_moment_is_left_to_who_has_it(fake_gcs: FakeGcs) -> None:
    other = File(100, artifact_id="another/video", seed=2)
    for storage_class, call in (("STANDARD", "objects.compose"), ("ARCHIVE", "objects.rewrite")):
        async with rig(fake_gcs, storage_class=storage_class) as it:
            upload, parts = await it.sent(2)
            taking: list[asyncio.Task[Stored]] = []

            def take(name: str, it: Rig = it, taking: list[asyncio.Task[Stored]] = taking) -> bool:
                if final(name):
                    taking.append(asyncio.create_task(other.put(it.storage)))
                return final(name)

            it.google.faults = [Fault(call, How.WAIT, is_of=take)]
            with pytest.raises(NameTaken):
                await it.complete(upload, parts)

            await taking[0]
            assert await read(it.storage, other.key) == other.body
            await it.storage.abort(upload)
            assert it.place.sessions() == 0


async def test_a_part_that_was_replaced_behind_our_back_is_not_taken_for_ours(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        upload, parts = await it.sent(3)
        (name,) = (name for _, name in it.google.told if "/part-00002-" in name)
        body = memoryview(b"others")
        config = parse_storage_config(it.place.config)
        assert isinstance(config, GcsConfig)
        api = GcsApi(config)
        await api.insert(name, body, checksum_of(body).crc32c, replace=True, storageClass="STANDARD")
        await api.close()

        assert await it.storage.confirm(upload, parts) == {1, 3}
        with pytest.raises(UploadLost):
            await it.complete(upload, parts)
