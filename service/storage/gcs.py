"""Google Cloud Storage: parts are objects of their own, composed into one without moving a byte again.

Source: https://cloud.google.com/storage/docs/composite-objects. Every part and the whole are compared by
CRC-32C, which Google computes of what it holds. Temporary objects lie beside the files in a folder of their
own, :data:`~service.storage.gcs_session.PARTS_FOLDER`, and are deleted when the file is complete.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

from service.errors import NameTaken, ObjectMissing, StorageUnavailable, UploadLost
from service.model import Attributes, Checksum, Part, Stored, Upload, owner_in
from service.storage.config import GcsConfig
from service.storage.gcs_api import GcsApi, GcsObject
from service.storage.gcs_errors import Kept
from service.storage.gcs_session import STANDARD, GcsSession

_CRC64NVME = "crc64nvme"


class GcsStorage:
    """A bucket, asked through the JSON API."""

    def __init__(
        self, config: GcsConfig, api: GcsApi, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.label = config.label
        self._api = api
        self._prefix = f"{config.path}/" if config.path else ""
        self._storage_class = config.storage_class
        self._lock = config.object_lock
        self._legal_hold = config.legal_hold
        self._now = now
        self._known: set[str] = set()  # sessions that were there when this process looked

    @classmethod
    async def open(cls, config: GcsConfig) -> Self:
        """Make the client. Nothing is asked yet, neither of the bucket nor of the token's server.

        Raises ``SettingsError`` if the service account's key cannot be read.
        """
        return cls(config, GcsApi(config))

    async def begin(self, key: str, attributes: Attributes) -> str:
        """See :class:`~service.storage.Storage`."""
        upload_id = secrets.token_hex(8)
        session = GcsSession.of(self._api, self._prefix, key, upload_id)
        await session.begin({"key": quote(key), **attributes.metadata})
        self._known.add(upload_id)
        return upload_id

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`."""
        session = self._session(upload)
        if upload.id not in self._known:
            await session.marker()
            self._known.add(upload.id)
        return await session.store(number, body, checksum)

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """See :class:`~service.storage.Storage`."""
        return await self._session(upload).confirm(parts)

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        name, owner = self._prefix + upload.key, upload.attributes.artifact_id
        size = sum(part.size for part in parts)
        found = await self._api.find(name)
        if found is None:
            try:
                found = await self._made(name, upload, parts, checksum)
            except (UploadLost, NameTaken, ObjectMissing, StorageUnavailable) as error:
                # It may have succeeded all the same, or somebody else did it: the object itself tells.
                found = await self._api.find(name)
                if found is None or not _is(found, size, checksum, owner):
                    if isinstance(error, ObjectMissing):
                        raise UploadLost("a part is gone") from error
                    raise
            await self._api.check(found, size, checksum.crc32c)
        elif not _is(found, size, checksum, owner):
            raise NameTaken(upload.key)
        # Only what is known to be whole is locked: nobody could delete it.
        found = await self._locked(found)
        await self.abort(upload)
        return _stored(upload.key, found)

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`."""
        self._known.discard(upload.id)
        await self._session(upload).sweep()

    async def uploads(self, key: str) -> list[str]:
        """See :class:`~service.storage.Storage`."""
        return await GcsSession.all_of(self._api, self._prefix, key)

    async def put(
        self,
        key: str,
        body: memoryview,
        *,
        checksum: Checksum,
        attributes: Attributes,
        replace: bool,
    ) -> Stored:
        """See :class:`~service.storage.Storage`.

        What may be replaced is not locked, which would forbid just that, and is of the bucket's own class:
        it is small and read again.
        """
        name = self._prefix + key
        described = _described(attributes, checksum, "" if replace else self._storage_class)
        if not replace:
            described |= self._lock_fields()
        try:
            found = await self._api.insert(name, body, checksum.crc32c, replace=replace, **described)
        except (NameTaken, Kept):
            there = await self._api.find(name)
            if there is None or not _is(there, len(body), checksum, attributes.artifact_id):
                raise
            return _stored(key, there)
        await self._api.check(found, len(body), checksum.crc32c)
        return _stored(key, found)

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`."""
        found = await self._api.find(self._prefix + key)
        return _stored(key, found) if found else None

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        async for chunk in self._api.read(self._prefix + key):
            yield chunk

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """See :class:`~service.storage.Storage`. Only a service account's key signs one."""
        return self._api.link(self._prefix + key, valid_s=valid_s, at=self._now())

    async def remove(self, key: str) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._api.delete(self._prefix + key)

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._api.close()

    def _session(self, upload: Upload) -> GcsSession:
        return GcsSession.of(self._api, self._prefix, upload.key, upload.id)

    async def _made(self, name: str, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> GcsObject:
        """The file, under its own name, of its parts."""
        session = self._session(upload)
        marker = await session.marker()
        storage_class = self._storage_class or marker.storage_class
        described = _described(upload.attributes, checksum, storage_class)
        nodes = await session.joined(parts)
        if storage_class in (STANDARD, ""):
            return await self._api.compose(name, nodes, **described)
        # What is composed has to be of its parts' class; only a copy within Google can be of another.
        return await self._api.rewrite(name, await session.whole(nodes), **described)

    async def _locked(self, found: GcsObject) -> GcsObject:
        """The object with the retention and the hold of the storage config, where it has them not yet."""
        there = {"retention": found.is_retained, "temporaryHold": found.is_held}
        missing = {name: value for name, value in self._lock_fields().items() if not there[name]}
        return await self._api.patch(found, **missing) if missing else found

    def _lock_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self._lock is not None:
            mode = "Locked" if self._lock.mode == "COMPLIANCE" else "Unlocked"
            until = self._lock.until_at(self._now()).astimezone(UTC)
            fields["retention"] = {"mode": mode, "retainUntilTime": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if self._legal_hold:
            fields["temporaryHold"] = True
        return fields


def _described(attributes: Attributes, checksum: Checksum, storage_class: str) -> dict[str, Any]:
    metadata = attributes.metadata | {_CRC64NVME: f"{checksum.crc64nvme:016x}"}
    described: dict[str, Any] = {"contentType": attributes.content_type, "metadata": metadata}
    return described | ({"storageClass": storage_class} if storage_class else {})


def _is(found: GcsObject, size: int, checksum: Checksum, artifact_id: str) -> bool:
    """Whether an object is the one meant."""
    return (found.size, found.crc32c, owner_in(found.metadata)) == (size, checksum.crc32c, artifact_id)


def _stored(key: str, found: GcsObject) -> Stored:
    try:
        crc64nvme = int(found.metadata.get(_CRC64NVME, ""), 16)
    except ValueError:
        crc64nvme = None
    return Stored(key, found.size, found.etag, crc64nvme, owner_in(found.metadata))
