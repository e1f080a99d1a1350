"""A place in Azurite."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.places import File, Place
from tests.doubles.azurite import Azurite

_OPEN_MARKER = re.compile(r"([0-9a-f]{16})-00000-0{16}")


AZURE_PLACES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Place]] = {
    "azurite": lambda request, _tmp_path: azurite_place(request.getfixturevalue("azurite")),
}


def azurite_place(azurite: Azurite, *, checksum: str = "", endpoint: str = "") -> Place:
    """A folder of its own, as a customer's `path` says, in a container that the tests share.

    Azure has no sessions to list: an open one is a marker of one byte among the blocks not committed yet.
    """
    folder = f"calls of/{uuid4().hex}"
    container = shared_container(azurite)

    def sessions() -> int:
        with azurite.client() as client:
            in_container = client.get_container_client(container)
            names = {
                found.name for found in in_container.list_blobs(f"{folder}/", include=["uncommittedblobs"])
            }
            blocks = [
                block
                for name in names
                for block in in_container.get_blob_client(name).get_block_list("uncommitted")[1]
            ]
        return sum(block.size == 1 and _OPEN_MARKER.fullmatch(block.id) is not None for block in blocks)

    def objects() -> dict[str, int]:
        with azurite.client() as client:
            listing = client.get_container_client(container).list_blobs(f"{folder}/")
            return {found.name.removeprefix(f"{folder}/"): found.size for found in listing}

    def described(key: str) -> tuple[str, Mapping[str, str]]:
        with azurite.client() as client:
            found = client.get_blob_client(container, f"{folder}/{key}").get_blob_properties()
        facts = {name.replace("_", "-"): value for name, value in found.metadata.items()}
        del facts["dyte-archiver-crc64nvme"]  # what this storage adds for itself
        return found.content_settings.content_type, facts

    config = {
        "type": "azure",
        "access_key": azurite.connection_string(endpoint=endpoint),
        "secret": "",
        "bucket": container,
        "region": "",
        "path": folder,
        "checksum": checksum,
    }
    return Place(config, sessions, objects, takes_parts_of_lost_uploads=True, described=described)


def given(place: Place, **fields: Any) -> Place:
    """The place with other fields in its config."""
    return replace(place, config={**place.config, **fields})


def blob_in(azurite: Azurite, place: Place, key: str = File.key) -> Any:
    """A client for one blob, looked at from outside."""
    return azurite.client().get_blob_client(place.config["bucket"], f"{place.config['path']}/{key}")


@functools.cache
def shared_container(azurite: Azurite) -> str:
    """The container that all places in this Azurite lie in."""
    return azurite.container("contract")
