"""What an S3 answer or the SDK's own failure means for trying again, and what to mend.

Codes: the S3 API reference's list of error codes, and those that R2, Ceph and SeaweedFS send beside it.
"""

import contextlib
import re
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    ProfileNotFound,
    SSLError,
)
from botocore.parsers import ResponseParserError

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)

_TRUST = "let AWS_CA_BUNDLE name a file with the authority of the store's certificate, if it is not public"
_IDENTITY = (
    "give access_key and secret in the storage config, or let this process's environment say who it is: "
    "AWS_ACCESS_KEY_ID, a service account with a role (IRSA, EKS Pod Identity) or an instance's role"
)
_TRUSTED = "let the role of AWS_ROLE_ARN trust this service account, and its token be a fresh one"

_KEYS = "correct access_key and secret in the storage config"
_RENEW = "give access_key, secret and session_token that are valid now, or keys that do not expire"
_REGION = "correct `region` in the storage config"
_CLOCK = "set this machine's clock"
_SKEW_S = 600.0
"""A clock that is off by more may be the trouble: S3 takes 15 minutes."""
_ROOM = "make room in the store, or raise its quota"
_KNOWS = "the store does not know what was asked: set `checksum` and `conditional_writes` to what it has"
_MEND = {
    "NoSuchBucket": "create the bucket, or correct `bucket` in the storage config",
    "InvalidBucketName": "correct `bucket` in the storage config",
    "InvalidAccessKeyId": _KEYS,
    "InvalidAccessKey": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidSecurity": _KEYS,
    "Unauthorized": _KEYS,
    "401": _KEYS,
    "ExpiredToken": _RENEW,
    "InvalidToken": _RENEW,
    "TokenRefreshRequired": _RENEW,
    "400": f"{_KEYS}, or {_REGION}",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "QuotaExceeded": _ROOM,
    "XMinioStorageFull": _ROOM,
    "InsufficientStorage": _ROOM,
    "507": _ROOM,
    "NotImplemented": _KNOWS,
    "501": _KNOWS,
    "InvalidStorageClass": "correct `storage_class` in the storage config",
    "InvalidTag": "correct `tags` in the storage config",
    "InvalidObjectState": "restore the object from its archive class first (aws s3api restore-object)",
}
_LOCKABLE = "let the bucket have Object Lock, or leave object_lock and legal_hold out"
_SAYS = {
    "Content-MD5": 'the bucket locks objects: set "checksum": "md5" in the storage config',
    "Object Lock Configuration": _LOCKABLE,
    "ObjectLockConfiguration": _LOCKABLE,
    "retain until": "correct `object_lock` in the storage config: its end has to be in the future",
}
"""What a message says where its code (InvalidRequest, InvalidArgument) tells too little."""

_THROTTLES = {
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
    "RequestLimitExceeded", "ServiceUnavailable", "KMS.ThrottlingException", "429", "503",
}  # fmt: skip
_LOST = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
_MISSING = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
# Damaged or cut off on the way: the same request may well pass next time.
_AGAIN = {
    "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
    "IncompleteBody", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "408", "409",
    "KMSInternalException", "IDPCommunicationError",
}  # fmt: skip
_NEEDS = {
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "PutObject": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    # Without the second a name that is free is answered 403.
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "GetObject": "s3:GetObject and s3:ListBucket",
    "DeleteObject": "s3:DeleteObject",
}


@contextlib.contextmanager
def translated(*, asked: str = "") -> Iterator[None]:
    """Whatever the SDK raises within, as the families of :class:`~service.errors.StorageError`.

    ``asked`` names the fields of the storage config whose attributes the request carries.
    """
    try:
        yield
    except ClientError as error:
        raise translate_answer(error, asked=asked) from error
    except (
        EndpointConnectionError,
        HTTPClientError,
        ResponseParserError,
        aiohttp.ClientError,
        TimeoutError,
        OSError,
    ) as error:
        raise StorageUnavailable(type(error).__name__, mend=_mend_trust(error)) from error
    except BotoCoreError as error:
        raise translate_failure(error) from error


@contextlib.contextmanager
def translated_identity() -> Iterator[None]:
    """The same while the environment is asked who this process is."""
    try:
        yield
    except ClientError as error:
        # The role's own service answers; what it throttles or fails to do passes as everywhere.
        failure = translate_answer(error)
        if isinstance(failure, StorageUnavailable):
            raise failure from error
        raise StorageRefused(failure.detail, mend=_TRUSTED) from error
    except (EndpointConnectionError, HTTPClientError, aiohttp.ClientError, TimeoutError) as error:
        raise StorageUnavailable(f"credentials: {type(error).__name__}") from error
    except (BotoCoreError, OSError, ValueError, KeyError, RuntimeError) as error:
        # What the chain raises of files, variables and services that are not as they should be.
        raise StorageRefused(f"credentials: {type(error).__name__}", mend=_IDENTITY) from error


def nobody() -> StorageError:
    """There is nothing in the environment that says who this process is."""
    return StorageRefused("no AWS credentials were found", mend=_IDENTITY)


def translate_answer(error: ClientError, *, asked: str = "") -> StorageError:
    """The family of an error that the store answered; ``asked`` as :func:`translated` has it."""
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0) or 0)
    detail = f"{error.operation_name} was answered {code or status}"
    if code in _THROTTLES or status in (429, 503):
        return StorageThrottled(
            detail, retry_after_s=_seconds(meta.get("HTTPHeaders", {}).get("retry-after"))
        )
    if code in _LOST or "cannot be replaced" in message:
        # The second is what `rclone serve s3` says of a part that it has other bytes of.
        return UploadLost(detail)
    if code in _MISSING:
        # An upload's own 404, without the code that tells: the session is gone all the same.
        return (
            ObjectMissing(detail)
            if error.operation_name in ("HeadObject", "GetObject")
            else UploadLost(detail)
        )
    if code in _TAKEN:
        return NameTaken(detail)
    # What is sent with a wrong clock is signed wrongly, and the answer to a HEAD has no room to say so.
    if status in (400, 401, 403) and (mend := _mend_clock(meta.get("HTTPHeaders", {}).get("date"))):
        return StorageRefused(detail, mend=mend)
    if code in _MEND:
        return StorageRefused(detail, mend=_MEND[code])
    # CompleteMultipartUpload reports an error with status 200; the SDK raises it as one all the same.
    if code in _AGAIN or status >= 500 or status < 400:
        return StorageUnavailable(detail)
    return StorageRefused(detail, mend=_mend(error.operation_name, code, message, asked))


def translate_failure(error: BotoCoreError) -> StorageError:
    """The family of a request that the SDK did not send: the configuration does not fit."""
    named = "AWS_PROFILE" if isinstance(error, ProfileNotFound) else "the storage config"
    return StorageRefused(type(error).__name__, mend=f"correct {named}")


def _mend_trust(error: Exception) -> str:
    """What to mend of certificates, where they are the trouble."""
    inner = error.kwargs.get("error") if isinstance(error, HTTPClientError) else error
    if isinstance(error, SSLError) or isinstance(inner, ssl.SSLError | FileNotFoundError | PermissionError):
        return _TRUST
    return ""


def _mend_clock(told: object) -> str:
    """What to mend if the store's clock, as its ``Date`` tells it, is not this machine's."""
    try:
        off_s = time.time() - parsedate_to_datetime(str(told)).timestamp()
    except ValueError:
        return ""
    if abs(off_s) <= _SKEW_S:
        return ""
    where = "ahead of" if off_s > 0 else "behind"
    return f"{_CLOCK}: it is {abs(off_s) / 60:.0f} minutes {where} the store's"


def _mend(operation: str, code: str, message: str, asked: str) -> str:
    if code.startswith("KMS."):
        return "correct `kms_key_id` in the storage config, and let the key be enabled"
    for words, mend in _SAYS.items():
        if words.lower() in message.lower():
            return mend
    if asked and not code.startswith(("Access", "4")):
        return f"let the bucket take {asked} as the storage config has it, or correct it there"
    # AWS says which action is missing: a tag's or a lock's has a permission of its own.
    named = re.search(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)", message)
    needed = named[1] if named else _NEEDS.get(operation, "s3:*")
    rights = f"let this key do {needed} in the bucket"
    return f"{_KEYS}, or {rights}" if code == "403" else rights


def _seconds(value: object) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None
