"""What a folder lies on, as far as it matters to somebody who wants to find his files again."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs")
)
"""File systems on which locks are not to be relied on."""
_FLEETING = frozenset(("overlay", "tmpfs", "ramfs"))
_MOUNTS = Path("/proc/self/mountinfo")


def missing_folders(folder: Path) -> Sequence[Path]:
    """The folder and those above it that are not there, the innermost first."""
    folder = folder.absolute()
    return [each for each in (folder, *folder.parents) if not each.exists()]


def doubt_about(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """Why what is kept in ``folder`` might not stay, or ``""``."""
    if missing := missing_folders(folder):
        return f"{missing[-1]} is not there, and will be made: is a volume missing?"
    kind = file_system(folder, mounts=mounts)
    if kind in _FLEETING:
        return f"{folder.absolute()} is on {kind}, which is lost with the container or host: use a volume"
    return ""


def file_system(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """The type of its file system, as Linux lists them (proc(5)), or ``""``."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in mounts.read_text("utf-8", "replace").splitlines():
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return ""
