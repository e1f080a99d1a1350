"""The provider's file server, honest or not: serves recordings of any size with any fault, and remembers."""

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Unpack
from urllib.parse import quote, unquote

from tests.doubles.content import Content
from tests.doubles.recording import Recording
from tests.doubles.source_faults import Answer, Faults, Request
from tests.doubles.threaded import threaded
from tests.doubles.wire import Head, Listener, read_head

__all__ = ["Content", "Faults", "FaultySource", "Recording", "Request", "threaded"]

CHUNK_BYTES = 256 * 1024


class FaultySource(Listener):
    """A file server with ranges, ETags and If-Match, whose recordings can each be broken in their own way.

    Use it as `async with FaultySource() as source`, or `with threaded(FaultySource()) as source` where the
    test is synchronous or the client is another process. It writes the wire itself, since a server library
    would not send a body without an end, a wrong length or half an answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._recordings: dict[str, Recording] = {}

    def add(self, name: str, size: int, *, seed: int = 0, **faults: Unpack[Faults]) -> str:
        """Serve a recording of `size` bytes and return its URL, which any query may follow.

        The same seed and size is the same file with the same ETag: a second name for it is a renewed link.
        """
        url = f"{self.base_url}/{quote(name)}"
        self._recordings[name] = Recording(name, url, Content(seed, size), faults)
        return url

    def __getitem__(self, name: str) -> Recording:
        """Return the recording, to change what is wrong with it and to see what was asked of it."""
        return self._recordings[name]

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until one of them ends the connection."""
        while (head := await read_head(reader)) is not None:
            recording = self._recordings.get(unquote(head.start[1].partition("?")[0].lstrip("/")))
            if recording is None:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            recording.active += 1
            recording.peak = max(recording.peak, recording.active)
            try:
                if not await _serve(recording, head, reader, writer):
                    return
            finally:
                recording.active -= 1


async def _serve(
    recording: Recording, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Answer one request; False where the connection has to end with it."""
    query = head.start[1].partition("?")[2]
    request = Request(head.start[0], head["range"], head["if-match"], query=query)
    stalling = recording.faults.get("no_answer") == "stall"
    rate = recording.faults.get("rate")
    by_reset = recording.faults.get("cut_by_reset", False)
    answer = recording.answer(request)
    recording.requests.append(request)
    if answer is None:
        if stalling:
            await _wait_until_the_client_leaves(reader)
        return False
    content = recording.content
    request.status = answer.status
    writer.write(_render(answer))
    goes_on = True
    if request.method != "HEAD":
        goes_on = await _send_body(recording, answer, content, request, writer, rate)
    await writer.drain()
    if answer.stall_after is not None:
        await _wait_until_the_client_leaves(reader)
    if answer.cut_after is not None and by_reset:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    broken_off = answer.stall_after is not None or answer.cut_after is not None
    return goes_on and not broken_off and answer.framing != "close" and head["connection"].lower() != "close"


def _render(answer: Answer) -> bytes:
    fields = dict(answer.fields)
    version = "HTTP/1.1"
    if answer.page is not None or answer.framing == "length":
        fields["Content-Length"] = str(answer.length)
    elif answer.framing == "chunked":
        fields["Transfer-Encoding"] = "chunked"
    else:
        version = "HTTP/1.0"
        fields["Connection"] = "close"
    lines = [f"{version} {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send_body(
    recording: Recording,
    answer: Answer,
    content: Content,
    request: Request,
    writer: asyncio.StreamWriter,
    rate: int | None,
) -> bool:
    """Send it, or as much of it as the gate lets pass; False where that was not all."""
    if answer.page is not None:
        writer.write(answer.page)
        request.sent += len(answer.page)
        return True
    chunked = answer.framing == "chunked"
    limits = (answer.length, answer.cut_after, answer.stall_after)
    end = answer.start + min(limit for limit in limits if limit is not None)
    began = asyncio.get_running_loop().time()
    chunk_size = CHUNK_BYTES if rate is None else max(1, min(CHUNK_BYTES, rate // 50))
    offset = answer.start
    while offset < end:
        if recording.gate is not None and recording.gate(request) is not None:
            return False
        length = min(chunk_size, end - offset)
        # Past the content's end there is only what `surplus` asked for.
        chunk = content.view(offset, length) if offset < content.size else memoryview(bytes(length))
        if chunked:
            writer.write(b"%x\r\n" % len(chunk))
        writer.write(chunk)
        if chunked:
            writer.write(b"\r\n")
        await writer.drain()
        offset += len(chunk)
        request.sent += len(chunk)
        if rate is not None:
            await asyncio.sleep(began + request.sent / rate - asyncio.get_running_loop().time())
    if chunked and end == answer.end:
        writer.write(b"0\r\n\r\n")
    return True


async def _wait_until_the_client_leaves(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
