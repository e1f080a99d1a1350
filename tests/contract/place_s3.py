"""The S3 family's places: every type of store and every way of asking, on every server there is for it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.places import Place
from tests.doubles.object_store import S3Endpoint
from tests.doubles.servers import SeaweedFS


def s3_place(endpoint: S3Endpoint, *, locks: bool = False, **fields: Any) -> Place:
    """A folder of its own, as a customer's `path` says, in a bucket that the tests share.

    A bucket for each test would cost SeaweedFS a second. `fields` stand beside the usual ones.
    """
    folder = f"calls of/{uuid4().hex}"
    bucket = _bucket(endpoint, locks=locks)

    def sessions() -> int:
        listing = endpoint.client().list_multipart_uploads(Bucket=bucket, Prefix=f"{folder}/")
        return len(listing.get("Uploads", []))

    def objects() -> dict[str, int]:
        listing = endpoint.client().list_objects_v2(Bucket=bucket, Prefix=f"{folder}/")
        return {
            found["Key"].removeprefix(f"{folder}/"): found["Size"] for found in listing.get("Contents", [])
        }

    def described(key: str) -> tuple[str, Mapping[str, str]]:
        found = endpoint.head(bucket, f"{folder}/{key}")
        # Names of header fields, which no store has to give in the case that they were given in.
        return found["ContentType"], {name.lower(): value for name, value in found["Metadata"].items()}

    config = endpoint.storage_config(bucket, path=folder) | fields
    return Place(config, sessions, objects, takes_any_part=False, described=described)


def virtual_place(request: pytest.FixtureRequest, **fields: Any) -> Place:
    """The bucket stands before the host, a name that only the server knows: so it is asked as a proxy."""
    server: SeaweedFS = request.getfixturevalue("seaweedfs")
    environment: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    environment.setenv("http_proxy", server.endpoint_url)
    environment.setenv("no_proxy", "127.0.0.1")
    return s3_place(server, addressing="virtual", endpoint_url=f"http://{server.domain}", **fields)


S3_PLACES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Place]] = {
    "moto": lambda request, _tmp_path: replace(
        s3_place(request.getfixturevalue("moto")), knows_lost_uploads=False
    ),
    "seaweedfs": lambda request, _tmp_path: s3_place(request.getfixturevalue("seaweedfs")),
    "seaweedfs-locked": lambda request, _tmp_path: s3_place(
        request.getfixturevalue("seaweedfs"), locks=True, object_lock={"mode": "GOVERNANCE", "days": 1}
    ),
    "digitalocean": lambda request, _tmp_path: virtual_place(request, type="digitalocean", region="SGP1"),
    "cloudflare": lambda request, _tmp_path: s3_place(
        request.getfixturevalue("seaweedfs"), type="cloudflare"
    ),
    "rclone": lambda request, _tmp_path: replace(
        s3_place(request.getfixturevalue("rclone_s3")), replaces_parts=False, takes_any_part=True
    ),
}


@functools.cache
def _bucket(endpoint: S3Endpoint, *, locks: bool) -> str:
    return endpoint.bucket("contract", locks=locks)
