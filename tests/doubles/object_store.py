"""What a test asks of any S3 endpoint: a bucket of its own, and what really lies in it."""

from typing import Any
from uuid import uuid4

import botocore.session
from botocore.client import BaseClient
from botocore.config import Config

__all__ = ["S3Endpoint"]


class S3Endpoint:
    """An S3 endpoint with the credentials it takes, looked at from the test's side.

    Every look uses a new synchronous client without retries, so that it shares nothing with what is under
    test and shows the endpoint as it is at that moment.
    """

    access_key = "ARCHIVERTESTKEY"
    secret_key = "archiver-test-secret"
    region = "us-east-1"

    def __init__(self) -> None:
        self.endpoint_url = ""
        self._session = botocore.session.get_session()  # parses S3's description once, not at every look

    def bucket(self, prefix: str = "bucket", *, locks: bool = False) -> str:
        """Create an empty bucket with a name of its own and return that: tests share no bucket.

        `locks`: with Object Lock, and so with versions.
        """
        name = f"{prefix}-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if locks else {}))
        return name

    def storage_config(
        self, bucket: str, *, path: str = "", endpoint_url: str | None = None
    ) -> dict[str, str]:
        """Return the provider's `storage_config` for `bucket`; `endpoint_url` leads through a proxy."""
        return {
            "type": "aws",
            "access_key": self.access_key,
            "secret": self.secret_key,
            "bucket": bucket,
            "region": self.region,
            "path": path,
            "endpoint_url": endpoint_url or self.endpoint_url,
        }

    def objects(self, bucket: str) -> dict[str, int]:
        """Return key and size in bytes of every object in `bucket`."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def read(self, bucket: str, key: str) -> bytes:
        """Return the whole body of one object."""
        body: bytes = self.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def head(self, bucket: str, key: str) -> dict[str, Any]:
        """Return all that the store tells of one object beside its bytes."""
        told: dict[str, Any] = self.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return told

    def open_uploads(self, bucket: str) -> list[str]:
        """Return the ids of uploads neither completed nor aborted: what a customer is billed for."""
        listing: dict[str, Any] = self.client().list_multipart_uploads(Bucket=bucket)
        return [upload["UploadId"] for upload in listing.get("Uploads", [])]

    def client(self) -> Any:
        """Return a plain botocore client: signed with the test credentials, path style, no retries."""
        client: BaseClient = self._session.create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=30,
            ),
        )
        return client
