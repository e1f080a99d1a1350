"""A configured storage goes to the provider in the provider's own words, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from service.commands.storages import for_provider, storage_named, unknown_to_provider
from service.errors import SettingsError
from service.model import Provider
from service.storage import LocalConfig, parse_storage_config
from tests.unit.at_the_provider import AWS

PRINT = "SHA256:2kQ9hLw3Jt0pVb8yXc5nRm1sDf7gKa4uZe6iTo0PqWs"
PEM = (
    Ed25519PrivateKey.generate()
    .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"phrase"))
    .decode()
)
GOOGLE = {
    "type": "service_account",
    "client_email": "a@b.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
    "token_uri": "https://oauth2.googleapis.com/token",
}
CONNECTION = (
    "DefaultEndpointsProtocol=https;AccountName=archive1;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
)
SPACES = {
    "type": "digitalocean",
    "access_key": "DO00",
    "secret": "5ecret",
    "bucket": "meetings",
    "region": "SGP1",
}
R2 = {
    "type": "cloudflare",
    "access_key": "ak",
    "secret": "5ecret",
    "bucket": "meetings",
    "account_id": "0a1b",
}
AZURE = {"type": "azure", "access_key": CONNECTION, "bucket": "recordings", "path": "calls"}
GCS = {"type": "gcs", "secret": json.dumps(GOOGLE), "bucket": "meetings"}
SFTP = {
    "type": "sftp",
    "host": "files.example.com",
    "port": 2222,
    "username": "archive",
    "path": "/srv/calls",
}
BY_PASSWORD = SFTP | {"auth_method": "PASSWORD", "password": "5ecret"}
BY_KEY = SFTP | {"auth_method": "KEY", "private_key": PEM, "password": "phrase"}
KNOWN = {"host_key_fingerprint": PRINT}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (AWS, AWS),
        ({**AWS, "path": "/", "account_id": "0a1b"}, {k: v for k, v in AWS.items() if k != "path"}),
        (SPACES, SPACES),
        (R2, {**R2, "region": "auto"}),
        (AZURE, {**AZURE, "secret": "", "region": ""}),
        (GCS, GCS),
        ({**GCS, "secret": GOOGLE, "region": "EU"}, {**GCS, "region": "EU"}),
        ({**BY_PASSWORD, **KNOWN}, BY_PASSWORD),
        ({**BY_PASSWORD, **KNOWN, "auth_method": ""}, BY_PASSWORD),
        ({**BY_PASSWORD, **KNOWN, "private_key": "of no use"}, BY_PASSWORD),
        ({**BY_KEY, **KNOWN}, BY_KEY),
        ({**BY_KEY, **KNOWN, "auth_method": ""}, BY_KEY),
    ],
)  # fmt: skip
def test_every_type_is_sent_in_the_providers_own_words(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert for_provider(parse_storage_config(given), Provider.REALTIMEKIT) == sent


def test_what_is_sent_is_what_the_specification_has(shared: Path) -> None:
    yaml, validator = pytest.importorskip("yaml"), pytest.importorskip("openapi_schema_validator")
    text = (shared / "dyte" / "openapi-v2.yaml").read_text("utf-8")
    schema = yaml.load(text, Loader=yaml.CSafeLoader)["components"]["schemas"]["StorageConfig"]
    for given in (AWS, SPACES, AZURE, GCS, BY_PASSWORD | KNOWN, BY_KEY | KNOWN):
        sent = for_provider(parse_storage_config(given), Provider.DYTE)
        validator.validate(sent, schema, cls=validator.OAS30WriteValidator)
        assert sent.keys() <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "local", "path": "/data"}, "it is a folder of this machine"),
        (R2, "Dyte does not know Cloudflare R2"),
        ({"type": "aws", "bucket": "meetings", "region": "eu-central-1"}, "it has no keys"),
        ({**AWS, "endpoint_url": "https://minio.example.com"}, "does not know endpoint_url"),
        ({**AWS, "session_token": "t"}, "does not know session_token"),
        ({"type": "azure", "account_name": "archive1", "bucket": "recordings"}, "it has no keys"),
        ({**AZURE, "endpoint_url": "https://archive1.blob.core.windows.net"}, "does not know endpoint_url"),
        ({"type": "gcs", "bucket": "meetings"}, "it has no keys"),
        ({"type": "gcs", "bucket": "meetings", "access_key": "GOOG1E", "secret": "5ecret"}, "not HMAC keys"),
        ({**GCS, "endpoint_url": "https://gcs.example.com"}, "does not know endpoint_url"),
    ],
)
def test_a_storage_that_the_provider_could_not_write_to_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as error:
        for_provider(parse_storage_config(given), Provider.DYTE)
    assert "5ecret" not in str(error.value)
    assert "--with-storage-config" in error.value.mend


def test_what_the_providers_copy_goes_without_is_named() -> None:
    lock = {"mode": "GOVERNANCE", "days": 3}
    given = {**AWS, "tags": {"a": "b"}, "object_lock": lock, "legal_hold": False, "addressing": "path"}
    assert unknown_to_provider(parse_storage_config(given)) == ["object_lock", "tags"]
    assert unknown_to_provider(parse_storage_config(BY_KEY | KNOWN)) == []


def test_a_storage_has_to_be_named_only_where_there_are_several() -> None:
    one, two = (LocalConfig(type="local", path=Path(name)) for name in ("one", "two"))
    assert storage_named({"default": one}, None) is one
    assert storage_named({"main": one, "copy": two}, "copy") is two
    with pytest.raises(SettingsError) as several:
        storage_named({"main": one, "copy": two}, None)
    assert several.value.mend == "say --storage, one of main, copy"
    with pytest.raises(SettingsError, match="there is no storage 'third'"):
        storage_named({"main": one, "copy": two}, "third")
