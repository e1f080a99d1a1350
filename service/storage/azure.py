"""Azure Blob Storage: a file's parts are blocks, staged in parallel and committed at once.

Azure knows no upload sessions: uncommitted blocks hang on a blob's name until the name is committed, or for a
week. A session is made of them with a marker, a block that is never committed, whose id tells the session and
whose size whether it is open. Sources: the REST reference of Put Block, Put Block List and Get Block List.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobBlock, BlobSasPermissions, BlockState, generate_blob_sas
from azure.storage.blob.aio import BlobClient, ContainerClient

from service.errors import NameTaken, ObjectMissing, StorageMismatch, StorageUnavailable, UploadLost
from service.model import Attributes, Checksum, Part, Stored, Upload
from service.storage.azure_blob import (
    ENDED,
    OPEN,
    block_id,
    checked,
    combined,
    described,
    is_meant,
    marker_id,
    open_sessions,
    stored,
)
from service.storage.azure_errors import refusal_of, translate, unreadable
from service.storage.body import PartBody
from service.storage.config import AzureConfig

_READ_SIZE = 4 * 1024 * 1024
_PATIENCE_S = 120.0
_SLOWEST = 64 * 1024
"""Bytes a second below which a request is given up: the SDK's own time-outs do not see a body that stalls."""


class AzureStorage:
    """A container. Retries are the caller's: the SDK makes one attempt a call, signed anew each time.

    A part's receipt is its block's id, which has the part's checksum in it: a block listed under it is what
    was sent, and another try with other content has another id.
    """

    def __init__(
        self,
        config: AzureConfig,
        container: ContainerClient,
        resources: AsyncExitStack,
        now: Callable[[], datetime],
    ) -> None:
        self.label = config.label
        self._config = config
        self._container = container
        self._resources = resources
        self._now = now
        self._prefix = f"{config.path}/" if config.path else ""
        self._scope: dict[str, Any] = (
            {"encryption_scope": config.encryption_scope} if config.encryption_scope else {}
        )

    @classmethod
    async def open(
        cls, config: AzureConfig, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> Self:
        """Make the client. Nothing is asked of the store yet."""
        resources = AsyncExitStack()
        container = ContainerClient(
            config.endpoint,
            config.bucket,
            credential=await _credential(config, resources),
            retry_total=0,
            permit_redirects=False,
            connection_timeout=10,
            read_timeout=60,
            max_single_get_size=_READ_SIZE,
            max_chunk_get_size=_READ_SIZE,
        )
        await resources.enter_async_context(container)
        return cls(config, container, resources, now)

    async def begin(self, key: str, attributes: Attributes) -> str:
        """See :class:`~service.storage.Storage`."""
        upload_id = secrets.token_hex(8)
        await self._stage(key, marker_id(upload_id), memoryview(OPEN), {})
        return upload_id

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """See :class:`~service.storage.Storage`. Azure takes a part of an upload that has ended, too."""
        receipt = block_id(upload.id, number, checksum.crc64nvme)
        await self._stage(upload.key, receipt, body, await checked(self._config, body, checksum))
        return receipt

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """See :class:`~service.storage.Storage`."""
        staged = await self._staged(upload)
        return frozenset(part.number for part in parts if staged.get(part.receipt) == part.size)

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """See :class:`~service.storage.Storage`."""
        size = sum(part.size for part in parts)
        if combined(parts) != checksum.crc64nvme:
            raise StorageMismatch("the parts do not make up the file")
        blocks = [BlobBlock(part.receipt, state=BlockState.UNCOMMITTED) for part in parts]
        try:
            await self._staged(upload)  # Put Block List would not tell that the session has ended
            async with _asking("Put Block List"):
                await self._blob(upload.key).commit_block_list(
                    blocks,
                    match_condition=MatchConditions.IfMissing,
                    **self._described(upload.attributes, checksum, replaceable=False),
                )
        except (UploadLost, StorageUnavailable, NameTaken) as error:
            # It may have succeeded, now or in a former life: the blob itself tells.
            found = await self.stat(upload.key)
            if found is None:
                raise
            if not is_meant(found, size, checksum, upload.attributes):
                raise NameTaken(upload.key) from error
            return found
        return await self._confirmed(upload.key, size, checksum, upload.attributes)

    async def abort(self, upload: Upload) -> None:
        """See :class:`~service.storage.Storage`.

        The session ends. Its blocks go when the name is committed, or a week after the last one came: to free
        them at once, an empty blob would have to take the name and be deleted. That would show a file that is
        none, tear down what another worker stages there by now, and leave it where nothing can be deleted.
        """
        with contextlib.suppress(UploadLost, NameTaken):
            await self._staged(upload)
            await self._end(upload.key, upload.id)

    async def uploads(self, key: str) -> list[str]:
        """See :class:`~service.storage.Storage`."""
        try:
            return open_sessions(await self._blocks(key))
        except UploadLost:
            return []

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
        try:
            await self._put(key, body, checksum, attributes, replace=replace)
        except NameTaken as error:
            if replace:
                raise refusal_of(error) from error
            found = await self.stat(key)
            if found is None:  # only uncommitted blocks have the name
                return await self._put_as_block(key, body, checksum, attributes)
            if not is_meant(found, len(body), checksum, attributes):
                raise
            return found
        return await self._confirmed(key, len(body), checksum, attributes)

    async def stat(self, key: str) -> Stored | None:
        """See :class:`~service.storage.Storage`."""
        try:
            async with _asking("Get Blob Properties"):
                found = await self._blob(key).get_blob_properties()
        except ObjectMissing:
            return None
        if not found.blob_type:
            raise unreadable("Get Blob Properties")
        return stored(key, found)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See :class:`~service.storage.Storage`."""
        async with _asking("Get Blob"):
            chunks = (await self._blob(key).download_blob()).chunks()
        while True:
            async with _asking("Get Blob"):
                chunk = await anext(chunks, b"")
            if not chunk:
                return
            yield chunk

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """See :class:`~service.storage.Storage`. Only the account's key signs one."""
        known = self._config.connection
        if known is None or known.account_key is None:
            return None
        blob = self._blob(key)
        signed = generate_blob_sas(
            known.account_name,
            self._config.bucket,
            blob.blob_name,
            account_key=known.account_key.get_secret_value(),
            permission=BlobSasPermissions(read=True),
            expiry=self._now() + timedelta(seconds=valid_s),
        )
        return f"{blob.url}?{signed}"

    async def remove(self, key: str) -> None:
        """See :class:`~service.storage.Storage`."""
        with contextlib.suppress(ObjectMissing):
            async with _asking("Delete Blob"):
                await self._blob(key).delete_blob()

    async def close(self) -> None:
        """See :class:`~service.storage.Storage`."""
        await self._resources.aclose()

    def _blob(self, key: str) -> BlobClient:
        return self._container.get_blob_client(self._prefix + key)

    def _described(self, attributes: Attributes, checksum: Checksum, *, replaceable: bool) -> dict[str, Any]:
        return described(self._config, attributes, checksum, now=self._now(), replaceable=replaceable)

    async def _stage(self, key: str, receipt: str, body: memoryview, check: Mapping[str, str]) -> None:
        async with _asking("Put Block", len(body)):
            await self._blob(key).stage_block(
                receipt,
                PartBody(body),  # type: ignore[arg-type]  # the SDK hands it on to aiohttp as it is
                length=len(body),
                headers=dict(check),
                **self._scope,
            )

    async def _blocks(self, key: str) -> dict[str, int]:
        """Id and size of every uncommitted block under a name. Raises ``UploadLost`` if there is nothing."""
        async with _asking("Get Block List"):
            _, uncommitted = await self._blob(key).get_block_list("uncommitted")
        return {block.id: block.size for block in uncommitted}

    async def _staged(self, upload: Upload) -> dict[str, int]:
        """The same while the session is open. Raises ``UploadLost``."""
        blocks = await self._blocks(upload.key)
        if upload.id not in open_sessions(blocks):
            raise UploadLost(upload.key)
        return blocks

    async def _end(self, key: str, upload_id: str) -> None:
        await self._stage(key, marker_id(upload_id), memoryview(ENDED), {})

    async def _put(
        self, key: str, body: memoryview, checksum: Checksum, attributes: Attributes, *, replace: bool
    ) -> None:
        check = await checked(self._config, body, checksum)

        def fill(request: Any) -> None:
            # The SDK takes nothing but bytes here, for which the body would have to be copied.
            request.http_request.data = PartBody(body)
            request.http_request.headers["Content-Length"] = str(len(body))

        async with _asking("Put Blob", len(body)):
            await self._blob(key).upload_blob(
                b"",
                overwrite=replace,
                raw_request_hook=fill,
                headers=check,
                **self._described(attributes, checksum, replaceable=replace),
            )

    async def _put_as_block(
        self, key: str, body: memoryview, checksum: Checksum, attributes: Attributes
    ) -> Stored:
        """Store it as a file of one part, or of none: that takes a name which has uncommitted blocks."""
        upload = Upload(await self.begin(key, attributes), key, len(body), len(body), attributes)
        parts = []
        if body:
            receipt = await self.put_part(upload, 1, body, checksum)
            parts.append(Part(1, len(body), checksum, receipt))
        return await self.complete(upload, parts, checksum)

    async def _confirmed(self, key: str, size: int, checksum: Checksum, attributes: Attributes) -> Stored:
        found = await self.stat(key)
        if found is None:
            raise StorageUnavailable("the blob is not there after it was confirmed")
        if not is_meant(found, size, checksum, attributes):
            raise StorageMismatch(f"{found.size} bytes stored, {size} bytes sent")
        return found


async def _credential(config: AzureConfig, resources: AsyncExitStack) -> Any:
    known = config.connection
    if known is None:
        # A hundred modules that only a pod with an identity needs.
        from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415

        return await resources.enter_async_context(
            DefaultAzureCredential(
                exclude_shared_token_cache_credential=True,
                exclude_visual_studio_code_credential=True,
                exclude_cli_credential=True,
                exclude_developer_cli_credential=True,
                exclude_powershell_credential=True,
                retry_total=0,
            )
        )
    if known.account_key:
        return AzureNamedKeyCredential(known.account_name, known.account_key.get_secret_value())
    assert known.sas is not None  # or it would not have been parsed
    return AzureSasCredential(known.sas.get_secret_value())


@contextlib.asynccontextmanager
async def _asking(operation: str, size: int = 0) -> AsyncIterator[None]:
    """One request, named as in the REST reference, with a body of ``size`` bytes; its errors translated."""
    try:
        async with asyncio.timeout(_PATIENCE_S + size / _SLOWEST):
            yield
    except AzureError as error:
        raise translate(error, operation) from error
    except OSError as error:  # a time-out is one
        raise StorageUnavailable(f"{operation}: {type(error).__name__}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK stumbles over an answer that it takes for Azure's.
        raise unreadable(operation) from error
