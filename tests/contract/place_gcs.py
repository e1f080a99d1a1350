"""Google Cloud Storage's places: by a service account's key, and by HMAC keys through the S3 API."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from service.storage.gcs_session import PARTS_FOLDER
from tests.contract.place_s3 import s3_place
from tests.contract.places import Place
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import GoogleFront


def gcs_place(server: FakeGcs, front: GoogleFront, **fields: Any) -> Place:
    """A folder of its own, as a customer's `path` says, in a bucket that the tests share."""
    folder = f"calls of/{uuid4().hex}"
    bucket = _bucket(server)

    def everything() -> dict[str, dict[str, Any]]:
        prefix = f"{folder}/"
        return {name.removeprefix(prefix): each for name, each in server.objects(bucket, prefix).items()}

    def sessions() -> int:
        return len({name.split("/")[1] for name in everything() if name.startswith(PARTS_FOLDER)})

    def objects() -> dict[str, int]:
        return {
            name: int(each["size"])
            for name, each in everything().items()
            if not name.startswith(PARTS_FOLDER)
        }

    def described(key: str) -> tuple[str, Mapping[str, str]]:
        found = everything()[key]
        ours = {name: value for name, value in found["metadata"].items() if name != "crc64nvme"}
        return found["contentType"], ours

    config = front.storage_config(bucket, path=folder) | fields
    return Place(config, sessions, objects, described=described)


def _by_key(request: pytest.FixtureRequest) -> Place:
    server: FakeGcs = request.getfixturevalue("fake_gcs")
    place = gcs_place(server, request.getfixturevalue("google"))
    # What it holds lies in memory.
    request.addfinalizer(lambda: server.remove(place.config["bucket"], f"{place.config['path']}/"))
    return place


GCS_PLACES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Place]] = {
    "gcs": lambda request, _tmp_path: _by_key(request),
    "gcs-hmac": lambda request, _tmp_path: s3_place(request.getfixturevalue("seaweedfs"), type="gcs"),
}


@functools.cache
def _bucket(server: FakeGcs) -> str:
    return server.bucket("contract")
