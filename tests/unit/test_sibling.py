"""Proves that a stored copy stands where an opened source does."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from service.errors import ObjectMissing, SourceUnavailable, StorageRefused
from service.sibling import StoredCopy
from service.storage import Storage


class Stored:
    """A storage that holds one object, in chunks of its own, and may fail after them."""

    def __init__(self, *chunks: bytes, failure: Exception | None = None) -> None:
        self._chunks = chunks
        self._failure = failure

    async def read(self, _key: str) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._failure:
            raise self._failure


def copy(*chunks: bytes, **options: Any) -> StoredCopy:
    return StoredCopy(cast("Storage", Stored(*chunks, **options)), "call.mp4", sum(map(len, chunks)))


async def test_its_bytes_come_in_order_in_pieces_no_larger_than_asked_for() -> None:
    pieces = [bytes(piece) async for piece in copy(b"abcdefg", b"", b"hi").stream(3)]
    assert pieces == [b"abc", b"def", b"g", b"hi"]


def test_it_is_one_stream_of_a_known_size() -> None:
    opened = copy(b"abc")
    assert (opened.ranged, opened.end_is_certain, opened.identity.size) == (False, True, 3)


@pytest.mark.parametrize("failure", [ObjectMissing("call.mp4"), StorageRefused("no", mend="let it read")])
async def test_where_it_cannot_be_read_either_the_source_is_tried_again_later(failure: Exception) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        async for _ in copy(b"abc", failure=failure).stream(2):
            pass
    assert raised.value.mend == getattr(failure, "mend", "")
