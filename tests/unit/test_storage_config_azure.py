"""An `azure` config is read as the provider documents it; what cannot work is refused at once, by field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.config import AzureConfig, parse_storage_config
from tests.unit.announcements import json_values

KEY = "c2VjcmV0a2V5c2VjcmV0a2V5"
STRING = (
    f"DefaultEndpointsProtocol=https;AccountName=archive1;AccountKey={KEY};EndpointSuffix=core.windows.net"
)
SAS = "sv=2024-11-04&ss=b&srt=o&sp=rw&se=2030-01-01&sig=s3cr3tsig%3D"
NO_CONNECTION_STRING = (
    "access_key: is not a connection string, such as AccountName=...;AccountKey=...: the portal shows it"
    " under Access keys, or under Shared access signature"
)
GIVEN = {"type": "azure", "access_key": STRING, "secret": "", "bucket": "recordings", "region": ""}


def azure(**fields: Any) -> AzureConfig:
    config = parse_storage_config(GIVEN | fields)
    assert isinstance(config, AzureConfig)
    return config


def faults_of(**fields: Any) -> set[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_storage_config(GIVEN | fields)
    return set(str(caught.value).splitlines())


def test_the_documented_config_works_unchanged() -> None:
    config = azure(path="/calls/", host="", port=None, username="")
    assert config.endpoint == "https://archive1.blob.core.windows.net"
    assert (config.bucket, config.path, config.label) == ("recordings", "calls", "azure:recordings/calls")
    assert config.connection is not None
    assert config.connection.account_key is not None
    assert config.connection.account_key.get_secret_value() == KEY
    assert config.checksum == "crc64"


@pytest.mark.parametrize(
    ("string", "endpoint"),
    [
        (STRING, "https://archive1.blob.core.windows.net"),
        (f"  {STRING};\n", "https://archive1.blob.core.windows.net"),
        (STRING.lower().replace(KEY.lower(), KEY), "https://archive1.blob.core.windows.net"),
        (f"AccountName=archive1;AccountKey={KEY}", "https://archive1.blob.core.windows.net"),
        (f"AccountName=a1;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn",
         "https://a1.blob.core.chinacloudapi.cn"),
        (f"AccountName=a1;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10000/a1;", "http://127.0.0.1:10000/a1"),
        (f"BlobEndpoint=https://a1.privatelink.example/;QueueEndpoint=https://q;SharedAccessSignature={SAS}",
         "https://a1.privatelink.example"),
        (f"AccountName=a1;SharedAccessSignature=?{SAS}", "https://a1.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_a_connection_string_says_where(string: str, endpoint: str) -> None:
    assert azure(access_key=string).endpoint == endpoint


def test_a_signature_is_taken_whole_and_a_key_goes_before_it() -> None:
    signed = azure(access_key=f"BlobEndpoint=https://h;SharedAccessSignature=?{SAS}").connection
    assert signed is not None
    assert signed.sas is not None
    assert signed.sas.get_secret_value() == SAS
    both = azure(access_key=f"{STRING};SharedAccessSignature={SAS}").connection
    assert both is not None
    assert both.sas is None


def test_an_endpoint_goes_before_the_connection_strings() -> None:
    assert azure(endpoint_url="http://127.0.0.1:10000/a1/").endpoint == "http://127.0.0.1:10000/a1"


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"account_name": "archive1"}, "https://archive1.blob.core.windows.net"),
        ({"endpoint_url": "https://archive1.blob.core.usgovcloudapi.net/"},
         "https://archive1.blob.core.usgovcloudapi.net"),
    ],
)  # fmt: skip
def test_a_pod_with_an_identity_needs_no_key(fields: dict[str, str], endpoint: str) -> None:
    config = azure(access_key="", **fields)
    assert config.connection is None
    assert config.endpoint == endpoint
    assert config.secrets == ()


def test_what_a_blob_carries_may_be_said_in_any_case() -> None:
    config = azure(
        checksum="MD5",
        storage_class="COLD",
        tags={"team": "sales", "kept.until": "2030/01 +1"},
        encryption_scope="archive",
        object_lock={"mode": "compliance", "days": 365},
        legal_hold=True,
    )
    assert (config.checksum, config.storage_class, config.legal_hold) == ("md5", "Cold", True)
    assert config.object_lock is not None
    assert config.object_lock.mode == "COMPLIANCE"


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"bucket": "Recordings"},
         {"bucket: is not the name of a container: 3 to 63 lower-case letters, digits, single hyphens"}),
        ({"bucket": "recordings/calls"}, {"bucket: has a slash; a folder in the container goes into path"}),
        ({"bucket": "https://a1.blob.core.windows.net/c"},
         {"bucket: is an address; give the container's name alone"}),
        ({"bucket": ""}, {"bucket: is missing"}),
        ({"access_key": ""},
         {"access_key: is missing (or give account_name, for the pod's own identity)"}),
        ({"access_key": "", "endpoint_url": "http://a1.example"},
         {"access_key: is missing; the pod's own identity is only told to an https endpoint_url"}),
        ({"access_key": KEY},
         {NO_CONNECTION_STRING}),
        ({"access_key": "AccountName=a1"},
         {"access_key: has neither AccountKey nor SharedAccessSignature"}),
        ({"access_key": "AccountKey=cut-off;BlobEndpoint=ftp://h"},
         {"access_key: has an AccountKey that is not base64; it may be cut off",
          "access_key: has no AccountName",
          "access_key: has a BlobEndpoint that is not an http or https address"}),
        ({"access_key": "SharedAccessSignature=sv=2024-11-04&sp=rw"},
         {"access_key: has a SharedAccessSignature without sig; it may be cut off",
          "access_key: has neither BlobEndpoint nor AccountName"}),
        ({"account_name": "another1"}, {"access_key: has another AccountName than account_name"}),
        ({"account_name": "a1.blob.core.windows.net"},
         {"account_name: is not the name of a storage account: 3 to 24 lower-case letters and digits"}),
        ({"endpoint_url": "a1.blob.core.windows.net"}, {"endpoint_url: is not an http or https address"}),
        ({"endpoint_url": "https://a1.blob.core.windows.net/?sv=1"},
         {"endpoint_url: is not the address of a blob service, such as https://account.blob.core.windows.net"}),
        ({"endpoint_url": "https://a1.dfs.core.windows.net"},
         {"endpoint_url: is the address of the Data Lake service; give the one with .blob. in it"}),
        ({"endpoint_url": "https://a1.blob.core.windows.net/recordings"},
         {"endpoint_url: has the container in it; give the address without it"}),
        ({"checksum": "sha256"}, {"checksum: Input should be 'crc64', 'md5' or 'none'"}),
        ({"storage_class": "GLACIER"},
         {"storage_class: Input should be 'Hot', 'Cool', 'Cold', 'Archive' or ''"}),
        ({"tags": {f"t{n}": "" for n in range(11)}},
         {"tags: has more than 10, the most that a blob carries"}),
        ({"tags": {"": "v"}}, {"tags: has a name beyond 1 to 128 characters, or a value beyond 256"}),
        ({"tags": {"t": "v" * 257}}, {"tags: has a name beyond 1 to 128 characters, or a value beyond 256"}),
        ({"tags": {"team": "a&b"}},
         {"tags: has a character other than a to z, A to Z, digits, spaces and + - . / : = _"}),
        ({"object_lock": {"mode": "GOVERNANCE"}}, {"object_lock: needs either days or until"}),
        ({"acess_key": "x"}, {"acess_key: is not a field of this type"}),
        ({"bucket": "B", "access_key": KEY, "account_name": "A", "endpoint_url": "h", "checksum": "x"},
         {"bucket: is not the name of a container: 3 to 63 lower-case letters, digits, single hyphens",
          NO_CONNECTION_STRING,
          "account_name: is not the name of a storage account: 3 to 24 lower-case letters and digits",
          "endpoint_url: is not an http or https address",
          "checksum: Input should be 'crc64', 'md5' or 'none'"}),
    ],
)  # fmt: skip
def test_each_fault_names_its_field_and_all_are_told(fields: dict[str, Any], faults: set[str]) -> None:
    assert faults_of(**fields) == faults


FIELDS = [
    "access_key", "account_name", "bucket", "endpoint_url", "path", "checksum", "storage_class", "tags",
    "encryption_scope", "object_lock", "legal_hold", "new",
]  # fmt: skip


@given(st.sampled_from(FIELDS), json_values)
def test_no_value_of_a_field_is_repeated(field: str, odd: object) -> None:
    mark = "s3cr3tmark"
    assert not any(mark in fault for fault in faults_of(**{field: [odd, mark]}))


@given(st.text(alphabet="=;:&?/%abAK", max_size=40))
def test_no_part_of_an_odd_connection_string_is_repeated(odd: str) -> None:
    mark = "s3cr3tmark"
    for string in (f"AccountName={mark};{odd}", f"AccountKey={mark}!;{odd}", f"{odd}{mark}"):
        assert not any(mark in fault for fault in faults_of(access_key=string))


def test_no_secret_is_shown_and_each_is_known_alone() -> None:
    for string, alone in ((STRING, KEY), (f"BlobEndpoint=https://h;SharedAccessSignature={SAS}", SAS)):
        config = azure(access_key=string)
        assert alone not in repr(config) + str(config) + config.model_dump_json() + config.label
        assert {secret.get_secret_value() for secret in config.secrets} == {string, alone}
