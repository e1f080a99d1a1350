"""Proves what is made of an Azure that refuses, is silent, damages, loses or forgets."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, get_args
from urllib.parse import parse_qs

import pytest

from service.errors import (
    NameTaken,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
)
from service.model import Checksum, Upload
from service.storage import Storage, parse_storage_config
from service.storage.azure_blob import checked
from service.storage.config import AzureConfig
from service.transfer import checksum_of, whole_checksum
from tests.contract.place_azure import azurite_place, given
from tests.contract.places import PART, File, Place, abort_all, read
from tests.doubles.azure_proxy import Answer, AzureProxy, Fault, Operation
from tests.doubles.azurite import Azurite
from tests.doubles.ports import free_ports

FILE = File()
UPLOAD = Upload("0123456789abcdef", FILE.key, PART, FILE.size, FILE.attributes)

ASKING: Mapping[str, Callable[[Storage], Awaitable[Any]]] = {
    "begin": FILE.begin,
    "put_part": lambda storage: FILE.send(storage, UPLOAD, 2),
    "put": File(10).put,
    "confirm": lambda storage: storage.confirm(UPLOAD, []),
    "complete": lambda storage: storage.complete(UPLOAD, [], Checksum(0, 0)),
    "abort": lambda storage: storage.abort(UPLOAD),
    "uploads": lambda storage: storage.uploads(FILE.key),
    "stat": lambda storage: storage.stat(FILE.key),
    "read": lambda storage: read(storage, FILE.key),
    "remove": lambda storage: storage.remove(FILE.key),
}


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


@pytest.fixture
def own_azurite() -> Iterator[Azurite]:
    """One that this test may end."""
    with Azurite() as server:
        yield server


@pytest.mark.parametrize("operation", ASKING)
async def test_a_wrong_account_key_is_refused_with_what_to_mend(
    azurite: Azurite, place: Place, operation: str
) -> None:
    wrong = base64.b64encode(b"another key").decode()

    async with given(place, access_key=azurite.connection_string(key=wrong)).open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)

    assert "access_key" in refused.value.mend
    assert wrong not in str(refused.value) + refused.value.mend


@pytest.mark.parametrize("operation", ASKING)
async def test_a_missing_container_is_refused_with_what_to_mend(place: Place, operation: str) -> None:
    async with given(place, bucket="not-there").open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)

    assert "container" in refused.value.mend


@pytest.mark.parametrize("operation", ASKING)
async def test_a_place_that_does_not_answer_is_unavailable(
    azurite: Azurite, place: Place, operation: str
) -> None:
    (port,) = free_ports(1)
    nobody = azurite.connection_string(endpoint=f"http://127.0.0.1:{port}/{azurite.account}")

    async with given(place, access_key=nobody).open() as storage:
        with pytest.raises(StorageUnavailable):
            await ASKING[operation](storage)


@pytest.mark.parametrize("status", [200, 307, 404])
@pytest.mark.parametrize("operation", ASKING)
async def test_an_answer_that_is_not_azures_is_refused_with_what_to_mend(
    behind: Place, proxy: AzureProxy, operation: str, status: int
) -> None:
    for asked in get_args(Operation):
        proxy.inject(asked, Answer(status))

    async with behind.open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await ASKING[operation](storage)

    assert "endpoint_url" in refused.value.mend


@pytest.mark.parametrize(
    ("permissions", "hours", "says"),
    [("rw", -1.0, "SharedAccessSignature"), ("r", 1.0, "permissions r and w")],
)
async def test_a_signature_that_is_over_or_lacks_a_permission_is_refused(
    azurite: Azurite, place: Place, permissions: str, hours: float, says: str
) -> None:
    sas = azurite.sas(str(place.config["bucket"]), permissions, hours=hours)

    async with signed(azurite, place, sas).open() as storage:
        with pytest.raises(StorageRefused) as refused:
            await FILE.begin(storage)

    assert says in refused.value.mend
    assert parse_qs(sas)["sig"][0] not in str(refused.value) + refused.value.mend


async def test_the_permissions_r_and_w_are_enough(azurite: Azurite, place: Place) -> None:
    async with signed(azurite, place, azurite.sas(str(place.config["bucket"]), "rw")).open() as storage:
        gone = await FILE.begin(storage)
        await storage.abort(gone)
        assert await abort_all(storage, FILE.key) == 0
        await FILE.store(storage)
        await File(10, key="call.mp4.json").put(storage, replace=True)

        assert await read(storage, FILE.key) == FILE.body
        with pytest.raises(StorageRefused):
            await storage.remove(FILE.key)


def signed(azurite: Azurite, place: Place, sas: str) -> Place:
    """The place by a SAS, as the portal gives it."""
    return given(
        place, access_key=f"BlobEndpoint={azurite.endpoint}/;SharedAccessSignature={sas}", checksum="crc64"
    )


@pytest.mark.parametrize(
    ("answer", "family", "retry_after_s"),
    [
        (Answer(503, "ServerBusy", retry_after="7"), StorageThrottled, 7.0),
        (Answer(500, "OperationTimedOut"), StorageThrottled, None),
        (Answer(429), StorageThrottled, None),
        (Answer(500, "InternalError"), StorageUnavailable, None),
        (Answer(502), StorageUnavailable, None),
        (Answer(403, "AccountIsDisabled"), StorageRefused, None),
        (Answer(413, "RequestBodyTooLarge"), StorageRefused, None),
        (Answer(400, "UnsupportedHeader"), StorageRefused, None),
        (Answer(409, "InvalidBlobType"), NameTaken, None),
        (Answer(412, "LeaseIdMissing"), NameTaken, None),
    ],
    ids=lambda value: f"{value.status} {value.code}" if isinstance(value, Answer) else "",
)
async def test_what_azure_answers_says_whether_to_try_again(
    behind: Place, proxy: AzureProxy, answer: Answer, family: type[StorageError], retry_after_s: float | None
) -> None:
    proxy.inject("Put Block", answer)
    async with behind.open() as storage:
        upload = await FILE.begin(storage)

        with pytest.raises(StorageError) as failed:
            await FILE.send(storage, upload, 1)

        assert type(failed.value) is family
        assert failed.value.retry_after_s == retry_after_s
        assert bool(failed.value.mend) == (family is StorageRefused)
        assert len(proxy.heads["Put Block"]) == 1, "the SDK tried again by itself"


async def test_a_place_that_falls_silent_is_given_up(
    behind: Place, proxy: AzureProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.inject("Put Block", Fault.STALL)
    async with behind.open() as storage:
        upload = await FILE.begin(storage)
        monkeypatch.setattr("service.storage.azure._PATIENCE_S", 0.2)
        monkeypatch.setattr("service.storage.azure._SLOWEST", 1024 * PART)

        with pytest.raises(StorageUnavailable):
            await FILE.send(storage, upload, 1)


async def test_the_crc_64_is_told_as_microsofts_own_library_computes_it() -> None:
    """The value is what `azure-storage-extensions` 0.1.0 and the SDK make of these bytes."""
    config = parse_storage_config(
        {"type": "azure", "bucket": "recordings", "account_name": "archive1", "checksum": "crc64"}
    )
    assert isinstance(config, AzureConfig)
    body = memoryview(b"123456789")

    assert await checked(config, body, checksum_of(body)) == {"x-ms-content-crc64": "iJh5CoYUi64="}


@pytest.mark.parametrize("checksum", ["crc64", "md5"])
async def test_bytes_damaged_on_the_way_are_refused_and_the_right_ones_taken(
    azurite: Azurite, proxy: AzureProxy, checksum: str
) -> None:
    proxy.inject("Put Block", Fault.DAMAGE)
    proxy.inject("Put Blob", Fault.DAMAGE)
    small = File(1000, key="small.mp4")
    async with azurite_place(azurite, checksum=checksum, endpoint=proxy.endpoint).open() as storage:
        upload = await FILE.begin(storage)
        with pytest.raises(StorageUnavailable):
            await FILE.send(storage, upload, 1)
        with pytest.raises(StorageUnavailable):
            await small.put(storage)
        assert await storage.stat(small.key) is None

        parts = await FILE.send_all(storage, upload)
        await storage.complete(upload, parts, whole_checksum(parts))
        await small.put(storage)

        assert await read(storage, FILE.key) == FILE.body
        assert await read(storage, small.key) == small.body


async def test_bytes_are_checked_by_what_the_config_says_alone(azurite: Azurite, proxy: AzureProxy) -> None:
    headers = {"crc64": {"x-ms-content-crc64"}, "md5": {"content-md5"}, "none": set[str]()}
    for checksum, sent in headers.items():
        proxy.heads.clear()
        async with azurite_place(azurite, checksum=checksum, endpoint=proxy.endpoint).open() as storage:
            await FILE.store(storage)
            await File(10, key="small").put(storage)
            assert await read(storage, FILE.key) == FILE.body
        for head in (*proxy.heads["Put Block"], *proxy.heads["Put Blob"]):
            assert {"x-ms-content-crc64", "content-md5"} & set(head.fields) == sent, checksum


@pytest.mark.parametrize("operation", ["Put Block List", "Put Blob"])
@pytest.mark.parametrize("fault", [Fault.LOSE, Answer(500, "InternalError")], ids=["done", "not done"])
async def test_a_lost_answer_is_settled_by_looking(
    behind: Place, proxy: AzureProxy, operation: Operation, fault: Fault | Answer
) -> None:
    proxy.inject(operation, fault)
    async with behind.open() as storage:
        upload = await FILE.begin(storage)
        parts = await FILE.send_all(storage, upload)

        async def store() -> Any:
            if operation == "Put Blob":
                return await FILE.put(storage)
            return await storage.complete(upload, parts, whole_checksum(parts))

        with suppress(StorageUnavailable):  # aiohttp itself tries again where a used connection ends
            await store()
        assert (await store()).size == FILE.size

        assert await read(storage, FILE.key) == FILE.body
    assert behind.objects() == {FILE.key: FILE.size}
    assert behind.sessions() == 0


async def test_an_upload_goes_on_after_the_server_was_restarted(own_azurite: Azurite) -> None:
    place = azurite_place(own_azurite)
    async with place.open() as storage:
        upload = await FILE.begin(storage)
        first = await FILE.send(storage, upload, 1)
        own_azurite.stop()
        with pytest.raises(StorageUnavailable):
            await FILE.send(storage, upload, 2)

        own_azurite.start()

        assert await storage.confirm(upload, [first]) == {1}
        parts = [first, await FILE.send(storage, upload, 2)]
        await storage.complete(upload, parts, whole_checksum(parts))
        assert await read(storage, FILE.key) == FILE.body
