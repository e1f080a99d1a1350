"""The files that the demo archives."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from awscrt.checksums import crc32c, crc64nvme

from service.demo.telling import DemoFailed
from service.model import Checksum

_BLOCK = 1024 * 1024
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@dataclass(frozen=True, slots=True)
class Sample:
    """A file as it was made: what comes out of the archive must be the same."""

    path: Path
    size: int
    checksum: Checksum


def parse_size(text: str) -> int:
    """``300MB``, ``1.5 GB`` or ``512MiB`` in bytes. Raises :class:`DemoFailed`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if found is None or found.group(2) not in _UNITS:
        raise DemoFailed(f"--size {text!r} is not a size such as 300MB")
    return int(float(found.group(1)) * _UNITS[found.group(2)])


def random_sample(path: Path, total: int) -> Sample:
    """``total`` random bytes, no two blocks alike, so that a misplaced part would be found."""
    block = secrets.token_bytes(_BLOCK)

    def pieces() -> Iterator[bytes]:
        for start in range(0, total, _BLOCK):
            yield (start.to_bytes(8) + block)[: min(_BLOCK, total - start)]

    return _written(path, pieces())


def text_sample(path: Path, text: str) -> Sample:
    """A file with this text."""
    return _written(path, iter([text.encode()]))


def _written(path: Path, pieces: Iterator[bytes]) -> Sample:
    size = crc64 = crc32 = 0
    with path.open("wb") as file:
        for piece in pieces:
            size += file.write(piece)
            crc64, crc32 = crc64nvme(piece, crc64), crc32c(piece, crc32)
    return Sample(path, size, Checksum(crc64, crc32))
