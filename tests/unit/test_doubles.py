"""The doubles do as they say: whoever blames the product for a failing test must be able to rely on them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import anyio
import psycopg
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, HTTPClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.doubles.content import BLOCK, Content
from tests.doubles.sender import Family, KeyServer, Sender
from tests.doubles.servers import Moto, Postgres, SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.store_proxy import Fault, FaultyStore

MIB = 1 << 20


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
async def store(seaweedfs: SeaweedFS) -> AsyncIterator[FaultyStore]:
    async with FaultyStore(seaweedfs.endpoint_url) as store:
        yield store


@pytest.fixture
async def s3(store: FaultyStore, seaweedfs: SeaweedFS) -> AsyncIterator[Any]:
    config = AioConfig(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=20)
    async with get_session().create_client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
        region_name=seaweedfs.region,
        config=config,
    ) as client:
        yield client


# Content


def test_every_mebibyte_of_a_recording_is_unlike_every_other() -> None:
    content = Content(seed=1, size=64 * MIB)
    assert len({bytes(chunk) for chunk in content.chunks()}) == 64


@pytest.mark.parametrize("start", [0, 1, BLOCK - 1, BLOCK, BLOCK + 7, 3 * BLOCK - 2])
def test_a_slice_of_a_recording_is_the_same_however_it_is_asked_for(start: int) -> None:
    content = Content(seed=2, size=3 * BLOCK + 11)
    assert content.read(start, start + BLOCK + 5) == content.read()[start : start + BLOCK + 5]


def test_a_recording_of_a_terabyte_costs_nothing_to_look_into() -> None:
    assert len(Content(seed=0, size=1 << 40).read((1 << 40) - 10)) == 10


def test_checksums_are_those_that_the_definitions_give() -> None:
    content = Content(seed=3, size=100_000)
    assert content.crc32c() == _crc(content.read(), 0x82F63B78, 32)
    assert content.crc64nvme() == _crc(content.read(), 0x9A6C9329AC4BC9B5, 64)


def _crc(body: bytes, polynomial: int, width: int) -> int:
    """Bit by bit, from the definition: reflected, all ones in and out."""
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        table.append(value)
    ones = value = (1 << width) - 1
    for byte in body:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ ones


# Source


async def test_an_honest_source_gives_the_range_asked_for(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    url = source.add("a b.mp4", 3 * MIB, seed=5)
    async with http.get(f"{url}?X-Amz-Signature=x", headers={"Range": "bytes=1048570-2097160"}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == "bytes 1048570-2097160/3145728"
        assert answer.headers["ETag"] == source["a b.mp4"].content.etag()
        assert await answer.read() == Content(5, 3 * MIB).read(1048570, 2097161)
    (request,) = source["a b.mp4"].requests
    assert (request.method, request.range, request.sent) == ("GET", "bytes=1048570-2097160", 1048591)


@pytest.mark.parametrize(
    ("asked", "status", "stated"),
    [
        ("bytes=0-0", 206, "bytes 0-0/1000"),
        ("bytes=990-", 206, "bytes 990-999/1000"),
        ("bytes=990-5000", 206, "bytes 990-999/1000"),
        ("bytes=-10", 206, "bytes 990-999/1000"),
        ("bytes=1000-", 416, "bytes */1000"),
    ],
)
async def test_edges_of_ranges_are_answered_as_the_standard_says(
    source: FaultySource, http: aiohttp.ClientSession, asked: str, status: int, stated: str
) -> None:
    async with http.get(source.add("r", 1000), headers={"Range": asked}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (status, stated)


async def test_an_empty_file_has_no_range(source: FaultySource, http: aiohttp.ClientSession) -> None:
    url = source.add("empty", 0)
    async with http.get(url, headers={"Range": "bytes=0-"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */0")
    async with http.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_a_replaced_file_is_refused_to_whoever_asks_for_the_old_one(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    url = source.add("r", 1000, seed=1, changes_after=500)
    statuses = []
    for start in (0, 500):
        fields = {"Range": f"bytes={start}-{start + 499}", "If-Match": Content(1, 1000).etag()}
        async with http.get(url, headers=fields) as answer:
            statuses.append(answer.status)
    assert statuses == [206, 412]
    assert source["r"].content == Content(2, 1000)


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_body_without_a_length_arrives_whole(
    source: FaultySource, http: aiohttp.ClientSession, framing: Any
) -> None:
    async with http.get(source.add("r", MIB + 5, framing=framing)) as answer:
        assert answer.content_length is None
        assert await answer.read() == Content(0, MIB + 5).read()


@pytest.mark.parametrize("by_reset", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_cut_body_ends_early_for_as_often_as_asked(
    source: FaultySource, http: aiohttp.ClientSession, framing: Any, *, by_reset: bool
) -> None:
    url = source.add("r", MIB, framing=framing, cut_after=1000, cut_first=1, cut_by_reset=by_reset)
    with pytest.raises(aiohttp.ClientError):
        async with http.get(url) as answer:
            await answer.read()
    async with http.get(url) as answer:
        assert len(await answer.read()) == MIB
    assert [request.sent for request in source["r"].requests] == [1000, MIB]
    assert source["r"].occurrences["cut_after"] == 1


async def test_a_cut_by_the_end_of_the_connection_delivers_all_before_it(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    async with http.get(source.add("r", MIB, cut_after=300_000)) as answer:
        assert await answer.content.readexactly(300_000) == Content(0, MIB).read(0, 300_000)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_a_stalled_body_stays_open_and_silent(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    async with http.get(source.add("r", MIB, stall_after=10)) as answer:
        assert await answer.content.readexactly(10) == Content(0, MIB).read(0, 10)
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await answer.content.read(1)
    assert source["r"].occurrences["stall_after"] == 1


@pytest.mark.parametrize(
    ("how", "error"), [("close", aiohttp.ServerDisconnectedError), ("stall", TimeoutError)]
)
async def test_a_request_without_an_answer_gets_none(
    source: FaultySource, http: aiohttp.ClientSession, how: Any, error: type[Exception]
) -> None:
    url = source.add("r", MIB, no_answer=how)
    with pytest.raises(error), anyio.fail_after(0.2):
        await http.post(url)  # a GET on a new connection would be tried again by aiohttp itself
    source["r"].recover()
    async with http.get(url) as answer:
        assert answer.status == 200


async def test_refusals_come_first_or_later_and_end(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    url = source.add("r", 10, status=503, status_first=2, retry_after="7")
    seen = []
    for _ in range(3):
        async with http.get(url) as answer:
            seen.append((answer.status, answer.headers.get("Retry-After")))
    assert seen == [(503, "7"), (503, "7"), (200, None)]
    source["r"].fail(status=403, status_after=1)
    assert [await _status(http, url) for _ in range(3)] == [200, 403, 403]
    source["r"].recover()
    assert await _status(http, url) == 200


async def test_an_error_page_can_come_with_status_200(
    source: FaultySource, http: aiohttp.ClientSession
) -> None:
    async with http.get(source.add("r", 10, status=200, body=b"<html>gone</html>")) as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (
            200,
            "text/html",
            "<html>gone</html>",
        )


async def test_a_redirect_leads_to_the_other_link(source: FaultySource, http: aiohttp.ClientSession) -> None:
    url = source.add("old", 10, redirect=source.add("new", 10, seed=8))
    async with http.get(url) as answer:
        assert (answer.url.path, await answer.read()) == ("/new", Content(8, 10).read())


@pytest.mark.parametrize(
    ("faults", "status", "stated", "length"),
    [
        ({"ranges": False}, 200, None, 1000),
        ({"total": 999}, 206, "bytes 100-199/999", 100),
        ({"total": "*"}, 206, "bytes 100-199/*", 100),
        ({"shift": 10}, 206, "bytes 110-209/1000", 100),
        ({"surplus": 5}, 206, "bytes 100-199/1000", 105),
        ({"surplus": -5}, 206, "bytes 100-199/1000", 95),
    ],
)
async def test_a_lying_source_lies_as_told(
    source: FaultySource,
    http: aiohttp.ClientSession,
    faults: Any,
    status: int,
    stated: str | None,
    length: int,
) -> None:
    async with http.get(source.add("r", 1000, **faults), headers={"Range": "bytes=100-199"}) as answer:
        assert (answer.status, answer.headers.get("Content-Range")) == (status, stated)
        assert len(await answer.read()) == length
    assert [source["r"].occurrences[fault] for fault in faults] == [1]


async def test_a_rate_is_kept_on_each_connection(source: FaultySource, http: aiohttp.ClientSession) -> None:
    url = source.add("r", 10_000, rate=20_000)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(_status(http, url) for _ in range(8)))
    assert 0.4 < asyncio.get_running_loop().time() - began < 3.5  # all through one would take 4
    assert (source["r"].peak, source["r"].sent) == (8, 80_000)


async def _status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        await answer.read()
        return answer.status


def test_a_threaded_source_serves_a_synchronous_client_and_obeys_it() -> None:
    with threaded(FaultySource()) as source:
        with urlopen(source.add("r", 3 * MIB, seed=4)) as answer:
            assert answer.read() == Content(4, 3 * MIB).read()
        source["r"].fail(status=410)
        connection = HTTPConnection("127.0.0.1", source.port)
        connection.request("HEAD", "/r")
        assert connection.getresponse().status == 410
        connection.close()


# Store


async def test_a_multipart_upload_passes_through_the_store_unchanged(
    s3: Any, store: FaultyStore, seaweedfs: SeaweedFS
) -> None:
    bucket, content = seaweedfs.bucket(), Content(7, 11 * MIB)
    assert await _upload(s3, bucket, content) == 200
    assert seaweedfs.read(bucket, "k") == content.read()
    assert store.traffic["UploadPart"].requests == 3
    assert store.traffic["UploadPart"].peak == 3
    assert store.traffic["UploadPart"].received >= content.size
    assert store.traffic["CompleteMultipartUpload"].statuses == [200]


async def _upload(s3: Any, bucket: str, content: Content, part_size: int = 5 * MIB) -> int:
    upload = (await s3.create_multipart_upload(Bucket=bucket, Key="k"))["UploadId"]

    async def put(number: int) -> dict[str, Any]:
        body = content.read((number - 1) * part_size, number * part_size)
        answer = await s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    parts = await asyncio.gather(*(put(number + 1) for number in range(-(-content.size // part_size))))
    answer = await s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


async def test_slow_down_comes_in_a_burst_with_retry_after(
    s3: Any, store: FaultyStore, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    slow = store.inject("PutObject", Fault.REFUSE, first=2, retry_after="1")
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown") as caught:
            await s3.put_object(Bucket=bucket, Key="k", Body=b"x" * MIB)
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert seaweedfs.objects(bucket) == {}
    await s3.put_object(Bucket=bucket, Key="k", Body=b"x" * MIB)
    assert seaweedfs.objects(bucket) == {"k": MIB}
    assert slow.occurrences == 2


async def test_every_third_request_is_refused(s3: Any, store: FaultyStore, seaweedfs: SeaweedFS) -> None:
    store.inject("HeadObject", Fault.REFUSE, every=3, skip=1, status=404)
    bucket = seaweedfs.bucket()
    await s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for _ in range(7):
        with suppress(ClientError):
            await s3.head_object(Bucket=bucket, Key="k")
    assert store.traffic["HeadObject"].statuses == [200, 200, 200, 404, 200, 200, 404]


@pytest.mark.parametrize(
    ("fault", "error", "done"),
    [
        (Fault.FAIL_AFTER, ClientError, True),
        (Fault.ERROR_BODY, ClientError, False),
        (Fault.ERROR_BODY_AFTER, ClientError, True),
        (Fault.DROP, HTTPClientError, False),
        (Fault.DROP_AFTER, HTTPClientError, True),
    ],
)
async def test_a_complete_that_seems_to_fail_has_or_has_not_been_done(
    s3: Any, store: FaultyStore, seaweedfs: SeaweedFS, fault: Fault, error: type[Exception], *, done: bool
) -> None:
    bucket = seaweedfs.bucket()
    store.inject("CompleteMultipartUpload", fault)
    with pytest.raises(error):
        await _upload(s3, bucket, Content(0, 6 * MIB))
    assert (seaweedfs.objects(bucket) == {"k": 6 * MIB}) is done


@pytest.mark.parametrize(("fault", "done"), [(Fault.STALL, False), (Fault.STALL_AFTER, True)])
async def test_a_stalled_part_is_never_answered(
    s3: Any, store: FaultyStore, seaweedfs: SeaweedFS, fault: Fault, *, done: bool
) -> None:
    bucket = seaweedfs.bucket()
    store.inject("UploadPart", fault)
    upload = (await s3.create_multipart_upload(Bucket=bucket, Key="k"))["UploadId"]
    with pytest.raises(TimeoutError), anyio.fail_after(0.3):
        await s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    listed = await s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert [part["Size"] for part in listed.get("Parts", [])] == ([1000] if done else [])


async def test_the_stores_own_refusal_goes_before_an_injected_one(
    s3: Any, store: FaultyStore, seaweedfs: SeaweedFS
) -> None:
    injection = store.inject("PutObject", Fault.FAIL_AFTER)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"x")
    assert injection.occurrences == 0


# Servers


def test_a_request_with_a_wrong_secret_is_refused_by_seaweedfs(seaweedfs: SeaweedFS) -> None:
    stranger = SeaweedFS()
    stranger.endpoint_url, stranger.secret_key = seaweedfs.endpoint_url, "wrong"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.bucket()


@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
def test_an_s3_server_shows_objects_and_open_uploads(server: str, request: pytest.FixtureRequest) -> None:
    endpoint: SeaweedFS | Moto = request.getfixturevalue(server)
    bucket = endpoint.bucket()
    client = endpoint.client()
    client.put_object(Bucket=bucket, Key="a/b", Body=b"12345")
    upload = client.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    assert (endpoint.objects(bucket), endpoint.open_uploads(bucket)) == ({"a/b": 5}, [upload])


def test_a_database_is_empty_and_can_be_cut_off(postgres: Postgres, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone() == (0,)
        postgres.cut_off(postgres_url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_url)
    postgres.let_in(postgres_url)
    psycopg.connect(postgres_url).close()


# Sender


def test_a_signature_fits_its_body_and_no_other(sender: Sender) -> None:
    key = load_pem_public_key(sender.public_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    signature = base64.b64decode(sender.headers(b"body", "rtk")["rtk-signature"])
    key.verify(signature, b"body", padding.PKCS1v15(), SHA256())
    with pytest.raises(InvalidSignature):
        key.verify(signature, b"other", padding.PKCS1v15(), SHA256())


@pytest.mark.parametrize("family", ["dyte", "rtk"])
@pytest.mark.parametrize(
    ("sample", "make"),
    [
        (
            "recording_statusUpdate.UPLOADED",
            lambda s, f: s.uploaded("r", "u", family=f, audioDownloadUrl="u"),
        ),
        ("meeting_transcript", lambda s, f: s.finished("transcript", "u", family=f)),
        ("meeting_summary", lambda s, f: s.finished("summary", "u", family=f)),
        ("meeting_chatSynced", lambda s, f: s.chat_synced("u", family=f)),
    ],
)
def test_a_body_has_the_documented_fields_with_values_of_the_documented_kind(
    shared: Path, sender: Sender, family: Family, sample: str, make: Callable[[Sender, Family], bytes]
) -> None:
    documented = json.loads((shared / "dyte" / "payloads" / f"{family}.{sample}.json").read_bytes())
    _assert_same_kind(json.loads(make(sender, family)), documented, where=sample)


def _assert_same_kind(made: Any, documented: Any, *, where: str) -> None:
    """Optional fields may be missing from `made`, but what it has is documented and of the same JSON type."""
    assert type(made) is type(documented), where
    if isinstance(made, dict):
        assert made.keys() <= documented.keys(), where
        for field in made:
            _assert_same_kind(made[field], documented[field], where=f"{where}.{field}")
    if isinstance(made, str) and documented.endswith("Z"):
        assert len(made) == len(documented), where


async def test_a_key_server_breaks_and_rotates_as_told(http: aiohttp.ClientSession, sender: Sender) -> None:
    async with KeyServer(sender.public_pem) as keys:
        async with http.get(keys.url) as answer:
            assert (await answer.json())["data"] == {"publicKey": sender.public_pem}
        keys.public_pem = "rotated"
        async with http.get(keys.url) as answer:
            assert (await answer.json())["data"] == {"publicKey": "rotated"}
        keys.fault = "error"
        assert await _status(http, keys.url) == 500
        keys.fault = "garbage"
        async with http.get(keys.url) as answer:
            assert (answer.status, (await answer.text())[:6]) == (200, "<html>")
        keys.fault = "stall"
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await http.get(keys.url)
        assert keys.requests == 5
