"""What an answer of Google's JSON API, or a connection to it, means for trying again, and what to mend.

Source: https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
)

BUCKET = "create the bucket, or correct `bucket` in the storage config"
_TRUST = "if the server's certificate is not from a public authority, name that in SSL_CERT_FILE"

_THROTTLES = {"rateLimitExceeded", "userRateLimitExceeded"}
_KEPT = {"retentionPolicyNotMet", "objectUnderActiveHold"}
_MEND_REASON = {
    "accountDisabled": "enable billing for the bucket's project",
    "quotaExceeded": "raise the quota of the bucket's project",
    "insufficientPermissions": "give the pod's identity the scope devstorage.read_write or cloud-platform",
    "userProjectMissing": "the bucket lets the requester pay, which this service does not do",
    "retentionPolicyNotMet": "the bucket's retention policy or the object's own keeps what is there",
    "objectUnderActiveHold": "a hold keeps what is there",
    "accessNotConfigured": "enable the Cloud Storage API in the credential's project",
}
_SAYS = {
    "Cloud KMS": (
        "correct `kms_key_id` in the storage config, and let the project's Cloud Storage service agent use it"
        " (roles/cloudkms.cryptoKeyEncrypterDecrypter)"
    ),
    "VPC Service Controls": "let the service perimeter admit this pod",
    "bucket does not exist": BUCKET,
    "retention": "enable object retention on the bucket, or leave object_lock out of the storage config",
    "billing account": "enable billing for the bucket's project",
}
_CREDENTIAL = (
    "give a key that is in force as `secret` in the storage config (without one: an identity to the pod), and"
    " set this machine's clock"
)
_ROLES = {"storage.objects.setRetention": "Storage Object Admin, roles/storage.objectAdmin"}
_ROLE = "Storage Object User, roles/storage.objectUser"


class Kept(StorageRefused):
    """The storage refuses, because a retention or a hold keeps the object."""


def translate(call: str, status: int, headers: Mapping[str, str], body: bytes) -> StorageError:
    """The family of an answer that is not a success. ``call`` is the API's name for what was asked."""
    reason, message = _told(body)
    detail = f"{call} was answered {status}" + (f" {reason}" if reason else "")
    if status in (429, 503) or reason in _THROTTLES:
        return StorageThrottled(detail, retry_after_s=_seconds(headers.get("Retry-After")))
    if status == 401:
        return StorageRefused(detail, mend=_CREDENTIAL)
    if status == 404 and "bucket does not exist" not in message:
        return ObjectMissing(detail)
    if status == 412:
        return NameTaken(detail)
    # 400 with the sums: damaged on the way; the same request may well pass next time.
    if status in (408, 409, 410) or status >= 500 or (status == 400 and re.search("CRC32C|MD5", message)):
        return StorageUnavailable(detail)
    if reason in _KEPT:
        return Kept(detail, mend=_MEND_REASON[reason])
    if 300 <= status < 400:
        return StorageRefused(detail, mend="correct `endpoint_url` in the storage config: it leads elsewhere")
    return StorageRefused(detail, mend=_mend(reason, message))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Whatever the connection raises within, as the families of :class:`~service.errors.StorageError`."""
    try:
        yield
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
        raise StorageUnavailable(type(error).__name__, mend=_TRUST) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StorageUnavailable(type(error).__name__) from error


def _mend(reason: str, message: str) -> str:
    # "... does not have storage.objects.create access to ..."
    if named := re.search(r"storage\.[a-zA-Z]+\.[a-zA-Z]+", message):
        role = _ROLES.get(named[0], _ROLE)
        return f"grant the account {named[0]} on the bucket: the role {role} has it"
    for words, mend in _SAYS.items():
        if words.lower() in message.lower():
            return mend
    general = f"grant the account the role {_ROLE} on the bucket, and check the storage config"
    return _MEND_REASON.get(reason, general)


def _told(body: bytes) -> tuple[str, str]:
    """The reason and the message; an upload's and a download's errors may be plain text."""
    try:
        error: Any = json.loads(body)["error"]
        return str((error.get("errors") or [{}])[0].get("reason", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", body[:1000].decode("utf-8", "replace")


def _seconds(value: str | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
