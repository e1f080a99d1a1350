"""`gcs` is read as the provider documents it: a service account's JSON, HMAC keys, or nothing at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.config import GcsConfig, S3Config, parse_storage_config
from tests.unit.announcements import json_values

PEM = "-----BEGIN PRIVATE KEY-----\nczNjcjN0bWFyaw\n-----END PRIVATE KEY-----\n"
KEY = {
    "type": "service_account",
    "project_id": "project",
    "private_key": PEM,
    "client_email": "archiver@project.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}
GIVEN = {"type": "gcs", "bucket": "meetings", "secret": json.dumps(KEY)}
KMS_KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
KMS_KEY_FORM = "projects/.../locations/.../keyRings/.../cryptoKeys/..."
ELSEWHERE = "name such a file in GOOGLE_APPLICATION_CREDENTIALS and leave secret out"


def gcs(**fields: Any) -> GcsConfig:
    config = parse_storage_config(GIVEN | fields)
    assert isinstance(config, GcsConfig)
    return config


def faults_of(given: object) -> set[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_storage_config(given)
    return set(str(caught.value).splitlines())


def test_a_service_accounts_json_is_read_with_every_quirk_of_the_guide() -> None:
    blank = dict.fromkeys(["access_key", "account_id", "host", "username"], "") | {"port": None}
    config = gcs(region="europe-west1", path="/calls/", **blank)
    assert (config.path, config.label, config.endpoint) == (
        "calls",
        "gcs:meetings/calls",
        "https://storage.googleapis.com",
    )
    assert config.credential == KEY
    assert gcs(path="/").label == "gcs:meetings"


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        json.dumps(KEY, indent=2),
        f"  {json.dumps(KEY)}\n",
        json.dumps(KEY | {"private_key": PEM.replace("\n", "\\n")}),
    ],
    ids=["an object", "indented", "with spaces around it", "line ends escaped once more"],
)
def test_the_credential_is_the_same_however_it_was_pasted(secret: object) -> None:
    assert gcs(secret=secret).credential == KEY
    given = {"type": "gcs", "bucket": "meetings", "secret_key": secret}
    config = parse_storage_config(given)
    assert isinstance(config, GcsConfig)
    assert config.credential == KEY


def test_what_stands_in_access_key_beside_the_json_does_not_apply() -> None:
    assert gcs(access_key="archiver@project.iam.gserviceaccount.com") == gcs()


def test_without_a_secret_the_pods_own_identity_is_meant() -> None:
    assert gcs(secret="").credential is None
    assert gcs(secret=None, access_key=" ").credential is None


def test_hmac_keys_speak_the_s3_api_of_google() -> None:
    config = parse_storage_config(GIVEN | {"access_key": "GOOG1E", "secret": "hmac", "path": "/calls/"})
    assert isinstance(config, S3Config)
    assert (config.endpoint, config.signing_region) == ("https://storage.googleapis.com", "auto")
    assert (config.addressing_style, config.takes_names_atomically) == ("path", False)
    assert config.check != "crc64nvme"
    assert config.label == "gcs:meetings/calls"


def test_attributes_are_read_in_any_case() -> None:
    lock = {"mode": "governance", "days": 30}
    config = gcs(storage_class="archive", kms_key_id=f" {KMS_KEY} ", object_lock=lock, legal_hold=True)
    assert (config.storage_class, config.kms_key_id, config.legal_hold) == ("ARCHIVE", KMS_KEY, True)
    assert config.object_lock is not None
    assert (config.object_lock.mode, config.object_lock.days) == ("GOVERNANCE", 30)


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"bucket": ""}, {"bucket: is missing"}),
        ({"bucket": "gs://meetings"}, {"bucket: is an address; give the bucket's name alone"}),
        ({"bucket": "a/b"}, {"bucket: has a slash; a folder in the bucket goes into path"}),
        ({"bucket": "Meetings"}, {"bucket: is not the name of a bucket"}),
        ({"secret": json.dumps(KEY | {"type": "authorized_user"})},
         {f"secret: is not the key of a service account: its type is another; {ELSEWHERE}"}),
        ({"secret": {"type": "service_account"}},
         {f"secret: the key has no {name}: paste the whole file"
          for name in ("client_email", "private_key", "token_uri")}),
        ({"secret": KEY | {"private_key": "MIIE", "token_uri": "oauth2.googleapis.com"}},
         {"secret: its private_key is not whole: it goes from -----BEGIN to -----END PRIVATE KEY-----",
          "secret: its token_uri is not an http or https address"}),
        ({"endpoint_url": "storage.googleapis.com"}, {"endpoint_url: is not an http or https address"}),
        ({"endpoint_url": "https://u:p@h"},
         {"endpoint_url: is not the address of a server, such as https://storage.googleapis.com"}),
        ({"kms_key_id": "k"},
         {f"kms_key_id: is not a key's resource name, {KMS_KEY_FORM}"}),
        ({"storage_class": "GLACIER"},
         {"storage_class: Input should be 'STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE' or ''"}),
        ({"object_lock": {"mode": "GOVERNANCE"}}, {"object_lock: needs either days or until"}),
        ({"legal_hold": "perhaps", "tags": {"a": "b"}},
         {"legal_hold: Input should be a valid boolean, unable to interpret input",
          "tags: is not a field of this type"}),
        ({"secret": "", "access_key": "GOOG1E"}, {"secret: is missing"}),
        ({"secret": "hmac", "access_key": "GOOG1E", "legal_hold": True},
         {"legal_hold: Google Cloud Storage by HMAC key does not have it"}),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(fields: dict[str, Any], faults: set[str]) -> None:
    assert faults_of(GIVEN | fields) == faults


@pytest.mark.parametrize("secret", ["hmac secret without its access key", "{torn", "[]", '"text"', "7"])
def test_a_secret_that_is_no_credential_is_told_without_it(secret: str) -> None:
    (fault,) = faults_of(GIVEN | {"secret": secret})
    assert fault.startswith("secret: is not the JSON of a service account's key")
    assert secret not in fault


@given(st.sampled_from([*KEY, "new"]), json_values)
def test_no_credential_is_taken_that_lacks_what_it_needs_and_none_is_repeated(name: str, odd: object) -> None:
    given = GIVEN | {"secret": KEY | {name: [odd, "s3cr3tmark"]}}
    if name in ("project_id", "new"):
        assert isinstance(parse_storage_config(given), GcsConfig)
        return
    faults = faults_of(given)
    assert all(fault.startswith("secret: ") for fault in faults)
    assert "s3cr3tmark" not in str(faults)


def test_no_secret_is_shown() -> None:
    config = gcs()
    shown = repr(config) + str(config) + config.model_dump_json() + config.label
    assert "czNjcjN0bWFyaw" not in shown
    assert {secret.get_secret_value() for secret in config.secrets} == {json.dumps(KEY), PEM}
