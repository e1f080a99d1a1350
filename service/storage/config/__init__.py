"""The customer's ``storage_config``, as the provider documents it, read into frozen values.

Field names and quirks are the provider's (REST spec ``StorageConfig`` and its guide): ``secret`` or
``secret_key``, blank strings for what does not apply, upper-case Spaces regions, ``/`` for the root. Beside
them stand this service's own, such as ``endpoint_url``, and ``{"type": "local"}``. None of these modules
imports a storage's library.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from service.storage.config.azure import AzureConfig
from service.storage.config.gcs import GcsConfig, asks_by_hmac_key
from service.storage.config.local import LocalConfig
from service.storage.config.s3 import S3Config
from service.storage.config.sftp import SftpConfig

__all__ = [
    "AzureConfig",
    "GcsConfig",
    "LocalConfig",
    "S3Config",
    "SftpConfig",
    "StorageConfig",
    "parse_storage_config",
]

StorageConfig = LocalConfig | S3Config | AzureConfig | GcsConfig | SftpConfig


def _kind(given: Any) -> str | None:
    """Which of the configs a ``storage_config`` is; None if it does not say."""
    if not isinstance(given, dict) or "type" not in given:
        return None
    kind = given["type"] if isinstance(given["type"], str) else ""
    if kind in ("aws", "digitalocean", "cloudflare") or (kind == "gcs" and asks_by_hmac_key(given)):
        return "s3 api"
    return kind


_ADAPTER: TypeAdapter[StorageConfig] = TypeAdapter(
    Annotated[
        Annotated[LocalConfig, Tag("local")]
        | Annotated[S3Config, Tag("s3 api")]
        | Annotated[AzureConfig, Tag("azure")]
        | Annotated[GcsConfig, Tag("gcs")]
        | Annotated[SftpConfig, Tag("sftp")],
        Discriminator(_kind),
    ]
)


def parse_storage_config(given: object) -> StorageConfig:
    """Read a decoded ``storage_config``. Raises ValueError, one line a fault: the field and what is wrong."""
    try:
        return _ADAPTER.validate_python(given)
    except ValidationError as error:
        raise ValueError("\n".join(line for fault in error.errors() for line in _faults(fault))) from None


def _faults(fault: Any) -> list[str]:
    kind, field = fault["type"], ".".join(str(part) for part in fault["loc"][1:])
    if kind == "union_tag_invalid":
        return ["type: is not one of aws, digitalocean, cloudflare, azure, gcs, sftp, local"]
    if kind == "union_tag_not_found":
        return ["type: is missing"]
    if kind == "missing":
        return [f"{field}: is missing"]
    if kind == "extra_forbidden":
        return [f"{field}: is not a field of this type"]
    lines = str(fault["msg"]).removeprefix("Value error, ").splitlines()
    return [f"{field}: {line}" if field else line for line in lines]
