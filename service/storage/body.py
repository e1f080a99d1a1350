"""A part's buffer as a request body that neither botocore nor aiohttp copies."""

import io
from typing import Any

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

_SLICE = 256 * 1024


class PartBody(Payload):
    """A view of memory, readable like a file (for botocore) and writable as a payload (for aiohttp).

    aiohttp would send ``bytes`` in one write, which a TLS transport copies whole, and would read a file in
    threads. This hands a TLS transport slices, each only once the one before has gone, and any other, which
    copies nothing, the whole. The view must stay as it is until the request has ended.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, view: memoryview) -> None:
        super().__init__(view, content_type="application/octet-stream")
        self._view = view
        self._size: int = len(view)
        self._at = 0

    def read(self, size: int = -1) -> memoryview:
        """The next ``size`` bytes, for the signer's digest; empty at the end."""
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        start, self._at = self._at, end
        return self._view[start:end]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the reading position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """The reading position."""
        return self._at

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the whole view."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send the view's first ``content_length`` bytes."""
        end = self._size if content_length is None else min(content_length, self._size)
        transport = getattr(writer, "transport", None)
        is_plain = transport is not None and transport.get_extra_info("sslcontext") is None
        # With the first piece aiohttp sends the head, and copies both.
        start, size = 0, _SLICE
        while start < end:
            await writer.write(self._view[start : min(start + size, end)])
            start, size = start + size, end if is_plain else _SLICE

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The view as text, as the base class asks for."""
        return bytes(self._view).decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> Any:
        """The view itself, as the base class asks for."""
        return self._view
