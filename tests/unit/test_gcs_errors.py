"""What Google's refusals mean, whatever they look like."""

import json

import pytest

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
)
from service.storage.gcs_api import GcsObject
from service.storage.gcs_errors import Kept, translate

FORBIDDEN = "a@b does not have storage.objects.create access to the Google Cloud Storage object."


@pytest.mark.parametrize(
    ("status", "reason", "message", "family", "mend"),
    [
        (400, "invalid", 'Provided CRC32C "a" doesn\'t match calculated CRC32C "b".', StorageUnavailable, ""),
        (400, "invalid", "Object retention is not enabled on this bucket.", StorageRefused, "object_lock"),
        (400, "invalid", "Cloud KMS key is not found", StorageRefused, "kms_key_id"),
        (400, "invalid", "Invalid argument.", StorageRefused, "storage config"),
        (401, "authError", "Invalid Credentials", StorageRefused, "secret"),
        (403, "forbidden", FORBIDDEN, StorageRefused, "storage.objects.create"),
        (
            403,
            "forbidden",
            "Permission denied on Cloud KMS key.",
            StorageRefused,
            "cryptoKeyEncrypterDecrypter",
        ),
        (403, "accountDisabled", "The billing account is disabled.", StorageRefused, "billing"),
        (403, "quotaExceeded", "Exceeded", StorageRefused, "quota"),
        (403, "rateLimitExceeded", "Slow", StorageThrottled, ""),
        (403, "vpcServiceControls", "prohibited by VPC Service Controls", StorageRefused, "perimeter"),
        (403, "insufficientPermissions", "scope", StorageRefused, "scope"),
        (403, "retentionPolicyNotMet", "is subject to", Kept, "retention"),
        (403, "objectUnderActiveHold", "is under hold", Kept, "hold"),
        (404, "notFound", "The specified bucket does not exist.", StorageRefused, "bucket"),
        (404, "notFound", "No such object: b/o", ObjectMissing, ""),
        (408, "", "", StorageUnavailable, ""),
        (409, "conflict", "", StorageUnavailable, ""),
        (412, "conditionNotMet", "", NameTaken, ""),
        (429, "rateLimitExceeded", "", StorageThrottled, ""),
        (500, "backendError", "", StorageUnavailable, ""),
        (502, "", "", StorageUnavailable, ""),
        (503, "backendError", "", StorageThrottled, ""),
        (307, "", "", StorageRefused, "endpoint_url"),
    ],
)
def test_each_refusal_has_its_family_and_says_what_to_mend(
    status: int, reason: str, message: str, family: type[StorageError], mend: str
) -> None:
    told = {"error": {"message": message, "errors": [{"reason": reason}]}}
    for body in (json.dumps(told).encode(), message.encode()) if not reason else (json.dumps(told).encode(),):
        error = translate("objects.insert", status, {"Retry-After": "3"}, body)
        assert type(error) is family
        assert mend in error.mend
        assert (error.retry_after_s == 3.0) == (family is StorageThrottled)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": []}', b'{"error": {"errors": []}}', b"\xff"]
)
def test_an_answer_of_any_form_is_an_error_of_a_family(body: bytes) -> None:
    assert type(translate("objects.get", 400, {"Retry-After": "Mon, 1 Jan"}, body)) is StorageRefused
    assert type(translate("objects.get", 503, {"Retry-After": "Mon, 1 Jan"}, body)) is StorageThrottled


@pytest.mark.parametrize(
    "told",
    [{}, {"name": "n", "generation": "1"}, {"name": "n", "generation": "1", "crc32c": 7},
     {"name": "n", "generation": "1", "crc32c": "AAAAAA==", "size": "many"},
     {"name": "n", "generation": "1", "crc32c": "AAAAAA==", "metadata": 7}],
    ids=repr,
)  # fmt: skip
def test_an_object_that_is_told_in_another_form_is_not_google(told: dict[str, object]) -> None:
    with pytest.raises(StorageRefused) as refused:
        GcsObject.parse(told)
    assert "endpoint_url" in refused.value.mend
