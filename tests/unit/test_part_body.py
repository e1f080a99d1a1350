"""A part is sent from its own memory: never joined, sliced only where the transport would copy it."""

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_writer import StreamWriter

from service.storage.body import PartBody

SIZE = 3 * 1024 * 1024 + 5


class Transport(asyncio.Transport):
    """Notes what it is given."""

    def __init__(self, **about: object) -> None:
        super().__init__(about)
        self.pieces: list[Any] = []

    def write(self, data: Any) -> None:
        self.pieces.append(data)

    def is_closing(self) -> bool:
        return False


async def sent(transport: Transport, body: PartBody, length: int | None = None) -> list[Any]:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(transport)
    writer = StreamWriter(protocol, loop)
    await body.write_with_length(writer, length)
    return transport.pieces


@pytest.fixture
def memory() -> bytearray:
    return bytearray(range(256)) * (SIZE // 256) + bytearray(5)


async def test_a_plain_transport_gets_the_first_piece_with_the_head_and_then_the_rest_whole(
    memory: bytearray,
) -> None:
    pieces = await sent(Transport(), PartBody(memoryview(memory)))
    first, rest = pieces
    assert len(first) <= 256 * 1024
    assert first.obj is rest.obj is memory
    assert b"".join(pieces) == memory


async def test_a_tls_transport_gets_slices(memory: bytearray) -> None:
    pieces = await sent(Transport(sslcontext=object()), PartBody(memoryview(memory)))
    assert max(map(len, pieces)) <= 256 * 1024
    assert all(piece.obj is memory for piece in pieces)
    assert b"".join(pieces) == memory


@pytest.mark.parametrize("length", [0, 1, 256 * 1024, SIZE - 1, SIZE, SIZE + 1])
async def test_no_more_is_sent_than_was_said(memory: bytearray, length: int) -> None:
    pieces = await sent(Transport(), PartBody(memoryview(memory)), length)
    assert b"".join(pieces) == memory[:length]
