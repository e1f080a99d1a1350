"""Every answer of a store behind the S3 API has its family, and what only a person can mend says what."""

import ssl
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from botocore.exceptions import ClientError, HTTPClientError, SSLError

from service.errors import (
    NameTaken,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)
from service.model import Attributes
from service.storage.config import S3Config, parse_storage_config
from service.storage.s3_attributes import ObjectOptions
from service.storage.s3_errors import translate_answer, translated

DENIED = (
    "User: arn:aws:iam::123456789012:user/archiver is not authorized to perform: {} on resource: "
    '"arn:aws:s3:::meetings/call.mp4" because no identity-based policy allows the {} action'
)


def answer(
    code: str, *, status: int = 400, operation: str = "PutObject", message: str = "", **headers: str
) -> ClientError:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": fields},  # type: ignore[typeddict-item]
        },
        operation,
    )


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (answer("SlowDown", status=503), StorageThrottled),
        (answer("429", status=429), StorageThrottled),
        (answer("KMS.ThrottlingException"), StorageThrottled),
        (answer("InternalError", status=500), StorageUnavailable),
        (answer("InternalError", status=200, operation="CompleteMultipartUpload"), StorageUnavailable),
        (answer("BadDigest"), StorageUnavailable),
        (answer("ConditionalRequestConflict", status=409), StorageUnavailable),
        (answer("NoSuchUpload", status=404, operation="UploadPart"), UploadLost),
        (answer("InvalidPart", operation="CompleteMultipartUpload"), UploadLost),
        (answer("404", status=404, operation="UploadPart"), UploadLost),
        (answer("NotImplemented", status=501, operation="UploadPart",
                message="part 1 has already been streamed and cannot be replaced"), UploadLost),
        (answer("404", status=404, operation="HeadObject"), ObjectMissing),
        (answer("NoSuchKey", status=404, operation="GetObject"), ObjectMissing),
        (answer("PreconditionFailed", status=412), NameTaken),
        (answer("NotImplemented", status=501), StorageRefused),
        (answer("AccessDenied", status=403), StorageRefused),
        (answer("SomethingNew"), StorageRefused),
        (answer("SomethingNew", status=500), StorageUnavailable),
    ],
)  # fmt: skip
def test_each_answer_has_its_family(error: ClientError, family: type[StorageError]) -> None:
    assert type(translate_answer(error)) is family


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (answer("AccessDenied", status=403, message=DENIED.format(*["s3:PutObjectTagging"] * 2)),
         "let this key do s3:PutObjectTagging"),
        (answer("AccessDenied", status=403, message=DENIED.format(*["kms:GenerateDataKey"] * 2)),
         "let this key do kms:GenerateDataKey"),
        (answer("AccessDenied", status=403, operation="ListParts"), "s3:ListMultipartUploadParts"),
        (answer("AccessDenied", status=403, operation="ListMultipartUploads"),
         "s3:ListBucketMultipartUploads"),
        (answer("AccessDenied", status=403, operation="AbortMultipartUpload"), "s3:AbortMultipartUpload"),
        (answer("403", status=403, operation="HeadObject"), "s3:GetObject and s3:ListBucket"),
        (answer("403", status=403, operation="HeadObject"), "access_key and secret"),
        (answer("InvalidObjectState", status=403, operation="GetObject"), "restore the object"),
        (answer("InvalidRequest", message="Content-MD5 OR x-amz-checksum- HTTP header is required for Put "
                "Object requests with Object Lock parameters"), '"checksum": "md5"'),
        (answer("InvalidRequest", message="Bucket is missing Object Lock Configuration"), "Object Lock"),
        (answer("InvalidArgument", message="The retain until date must be in the future!"), "object_lock"),
        (answer("InvalidStorageClass"), "storage_class"),
        (answer("KMS.NotFoundException"), "kms_key_id"),
        (answer("InvalidRequest", message="Invalid Request"), "let the bucket take tags, legal_hold"),
    ],
)  # fmt: skip
def test_what_only_a_person_can_mend_says_what(error: ClientError, mend: str) -> None:
    refused = translate_answer(error, asked="tags, legal_hold")
    assert isinstance(refused, StorageRefused)
    assert mend in refused.mend


@pytest.mark.parametrize(("header", "seconds"), [("17", 17.0), ("soon", None), ("", None)])
def test_a_store_is_left_alone_for_as_long_as_it_asks(header: str, seconds: float | None) -> None:
    assert translate_answer(answer("SlowDown", status=503, retry_after=header)).retry_after_s == seconds


def test_a_message_of_the_store_is_not_repeated() -> None:
    error = translate_answer(answer("AccessDenied", status=403, message="key AKIA of account 1234"))
    assert "AKIA" not in f"{error} {error.mend}"


@pytest.mark.parametrize(
    "error",
    [
        SSLError(endpoint_url="https://h", error=ValueError("self-signed certificate")),
        HTTPClientError(error=FileNotFoundError(2, "No such file or directory")),
        HTTPClientError(error=ssl.SSLError(1, "no certificate or crl found")),
    ],
    ids=["not trusted", "no file", "no certificate in it"],
)
def test_a_certificate_that_cannot_be_trusted_says_where_its_authority_goes(error: Exception) -> None:
    with pytest.raises(StorageUnavailable) as caught, translated():
        raise error
    assert "AWS_CA_BUNDLE" in caught.value.mend


def test_an_object_carries_what_the_config_asks_for_from_the_moment_of_its_storing() -> None:
    config = parse_storage_config(
        {
            "type": "aws",
            "bucket": "meetings",
            "region": "eu-west-1",
            "storage_class": "GLACIER_IR",
            "encryption": "aws:kms",
            "kms_key_id": "key",
            "bucket_key": False,
            "tags": {"a b": "c+d=é"},
            "object_lock": {"mode": "COMPLIANCE", "days": 30},
        }
    )
    assert isinstance(config, S3Config)
    attributes = Attributes("recording/video", "video/mp4", "recording")
    options = ObjectOptions(config, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    recording, manifest = options.of(attributes), options.of(attributes, replaceable=True)

    assert recording == {
        "ContentType": "video/mp4",
        "Metadata": attributes.metadata,
        "StorageClass": "GLACIER_IR",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key",
        "BucketKeyEnabled": False,
        "Tagging": "a+b=c%2Bd%3D%C3%A9",
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": datetime(2026, 1, 31, tzinfo=UTC),
    }
    assert recording == manifest | {"StorageClass": "GLACIER_IR"}
    assert "StorageClass" not in manifest


# ---- a wrong clock, which the answer to a HEAD cannot name


@pytest.mark.parametrize(
    ("off_s", "told"),
    [(3600, "60 minutes behind"), (-7200, "120 minutes ahead of"), (1000, "17 minutes behind")],
)
@pytest.mark.parametrize(("code", "status"), [("403", 403), ("AccessDenied", 403), ("400", 400)])
def test_a_refusal_by_a_store_of_another_time_is_told_as_that(
    off_s: float, told: str, code: str, status: int
) -> None:
    date = formatdate(time.time() + off_s, usegmt=True)
    error = translate_answer(answer(code, status=status, operation="HeadObject", date=date))
    assert isinstance(error, StorageRefused)
    assert error.mend == f"set this machine's clock: it is {told} the store's"


@pytest.mark.parametrize("date", ["now", "", "yesterday", "99 99 99"])
def test_a_refusal_at_the_same_time_or_at_none_is_of_the_keys(date: str) -> None:
    date = formatdate(usegmt=True) if date == "now" else date
    error = translate_answer(answer("403", status=403, operation="HeadObject", date=date))
    assert error.mend == translate_answer(answer("403", status=403, operation="HeadObject")).mend
    assert "access_key" in error.mend


def test_what_is_no_refusal_is_not_the_clocks_fault() -> None:
    date = formatdate(time.time() + 9999, usegmt=True)
    assert type(translate_answer(answer("SlowDown", status=503, date=date))) is StorageThrottled
    assert (
        type(translate_answer(answer("404", status=404, operation="HeadObject", date=date))) is ObjectMissing
    )
