"""Trying a storage out: whatever the service asks of it, asked once."""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.check.steps import Note, Steps
from service.check.volume import doubt_about, missing_folders
from service.errors import (
    ObjectMissing,
    StorageError,
    StorageMismatch,
    StorageRefused,
    UploadLost,
)
from service.model import Attributes, Part, Stored, Upload
from service.storage import LocalConfig, Storage, StorageConfig, open_storage
from service.storage.config.base import ObjectLock
from service.transfer import checksum_of, whole_checksum

_PART_SIZE = 5 * 1024 * 1024  # the least that S3 takes for any part but the last
_CLOSE_S = 3.0


class StorageProbe:
    """What the service asks of a storage, asked with objects of the probe's own, which are removed."""

    def __init__(self, config: StorageConfig, steps: Steps) -> None:
        self._config = config
        self._steps = steps
        # No folder: in a file system an empty one would be left.
        self._key = f".dyte-archiver-check-{secrets.token_hex(8)}"
        self._small_key = f"{self._key}.json"
        self._attributes = Attributes(f"{self._key}/video", "application/octet-stream", self._key)
        self._body = memoryview(secrets.token_bytes(_PART_SIZE + 1))
        self._storage: Storage
        self._uploads: list[Upload] = []
        self._written: list[str] = []
        self._made: Sequence[Path] = ()

    async def run(self) -> None:
        """Try every step that makes sense after the ones before it."""
        if not await self._steps.run("open", self._open):
            return
        try:
            await self._try_out()
        finally:
            if self._written or self._uploads:
                await self._steps.run("remove the probes", self._remove, in_any_case=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._storage.close()
            for folder in self._made:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    async def _try_out(self) -> None:
        run = self._steps.run
        found = await run("look up a file", self._look_up)
        written = await run("write in parts", self._write_in_parts)
        if not found and not written:
            return  # wrong credentials, most likely: everything else would say the same
        if written:
            await run("read back", self._read_back)
            # Under the small file's name: Azure keeps a session's blocks until the name is written.
            await run("break off an upload", self._break_off)
            await run("find uploads left open", self._sweep)
        await run("write a small file, and over it", self._write_small)

    async def _open(self) -> Note | None:
        self._storage = await open_storage(_short_lived(self._config))
        if isinstance(self._config, LocalConfig):
            self._made = await asyncio.to_thread(missing_folders, self._config.path)
            doubt = await asyncio.to_thread(doubt_about, self._config.path)
            return Note(doubt) if doubt else None
        if getattr(self._config, "legal_hold", False):
            return Note("a legal hold is not tried: nobody but you could remove the probe again")
        return None

    async def _look_up(self) -> None:
        if await self._storage.stat(self._key) is not None:
            raise StorageMismatch("it has a file under a name that nobody has used")

    async def _write_in_parts(self) -> None:
        upload = await self._begun(self._key)
        parts = [await self._sent(upload, 1), await self._sent(upload, 2)]
        if await self._storage.confirm(upload, parts) != {1, 2}:
            raise UploadLost("it does not list the parts that it has just taken")
        self._written.append(self._key)
        await self._storage.complete(upload, parts, whole_checksum(parts))
        self._uploads.remove(upload)

    async def _read_back(self) -> Note | None:
        found = await self._storage.stat(self._key)
        if found is None:
            raise ObjectMissing(f"{self._key}, which was written just now")
        if not self._is_as_written(found):
            raise StorageMismatch("size, checksum or metadata are not as written")
        try:
            read = b"".join([bytes(chunk) async for chunk in self._storage.read(self._key)])
        except StorageRefused as error:
            # Whoever may look at it may read it: it is the archive class that has to be restored first.
            if not getattr(self._config, "storage_class", ""):
                raise
            return Note(f"not read back, as its storage class has it: {error.detail}")
        if read != self._body:
            raise StorageMismatch(f"{len(read)} bytes read back are not the {len(self._body)} written")
        return None

    def _is_as_written(self, found: Stored) -> bool:
        return (
            found.size == len(self._body)
            and found.crc64nvme in (checksum_of(self._body).crc64nvme, None)
            and found.artifact_id in (self._attributes.artifact_id, None)
        )

    async def _write_small(self) -> Note | None:
        self._written.append(self._small_key)
        await self._put_small(self._body[:2])
        try:
            await self._put_small(self._body[:3])
        except StorageRefused as error:  # what may be written may be written over, but for a retention
            return Note(f"not over it, so a manifest stays as it was first written: {error.detail}")
        return None

    async def _put_small(self, body: memoryview) -> None:
        checksum, attributes = checksum_of(body), self._attributes
        await self._storage.put(self._small_key, body, checksum=checksum, attributes=attributes, replace=True)

    async def _break_off(self) -> None:
        upload = await self._begun(self._small_key)
        await self._sent(upload, 2)
        await self._storage.abort(upload)
        self._uploads.remove(upload)

    async def _sweep(self) -> Note | None:
        upload = await self._begun(self._small_key)
        if upload.id in await self._storage.uploads(upload.key):
            return None
        return Note("an upload that was just begun is not listed: a lost one stays until its lifecycle rule")

    async def _remove(self) -> Note | None:
        for upload in self._uploads:
            with contextlib.suppress(StorageError):  # why not, the steps before have told
                await self._storage.abort(upload)
        left = []
        for key in dict.fromkeys(self._written):
            try:
                await self._storage.remove(key)
            except StorageRefused:
                left.append(key)
        if left:
            return Note(
                f"left: {', '.join(left)}. The storage does not let them be deleted (no right to, or a "
                "retention), which is as it should be: the service never deletes what it archived"
            )
        if getattr(self._config, "object_lock", None):
            return Note("their versions stay for a day, as object_lock is set")
        return None

    async def _begun(self, key: str) -> Upload:
        upload_id = await self._storage.begin(key, self._attributes)
        upload = Upload(upload_id, key, _PART_SIZE, len(self._body), self._attributes)
        self._uploads.append(upload)
        return upload

    async def _sent(self, upload: Upload, number: int) -> Part:
        piece = self._body[(number - 1) * _PART_SIZE : number * _PART_SIZE]
        checksum = checksum_of(piece)
        receipt = await self._storage.put_part(upload, number, piece, checksum)
        return Part(number, len(piece), checksum, receipt)


def _short_lived(config: StorageConfig) -> StorageConfig:
    """The same, but a probe is locked for a day at most: nobody needs it, and nobody could remove it."""
    lock, now = getattr(config, "object_lock", None), datetime.now(UTC)
    changed: dict[str, object] = {}
    if lock is not None and lock.until_at(now) > now + timedelta(days=1):
        changed["object_lock"] = ObjectLock(mode=lock.mode, days=1)
    if getattr(config, "legal_hold", False):
        changed["legal_hold"] = False
    return config.model_copy(update=changed)
