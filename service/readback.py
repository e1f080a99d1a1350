"""Reading an archived file back, and comparing it with what was archived."""

from collections.abc import Callable

from awscrt.checksums import crc32c, crc64nvme

from service.errors import StorageMismatch
from service.model import Archived, Checksum
from service.storage import Storage


async def read_back(storage: Storage, entry: Archived, on_bytes: Callable[[int], None]) -> None:
    """Read a file and compare it with its entry. ``on_bytes`` is told of every chunk's size.

    Raises :class:`StorageMismatch` if it is another size or has other checksums, and whatever else keeps it
    from being read.
    """
    size = crc64 = crc32 = 0
    async for chunk in storage.read(entry.key):
        size += len(chunk)
        crc64, crc32 = crc64nvme(chunk, crc64), crc32c(chunk, crc32)
        on_bytes(len(chunk))
    if size != entry.size:
        raise StorageMismatch(f"{size} bytes, {entry.size} were archived")
    if Checksum(crc64, crc32) != entry.checksum:
        raise StorageMismatch("its checksums are others")
