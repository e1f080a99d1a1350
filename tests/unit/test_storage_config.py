"""The provider's `storage_config` is read as it stands in its own documents, quirks and all."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.config import LocalConfig, S3Config, parse_storage_config
from service.storage.config.base import ObjectLock
from service.storage.config.s3_stores import AWS, B2, COMPATIBLE, GCS, R2, SPACES, STORES, Store
from tests.unit.announcements import json_values

KEYS = {"access_key": "AKIAEXAMPLE", "secret": "wJalrXUtnFEMI", "bucket": "recordings"}


def s3(kind: str = "aws", **fields: Any) -> S3Config:
    region = {"region": "eu-west-1"} if kind in ("aws", "digitalocean") else {}
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
    assert config.secret is not None
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


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("aws", {}, (AWS, "virtual", "crc64nvme", True)),
        ("aws", {"checksum": "none", "conditional_writes": False}, (AWS, "virtual", "none", False)),
        ("digitalocean", {}, (SPACES, "virtual", "none", False)),
        ("cloudflare", {"account_id": "a1"}, (R2, "path", "crc64nvme", True)),
        ("cloudflare", {"account_id": "a1", "checksum": "md5", "conditional_writes": False},
         (R2, "path", "md5", False)),
        ("aws", {"endpoint_url": "http://h:9000"}, (COMPATIBLE, "path", "none", False)),
        ("aws", {"endpoint_url": "http://h:9000", "checksum": "crc64nvme", "conditional_writes": True,
                 "addressing": "virtual"}, (COMPATIBLE, "virtual", "crc64nvme", True)),
        ("gcs", {}, (GCS, "path", "md5", False)),
    ],
)  # fmt: skip
def test_each_store_is_asked_for_what_it_is_documented_to_have(
    kind: str, fields: dict[str, Any], expected: tuple[object, ...]
) -> None:
    config = s3(kind, **fields)
    asked = (config.store, config.addressing_style, config.check, config.takes_names_atomically)
    assert asked == expected


@pytest.mark.parametrize(
    ("endpoint_url", "store", "region"),
    [
        ("https://s3.eu-central-1.amazonaws.com", AWS, "eu-central-1"),
        ("https://s3.dualstack.eu-central-1.amazonaws.com/", AWS, "eu-central-1"),
        ("https://s3-fips.us-gov-west-1.amazonaws.com", AWS, "us-gov-west-1"),
        ("https://bucket.vpce-1a2b-5e6f.s3.us-east-1.vpce.amazonaws.com", AWS, "us-east-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", AWS, "cn-north-1"),
        ("https://sgp1.digitaloceanspaces.com", SPACES, "sgp1"),
        ("https://0a1b.r2.cloudflarestorage.com", R2, "auto"),
        ("https://0a1b.eu.r2.cloudflarestorage.com", R2, "auto"),
        ("https://storage.googleapis.com", GCS, "auto"),
        ("https://s3.us-west-004.backblazeb2.com", B2, "us-west-004"),
        ("https://s3.eu-central-2.wasabisys.com", COMPATIBLE, "eu-central-2"),
        ("https://s3.fr-par.scw.cloud", COMPATIBLE, "fr-par"),
        ("https://s3.amazonaws.com.example.org", COMPATIBLE, "us-east-1"),
        ("http://192.0.2.1:9000", COMPATIBLE, "us-east-1"),
    ],
)
def test_a_known_store_is_known_by_its_address(endpoint_url: str, store: Store, region: str) -> None:
    config = s3("aws", region="", endpoint_url=endpoint_url)
    assert (config.store, config.signing_region) == (store, region)


def test_the_table_says_where_each_row_comes_from() -> None:
    for store in STORES:
        assert store.sources
        assert all(source.startswith("https://") for source in store.sources), store.name
    assert len({store.name for store in STORES}) == len(STORES)


def test_without_keys_aws_signs_as_its_environment_says() -> None:
    config = parse_storage_config({"type": "aws", "bucket": "recordings", "region": "eu-west-1"})
    assert isinstance(config, S3Config)
    assert (config.access_key, config.secret, config.secrets) == (None, None, ())


def test_keys_lose_the_blanks_around_them() -> None:
    config = s3(access_key=" AKIA\n", secret="\tsecret ", session_token="token\n")
    assert [secret.get_secret_value() for secret in config.secrets] == ["AKIA", "secret", "token"]


@pytest.mark.parametrize(
    "attribute", [{"legal_hold": True}, {"object_lock": {"mode": "GOVERNANCE", "days": 1}}]
)
def test_what_is_locked_has_a_checksum_of_some_kind(attribute: dict[str, Any]) -> None:
    locked = {"endpoint_url": "http://h:9000"} | attribute
    assert s3(**locked).check == "md5"
    assert s3(**locked, checksum="none").check == "md5"
    assert s3(**locked, checksum="crc64nvme").check == "crc64nvme"
    assert s3(**attribute).check == "crc64nvme"


def test_a_retention_counts_from_the_storing_or_ends_at_its_time() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert lock(days=30).until_at(now) == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert lock(until="2030-01-01T02:00:00+02:00").until_at(now) == datetime(2030, 1, 1, tzinfo=UTC)
    assert lock(until="2030-01-01").until_at(now) == datetime(2030, 1, 1, tzinfo=UTC)
    assert lock(mode="compliance", days=1).mode == "COMPLIANCE"


def lock(**fields: Any) -> ObjectLock:
    config = s3(object_lock={"mode": "GOVERNANCE"} | fields)
    assert config.object_lock is not None
    return config.object_lock


PLACE = {"type": "aws", **KEYS, "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({}, {"type: is missing"}),
        ({"type": ""}, {"type: is not one of aws, digitalocean, cloudflare, azure, gcs, sftp, local"}),
        ({"type": "AWS"}, {"type: is not one of aws, digitalocean, cloudflare, azure, gcs, sftp, local"}),
        ({"type": "aws"}, {"bucket: is missing", "region: is missing (or give endpoint_url)"}),
        ({"type": "digitalocean"}, {
            "access_key: is missing", "secret: is missing", "bucket: is missing",
            "region: is missing (or give endpoint_url)",
        }),
        ({"type": "cloudflare"}, {
            "access_key: is missing", "secret: is missing", "bucket: is missing",
            "account_id: is missing (or give endpoint_url)",
        }),
        (PLACE | {"secret": ""}, {"access_key: needs secret beside it"}),
        (PLACE | {"access_key": ""}, {"access_key: is missing"}),
        (PLACE | {"access_key": "", "secret": "", "session_token": "t"},
         {"session_token: needs secret beside it"}),
        (PLACE | {"secret": "two words"}, {"secret: has a character that no key has"}),
        (PLACE | {"access_key": "ключ"}, {"access_key: has a character that no key has"}),
        (PLACE | {"bucket": " "}, {"bucket: is missing"}),
        (PLACE | {"bucket": None}, {"bucket: is missing"}),
        (PLACE | {"bucket": "s3://recordings"}, {"bucket: is an address; give the bucket's name alone"}),
        (PLACE | {"bucket": "recordings/calls"},
         {"bucket: has a slash; a folder in the bucket goes into path"}),
        (PLACE | {"bucket": "my recordings"}, {"bucket: is not the name of a bucket"}),
        (PLACE | {"region": "US East (Ohio)"}, {"region: is not the name of a region, such as eu-central-1"}),
        (PLACE | {"region": "eu-central-1a"},
         {"region: is an availability zone; leave its last letter out"}),
        (PLACE | {"type": "cloudflare", "account_id": "https://a1.r2.cloudflarestorage.com"},
         {"account_id: is not an account's id; an address goes into endpoint_url"}),
        (PLACE | {"buckt": "b"}, {"buckt: is not a field of this type"}),
        (PLACE | {"endpoint_url": "h"}, {"endpoint_url: is not an http or https address"}),
        *(
            (PLACE | {"endpoint_url": url},
             {"endpoint_url: is not the address of a store, such as https://s3.example.com"})
            for url in ("https://", "https://u:p@h", "https://h?a=b", "https://h:99999", "https://[::1")
        ),
        *(
            (PLACE | {"endpoint_url": url},
             {"endpoint_url: has the bucket in it; give the store's address without it"})
            for url in (
                "https://recordings.s3.eu-west-1.amazonaws.com",
                "https://recordings.sgp1.digitaloceanspaces.com",
                "https://a1.r2.cloudflarestorage.com/recordings",
                "http://localhost:9000/recordings/",
            )
        ),
        (PLACE | {"checksum": "sha256"}, {"checksum: Input should be 'crc64nvme', 'md5' or 'none'"}),
        (PLACE | {"storage_class": "GOLD"},
         {f"storage_class: AWS has {', '.join(sorted(AWS.storage_classes))}"}),
        (PLACE | {"encryption": "AES256", "kms_key_id": "k", "bucket_key": True},
         {f"{field}: needs encryption aws:kms beside it" for field in ("kms_key_id", "bucket_key")}),
        (PLACE | {"kms_key_id": "k"}, {"kms_key_id: needs encryption aws:kms beside it"}),
        (PLACE | {"object_lock": {"mode": "GOVERNANCE"}}, {"object_lock: needs either days or until"}),
        (PLACE | {"object_lock": {"mode": "GOVERNANCE", "days": 1, "until": "2030-01-01"}},
         {"object_lock: needs either days or until"}),
        (PLACE | {"object_lock": {"mode": "FOREVER", "days": 36501, "until": "soon", "years": 1}},
         {"object_lock.mode: Input should be 'GOVERNANCE' or 'COMPLIANCE'",
          "object_lock.days: Input should be less than or equal to 36500",
          "object_lock.until: is not an ISO 8601 time such as 2030-01-31T00:00:00Z",
          "object_lock.years: is not a field of this type"}),
        (PLACE | {"tags": {f"tag{number}": "" for number in range(11)}},
         {"tags: has more than 10, the most that an object carries"}),
        *(
            (PLACE | {"tags": tags},
             {"tags: has a name beyond 1 to 128 characters, or a value beyond 256"})
            for tags in ({"": "v"}, {"n" * 129: "v"}, {"n": "v" * 257})
        ),
        (PLACE | {"tags": {"AWS:name": "v"}},
         {"tags: has a name that begins with aws:, which AWS keeps for itself"}),
        (PLACE | {"tags": {"name": "a&b"}},
         {"tags: has a character other than letters, digits, spaces and + - = . _ : / @"}),
        (PLACE | {"type": "digitalocean", "storage_class": "COLD", "encryption": "AES256", "legal_hold": True,
                  "object_lock": {"mode": "GOVERNANCE", "days": 1}, "tags": {"a": "b"}},
         {f"{field}: DigitalOcean Spaces does not have it"
          for field in ("storage_class", "encryption", "legal_hold", "object_lock")}),
        (PLACE | {"type": "cloudflare", "account_id": "a1", "storage_class": "GLACIER", "tags": {"a": "b"},
                  "encryption": "aws:kms"},
         {"storage_class: Cloudflare R2 has STANDARD, STANDARD_IA",
          "tags: Cloudflare R2 does not have it", "encryption: Cloudflare R2 does not have it"}),
        (PLACE | {"endpoint_url": "https://s3.us-west-004.backblazeb2.com", "encryption": "aws:kms"},
         {"encryption: Backblaze B2 has AES256 alone"}),
        ({"type": "local"}, {"path: is missing"}),
        ({"type": "local", "path": ""}, {"path: is missing"}),
        ({"type": "local", "path": "/a", "endpoint_url": "http://h"},
         {"endpoint_url: is not a field of this type"}),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(given: dict[str, Any], faults: set[str]) -> None:
    assert faults_of(given) == faults


@pytest.mark.parametrize(
    "attributes",
    [
        {"storage_class": "GLACIER_IR"},
        {"encryption": "aws:kms", "kms_key_id": "arn:aws:kms:eu-west-1:1:key/k", "bucket_key": False},
        {"tags": {"n" * 128: "v" * 256, "Größe": "", "a b+-=._:/@1": "é"}},
        {"bucket": "arn:aws:s3:eu-west-1:123456789012:accesspoint/recordings"},
        {"endpoint_url": "https://recordings.example.com"},
        {"endpoint_url": "https://example.com/storage/v1/s3"},
    ],
)
def test_what_a_store_takes_is_taken(attributes: dict[str, Any]) -> None:
    s3(**attributes)


@given(json_values)
def test_anything_else_is_a_fault_and_nothing_worse(given: object) -> None:
    assert faults_of(given)
    assert faults_of([given])


@given(
    st.sampled_from([*S3Config.model_fields, "new"]),
    json_values,
)
def test_no_value_of_a_field_is_repeated(field: str, odd: object) -> None:
    mark = "s3cr3tmark"
    for value in ([odd, mark], mark + " "):
        document = PLACE | {field: value}
        with contextlib.suppress(ValueError):
            parse_storage_config(document)
            continue
        assert not any(mark in fault for fault in faults_of(document))


def test_no_secret_is_shown() -> None:
    config = s3(secret="s3cr3tmark", access_key="AKs3cr3tmark", session_token="s3cr3tmark")
    assert "s3cr3tmark" not in repr(config) + str(config) + config.model_dump_json() + config.label
