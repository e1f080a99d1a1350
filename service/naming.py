"""Object names from what the provider calls a file. Pure."""

import hashlib
import re
from pathlib import PurePosixPath

from service.model import Artifact

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_LENGTH = 180
"""In bytes; file systems allow 255, and what manifests and temporary files add comes on top."""


def candidates(artifact: Artifact, epoch: int) -> tuple[str, ...]:
    """The names to try in turn: the provider's, then with the recording id before the suffix.

    The last one, with the number of the claim too, is for the rare case that an older, different copy of the
    same recording lies under the others; no two claims share it.
    """
    name = PurePosixPath(safe(artifact.name))
    own = f"{name.stem}-{artifact.recording_id}"
    return str(name), safe(f"{own}{name.suffix}"), safe(f"{own}-{epoch}{name.suffix}")


def safe(name: str) -> str:
    """One path segment that every storage takes: no separators, no control characters, no leading dot.

    An over-long name keeps its suffix, and a digest of the whole keeps it distinct.
    """
    plain = _UNSAFE.sub("_", name).lstrip(". ").rstrip(". ") or "recording"
    if len(plain.encode()) <= _LENGTH:
        return plain
    suffix = PurePosixPath(plain).suffix[:16]
    tail = f"-{hashlib.sha256(name.encode()).hexdigest()[:12]}{suffix}"
    return plain.encode()[: _LENGTH - len(tail.encode())].decode("utf-8", "ignore") + tail
