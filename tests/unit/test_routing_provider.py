"""Proves that a recording's own `storage_config` finds the storage that it names, and an app its rule."""

import base64
import json
from typing import Any

import pytest

from service.model import ONLY, Artifact, Kind, Provider, Recording
from service.routing import Routing
from service.storage.config import S3Config, SftpConfig
from tests.unit.test_routing import faults_of, places, routing

KEYS = {"access_key": "AKIAEX", "secret": "wJalrXU"}
AWS = {"type": "aws", "bucket": "calls", "region": "eu-west-1", **KEYS}
SPACES = {"type": "digitalocean", "bucket": "calls", "region": "SGP1", **KEYS}
SFTP = {
    "type": "sftp",
    "host": "files.example.com",
    "username": "u",
    "password": "p",
    "trust_host_key": "first_use",
}
AZURE = {
    "type": "azure",
    "bucket": "calls",
    "access_key": f"AccountName=calls;AccountKey={base64.b64encode(b'key').decode()}",
}


def of(**storages: dict[str, Any]) -> Routing:
    """These storages, and no rule."""
    return Routing.parse(json.dumps({"storages": storages | {"other": AWS | {"bucket": "another"}}}))


def named(routing: Routing, **told: Any) -> str | None:
    return routing.storage_of(json.dumps(told))


# ---- rules


def test_an_apps_rule_is_for_its_app() -> None:
    ruled = routing({"app": ["staging", "trial"], "kind": "video", "to": "legal"}, {"to": "main"})

    assert places(ruled, app="staging") == ("legal",)
    assert places(ruled, app="trial") == ("legal",)
    assert places(ruled, Kind.AUDIO, app="staging") == ("main",)
    assert places(ruled, app="production") == ("main",)
    assert places(ruled) == ("main",)
    assert places(routing({"app": ONLY, "to": "legal"}, {"to": "main"})) == ("legal",)


def test_an_apps_rule_alone_leaves_others_without_a_place() -> None:
    storages = {"main": AWS, "other": SPACES}
    faults = faults_of(json.dumps({"storages": storages, "rules": [{"app": "staging", "to": "main"}]}))
    assert faults == ["rules: the last one must have no conditions, so that every recording has a place"]
    faults = faults_of(
        json.dumps({"storages": storages, "rules": [{"app": 5, "to": "main"}, {"to": "main"}]})
    )
    assert faults == ["rules[0].app: is neither a text nor a list of texts"]


def test_without_rules_several_storages_have_none_for_anybody_and_a_single_one_has_all() -> None:
    video = Artifact("r", Kind.VIDEO, "https://h/f", "f.mp4")
    recording = Recording("r", Provider.DYTE, "UPLOADED")

    assert of(main=AWS).storages_for(video, recording) == ()
    single = Routing.parse(json.dumps({"storages": {"main": AWS}, "rules": []}))
    assert single.storages_for(video, recording) == ("main",)


# ---- the recording's own


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (AWS, {"type": "aws", "bucket": "calls", "region": "eu-west-1"}),
        (AWS, {"type": "aws", "bucket": "calls"}),
        (SPACES, {"type": "digitalocean", "bucket": "calls", "region": "sgp1"}),
        ({"type": "cloudflare", "bucket": "calls", "account_id": "0" * 32, **KEYS},
         {"type": "cloudflare", "bucket": "calls", "region": "auto"}),
        (AZURE, {"type": "azure", "bucket": "calls"}),
        ({"type": "gcs", "bucket": "calls"}, {"type": "gcs", "bucket": "calls", "region": "eu"}),
        (SFTP, {"type": "sftp", "host": "files.example.com", "username": "u"}),
        (SFTP, {"type": "sftp", "host": "FILES.example.com", "port": 22}),
        (SFTP | {"host": "[::1]"}, {"type": "sftp", "host": "[::1]"}),
        (SFTP | {"host": "::1"}, {"type": "sftp", "host": "[::1]", "username": ""}),
    ],
)  # fmt: skip
def test_a_storage_is_found_by_type_and_bucket_or_host(config: dict[str, Any], told: dict[str, Any]) -> None:
    assert named(of(main=config), **told) == "main"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (AWS, {"type": "aws", "bucket": "Calls"}),
        (AWS, {"type": "digitalocean", "bucket": "calls"}),
        (AWS, {"type": "aws"}),
        (AWS, {"bucket": "calls"}),
        (AWS, {}),
        (SFTP, {"type": "sftp", "host": "example.com"}),
        (SFTP, {"type": "sftp", "host": "files.example.com", "username": "another"}),
        (SFTP, {"type": "sftp"}),
        ({"type": "local", "path": "/calls"}, {"type": "local", "path": "/calls"}),
    ],
)
def test_what_no_storage_is_has_none(config: dict[str, Any], told: dict[str, Any]) -> None:
    assert named(of(main=config), **told) is None


@pytest.mark.parametrize(
    ("configured", "told", "name"),
    [
        ("recordings", "recordings", "main"),
        ("recordings", "/recordings/", "main"),
        ("recordings", "calls", "main//calls"),
        ("recordings", "recordings/2026", "main//recordings/2026"),
        ("recordings", "a//b", "main//a//b"),
        ("recordings", "/", "main//"),
        ("recordings", "", "main//"),
        ("recordings", None, "main"),
        ("", "/", "main"),
        ("/", "", "main"),
        ("", None, "main"),
        ("", "calls", "main//calls"),
    ],
)
def test_the_folder_that_the_recording_says_is_followed(configured: str, told: str | None, name: str) -> None:
    found = of(main=AWS | {"path": configured})

    assert named(found, type="aws", bucket="calls", path=told) == name
    config = found.config(name)
    assert isinstance(config, S3Config)
    assert config.path == (configured if told is None else told).strip("/")
    assert config.secrets == found.storages["main"].secrets
    assert config.bucket == "calls"


@pytest.mark.parametrize(
    ("configured", "told", "name", "path"),
    [
        ("", "/", "main", ""),
        ("calls", "./calls/", "main", "calls"),
        ("/srv", "/srv/../calls", "main///calls", "/calls"),
        ("/srv", "calls", "main//calls", "calls"),
        ("/srv", "/", "main//", ""),
        ("/srv", "~/calls", "main//calls", "calls"),
    ],
)
def test_a_folder_on_a_server_is_compared_without_its_needless_parts(
    configured: str, told: str, name: str, path: str
) -> None:
    found = of(main=SFTP | {"path": configured})

    assert named(found, type="sftp", host="files.example.com", path=told) == name
    config = found.config(name)
    assert isinstance(config, SftpConfig)
    assert config.path == path


def test_of_several_folders_of_one_bucket_the_one_that_is_told_is_taken() -> None:
    found = of(first=AWS | {"path": "a"}, second=AWS | {"path": "b"})

    assert named(found, type="aws", bucket="calls", path="/b") == "second"
    assert named(found, type="aws", bucket="calls", path="c") == "first//c"
    assert named(found, type="aws", bucket="calls") == "first"


def test_of_buckets_of_one_name_the_one_of_the_region_is_taken() -> None:
    found = of(ams=SPACES | {"region": "ams3"}, sgp=SPACES | {"path": "a"})

    def told(**more: str) -> str | None:
        return named(found, type="digitalocean", bucket="calls", **more)

    assert told(region="sgp1") == "sgp"
    assert told(region="SGP1", path="b") == "sgp//b"
    assert told(region="AMS3", path="a") == "ams//a"
    assert told(region="nyc3") == "ams"
    assert told() == "ams"


def test_of_accounts_on_one_host_the_one_of_the_port_is_taken() -> None:
    found = of(other_port=SFTP | {"port": 2222}, usual=SFTP)

    assert named(found, type="sftp", host="files.example.com") == "usual"
    assert named(found, type="sftp", host="files.example.com", port=22) == "usual"
    assert named(found, type="sftp", host="files.example.com", port=2222) == "other_port"


# ---- names


def test_a_name_with_a_folder_is_its_storage_there() -> None:
    found = of(main=AWS | {"path": "recordings"})

    config = found.config("main//calls")

    assert isinstance(config, S3Config)
    assert (config.path, config.label) == ("calls", "aws:calls/calls")
    assert found.config("main") is found.storages["main"]
    root = found.config("main//")
    assert root is not None
    assert root.label == "aws:calls"


@pytest.mark.parametrize("name", ["", "nobody", "nobody//calls", "//calls", "main/calls", "Main"])
def test_a_name_of_nothing_configured_is_none(name: str) -> None:
    assert of(main=AWS).config(name) is None
