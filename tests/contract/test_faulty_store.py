"""Proves that an S3 store that fails, or lies about having failed, ends up with exactly one whole object."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from service.budget import Gate
from service.destination import Destination
from service.errors import StorageRefused, StorageThrottled, StorageUnavailable
from service.model import Part, Stored
from service.storage import Storage
from service.transfer import whole_checksum
from tests.contract.place_s3 import s3_place
from tests.contract.places import PART, File, Place, read
from tests.doubles.servers import SeaweedFS
from tests.doubles.store_faults import Operation
from tests.doubles.store_proxy import Fault, FaultyStore

IN_FLIGHT = 8
FILE = File()


@dataclass(frozen=True)
class Rig:
    """The product's storage behind a store that fails on request; pauses are noted, not waited for."""

    store: FaultyStore
    storage: Storage
    destination: Destination
    gate: Gate
    delays: list[float]
    place: Place

    async def move(self, file: File) -> Stored:
        """Store `file` in parts, every request as the service makes it."""
        requested = self.destination.requested
        upload = await requested(lambda: file.begin(self.storage))

        def send(number: int) -> Callable[[], Awaitable[Any]]:
            return lambda: file.send(self.storage, upload, number)

        answers = await asyncio.gather(
            *(requested(send(number)) for number in file.numbers), return_exceptions=True
        )
        if failures := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise failures[0]
        parts = cast("list[Part]", answers)
        return await requested(lambda: self.storage.complete(upload, parts, whole_checksum(parts)))

    async def put(self, file: File) -> Stored:
        """Store `file` in one request, as the service makes it."""
        return await self.destination.requested(lambda: file.put(self.storage))


@asynccontextmanager
async def rig(seaweedfs: SeaweedFS, *, checksum: str = "") -> AsyncIterator[Rig]:
    delays: list[float] = []

    async def sleep(delay_s: float) -> None:
        delays.append(delay_s)

    async with FaultyStore(seaweedfs.endpoint_url) as store:
        place = s3_place(seaweedfs, checksum=checksum)
        behind = replace(place, config={**place.config, "endpoint_url": store.endpoint_url})
        async with behind.open() as storage:
            clock = asyncio.get_running_loop().time
            gate = Gate(IN_FLIGHT, clock=clock)
            destination = Destination(
                "default", storage, gate=gate, clock=clock, sleep=sleep, jitter=lambda: 0.5
            )
            yield Rig(store, storage, destination, gate, delays, place)


async def check_whole(rig: Rig, file: File) -> None:
    """There is one object, and it is `file`, seen without the faults between."""
    async with rig.place.open() as storage:
        assert await read(storage, file.key) == file.body
        found = await storage.stat(file.key)
    assert found is not None
    assert found.artifact_id == file.artifact_id
    assert rig.place.objects() == {file.key: file.size}


@pytest.mark.parametrize(
    "fault",
    [Fault.REFUSE, Fault.FAIL_AFTER, Fault.ERROR_BODY, Fault.ERROR_BODY_AFTER, Fault.DROP, Fault.DROP_AFTER],
)
@pytest.mark.parametrize(
    ("operation", "checksum"),
    [
        ("CreateMultipartUpload", ""),
        ("UploadPart", ""),
        ("CompleteMultipartUpload", ""),
        ("CompleteMultipartUpload", "crc64nvme"),
    ],
)
async def test_a_file_in_parts_is_whole_after(
    seaweedfs: SeaweedFS, operation: Operation, fault: Fault, checksum: str
) -> None:
    async with rig(seaweedfs, checksum=checksum) as given:
        injection = given.store.inject(operation, fault, first=2, code="InternalError")

        stored = await given.move(FILE)

        assert injection.occurrences >= 1
        assert stored.size == FILE.size
        await check_whole(given, FILE)


@pytest.mark.parametrize("checksum", ["", "crc64nvme"])
@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.FAIL_AFTER, Fault.DROP, Fault.DROP_AFTER])
async def test_an_object_is_whole_after(seaweedfs: SeaweedFS, fault: Fault, checksum: str) -> None:
    async with rig(seaweedfs, checksum=checksum) as given:
        injection = given.store.inject("PutObject", fault, first=2)

        stored = await given.put(FILE)

        assert injection.occurrences == 2
        assert stored.size == FILE.size
        await check_whole(given, FILE)


@pytest.mark.parametrize("fault", [Fault.FAIL_AFTER, Fault.ERROR_BODY_AFTER, Fault.DROP_AFTER])
async def test_a_file_is_whole_if_even_looking_at_it_fails_at_first(
    seaweedfs: SeaweedFS, fault: Fault
) -> None:
    async with rig(seaweedfs) as given:
        given.store.inject("CompleteMultipartUpload", fault, first=1)
        # It is looked at once before, whether the name is free, and once after, whether it is there.
        look = given.store.inject("HeadObject", Fault.REFUSE, skip=1, first=2)

        await given.move(FILE)

        assert look.occurrences == 2
        await check_whole(given, FILE)


async def test_a_burst_of_refusals_narrows_the_gate_once_and_passes(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        given.store.inject("UploadPart", Fault.REFUSE, first=IN_FLIGHT)
        file = File((IN_FLIGHT - 1) * PART + 1)

        await given.move(file)

        assert IN_FLIGHT // 2 <= given.gate.limit < IN_FLIGHT
        assert len(given.delays) == IN_FLIGHT
        await check_whole(given, file)


async def test_one_request_at_a_time_is_left_of_lasting_refusals(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        given.store.inject("UploadPart", Fault.REFUSE)

        with pytest.raises(StorageThrottled):
            await given.move(FILE)

        assert given.gate.limit == 1
        assert given.place.objects() == {}


async def test_the_store_is_left_alone_for_as_long_as_it_asks(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        given.store.inject("PutObject", Fault.REFUSE, first=1, retry_after="17")
        given.store.inject("PutObject", Fault.REFUSE, first=1, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")

        await given.put(FILE)

        assert given.delays[0] == 17
        assert 0 < given.delays[1] < 1
        await check_whole(given, FILE)


async def test_pauses_grow_and_end_with_the_failure(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        refusal = given.store.inject("PutObject", Fault.REFUSE, status=500, code="InternalError")

        with pytest.raises(StorageUnavailable):
            await given.put(FILE)

        assert given.delays == sorted(given.delays)
        assert len(given.delays) == refusal.occurrences - 1
        assert given.gate.limit == IN_FLIGHT


async def test_a_refusal_that_only_a_person_can_mend_is_not_asked_again(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        refusal = given.store.inject("PutObject", Fault.REFUSE, status=403, code="AccessDenied")

        with pytest.raises(StorageRefused) as refused:
            await given.put(FILE)

        assert refused.value.mend
        assert refusal.occurrences == 1
        assert given.delays == []


async def test_a_part_cancelled_while_the_store_is_silent_may_be_sent_again(seaweedfs: SeaweedFS) -> None:
    async with rig(seaweedfs) as given:
        upload = await FILE.begin(given.storage)
        silence = given.store.inject("UploadPart", Fault.STALL, first=1)
        sending = asyncio.create_task(FILE.send(given.storage, upload, 1))
        while not silence.occurrences or given.store.traffic["UploadPart"].received < PART // 2:  # noqa: ASYNC110 - the double tells no event
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])

        parts = await FILE.send_all(given.storage, upload)
        await given.storage.complete(upload, parts, whole_checksum(parts))

        await check_whole(given, FILE)
        assert given.place.sessions() == 0
