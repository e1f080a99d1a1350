"""Sample files: random, so that neither a disk nor a server can make them smaller."""

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

TINY = "1KB"
"""The label of a sample so small that moving it is all starting."""

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_BLOCK_BYTES = 4 << 20
_SHARED_MEMORY = Path("/dev/shm")
_SPARE_BYTES = 4 * 10**9


@dataclass(frozen=True)
class Sample:
    """A file to move: its name in the source's folder, length and SHA-256."""

    name: str
    label: str
    size_bytes: int
    sha256: str


def parse_size(text: str) -> int:
    """Bytes of `300MB` or `3GB` (decimal, as network and storage figures are)."""
    match = re.fullmatch(r"(\d+)\s*([KMG]?B)", text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 300MB or 3GB")
    return int(match[1]) * _UNITS[match[2]]


def make_sample(folder: Path, label: str) -> Sample:
    """Write a file of the size that `label` says."""
    size_bytes = parse_size(label)
    name, digest, left = f"sample-{label.lower()}.mp4", hashlib.sha256(), size_bytes
    with (folder / name).open("wb") as file:
        while left:
            block = os.urandom(min(left, _BLOCK_BYTES))
            digest.update(block)
            left -= file.write(block)
    return Sample(name, label, size_bytes, digest.hexdigest())


def make_sparse_sample(folder: Path, label: str) -> Sample:
    """A file of zeros that takes no space, for what depends on length alone; nobody needs its SHA-256."""
    name, size_bytes = f"sparse-{label.lower()}.mp4", parse_size(label)
    with (folder / name).open("wb") as file:
        file.truncate(size_bytes)
    return Sample(name, label, size_bytes, "")


def work_folder(sizes_bytes: list[int], *, at_once: int = 1, sparse_bytes: int = 0) -> Path:
    """A new temporary folder: in memory (/dev/shm) if all that a run holds at once fits there with room left.

    Memory, because a shared disk's bad moments would be charged to whoever runs then. Needed at once: the
    samples, the objects of one run, and as much again for the scenarios that move several recordings, or
    `at_once` of the smallest; or the object of a sparse sample.
    """
    objects = max(3 * max(sizes_bytes), at_once * min(sizes_bytes), sparse_bytes)
    needed = sum(sizes_bytes) + objects + _SPARE_BYTES
    fits = (
        _SHARED_MEMORY.is_dir() and min(shutil.disk_usage(_SHARED_MEMORY).free, _available_bytes()) > needed
    )
    return Path(tempfile.mkdtemp(prefix="dyte-archiver-bench-", dir=_SHARED_MEMORY if fits else None))


def _available_bytes() -> int:
    """MemAvailable: what can be had without swapping (tmpfs counts against it)."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
