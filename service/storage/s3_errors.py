"""What an S3 answer or the SDK's own failure means for trying again, and what to mend.

Codes: the S3 API reference's list of error codes, and those that R2, Ceph and SeaweedFS send beside it.
"""

from botocore.exceptions import BotoCoreError, ClientError

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)

_KEYS = "correct access_key and secret in the storage config"
_RIGHTS = "let this key read, write and abort uploads in the bucket"
_MEND = {
    "NoSuchBucket": "create the bucket, or correct `bucket` in the storage config",
    "InvalidAccessKeyId": _KEYS,
    "InvalidAccessKey": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidSecurity": _KEYS,
    "Unauthorized": _KEYS,
    "401": _KEYS,
    "ExpiredToken": _KEYS,
    "InvalidToken": _KEYS,
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "403": f"{_KEYS}, or {_RIGHTS}",
    "PermanentRedirect": "correct `region` in the storage config",
    "AuthorizationHeaderMalformed": "correct `region` in the storage config",
    "301": "correct `region` in the storage config",
    "RequestTimeTooSkewed": "set this machine's clock",
    "QuotaExceeded": "raise the store's quota",
    "XMinioStorageFull": "make room in the store",
    "507": "make room in the store",
}
_THROTTLES = {
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
    "RequestLimitExceeded", "ServiceUnavailable", "429", "503",
}  # fmt: skip
_LOST = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"}
_MISSING = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
# Damaged or cut off on the way: the same request may well pass next time.
_AGAIN = {
    "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch",
    "IncompleteBody", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "408", "409",
}  # fmt: skip


def translate_answer(error: ClientError) -> StorageError:
    """The family of an error that the store answered."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0) or 0)
    detail = f"{error.operation_name} was answered {code or status}"
    if code in _THROTTLES or status in (429, 503):
        return StorageThrottled(
            detail, retry_after_s=_seconds(meta.get("HTTPHeaders", {}).get("retry-after"))
        )
    if code in _LOST:
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
    if code in _MEND:
        return StorageRefused(detail, mend=_MEND[code])
    # CompleteMultipartUpload reports an error with status 200; the SDK raises it as one all the same.
    if code in _AGAIN or status >= 500 or status < 400:
        return StorageUnavailable(detail)
    return StorageRefused(detail, mend=_RIGHTS)


def translate_failure(error: BotoCoreError) -> StorageError:
    """The family of a request that the SDK did not send: the configuration does not fit."""
    return StorageRefused(type(error).__name__, mend="correct the storage config")


def _seconds(value: object) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None
