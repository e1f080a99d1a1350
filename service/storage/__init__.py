"""Where recordings go: one small protocol, one module a family, one contract suite over all of them."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from service.errors import SettingsError, add
from service.model import Attributes, Checksum, Part, Stored, Upload
from service.storage.config import (
    AzureConfig,
    GcsConfig,
    LocalConfig,
    S3Config,
    StorageConfig,
    parse_storage_config,
)

__all__ = ["LocalConfig", "S3Config", "Storage", "StorageConfig", "open_storage", "parse_storage_config"]


class Storage(Protocol):
    """A place for objects, each with a key (``/`` separates folders).

    Every method may be repeated. All raise the families of :class:`~service.errors.StorageError`; none tries
    again by itself.
    """

    @property
    def label(self) -> str:
        """The storage's name for logs, manifests and the ledger; no secret in it."""
        ...

    async def begin(self, key: str, attributes: Attributes) -> str:
        """Open a multipart session and return its id. Nothing is visible under ``key`` yet."""
        ...

    async def put_part(self, upload: Upload, number: int, body: memoryview, checksum: Checksum) -> str:
        """Store part ``number`` (from 1); returns the storage's receipt. Replaces a former try of the part.

        All parts but the last are ``upload.part_size`` long.
        """
        ...

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        """The numbers of those ``parts`` that are still as their receipts say. Raises ``UploadLost``."""
        ...

    async def complete(self, upload: Upload, parts: Sequence[Part], checksum: Checksum) -> Stored:
        """Make the object visible, whole; ``checksum`` is the whole object's.

        Repeated, or after an ambiguous answer, it settles by looking at the object. Raises ``UploadLost`` if
        there is neither session nor object, ``NameTaken`` if another file has the key, ``StorageMismatch``.
        """
        ...

    async def abort(self, upload: Upload) -> None:
        """End a session that will not be completed, and free its parts. One that is gone is fine."""
        ...

    async def uploads(self, key: str) -> list[str]:
        """The ids of the sessions that are open for exactly ``key``."""
        ...

    async def put(
        self,
        key: str,
        body: memoryview,
        *,
        checksum: Checksum,
        attributes: Attributes,
        replace: bool,
    ) -> Stored:
        """Store an object of at most one part's size, at once.

        Unless ``replace``, an object of another artifact is left as it is: raises ``NameTaken``.
        """
        ...

    async def stat(self, key: str) -> Stored | None:
        """What lies under ``key``, or None."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes, in order. Raises ``ObjectMissing``."""
        ...

    async def link(self, key: str, *, valid_s: float) -> str | None:
        """An address at which whoever has it may read the object for so many seconds, 7 days at most.

        It is a secret. None where this storage has none, or cannot sign one with what it was given.
        """
        ...

    async def remove(self, key: str) -> None:
        """Delete an object, for probes alone: what was archived stays. One that is gone is fine."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


async def open_storage(config: StorageConfig) -> Storage:
    """The storage that ``config`` describes, with only its own libraries imported. Asks nothing of it yet.

    Raises ``SettingsError`` if those libraries are not installed.
    """
    try:
        return await _opened(config)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a storage of type {config.type} needs the package {error.name}",
            mend=add(config.type),
        ) from error


async def _opened(config: StorageConfig) -> Storage:
    if isinstance(config, LocalConfig):
        from service.storage.local import LocalStorage

        return LocalStorage(config)
    if isinstance(config, S3Config):
        from service.storage.s3 import S3Storage

        return await S3Storage.open(config)
    if isinstance(config, AzureConfig):
        from service.storage.azure import AzureStorage

        return await AzureStorage.open(config)
    if isinstance(config, GcsConfig):
        from service.storage.gcs import GcsStorage

        return await GcsStorage.open(config)
    from service.storage.sftp import SftpStorage

    return await SftpStorage.open(config)
