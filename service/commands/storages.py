"""A configured storage as the provider takes it, for a recording that it shall put there itself. Pure.

Field names and types: ``StorageConfig`` of Dyte's REST specification v2, and the guides "Upload recording to
your cloud" of Dyte and of Cloudflare RealtimeKit, which alone knows R2. Secrets are in what these functions
return, for the request's body and nothing else.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from service.errors import SettingsError
from service.model import Provider
from service.storage.config import (
    AzureConfig,
    GcsConfig,
    LocalConfig,
    S3Config,
    SftpConfig,
    StorageConfig,
)

_KNOWN: Final = {
    "type", "access_key", "secret", "bucket", "region", "path", "account_id",
    "host", "port", "username", "password", "private_key", "auth_method",
}  # fmt: skip
_OWN: Final = {
    "addressing", "checksum", "conditional_writes", "account_name",
    "known_hosts", "host_key_fingerprint", "trust_host_key",
}  # fmt: skip
"""How this service speaks to a storage: nothing is lost where the provider does without."""
_NO_IDENTITY = "it has no keys: this machine's own identity is of no use to the provider"


def storage_named(storages: Mapping[str, StorageConfig], name: str | None) -> StorageConfig:
    """The storage of that name, or the only one. Raises :class:`SettingsError`."""
    every = ", ".join(storages)
    if name is None:
        if len(storages) > 1:
            raise SettingsError("there are several storages", mend=f"say --storage, one of {every}")
        return next(iter(storages.values()))
    if name not in storages:
        raise SettingsError(f"there is no storage {name!r}", mend=f"--storage is one of {every}")
    return storages[name]


def for_provider(config: StorageConfig, provider: Provider | None) -> dict[str, Any]:
    """The ``storage_config`` to send: the provider's own field names, secrets included.

    Raises :class:`SettingsError` for what the provider could not write to.
    """
    sent = {name: value for name, value in _sent(config, provider).items() if value is not None}
    return {"type": config.type, **sent}


def unknown_to_provider(config: StorageConfig) -> list[str]:
    """The fields of a config that the provider does not have: what it stores there is without them."""
    return sorted(
        name
        for name in config.model_fields_set
        if name not in _KNOWN | _OWN and getattr(config, name) not in ("", None, False)
    )


def _sent(config: StorageConfig, provider: Provider | None) -> dict[str, Any]:
    match config:
        case LocalConfig():
            raise _refused(config, "it is a folder of this machine, of which the provider knows nothing")
        case S3Config():
            return _s3(config, provider)
        case AzureConfig():
            return _azure(config)
        case GcsConfig():
            return _gcs(config)
        case SftpConfig():
            return _sftp(config)


def _s3(config: S3Config, provider: Provider | None) -> dict[str, Any]:
    if config.type == "gcs":
        raise _refused(config, "the provider takes a service account's key as secret, not HMAC keys")
    if config.type == "cloudflare" and provider is Provider.DYTE:
        raise _refused(config, "Dyte does not know Cloudflare R2; RealtimeKit does")
    if config.endpoint_url:
        raise _refused(config, "the provider does not know endpoint_url, and would write elsewhere")
    if config.session_token:
        raise _refused(config, "the provider does not know session_token: temporary keys do not work there")
    if config.access_key is None or config.secret is None:
        raise _refused(config, _NO_IDENTITY)
    return {
        "access_key": config.access_key.get_secret_value(),
        "secret": config.secret.get_secret_value(),
        "bucket": config.bucket,
        "region": config.region or ("auto" if config.type == "cloudflare" else None),
        "account_id": config.account_id or None if config.type == "cloudflare" else None,
        "path": config.path or None,
    }


def _azure(config: AzureConfig) -> dict[str, Any]:
    if config.access_key is None:
        raise _refused(config, _NO_IDENTITY)
    if config.endpoint_url:
        raise _refused(config, "the provider does not know endpoint_url; a BlobEndpoint in access_key it may")
    return {
        "access_key": config.access_key.get_secret_value(),
        "secret": "",
        "bucket": config.bucket,
        "region": "",
        "path": config.path or None,
    }


def _gcs(config: GcsConfig) -> dict[str, Any]:
    if config.credential is None:
        raise _refused(config, _NO_IDENTITY)
    if config.endpoint_url:
        raise _refused(config, "the provider does not know endpoint_url, and would write elsewhere")
    return {
        "secret": json.dumps(config.credential),
        "bucket": config.bucket,
        "region": config.region or None,
        "path": config.path or None,
    }


def _sftp(config: SftpConfig) -> dict[str, Any]:
    # Only what the method of logging in needs: no password goes where a key is meant, but its passphrase.
    return {
        "host": config.host,
        "port": config.port,
        "username": config.username,
        "auth_method": "KEY" if config.uses_key else "PASSWORD",
        "password": config.password.get_secret_value() if config.password else None,
        "private_key": config.private_key.get_secret_value()
        if config.private_key and config.uses_key
        else None,
        "path": config.path or None,
    }


def _refused(config: StorageConfig, why: str) -> SettingsError:
    return SettingsError(
        f"the provider cannot be given the storage {config.label}: {why}",
        mend="leave --with-storage-config out: the service archives the recording there in any case",
    )
