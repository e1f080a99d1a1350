"""Sources that lie, say too little or answer something else: never a wrong byte, never a page for a file."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from service.errors import SourceError, SourceUnavailable
from service.source import Identity
from tests.doubles.source import FaultySource
from tests.doubles.source_faults import Framing
from tests.doubles.wire import Head
from tests.unit.reading import Reader, Script, answer, reading

MIB = 1 << 20
SIZE = MIB + 12_345
PAGE = b"<!DOCTYPE html><title>Maintenance</title>"


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    async with reading() as reader:
        yield reader


# ---- no ranges


@pytest.mark.parametrize(
    ("framing", "size", "certain"), [("length", SIZE, True), ("chunked", None, True), ("close", None, False)]
)
async def test_a_source_that_ignores_ranges_is_read_as_one_stream(
    files: FaultySource, reader: Reader, framing: Framing, size: int | None, *, certain: bool
) -> None:
    link = files.add("rec.mp4", SIZE, ranges=False, framing=framing)
    opened = await reader.source.open(link, start=0, length=100)
    assert (opened.ranged, opened.identity.size) == (False, size)
    opened.close()
    assert await reader.streamed(link) == (files["rec.mp4"].content.read(), certain)


async def test_a_source_that_does_not_say_how_much_there_is_is_read_as_one_stream(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, total="*")
    assert await reader.streamed(link) == (files["rec.mp4"].content.read(), True)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_stream_that_is_cut_is_not_taken_for_the_whole(
    files: FaultySource, reader: Reader, framing: Framing
) -> None:
    link = files.add("rec.mp4", SIZE, ranges=False, framing=framing, cut_after=MIB)
    with pytest.raises(SourceUnavailable):
        await reader.streamed(link)


async def test_a_cut_that_looks_like_an_end_is_never_called_certain(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, ranges=False, framing="close", cut_after=MIB)
    got, certain = await reader.streamed(link)
    assert (len(got), certain) == (MIB, False)


async def test_a_stream_that_falls_silent_is_unavailable(files: FaultySource) -> None:
    link = files.add("rec.mp4", SIZE, ranges=False, stall_after=1000)
    async with reading(stall_s=0.1) as reader:
        with pytest.raises(SourceUnavailable):
            await reader.streamed(link)


async def test_a_stream_is_read_once_only(files: FaultySource, reader: Reader) -> None:
    opened = await reader.source.open(files.add("rec.mp4", 10, ranges=False), start=0, length=10)
    assert [bytes(piece) async for piece in opened.stream(4)] == [
        files["rec.mp4"].content.read()[start : start + 4] for start in (0, 4, 8)
    ]
    with pytest.raises(SourceUnavailable):
        await anext(opened.stream(4))


async def test_a_source_that_forgets_its_ranges_midway_is_unavailable(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, cut_after=MIB // 2, cut_first=1)
    opened = await reader.source.open(link, start=0, length=SIZE)
    files["rec.mp4"].fail(ranges=False)
    with pytest.raises(SourceUnavailable):
        await opened.read_into(0, memoryview(bytearray(SIZE)))
    opened.close()


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_empty_file_is_empty(files: FaultySource, reader: Reader, *, chunked: bool) -> None:
    link = files.add("rec.mp4", 0)
    opened = await reader.source.open(link, start=0, length=100)
    assert (opened.identity.size, opened.ranged) == (0, False)
    await opened.read_into(0, memoryview(b""))
    opened.close()
    files["rec.mp4"].fail(ranges=False, framing="chunked" if chunked else "length")
    assert await reader.streamed(link) == (b"", True)


# ---- lies


@pytest.mark.parametrize("shift", [1, 1000, -1])
async def test_another_range_than_asked_for_is_never_used(
    files: FaultySource, reader: Reader, shift: int
) -> None:
    link = files.add("rec.mp4", SIZE, shift=shift)
    opened = await reader.source.open(link, start=MIB, length=100)
    with pytest.raises(SourceUnavailable):
        await opened.read_into(MIB, memoryview(bytearray(100)))
    opened.close()


async def test_more_bytes_than_asked_for_are_never_used(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", SIZE, surplus=5)
    with pytest.raises(SourceUnavailable):
        await reader.ranged(link, 0, 1000)
    files["rec.mp4"].recover()
    assert (await reader.ranged(link, 0, 1000))[0] == files["rec.mp4"].content.read(0, 1000)


async def test_fewer_bytes_than_said_are_made_up_for(files: FaultySource, reader: Reader) -> None:
    opened = await reader.source.open(files.add("rec.mp4", SIZE, surplus=-7), start=0, length=SIZE)
    files["rec.mp4"].recover()
    view = memoryview(bytearray(SIZE))
    await opened.read_into(0, view)
    opened.close()
    assert view == files["rec.mp4"].content.read()
    assert files["rec.mp4"].sent == SIZE


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes", "bytes 0-9", "bytes 0-9/", "bytes */10", "bytes 0-9/*", "octets 0-9/10", "bytes -5-9/10",
     "bytes 0-9/10/11", "bytes \u00b2-9/10", "bytes 0-99/100"],
)  # fmt: skip
async def test_a_range_that_is_not_said_rightly_is_asked_for_in_another_way(
    reader: Reader, content_range: str
) -> None:
    body = b"0123456789"

    def write(head: Head) -> bytes:
        if not head["range"]:
            return answer("200 OK", body)
        return answer("206 Partial Content", body, content_range=content_range)

    async with Script(write) as script:
        if content_range in ("bytes 0-99/100", "bytes */10"):  # well said, and not what was asked for
            with pytest.raises(SourceUnavailable):
                await reader.ranged(script.base_url, 0, 10)
        else:
            assert await reader.streamed(script.base_url) == (body, True)


@pytest.mark.parametrize(
    "raw",
    [
        answer("206 Partial Content", b"abc", content_range="bytes 0-2/*"),
        answer("416 Range Not Satisfiable", b"<Error/>"),
        answer("416 Range Not Satisfiable", b"<Error/>", content_range="bytes */7"),
        answer("204 No Content"),
        answer("300 Multiple Choices", b"x"),
        answer("304 Not Modified"),
        answer("302 Found"),
        answer("302 Found", Location="http://[::1"),
        answer("302 Found", Location=""),
        answer("999 Odd", b"x"),
        b"",
        b"\x00\x01\x02\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_an_answer_that_gives_no_file_is_no_file(reader: Reader, raw: bytes) -> None:
    async with Script(lambda _: raw) as script:
        with pytest.raises(SourceUnavailable):
            await reader.streamed(script.base_url)


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/xml", "Text/XML"])
async def test_a_page_is_never_taken_for_a_file(reader: Reader, kind: str) -> None:
    async with Script(lambda _: answer("200 OK", PAGE, content_type=kind)) as script:
        with pytest.raises(SourceUnavailable, match="page"):
            await reader.streamed(script.base_url)


async def test_an_error_page_sent_as_200_is_waited_out(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", SIZE, status=200, body=PAGE, status_first=2)
    assert (await reader.ranged(link, 0, SIZE))[0] == files["rec.mp4"].content.read()


async def test_a_file_that_is_stored_compressed_is_archived_as_it_is_stored(reader: Reader) -> None:
    stored = gzip.compress(b"the chat of a meeting")
    async with Script(lambda _: answer("200 OK", stored, content_encoding="gzip")) as script:
        assert await reader.streamed(script.base_url) == (stored, True)
        assert script.heads[0]["accept-encoding"] == "identity"


async def test_a_weak_etag_is_compared_and_not_asked_for(reader: Reader) -> None:
    content, etags = b"0123456789", iter(['W/"a"', 'W/"a"', 'W/"b"'])

    def write(head: Head) -> bytes:
        first, last = (int(number) for number in head["range"].removeprefix("bytes=").split("-"))
        return answer(
            "206 Partial Content",
            content[first : last + 1],
            content_range=f"bytes {first}-{last}/10",
            etag=next(etags),
        )

    async with Script(write) as script:
        begun = (await reader.ranged(script.base_url, 0, 5))[1]
        assert begun == Identity(10, 'W/"a"')
        assert (await reader.ranged(script.base_url, 5, 5, begun))[0] == content[5:]
        with pytest.raises(SourceError, match="ETag"):
            await reader.ranged(script.base_url, 5, 5, begun)
        assert [head["if-match"] for head in script.heads] == ["", "", ""]


# ---- links and redirects


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/rec%20final.mp4?X-Amz-Signature=a%2Bb%3D%3D&X-Amz-Credential=AK%2F20260603&sp=r%26w&empty=",
        "/rec.mp4?se=2026-06-10T10%3A30%3A00Z&sig=Zm9v%2bYmFy%3d&a=%7E~!*'()&plus=a+b",
        "/rec.mp4?response-content-disposition=attachment%3B%20filename%3D%22%C3%A9.mp4%22&list=1,2;3",
        "/%E4%BC%9A%E8%AD%B0.mp4",
    ],
)
async def test_a_signed_link_is_sent_byte_for_byte_also_after_a_redirect(reader: Reader, target: str) -> None:
    def write(head: Head) -> bytes:
        return answer("302 Found", Location=target) if head.start[1] == "/go" else answer("200 OK", b"x")

    async with Script(write) as script:
        await reader.streamed(script.base_url + target)
        await reader.streamed(script.base_url + "/go")
        assert [head.start[1] for head in script.heads] == [target, "/go", target]


async def test_redirects_are_followed_and_every_range_asks_the_first_link(
    files: FaultySource, reader: Reader
) -> None:
    target = files.add("rec.mp4", SIZE, cut_after=MIB // 2)
    middle = files.add("middle", 1, redirect=target)
    link = files.add("link", 1, redirect=middle)
    assert (await reader.ranged(link, 0, SIZE))[0] == files["rec.mp4"].content.read()
    assert len(files["link"].requests) == len(files["rec.mp4"].requests)


async def test_a_redirect_without_end_is_unavailable(files: FaultySource, reader: Reader) -> None:
    link = files.add("loop", 1)
    files["loop"].fail(redirect=link)
    with pytest.raises(SourceUnavailable, match="without end"):
        await reader.ranged(link, 0, 10)


async def test_a_host_that_nobody_listens_on_is_unavailable(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", 10)
    await files.__aexit__(None, None, None)
    with pytest.raises(SourceUnavailable):
        await reader.ranged(link, 0, 10)


async def test_a_certificate_that_nobody_vouches_for_is_waited_out(reader: Reader, tmp_path: Path) -> None:
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=own_certificate(tmp_path)
    )
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(SourceUnavailable, match="Certificate"):
        await reader.ranged(f"https://127.0.0.1:{port}/rec.mp4", 0, 10)
    server.close()


def own_certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context
