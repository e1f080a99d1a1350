"""A folder: parts are written at their offsets into a temporary file, which is synced and then linked."""

import asyncio
import contextlib
import errno
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from awscrt.checksums import crc64nvme

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageMismatch,
    StorageRefused,
    StorageUnavailable,
    UploadLost,
)
from service.model import Attributes, Checksum, Part, Stored, Upload
from service.storage.config import LocalConfig

_READ_SIZE = 1024 * 1024
_T = TypeVar("_T")

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links answer (FAT, some network shares)."""

_MEND = {
    errno.EEXIST: "let `path` be a folder: a file is in its place",
    errno.ENOTDIR: "let `path` be a folder: a file is in its place",
    errno.ENOSPC: "make room on the volume",
    errno.EDQUOT: "raise the quota of the volume",
    errno.EACCES: "let this user write to the folder",
    errno.EPERM: "let this user write to the folder",
    errno.EROFS: "mount the volume writable",
}


class LocalStorage:
    """Objects as files below a folder.

    A part's receipt is its CRC-64/NVME, and confirming the parts reads them back: after a power cut a part
    counts only if it is really on the disk. A new name is taken with ``link``, which never replaces a file.
    """

    def __init__(self, config: LocalConfig) -> None:
        self._root = config.path
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.label = config.label

    async def begin(self, key: str, attributes: Attributes) -> str:
        """See :class:`~service.storage.Storage`."""
        upload_id = secrets.token_hex(8)
        await self._run(lambda: self._create(self._temporary(key, upload_id)))
        return upload_id

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`."""
        temporary = self._temporary(upload.key, upload.id)
        turn = self._turns.setdefault(upload.id, asyncio.Lock())
        # One at a time: a file system takes one write to a file at once, and threads that wait for it spin.
        async with turn:
            await self._run(lambda: _write_at(temporary, (number - 1) * upload.part_size, body))
        return f"{checksum.crc64nvme:016x}"

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """See :class:`~service.storage.Storage`."""
        temporary = self._temporary(upload.key, upload.id)
        return await self._run(lambda: _parts_in(temporary, upload.part_size, parts))

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        size = sum(part.size for part in parts)
        temporary, final = self._temporary(upload.key, upload.id), self._path(upload.key)

        def finish() -> None:
            if temporary.exists():
                if temporary.stat().st_size != size:
                    raise StorageMismatch(f"{temporary.stat().st_size} bytes instead of {size}")
                _publish(temporary, final, replace=_holds(final, size, checksum))
            elif not _holds(final, size, checksum):
                raise UploadLost(upload.key)

        await self._run(finish)
        return Stored(
            upload.key, size, f"{checksum.crc64nvme:016x}", checksum.crc64nvme, upload.attributes.artifact_id
        )

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._run(lambda: self._temporary(upload.key, upload.id).unlink(missing_ok=True))

    async def uploads(self, key: str) -> list[str]:
        """See :class:`~service.storage.Storage`."""

        def look() -> list[str]:
            final = self._path(key)
            temporary = re.compile(rf"\.{re.escape(final.name)}\.([0-9a-f]{{16}})\.part")
            entries = final.parent.iterdir() if final.parent.is_dir() else ()
            # Not those of a longer name.
            return [found[1] for entry in entries if (found := temporary.fullmatch(entry.name))]

        return await self._run(look)

    async def put(
        self,
        key: str,
        body: memoryview,
        *,
        checksum: Checksum,
        attributes: Attributes,
        replace: bool,
    ) -> Stored:
        """See :class:`~service.storage.Storage`."""
        temporary, final = self._temporary(key, secrets.token_hex(8)), self._path(key)

        def write() -> None:
            try:
                self._create(temporary)
                _write_at(temporary, 0, body)
                _publish(temporary, final, replace=replace or _holds(final, len(body), checksum))
            finally:
                temporary.unlink(missing_ok=True)

        await self._run(write)
        return Stored(
            key, len(body), f"{checksum.crc64nvme:016x}", checksum.crc64nvme, attributes.artifact_id
        )

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`. A file does not say whose it is."""

        def look() -> Stored | None:
            try:
                return Stored(key, self._path(key).stat().st_size, etag="")
            except (FileNotFoundError, NotADirectoryError):
                return None

        return await self._run(look)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        try:
            file = await self._run(lambda: self._path(key).open("rb"))
        except UploadLost as error:
            raise ObjectMissing(key) from error
        with file:
            while chunk := await self._run(lambda: file.read(_READ_SIZE)):
                yield chunk

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """See :class:`~service.storage.Storage`. There is none."""
        return None

    async def remove(self, key: str) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._run(lambda: self._path(key).unlink(missing_ok=True))

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`. There is nothing to close."""

    def _path(self, key: str) -> Path:
        return self._root / key

    def _temporary(self, key: str, upload_id: str) -> Path:
        final = self._path(key)
        return final.with_name(f".{final.name}.{upload_id}.part")

    def _create(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

    async def _run(self, work: Callable[[], _T]) -> _T:
        """``work`` in a thread, to its end also if the caller is cancelled: until then it uses the buffer."""
        running = asyncio.ensure_future(asyncio.to_thread(_translated, work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                with contextlib.suppress(asyncio.CancelledError, StorageError):
                    await asyncio.wait([running])
            raise


def _translated(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except FileNotFoundError as error:
        raise UploadLost(os.strerror(errno.ENOENT)) from error
    except IsADirectoryError as error:
        raise NameTaken("it is a folder") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in _MEND:
            raise StorageRefused(reason, mend=_MEND[error.errno]) from error
        raise StorageUnavailable(reason) from error


def _write_at(path: Path, offset: int, body: memoryview) -> None:
    """Write, and have the disk begin on it now: the sync at the end then has little left to wait for."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        start = offset
        while body:
            written = os.pwrite(descriptor, body, offset)
            body, offset = body[written:], offset + written
        if hasattr(os, "posix_fadvise"):
            # Linux begins to write what is not on the disk, and keeps it in memory until it is.
            os.posix_fadvise(descriptor, start, offset - start, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _publish(temporary: Path, final: Path, *, replace: bool) -> None:
    """Sync, then give the file its name; a crash at any moment leaves either name or both, whole."""
    _sync(temporary)
    if replace:
        temporary.replace(final)
    else:
        try:
            os.link(temporary, final)
        except FileExistsError as error:
            if not temporary.samefile(final):
                raise NameTaken(final.name) from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if final.exists():
                raise NameTaken(final.name) from error
            temporary.rename(final)
    # Two names of one file: renaming one to the other leaves both.
    temporary.unlink(missing_ok=True)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk


def _parts_in(path: Path, part_size: int, parts: Sequence[Part]) -> frozenset[int]:
    """The numbers of the parts that are in the file, as a reading of it tells."""
    with path.open("rb") as file:

        def holds(part: Part) -> bool:
            file.seek((part.number - 1) * part_size)
            chunk = file.read(part.size)
            return len(chunk) == part.size and bool(crc64nvme(chunk) == part.checksum.crc64nvme)

        return frozenset(part.number for part in parts if holds(part))


def _holds(path: Path, size: int, checksum: Checksum) -> bool:
    """Whether the file is there with exactly this content."""
    if not path.exists() or path.stat().st_size != size:
        return False
    crc = 0
    for chunk in _chunks(path, _READ_SIZE):
        crc = crc64nvme(chunk, crc)
    return bool(crc == checksum.crc64nvme)
