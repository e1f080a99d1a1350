"""The S3 API: AWS, Spaces, R2 and any compatible store, with multipart driven by hand.

Sources: the S3 API reference (multipart limits, checksums, conditional writes); what stores do to the unwary
is listed where it is dealt with.
"""

import base64
import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageMismatch,
    StorageUnavailable,
    UploadLost,
)
from service.model import Checksum, Part, Stored, Upload
from service.storage.body import PartBody
from service.storage.config import S3Config
from service.storage.s3_errors import translate_answer, translate_failure

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_OWNER = "dyte-archiver-artifact"
"""The metadata key that tells whose an object is."""
_CONNECTIONS = 64
_TRUST = "if the store's certificate is not from a public authority, name that in AWS_CA_BUNDLE"


class S3Storage:
    """A bucket. Retries are the caller's: the SDK makes one attempt a call, signed anew each time."""

    def __init__(self, config: S3Config, client: "S3Client", resources: AsyncExitStack) -> None:
        self.label = config.label
        self._client = client
        self._resources = resources
        self._bucket = config.bucket
        self._prefix = f"{config.path}/" if config.path else ""
        self._checked = config.verifies_checksums
        # Documented for AWS alone; elsewhere the name is looked at just before it is taken.
        self._conditional = config.endpoint is None

    @classmethod
    async def open(cls, config: S3Config) -> Self:
        """Make the client. Nothing is asked of the store yet."""
        encrypted = (config.endpoint or "https").startswith("https")
        options = AioConfig(
            signature_version="s3v4",
            retries={"total_max_attempts": 1},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            # botocore's own checksums, which some stores refuse, only where an operation insists on one.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "addressing_style": config.addressing or ("path" if config.endpoint_url else "virtual"),
                # SHA-256 of the payload is signed only where nothing else guards the bytes on their way.
                "payload_signing_enabled": not (encrypted or config.verifies_checksums),
            },
        )
        resources = AsyncExitStack()
        session = aioboto3.Session(
            aws_access_key_id=config.access_key.get_secret_value(),
            aws_secret_access_key=config.secret.get_secret_value(),
            region_name=config.signing_region,
        )
        with _translated():
            client = await resources.enter_async_context(
                session.client("s3", endpoint_url=config.endpoint, config=options)
            )
        return cls(config, client, resources)

    async def begin(self, key: str, *, artifact_id: str, content_type: str) -> str:
        """See :class:`~service.storage.Storage`."""
        with _translated():
            answer = await self._client.create_multipart_upload(
                **self._at(key),
                ContentType=content_type,
                Metadata={_OWNER: _quoted(artifact_id)},
                **self._when_checked(ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"),
            )
        return answer["UploadId"]

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`."""
        with _translated():
            answer = await self._client.upload_part(
                **self._at(upload.key),
                UploadId=upload.id,
                PartNumber=number,
                Body=PartBody(body),  # type: ignore[arg-type]  # botocore needs read, seek and tell alone
                **self._when_checked(ChecksumCRC64NVME=_base64(checksum.crc64nvme)),
            )
        return answer["ETag"]

    async def list_parts(self, upload: Upload) -> Mapping[int, tuple[int, str]]:
        """See :class:`~service.storage.Storage`."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            with _translated():
                page = await self._client.list_parts(
                    **self._at(upload.key), UploadId=upload.id, PartNumberMarker=marker
                )
            for part in page.get("Parts", []):
                found[part["PartNumber"]] = (part["Size"], part["ETag"])
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or following <= marker:
                return found
            marker = following

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        size = sum(part.size for part in parts)
        if not self._conditional:
            await self._refuse_if_taken(upload.key, upload.artifact_id)
        try:
            with _translated():
                await self._client.complete_multipart_upload(
                    **self._at(upload.key),
                    UploadId=upload.id,
                    MultipartUpload={"Parts": [self._completed(part) for part in parts]},
                    **self._when_checked(
                        ChecksumCRC64NVME=_base64(checksum.crc64nvme), ChecksumType="FULL_OBJECT"
                    ),
                    **self._when_conditional(),
                )
        except (UploadLost, StorageUnavailable, NameTaken):
            # It may have succeeded, now or in a former life: the object itself tells.
            found = await self.stat(upload.key)
            if found is None or not _is(found, size, checksum, upload.artifact_id):
                raise
            return found
        return await self._confirmed(upload.key, size, checksum, upload.artifact_id)

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._abort(self._prefix + upload.key, upload.id)

    async def abort_orphans(self, key: str) -> int:
        """See :class:`~service.storage.Storage`."""
        with _translated():
            page = await self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix + key)
        orphans = [found for found in page.get("Uploads", []) if found["Key"] == self._prefix + key]
        for found in orphans:
            await self._abort(found["Key"], found["UploadId"])
        return len(orphans)

    async def put(
        self,
        key: str,
        body: memoryview,
        *,
        checksum: Checksum,
        artifact_id: str,
        content_type: str,
        replace: bool,
    ) -> Stored:
        """See :class:`~service.storage.Storage`."""
        if not replace and not self._conditional:
            await self._refuse_if_taken(key, artifact_id)
        try:
            with _translated():
                await self._client.put_object(
                    **self._at(key),
                    Body=PartBody(body),  # type: ignore[arg-type]  # as in put_part
                    ContentType=content_type,
                    Metadata={_OWNER: _quoted(artifact_id)},
                    **self._when_checked(ChecksumCRC64NVME=_base64(checksum.crc64nvme)),
                    **({} if replace else self._when_conditional()),
                )
        except NameTaken:
            found = await self.stat(key)
            if found is None or not _is(found, len(body), checksum, artifact_id):
                raise
            return found
        return await self._confirmed(key, len(body), checksum, artifact_id)

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`."""
        try:
            with _translated():
                found = await self._client.head_object(
                    **self._at(key), **self._when_checked(ChecksumMode="ENABLED")
                )
        except ObjectMissing:
            return None
        crc = found.get("ChecksumCRC64NVME")
        owner = found["Metadata"].get(_OWNER)
        return Stored(
            key=key,
            size=found["ContentLength"],
            etag=found.get("ETag", ""),
            crc64nvme=int.from_bytes(base64.b64decode(crc)) if crc else None,
            artifact_id=urllib.parse.unquote(owner) if owner else None,
        )

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        with _translated():
            answer = await self._client.get_object(**self._at(key))
            body = answer["Body"]
            async with body:  # which gives aiohttp's own response, not the body
                async for chunk in body.iter_chunks(256 * 1024):
                    yield chunk

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._resources.aclose()

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _when_checked(self, **options: Any) -> dict[str, Any]:
        return options if self._checked else {}

    def _when_conditional(self) -> dict[str, Any]:
        return {"IfNoneMatch": "*"} if self._conditional else {}

    def _completed(self, part: Part) -> Any:
        checksum = self._when_checked(ChecksumCRC64NVME=_base64(part.checksum.crc64nvme))
        return {"PartNumber": part.number, "ETag": part.receipt, **checksum}

    async def _refuse_if_taken(self, key: str, artifact_id: str) -> None:
        found = await self.stat(key)
        if found is not None and found.artifact_id != artifact_id:
            raise NameTaken(key)

    async def _confirmed(self, key: str, size: int, checksum: Checksum, artifact_id: str) -> Stored:
        found = await self.stat(key)
        if found is None:
            raise StorageUnavailable("the object is not there after it was confirmed")
        if not _is(found, size, checksum, artifact_id):
            raise StorageMismatch(f"{found.size} bytes stored, {size} bytes sent")
        return found

    async def _abort(self, full_key: str, upload_id: str) -> None:
        with contextlib.suppress(UploadLost), _translated():
            await self._client.abort_multipart_upload(Bucket=self._bucket, Key=full_key, UploadId=upload_id)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise translate_answer(error) from error
    except (
        EndpointConnectionError,
        HTTPClientError,
        ResponseParserError,
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    ) as error:
        mend = _TRUST if isinstance(error, SSLError) else ""
        raise StorageUnavailable(type(error).__name__, mend=mend) from error
    except BotoCoreError as error:
        raise translate_failure(error) from error


def _is(found: Stored, size: int, checksum: Checksum, artifact_id: str) -> bool:
    """Whether an object is the one meant, as far as the store tells."""
    return (
        found.size == size
        and found.artifact_id in (artifact_id, None)
        and found.crc64nvme in (checksum.crc64nvme, None)
    )


def _base64(crc64nvme: int) -> str:
    return base64.b64encode(crc64nvme.to_bytes(8)).decode()


def _quoted(artifact_id: str) -> str:
    # Metadata is ASCII; an id need not be.
    return urllib.parse.quote(artifact_id, safe="/")
