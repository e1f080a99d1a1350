"""Whatever happens on the way, the bytes that are read are the file's own, each moved about once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from service.errors import SourceChanged, SourceGone, SourceRefused, SourceUnavailable
from service.retry import PART_ATTEMPTS
from service.source import Identity
from tests.doubles.source import FaultySource
from tests.unit.reading import Reader, reading

MIB = 1 << 20
SIZE = 4 * MIB + 12_345
SLACK = 512 * 1024
"""What a connection may have under way when it breaks: that much is moved again."""


@pytest.fixture
async def files() -> AsyncIterator[FaultySource]:
    async with FaultySource() as files:
        yield files


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    async with reading(stall_s=0.15) as reader:
        yield reader


# ---- ranges


@pytest.mark.parametrize(("start", "length"), [(0, SIZE), (0, 1), (1, MIB), (SIZE - 1, 1), (MIB - 3, 7)])
async def test_any_range_of_an_honest_source_is_its_own(
    files: FaultySource, reader: Reader, start: int, length: int
) -> None:
    link = files.add("rec.mp4", SIZE)
    got, identity = await reader.ranged(link, start, length)
    content = files["rec.mp4"].content
    assert got == content.read(start, start + length)
    assert identity == Identity(SIZE, content.etag())
    assert files["rec.mp4"].sent == length
    assert reader.pauses == []


async def test_reading_past_what_was_opened_asks_for_the_rest(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", SIZE)
    opened = await reader.source.open(link, start=0, length=MIB)
    first, later = memoryview(bytearray(MIB)), memoryview(bytearray(MIB))
    await opened.read_into(2 * MIB, later)
    await opened.read_into(0, first)
    opened.close()
    content = files["rec.mp4"].content
    assert reader.pauses == []
    assert bytes(first) == content.read(0, MIB)
    assert bytes(later) == content.read(2 * MIB, 3 * MIB)


@pytest.mark.parametrize("by_reset", [False, True])
async def test_a_connection_cut_again_and_again_goes_on_at_its_byte(
    files: FaultySource, reader: Reader, *, by_reset: bool
) -> None:
    link = files.add("rec.mp4", SIZE, cut_after=MIB, cut_by_reset=by_reset)
    got, _ = await reader.ranged(link, 0, SIZE)
    recording = files["rec.mp4"]
    assert got == recording.content.read()
    cuts = recording.occurrences["cut_after"]
    if not by_reset:  # a reset throws away what was not yet read
        assert 4 <= cuts < 10
        assert recording.sent <= SIZE + cuts * SLACK


async def test_a_connection_that_falls_silent_goes_on_at_its_byte(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, stall_after=MIB, stall_first=2)
    async with asyncio.timeout(4):
        got, _ = await reader.ranged(link, 0, SIZE)
    assert got == files["rec.mp4"].content.read()
    assert files["rec.mp4"].sent <= SIZE + SLACK
    assert len(reader.pauses) == 2


@pytest.mark.parametrize("how", ["close", "stall"])
async def test_a_source_that_takes_a_request_and_says_nothing_is_asked_again(
    files: FaultySource, reader: Reader, how: Literal["close", "stall"]
) -> None:
    link = files.add("rec.mp4", MIB, no_answer=how, no_answer_first=2)
    got, _ = await reader.ranged(link, 0, MIB)
    assert got == files["rec.mp4"].content.read()


async def test_a_source_that_never_gives_a_byte_is_given_up_for_now(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", MIB, cut_after=0)
    with pytest.raises(SourceUnavailable):
        await reader.ranged(link, 0, MIB)
    # 0.25 s doubled each time, of which half is certain; one try more than pauses.
    assert reader.pauses == [0.125, 0.25, 0.5, 1.0]
    assert len(files["rec.mp4"].requests) in (PART_ATTEMPTS, PART_ATTEMPTS + 1)


async def test_as_long_as_bytes_come_no_number_of_cuts_is_too_many(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", MIB, cut_after=50_000)
    got, _ = await reader.ranged(link, 0, MIB)
    assert got == files["rec.mp4"].content.read()
    assert len(reader.pauses) >= MIB // 50_000
    assert set(reader.pauses) == {0.125}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
async def test_an_unavailable_source_is_asked_again_when_it_says(
    files: FaultySource, reader: Reader, status: int
) -> None:
    link = files.add("rec.mp4", MIB, status=status, status_first=2, retry_after="7")
    got, _ = await reader.ranged(link, 0, MIB)
    assert got == files["rec.mp4"].content.read()
    assert reader.pauses == [7.0, 7.0]


async def test_between_ranges_an_unavailable_source_is_asked_again_too(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, cut_after=MIB, cut_first=1)
    opened = await reader.source.open(link, start=0, length=SIZE)
    files["rec.mp4"].fail(status=503, status_first=2, retry_after="3")
    view = memoryview(bytearray(SIZE))
    await opened.read_into(0, view)
    opened.close()
    assert view == files["rec.mp4"].content.read()
    assert reader.pauses[-2:] == [3.0, 3.0]


@pytest.mark.parametrize(
    ("retry_after", "pauses"),
    [
        ("0", [0.125] * 1), ("1", [1.0]), ("3600", [60.0]), ("9" * 400, [60.0]), ("soon", [0.125]),
        ("-5", [0.125]), ("1.5", [0.125]), ("\u00b2", [0.125]), ("", [0.125]),
    ],
)  # fmt: skip
async def test_a_range_never_waits_longer_than_a_minute(
    files: FaultySource, reader: Reader, retry_after: str, pauses: list[float]
) -> None:
    link = files.add("rec.mp4", 10, status=503, status_first=1, retry_after=retry_after)
    await reader.ranged(link, 0, 10)
    assert reader.pauses == pauses


@pytest.mark.parametrize(
    ("status", "family"),
    [(403, SourceRefused), (401, SourceRefused), (400, SourceRefused), (404, SourceGone), (410, SourceGone)],
)
async def test_a_refusal_is_final_here_and_tells_which_one_it_is(
    files: FaultySource, reader: Reader, status: int, family: type[Exception]
) -> None:
    link = files.add("rec.mp4", SIZE, status=status) + "?X-Amz-Signature=secret"
    with pytest.raises(family, match=str(status)) as caught:
        await reader.ranged(link, 0, SIZE)
    assert "secret" not in str(caught.value)
    assert reader.pauses == []


async def test_a_link_that_expires_midway_is_refused_and_what_came_is_not_moved_again(
    files: FaultySource, reader: Reader
) -> None:
    link = files.add("rec.mp4", SIZE, cut_after=MIB, cut_first=1)
    opened = await reader.source.open(link, start=0, length=SIZE)
    files["rec.mp4"].fail(status=403)
    with pytest.raises(SourceRefused):
        await opened.read_into(0, memoryview(bytearray(SIZE)))
    opened.close()


async def test_a_file_that_is_not_there_is_gone(files: FaultySource, reader: Reader) -> None:
    with pytest.raises(SourceGone):
        await reader.ranged(f"{files.base_url}/nothing.mp4", 0, 10)


# ---- the same file


@pytest.mark.parametrize("etag", [True, False])
async def test_another_file_under_the_same_link_is_never_mixed_with_the_first(
    files: FaultySource, reader: Reader, *, etag: bool
) -> None:
    link = files.add("rec.mp4", SIZE, etag=etag, cut_after=MIB, cut_first=1)
    opened = await reader.source.open(link, start=0, length=SIZE)
    files["rec.mp4"].replace(seed=9, size=None if etag else SIZE + 1)
    with pytest.raises(SourceChanged):
        await opened.read_into(0, memoryview(bytearray(SIZE)))
    opened.close()
    statuses = [request.status for request in files["rec.mp4"].requests]
    assert statuses == ([206, 412] if etag else [206, 206])  # with an ETag not one byte more was sent


async def test_a_file_that_changes_between_parts_is_noticed(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", SIZE, changes_after=MIB)
    opened = await reader.source.open(link, start=0, length=MIB)
    await opened.read_into(0, memoryview(bytearray(MIB)))
    with pytest.raises(SourceChanged):
        await opened.read_into(MIB, memoryview(bytearray(MIB)))
    opened.close()


async def test_a_resumed_file_must_be_the_one_that_was_begun(files: FaultySource, reader: Reader) -> None:
    link = files.add("rec.mp4", SIZE)
    begun = Identity(SIZE, files["rec.mp4"].content.etag())
    assert (await reader.ranged(link, MIB, 10, begun))[1] == begun
    for expected in (Identity(SIZE, '"other"'), Identity(SIZE + 1, None), Identity(1, begun.etag)):
        with pytest.raises(SourceChanged):
            await reader.ranged(link, MIB, 10, expected)
    # What was not known of the first file cannot tell against the second.
    for expected in (Identity(None, None), Identity(SIZE, None), Identity(None, begun.etag)):
        await reader.ranged(link, MIB, 10, expected)


async def test_a_renewed_link_to_the_same_file_goes_on(files: FaultySource, reader: Reader) -> None:
    begun = (await reader.ranged(files.add("old.mp4", SIZE, seed=3), 0, 10))[1]
    got, _ = await reader.ranged(files.add("new.mp4", SIZE, seed=3), MIB, 10, begun)
    assert got == files["new.mp4"].content.read(MIB, MIB + 10)
