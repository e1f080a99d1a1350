"""The provider's `storage_config` is read as it stands in its own documents, quirks and all."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.config import LocalConfig, S3Config, parse_storage_config
from tests.unit.announcements import json_values

KEYS = {"access_key": "AKIAEXAMPLE", "secret": "wJalrXUtnFEMI", "bucket": "recordings"}


def s3(kind: str = "aws", **fields: Any) -> S3Config:
    region = {} if kind == "cloudflare" else {"region": "eu-west-1"}
    config = parse_storage_config({"type": kind} | KEYS | region | fields)
    assert isinstance(config, S3Config)
    return config


def faults_of(given: object) -> set[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_storage_config(given)
    return set(str(caught.value).splitlines())


def test_the_guides_secret_key_is_the_specs_secret() -> None:
    given = {"type": "aws", "region": "us-east-1"} | KEYS
    given["secret_key"] = given.pop("secret")
    config = parse_storage_config(given)
    assert isinstance(config, S3Config)
    assert config.secret.get_secret_value() == "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    ("kind", "fields", "endpoint", "region"),
    [
        ("aws", {"region": "eu-west-1"}, None, "eu-west-1"),
        ("aws", {"region": "EU-WEST-1"}, None, "eu-west-1"),
        ("aws", {"region": "", "endpoint_url": "http://h:9000/"}, "http://h:9000", "us-east-1"),
        ("digitalocean", {"region": "SGP1"}, "https://sgp1.digitaloceanspaces.com", "sgp1"),
        ("digitalocean", {"region": "nyc3"}, "https://nyc3.digitaloceanspaces.com", "nyc3"),
        ("cloudflare", {"account_id": "a1"}, "https://a1.r2.cloudflarestorage.com", "auto"),
        ("cloudflare", {"account_id": "a1", "region": "weur"}, "https://a1.r2.cloudflarestorage.com", "auto"),
        ("cloudflare", {"endpoint_url": "https://a1.eu.r2.cloudflarestorage.com"},
         "https://a1.eu.r2.cloudflarestorage.com", "auto"),
    ],
)  # fmt: skip
def test_each_provider_has_its_endpoint_and_region(
    kind: str, fields: dict[str, str], endpoint: str | None, region: str
) -> None:
    config = s3(kind, **fields)
    assert (config.endpoint, config.signing_region) == (endpoint, region)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/", ""), ("", ""), (" ", ""), ("//", ""), (None, ""), ("a", "a"), ("/a/b/", "a/b"), (" a/ ", "a"),
    ],
)  # fmt: skip
def test_a_path_is_a_folder_and_its_outer_slashes_mean_nothing(path: str | None, folder: str) -> None:
    config = s3(path=path)
    assert config.path == folder
    assert config.label == "aws:recordings" + (f"/{folder}" if folder else "")


def test_blank_fields_and_those_of_other_types_do_not_apply() -> None:
    blank = dict.fromkeys(["host", "username", "password", "private_key", "auth_method", "account_id"], "")
    assert s3(**blank, port=None) == s3()
    assert s3(host="sftp.example.com", port=22, auth_method="KEY") == s3()
    local = parse_storage_config({"type": "local", "path": "/data", "bucket": "b", "secret": ""})
    assert local == LocalConfig(type="local", path=Path("/data"))


def test_checksums_are_asked_for_where_the_store_is_known_to_verify_them() -> None:
    assert s3("aws").verifies_checksums
    assert not s3("aws", endpoint_url="http://h:9000").verifies_checksums
    assert s3("aws", endpoint_url="http://h:9000", checksum="crc64nvme").verifies_checksums
    assert not s3("aws", checksum="none").verifies_checksums
    assert not s3("digitalocean").verifies_checksums
    assert not s3("cloudflare", account_id="a1").verifies_checksums


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, {"type: is missing"}),
        ({"type": ""}, {"type: is not one of aws, digitalocean, cloudflare, local"}),
        ({"type": "AWS"}, {"type: is not one of aws, digitalocean, cloudflare, local"}),
        ({"type": "aws"}, {"access_key: is missing", "secret: is missing", "bucket: is missing"}),
        ({"type": "aws", **KEYS, "bucket": " "}, {"bucket: is missing"}),
        ({"type": "aws", **KEYS, "bucket": None}, {"bucket: is missing"}),
        ({"type": "aws", **KEYS}, {"region: is missing (or give endpoint_url)"}),
        ({"type": "digitalocean", **KEYS}, {"region: is missing (or give endpoint_url)"}),
        ({"type": "cloudflare", **KEYS}, {"account_id: is missing (or give endpoint_url)"}),
        ({"type": "aws", **KEYS, "region": "r", "buckt": "b"}, {"buckt: is not a field of this type"}),
        ({"type": "aws", **KEYS, "endpoint_url": "h"}, {"endpoint_url: is not an http or https address"}),
        ({"type": "local"}, {"path: is missing"}),
        ({"type": "local", "path": ""}, {"path: is missing"}),
        ({"type": "local", "path": "/a", "endpoint_url": "http://h"},
         {"endpoint_url: is not a field of this type"}),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(given: dict[str, Any], faults: set[str]) -> None:
    assert faults_of(given) == faults


@given(json_values)
def test_anything_else_is_a_fault_and_nothing_worse(given: object) -> None:
    assert faults_of(given)
    assert faults_of([given])


@given(
    st.sampled_from(["type", "access_key", "secret", "bucket", "region", "path", "endpoint_url", "new"]),
    json_values,
)
def test_no_value_of_a_field_is_repeated(field: str, odd: object) -> None:
    mark = "s3cr3tmark"
    document = {"type": "aws", "region": "r"} | KEYS | {field: [odd, mark]}
    assert not any(mark in fault for fault in faults_of(document))


def test_no_secret_is_shown() -> None:
    config = s3(secret="s3cr3tmark", access_key="AKs3cr3tmark")
    assert "s3cr3tmark" not in repr(config) + str(config) + config.model_dump_json() + config.label
