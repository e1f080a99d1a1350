"""What an answer of Azure's or the SDK's own failure means for trying again, and what to mend.

Codes: the REST reference's "Common REST API error codes" and "Azure Blob Storage error codes".
"""

from collections.abc import Mapping

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)

_KEY = (
    "correct access_key in the storage config (its AccountKey may have been renewed, its"
    " SharedAccessSignature have expired), or the pod's identity, or this machine's clock"
)
_RIGHTS = (
    "let the identity read and write blobs in the container (the role Storage Blob Data Contributor; Owner"
    " where tags, object_lock or legal_hold are set), or the SAS have the permissions r and w (and t, i)"
)
_REACH = (
    "let this machine through the account's network rules; a SAS needs the blob service (ss=b), objects"
    " (srt=o) and the protocol and addresses that are used"
)
_CONTAINER = "create the container, or correct `bucket` in the storage config"
_ADDRESS = "correct endpoint_url or access_key in the storage config: it is not the address of a blob service"
_IDENTITY = (
    "give the pod an identity (workload identity, or a managed one; AZURE_CLIENT_ID says which), or give"
    " access_key in the storage config"
)
_FREE = "let the blob be written: end its lease, its stay in the Archive tier, or the container's own policy"
_PART = "lower ARCHIVER_PART_SIZE_MIB: a part has 4,000 MiB at most, a file 50,000 parts"
_ATTRIBUTES = (
    "correct storage_class, tags, encryption_scope, object_lock or legal_hold in the storage config, or"
    " enable on the container what they ask for (version-level immutability, for the last two)"
)
_MEND = {
    "AuthenticationFailed": _KEY,
    "InvalidAuthenticationInfo": _KEY,
    "NoAuthenticationInformation": _KEY,
    "KeyBasedAuthenticationNotPermitted": "allow account keys, or give account_name without access_key",
    "AuthorizationPermissionMismatch": _RIGHTS,
    "InsufficientAccountPermissions": _RIGHTS,
    "AuthorizationFailure": f"{_REACH}; or {_KEY}",
    "AuthorizationServiceMismatch": _REACH,
    "AuthorizationResourceTypeMismatch": _REACH,
    "AuthorizationProtocolMismatch": _REACH,
    "AuthorizationSourceIPMismatch": _REACH,
    "AccountIsDisabled": "enable the storage account",
    "ContainerNotFound": _CONTAINER,
    "ContainerBeingDeleted": _CONTAINER,
    "ContainerDisabled": _CONTAINER,
    "InvalidResourceName": _CONTAINER,
    "ResourceNotFound": _ADDRESS,
    "InvalidUri": _ADDRESS,
    "AccountRequiresHttps": "let endpoint_url, or DefaultEndpointsProtocol in access_key, be https",
    "RequestBodyTooLarge": _PART,
    "RequestEntityTooLarge": _PART,
    "BlockListTooLong": _PART,
    "BlockCountExceedsLimit": _PART,
    "FeatureVersionMismatch": _ATTRIBUTES,
    "InvalidHeaderValue": _ATTRIBUTES,
    "UnsupportedHeader": _ATTRIBUTES,
    "AccessTierNotSupportedForBlobType": _ATTRIBUTES,
    "BlobAccessTierNotSupportedForAccountType": _ATTRIBUTES,
    "InvalidBlobTier": _ATTRIBUTES,
    "BlobOperationNotSupported": _FREE,
    "BlobBeingRehydrated": "wait until the blob is back from the Archive tier",
    "BlobArchived": "bring the blob back from the Archive tier (rehydrate it)",
    "BlobImmutableDueToPolicy": _FREE,
    "BlobImmutableDueToLegalHold": _FREE,
}
# A partition that has more to do than it can answers with either ("Performance and scalability checklist").
_THROTTLES = {"ServerBusy", "OperationTimedOut"}
# Damaged on the way: it may well pass next time.
_AGAIN = {"Crc64Mismatch", "Md5Mismatch", "InternalError"}
_LOST = {"InvalidBlockList"}
# What a blob says that is there already, or that somebody else is writing in a way of their own.
_TAKEN = {
    "BlobAlreadyExists", "BlobArchived", "BlobImmutableDueToLegalHold", "BlobImmutableDueToPolicy",
    "BlobBeingRehydrated", "BlobOperationNotSupported", "ConditionNotMet", "InvalidBlobOrBlock",
    "InvalidBlobType", "LeaseIdMissing", "UnauthorizedBlobOverwrite",
}  # fmt: skip
_READS = {"Get Blob", "Get Blob Properties", "Delete Blob"}


def translate(error: AzureError, operation: str) -> StorageError:
    """The family of what became of ``operation``, which is named as in the REST reference."""
    cause = error.__cause__ or error
    detail = f"{operation}: {type(cause).__name__}"
    if isinstance(error, ClientAuthenticationError) and not _code(error):
        # Not Azure Storage says so, but whoever should tell who we are.
        return StorageRefused(detail, mend=f"{_IDENTITY}; or {_ADDRESS}")
    if isinstance(error, HttpResponseError) and error.response is not None:
        return _translate_answer(error, operation)
    trust = "if the store's certificate is not from a public authority, name that in SSL_CERT_FILE"
    name = "if this lasts, correct the account's name or endpoint_url in the storage config"
    mends = {
        "ClientConnectorCertificateError": trust,
        "ClientConnectorSSLError": trust,
        "ClientConnectorDNSError": name,
    }
    return StorageUnavailable(detail, mend=mends.get(type(cause).__name__, ""))


def unreadable(operation: str) -> StorageRefused:
    """The family of an answer that is not one of Azure's at all."""
    return StorageRefused(f"{operation} was answered what Azure would not", mend=_ADDRESS)


def refusal_of(error: NameTaken) -> StorageRefused:
    """The same of a name that may be replaced: somebody has to let it."""
    return StorageRefused(error.detail, mend=_FREE)


def _translate_answer(error: HttpResponseError, operation: str) -> StorageError:
    code = _code(error)
    status = error.status_code or 0
    detail = f"{operation} was answered {code or status}"
    if code in _THROTTLES or status in (429, 503):
        return StorageThrottled(detail, retry_after_s=_seconds(_headers(error)))
    if code in _AGAIN or status >= 500 or status == 408:
        return StorageUnavailable(detail)
    if not code:
        return StorageRefused(f"{detail} without a code of Azure's", mend=_ADDRESS)
    if code in _LOST:
        return UploadLost(detail)
    if code == "BlobNotFound":
        return ObjectMissing(detail) if operation in _READS else UploadLost(detail)
    if code in _TAKEN and operation not in _READS:
        return NameTaken(detail)
    if code == "ConditionNotMet":
        return StorageUnavailable(f"{detail}: the blob was replaced meanwhile")
    return StorageRefused(detail, mend=_MEND.get(code, f"{_RIGHTS}; or {_ATTRIBUTES}"))


def _headers(error: HttpResponseError) -> Mapping[str, str]:
    return getattr(error.response, "headers", {})


def _code(error: HttpResponseError) -> str:
    """The service's own code, which a HEAD has in a header alone. Others than Azure send none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or _headers(error).get("x-ms-error-code") or "")


def _seconds(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("Retry-After", 1.0), ("x-ms-retry-after-ms", 0.001)):
        try:
            return float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
    return None
