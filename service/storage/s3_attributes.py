"""What every object of a bucket carries, as PutObject and CreateMultipartUpload take it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from service.model import Attributes
from service.storage.config import S3Config


class ObjectOptions:
    """The attributes of the storage config beside those of the object itself. Never an ACL."""

    def __init__(self, config: S3Config, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._lock = config.object_lock
        self._storage_class = config.storage_class
        self._now = now
        options: dict[str, Any] = {
            "ServerSideEncryption": config.encryption,
            "SSEKMSKeyId": config.kms_key_id,
            "BucketKeyEnabled": config.bucket_key,
            "Tagging": urlencode(config.tags),
            "ObjectLockLegalHoldStatus": "ON" if config.legal_hold else "",
        }
        self._always = {name: value for name, value in options.items() if value not in ("", None)}
        fields = (
            "storage_class",
            "encryption",
            "kms_key_id",
            "bucket_key",
            "tags",
            "object_lock",
            "legal_hold",
        )
        self.named = ", ".join(field for field in fields if getattr(config, field))
        """The fields of the storage config that are asked for."""

    def of(self, attributes: Attributes, *, replaceable: bool = False) -> dict[str, Any]:
        """The parameters for one object that is stored now.

        What may be replaced is small and read again: it stays out of ``storage_class``, where reading may
        take hours and every object costs a least size.
        """
        options = self._always | {"ContentType": attributes.content_type, "Metadata": attributes.metadata}
        if self._lock is not None:
            options["ObjectLockMode"] = self._lock.mode
            options["ObjectLockRetainUntilDate"] = self._lock.until_at(self._now())
        if self._storage_class and not replaceable:
            options["StorageClass"] = self._storage_class
        return options
