"""The S3 API: AWS, Spaces, R2 and any compatible store, with multipart driven by hand.

Sources: the S3 API reference (multipart limits, checksums, conditional writes); what stores do to the unwary
is listed where it is dealt with.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from awscrt.checksums import crc64nvme

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageMismatch,
    StorageUnavailable,
    UploadLost,
)
from service.model import Attributes, Checksum, Part, Stored, Upload, owner_in
from service.storage.body import PartBody
from service.storage.config import S3Config
from service.storage.s3_attributes import ObjectOptions
from service.storage.s3_client import open_client
from service.storage.s3_errors import translated

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_READ_SIZE = 256 * 1024
_PATIENCE_S = 60.0
_SLOWEST = 64 * 1024
"""Bytes a second below which a body is given up: the SDK's own time-outs begin when all of it was sent."""


class S3Storage:
    """A bucket. Retries are the caller's: the SDK makes one attempt a call, signed anew each time."""

    def __init__(self, config: S3Config, client: "S3Client", resources: AsyncExitStack) -> None:
        self.label = config.label
        self._client = client
        self._resources = resources
        self._bucket = config.bucket
        self._prefix = f"{config.path}/" if config.path else ""
        self._check = config.check
        # Where the store does not refuse a name that is taken, it is looked at just before it is taken.
        self._conditional = config.takes_names_atomically
        self._options = ObjectOptions(config)
        # What is locked needs a checksum whose algorithm is named, too (S3 API reference, PutObject).
        locked = config.object_lock is not None or config.legal_hold
        self._algorithm = {"ChecksumAlgorithm": "CRC64NVME"} if locked else {}

    @classmethod
    async def open(cls, config: S3Config) -> Self:
        """Make the client. Nothing is asked of the store yet."""
        resources = AsyncExitStack()
        return cls(config, await open_client(config, resources), resources)

    async def begin(self, key: str, attributes: Attributes) -> str:
        """See :class:`~service.storage.Storage`."""
        with translated(asked=self._options.named):
            answer = await self._client.create_multipart_upload(
                **self._at(key),
                **self._options.of(attributes),
                **self._when_whole(ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"),
            )
        return answer["UploadId"]

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`."""
        guard = await self._guard(body, checksum)
        with translated():
            async with _patience(body):
                answer = await self._client.upload_part(
                    **self._at(upload.key),
                    UploadId=upload.id,
                    PartNumber=number,
                    Body=PartBody(body),  # type: ignore[arg-type]  # botocore needs read, seek and tell alone
                    **guard,
                )
        return answer["ETag"]

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """See :class:`~service.storage.Storage`."""
        found = await self._list(upload)
        return frozenset(
            part.number for part in parts if found.get(part.number) == (part.size, _bare(part.receipt))
        )

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        size = sum(part.size for part in parts)
        if not self._conditional:
            await self._refuse_if_taken(upload.key, upload.attributes.artifact_id)
        try:
            with translated():
                await self._client.complete_multipart_upload(
                    **self._at(upload.key),
                    UploadId=upload.id,
                    MultipartUpload={"Parts": [self._completed(part) for part in parts]},
                    **self._when_whole(
                        ChecksumCRC64NVME=_base64(checksum.crc64nvme), ChecksumType="FULL_OBJECT"
                    ),
                    **self._when_conditional(),
                )
        except (UploadLost, StorageUnavailable, NameTaken):
            # It may have succeeded, now or in a former life: the object itself tells.
            found = await self.stat(upload.key)
            owner, etag = upload.attributes.artifact_id, _etag_of(parts)
            if found is None or not await self._is_this(found, size, checksum, owner, etag=etag):
                raise
            # It may have come of another session than this one.
            await self.abort(upload)
            return found
        return await self._confirmed(upload.key, size, checksum, upload.attributes.artifact_id)

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._abort(self._prefix + upload.key, upload.id)

    async def uploads(self, key: str) -> list[str]:
        """See :class:`~service.storage.Storage`."""
        full_key = self._prefix + key
        found = await self._list_uploads(full_key)
        return [upload_id for found_key, upload_id in found if found_key == full_key]

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
        if not replace and not self._conditional:
            await self._refuse_if_taken(key, attributes.artifact_id)
        guard = await self._guard(body, checksum)
        try:
            with translated(asked=self._options.named):
                async with _patience(body):
                    await self._client.put_object(
                        **self._at(key),
                        Body=PartBody(body),  # type: ignore[arg-type]  # as in put_part
                        **self._options.of(attributes, replaceable=replace),
                        **guard,
                        **({} if replace else self._when_conditional()),
                    )
        except NameTaken:
            found = await self.stat(key)
            owner, etag = attributes.artifact_id, hashlib.md5(body, usedforsecurity=False).hexdigest()
            if found is None or not await self._is_this(found, len(body), checksum, owner, etag=etag):
                raise
            return found
        return await self._confirmed(key, len(body), checksum, attributes.artifact_id)

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`."""
        try:
            with translated():
                found = await self._client.head_object(
                    **self._at(key), **self._when_whole(ChecksumMode="ENABLED")
                )
        except ObjectMissing:
            return None
        crc = found.get("ChecksumCRC64NVME")
        return Stored(
            key=key,
            size=found["ContentLength"],
            etag=found.get("ETag", ""),
            crc64nvme=int.from_bytes(base64.b64decode(crc)) if crc else None,
            artifact_id=owner_in(found["Metadata"]),
        )

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        with translated():
            answer = await self._client.get_object(**self._at(key))
            body = answer["Body"]
            async with body:  # which gives aiohttp's own response, not the body
                async for chunk in body.iter_chunks(_READ_SIZE):
                    yield chunk

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """See :class:`~service.storage.Storage`. One signed by temporary keys ends with them."""
        with translated():
            return await self._client.generate_presigned_url(
                "get_object", Params=self._at(key), ExpiresIn=int(valid_s)
            )

    async def remove(self, key: str) -> None:
        """See :class:`~service.storage.Storage`."""
        with translated():
            await self._client.delete_object(**self._at(key))

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._resources.aclose()

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _guard(self, body: memoryview, checksum: Checksum) -> dict[str, Any]:
        """What the store verifies these bytes by."""
        if self._check == "crc64nvme":
            return {"ChecksumCRC64NVME": _base64(checksum.crc64nvme)} | self._algorithm
        return {"ContentMD5": await _md5(body)} if self._check == "md5" else {}

    async def _is_this(
        self, found: Stored, size: int, checksum: Checksum, artifact_id: str, *, etag: str | None
    ) -> bool:
        """Whether an object is the file, for certain; ``etag`` is what it would have without a KMS key."""
        if not _is(found, size, checksum, artifact_id):
            return False
        if found.crc64nvme is not None or _bare(found.etag) == etag:
            return True
        crc = 0  # nothing tells but what is in it
        async for chunk in self.read(found.key):
            crc = crc64nvme(chunk, crc)
        return crc == checksum.crc64nvme

    def _when_whole(self, **options: Any) -> dict[str, Any]:
        """``options`` where the store verifies the whole object too."""
        return options if self._check == "crc64nvme" else {}

    def _when_conditional(self) -> dict[str, Any]:
        return {"IfNoneMatch": "*"} if self._conditional else {}

    def _completed(self, part: Part) -> Any:
        checksum = self._when_whole(ChecksumCRC64NVME=_base64(part.checksum.crc64nvme))
        return {"PartNumber": part.number, "ETag": part.receipt, **checksum}

    async def _list(self, upload: Upload) -> Mapping[int, tuple[int, str]]:
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            with translated():
                page = await self._client.list_parts(
                    **self._at(upload.key), UploadId=upload.id, PartNumberMarker=marker
                )
            for part in page.get("Parts", []):
                found[part["PartNumber"]] = (part["Size"], _bare(part["ETag"]))
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or following <= marker:
                return found
            marker = following

    async def _list_uploads(self, prefix: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        markers: dict[str, str] = {}
        while True:
            with translated():
                page = await self._client.list_multipart_uploads(
                    Bucket=self._bucket,
                    Prefix=prefix,
                    MaxUploads=1000,  # as S3 has it; others put up to ten thousand on a page
                    **markers,  # type: ignore[arg-type]  # names of parameters
                )
            found += [(each["Key"], each["UploadId"]) for each in page.get("Uploads", [])]
            following = {
                "KeyMarker": page.get("NextKeyMarker"),
                "UploadIdMarker": page.get("NextUploadIdMarker"),
            }
            # Some stores go on from an upload alone.
            following = {name: marker for name, marker in following.items() if marker}
            if not page.get("IsTruncated") or not following or following == markers:
                return found
            markers = following

    async def _refuse_if_taken(self, key: str, artifact_id: str) -> None:
        found = await self.stat(key)
        if found is not None and found.artifact_id != artifact_id:
            raise NameTaken(key)

    async def _confirmed(self, key: str, size: int, checksum: Checksum, artifact_id: str) -> Stored:
        found = await self.stat(key)
        if found is None:
            raise StorageUnavailable("the object is not there after it was confirmed")
        if found.artifact_id not in (artifact_id, None):
            raise NameTaken(key)  # at the same moment, where the store does not guard names itself
        if not _is(found, size, checksum, artifact_id):
            raise StorageMismatch(f"{found.size} bytes stored, {size} bytes sent")
        return found

    async def _abort(self, full_key: str, upload_id: str) -> None:
        with contextlib.suppress(UploadLost), translated():
            await self._client.abort_multipart_upload(Bucket=self._bucket, Key=full_key, UploadId=upload_id)


def _is(found: Stored, size: int, checksum: Checksum, artifact_id: str) -> bool:
    """Whether an object is the one meant, as far as the store tells."""
    return (
        found.size == size
        and found.artifact_id in (artifact_id, None)
        and found.crc64nvme in (checksum.crc64nvme, None)
    )


def _etag_of(parts: Sequence[Part]) -> str | None:
    """What S3 makes of the parts' MD5s, which their receipts are unless a KMS key encrypts."""
    try:
        digests = b"".join(bytes.fromhex(_bare(part.receipt)) for part in parts)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _base64(checksum: int) -> str:
    return base64.b64encode(checksum.to_bytes(8)).decode()


def _bare(etag: str) -> str:
    """Some stores quote an ETag in one answer and not in the other."""
    return etag.strip('"')


async def _md5(body: memoryview) -> str:
    """Content-MD5, a slice a turn of the loop: whole parts would keep others waiting."""
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(body), _READ_SIZE):
        digest.update(body[start : start + _READ_SIZE])
        await asyncio.sleep(0)
    return base64.b64encode(digest.digest()).decode()


def _patience(body: memoryview) -> asyncio.Timeout:
    """How long a body may take; the answer to it, and leave to send it, too."""
    return asyncio.timeout(_PATIENCE_S + len(body) / _SLOWEST)
