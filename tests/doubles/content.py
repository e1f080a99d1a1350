"""Recordings of any size that nobody has to hold: every byte follows from the seed and its offset."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from awscrt import checksums

__all__ = ["Content"]

BLOCK = 1 << 20
# The rotation from one block to the next. It is odd: a million blocks pass before a rotation comes back, and
# bytes of one block reappear in another only at odd distances, so never where a misplaced part could begin.
STRIDE = 0x9E377


@dataclass(frozen=True)
class Content:
    """The bytes of one recording: a random block, rotated anew for every further block.

    Every block differs from every other one of the same recording: a part that is missing, doubled or
    misplaced changes what is compared.
    """

    seed: int
    size: int

    def view(self, offset: int, length: int) -> memoryview:
        """Return up to `length` bytes from `offset` without copying, at most to the end of that block."""
        index, within = divmod(offset, BLOCK)
        start = (index * STRIDE) % BLOCK + within
        return _doubled_block(self.seed)[start : start + min(length, BLOCK - within, self.size - offset)]

    def chunks(
        self, start: int = 0, end: int | None = None, *, chunk_size: int = BLOCK
    ) -> Iterator[memoryview]:
        """Give the bytes from `start` up to, not with, `end` (the whole size where None) in order."""
        end = self.size if end is None else min(end, self.size)
        while start < end:
            chunk = self.view(start, min(chunk_size, end - start))
            yield chunk
            start += len(chunk)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from `start` up to, not with, `end`."""
        return b"".join(self.chunks(start, end))

    def etag(self) -> str:
        """Return a strong entity tag, quotes and all, that changes with seed and size."""
        return f'"{hashlib.sha256(f"{self.seed}:{self.size}".encode()).hexdigest()[:32]}"'

    def sha256(self) -> str:
        """Return the SHA-256 of the whole in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def crc32c(self) -> int:
        """Return the CRC-32C of the whole."""
        value = 0
        for chunk in self.chunks():
            value = checksums.crc32c(chunk, value)
        return value

    def crc64nvme(self) -> int:
        """Return the CRC-64/NVME of the whole."""
        value = 0
        for chunk in self.chunks():
            value = checksums.crc64nvme(chunk, value)
        return value


@lru_cache(maxsize=16)
def _doubled_block(seed: int) -> memoryview:
    """The block twice in a row: a slice of it is any rotation, without copying."""
    block = random.Random(seed).randbytes(BLOCK)
    return memoryview(block + block)
