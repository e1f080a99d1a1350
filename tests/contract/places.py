"""Where the storage contract is tried, and the file that is stored there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.model import Attributes, Checksum, Part, Stored, Upload
from service.storage import Storage, open_storage, parse_storage_config
from service.transfer import checksum_of, whole_checksum
from tests.doubles.content import Content

PART = 5 * 1024 * 1024
"""The least that S3 allows for any part but the last."""


@dataclass(frozen=True)
class Place:
    """A place that this test has to itself; every `open` is another process's view of it."""

    config: Mapping[str, Any]
    sessions: Callable[[], int]
    """How many multipart sessions lie there, looked at from outside."""
    objects: Callable[[], dict[str, int]]
    """Key and size of everything visible there, looked at from outside."""
    knows_lost_uploads: bool = True
    """False: it fails with 500 where it should say that it does not know the upload, as Moto does."""
    replaces_parts: bool = True
    """False: an upload is lost if a part of it is stored again with other bytes, as in `rclone serve s3`."""
    takes_any_part: bool = True
    """False: it completes no upload whose parts, but for the last, are under 5 MiB, as S3 has it."""
    takes_parts_of_lost_uploads: bool = False
    """True: it takes a part of an upload that has ended, and tells when that is completed, as Azure does."""
    described: Callable[[str], tuple[str, Mapping[str, str]]] | None = None
    """Content type and metadata of an object, looked at from outside; None where a store has none."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Storage]:
        """Another storage of its own for the same place."""
        storage = await open_storage(parse_storage_config(self.config))
        try:
            yield storage
        finally:
            await storage.close()


@dataclass(frozen=True)
class File:
    """What an artifact is made of, cut into parts of `PART` bytes."""

    size: int = PART + 1
    key: str = "call.mp4"
    artifact_id: str = "recording/video"
    seed: int = 1

    @cached_property
    def body(self) -> memoryview:
        """All its bytes."""
        return memoryview(Content(self.seed, self.size).read())

    @property
    def attributes(self) -> Attributes:
        """What it carries."""
        return Attributes(self.artifact_id, "video/mp4", "recording", "meeting", "session")

    @property
    def checksum(self) -> Checksum:
        """Of all its bytes."""
        return checksum_of(self.body)

    @property
    def numbers(self) -> range:
        """Of its parts."""
        return range(1, -(-self.size // PART) + 1)

    def piece(self, number: int) -> memoryview:
        """The bytes of one part."""
        return self.body[(number - 1) * PART : number * PART]

    async def begin(self, storage: Storage) -> Upload:
        """Open a session for it."""
        upload_id = await storage.begin(self.key, self.attributes)
        return Upload(upload_id, self.key, PART, self.size, self.attributes)

    async def send(self, storage: Storage, upload: Upload, number: int) -> Part:
        """Store one part."""
        piece = self.piece(number)
        checksum = checksum_of(piece)
        return Part(number, len(piece), checksum, await storage.put_part(upload, number, piece, checksum))

    async def send_all(self, storage: Storage, upload: Upload) -> list[Part]:
        """Store every part, all at once."""
        return list(await asyncio.gather(*(self.send(storage, upload, number) for number in self.numbers)))

    async def store(self, storage: Storage) -> Stored:
        """From begin to complete."""
        upload = await self.begin(storage)
        parts = await self.send_all(storage, upload)
        return await storage.complete(upload, parts, whole_checksum(parts))

    async def put(self, storage: Storage, *, replace: bool = False) -> Stored:
        """Store it in one request."""
        return await storage.put(
            self.key,
            self.body,
            checksum=self.checksum,
            attributes=self.attributes,
            replace=replace,
        )


async def abort_all(storage: Storage, key: str) -> int:
    """Abort what is open for a key; how many there were."""
    found = await storage.uploads(key)
    for upload_id in found:
        await storage.abort(Upload(upload_id, key, PART, None, File().attributes))
    return len(found)


async def read(storage: Storage, key: str) -> bytes:
    """What lies under `key`."""
    return b"".join([bytes(chunk) async for chunk in storage.read(key)])
