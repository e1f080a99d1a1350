"""An SFTP `storage_config` is read as the provider documents it, and what cannot work is refused at once."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ecdsa_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st

from service.storage.config import SftpConfig, parse_storage_config
from tests.doubles.ssh_keys import SshKey
from tests.unit.announcements import json_values

HOST_KEY = SshKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))  # tests are named by it
KEY = SshKey(Ed25519PrivateKey.generate())
ECDSA = SshKey(ecdsa_key(SECP256R1()))
RSA = SshKey(rsa_key(65537, 2048))
PLACE = {"type": "sftp", "host": "files.example.com", "username": "archive"}
KNOWN = {"host_key_fingerprint": HOST_KEY.fingerprint}
PASSWORD = {"password": "s3cr3tmark"}


def sftp(**fields: Any) -> SftpConfig:
    config = parse_storage_config(PLACE | KNOWN | PASSWORD | fields)
    assert isinstance(config, SftpConfig)
    return config


def public_half(config: SftpConfig) -> str:
    plain = config.plain_key()
    assert plain is not None
    return SshKey(load_ssh_private_key(plain, None)).public


def faults_of(given: object) -> set[str]:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_storage_config(given)
    return set(str(caught.value).splitlines())


def faults(**fields: Any) -> set[str]:
    return faults_of(PLACE | KNOWN | PASSWORD | fields)


def test_the_provider_s_sample_works_with_a_host_key_beside_it() -> None:
    blank = {"access_key": "", "secret": "", "bucket": "", "region": "", "path": "/", "private_key": ""}
    config = sftp(auth_method="PASSWORD", port="2222", **blank)

    assert (config.host, config.port, config.username, config.path) == (
        "files.example.com", 2222, "archive", ""
    )  # fmt: skip
    assert not config.uses_key
    assert sftp().port == 22


@pytest.mark.parametrize(
    ("fields", "uses_key"),
    [
        ({"password": "p"}, False),
        ({"private_key": KEY.private(), "password": None}, True),
        ({"private_key": KEY.private(passphrase="p"), "password": "p"}, True),
        ({"private_key": KEY.private(), "password": "p", "auth_method": "password"}, False),
        ({"private_key": KEY.private(), "password": "p", "auth_method": "KEY"}, True),
    ],
)
def test_without_auth_method_the_fields_tell_how_to_log_in(fields: dict[str, Any], *, uses_key: bool) -> None:
    assert sftp(**fields).uses_key is uses_key


@pytest.mark.parametrize(
    ("key", "form"),
    [
        (KEY, "openssh"), (KEY, "pkcs8"), (ECDSA, "openssh"), (ECDSA, "pem"), (RSA, "pem"), (RSA, "pkcs8"),
    ],
)  # fmt: skip
def test_a_private_key_of_any_format_is_read_and_its_passphrase_tried(key: SshKey, form: str) -> None:
    plain, locked = key.private(form), key.private(form, passphrase="geheim 🔑")

    assert public_half(sftp(private_key=plain, password=None)) == key.public
    assert public_half(sftp(private_key=locked, password="geheim 🔑")) == key.public
    assert faults(private_key=locked) == {"password: is not the passphrase of private_key"}
    assert faults(private_key=locked, password=None) == {
        "password: is missing, the passphrase of private_key"
    }


@pytest.mark.parametrize(("of", "form"), [(KEY, "openssh"), (RSA, "pem")])
def test_a_private_key_that_went_through_json_twice_is_read(of: SshKey, form: str) -> None:
    key = of.private(form)
    for text in (json.dumps(key)[1:-1], key.replace("\n", "\r\n"), f"\n  {key}  ", key.strip()):
        assert public_half(sftp(private_key=text, password=None)) == of.public


def test_a_password_that_is_not_needed_for_the_key_does_no_harm() -> None:
    assert sftp(private_key=KEY.private(), auth_method="KEY").uses_key


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/", ""), ("", ""), (" ", ""), ("//", ""), (None, ""), ("~", ""), ("~/", ""), (".", ""), ("./", ""),
        ("a", "a"), ("a/b/", "a/b"), (" a/ ", "a"), ("./a//b", "a/b"), ("~/a", "a"), ("~a", "~a"),
        ("/srv", "/srv"), ("/srv/a/", "/srv/a"), ("//srv", "/srv"), ("/.", "/"),
    ],
)  # fmt: skip
def test_a_path_counts_from_where_the_account_lands_unless_it_is_absolute(
    path: str | None, folder: str
) -> None:
    assert sftp(path=path).path == folder


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, "sftp:archive@files.example.com/~"),
        ({"path": "a/b"}, "sftp:archive@files.example.com/~/a/b"),
        ({"path": "/a/b", "port": 2222}, "sftp:archive@files.example.com:2222/a/b"),
    ],
)
def test_the_label_tells_two_places_apart(fields: dict[str, Any], label: str) -> None:
    assert sftp(**fields).label == label


@pytest.mark.parametrize("host", ["files.example.com", "10.0.0.1", "::1", "[::1]", "2001:db8::1"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert sftp(host=host).host == host.strip("[]")


@pytest.mark.parametrize(
    "given",
    [
        HOST_KEY.fingerprint,
        f"{HOST_KEY.fingerprint}=",
        f" {HOST_KEY.fingerprint} ",
        [HOST_KEY.fingerprint],
    ],
)
def test_a_fingerprint_is_taken_as_it_is_shown(given: object) -> None:
    assert sftp(host_key_fingerprint=given).host_key_fingerprint == (HOST_KEY.fingerprint,)


@pytest.mark.parametrize("separator", [",", ", ", "\n", " "])
def test_several_fingerprints_are_taken(separator: str) -> None:
    both = (HOST_KEY.fingerprint, RSA.fingerprint)

    assert sftp(host_key_fingerprint=separator.join(both)).host_key_fingerprint == both
    assert sftp(host_key_fingerprint=list(both)).host_key_fingerprint == both


@pytest.mark.parametrize(
    "line",
    [
        HOST_KEY.known_as("files.example.com"),
        HOST_KEY.known_as("files.example.com", 2222),
        HOST_KEY.known_as("files.example.com", is_hashed=True),
        f"@cert-authority *.example.com {HOST_KEY.public}",
        f"# files.example.com:22 SSH-2.0-OpenSSH_9.2\n{HOST_KEY.known_as('files.example.com')}",
        json.dumps(HOST_KEY.known_as("a") + RSA.known_as("b"))[1:-1],
        f"a,b,!c,*.d {HOST_KEY.public} and a comment",
    ],
)
def test_known_hosts_are_taken_as_openssh_writes_them(line: str) -> None:
    config = sftp(host_key_fingerprint=None, known_hosts=line)

    assert config.known_hosts.endswith("\n")
    assert "\\n" not in config.known_hosts


@pytest.mark.parametrize(
    "text",
    [
        "files.example.com",
        "files.example.com ssh-ed25519",
        f"files.example.com ssh-rsa {HOST_KEY.public.split()[1]}",
        "files.example.com ssh-ed25519 AAAA!!!",
        f"{HOST_KEY.public}",
        HOST_KEY.known_as("ok") + "and this is not one",
    ],
)
def test_known_hosts_that_are_none_are_refused_with_their_line(text: str) -> None:
    number = len(text.strip().splitlines())
    assert faults(known_hosts=text) == {
        f"known_hosts: line {number} is not a host, the type of its key, and the key"
    }


HOW = "ssh-keyscan HOST | ssh-keygen -lf - shows it"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": None}, {"host: is missing"}),
        ({"host": None, "username": ""}, {"host: is missing", "username: is missing"}),
        ({"host": "sftp://files.example.com"}, {"host: is not a name or an address alone"}),
        ({"host": "files.example.com:22"}, {"host: is not a name or an address alone"}),
        ({"host": "me@files.example.com"}, {"host: is not a name or an address alone"}),
        ({"port": 0}, {"port: Input should be greater than or equal to 1"}),
        ({"path": "a\0b"}, {"path: holds a character that no path has"}),
        ({"auth_method": "KERBEROS"}, {"auth_method: Input should be 'KEY' or 'PASSWORD'"}),
        ({"password": None}, {"password: is missing (or give private_key)"}),
        ({"password": None, "auth_method": "PASSWORD", "private_key": KEY.private()},
         {"password: is missing"}),
        ({"auth_method": "KEY"}, {"private_key: is missing"}),
        ({"private_key": "s3cr3tmark"}, {"private_key: is not a private key in PEM or OpenSSH format"}),
        ({"private_key": KEY.private()[:200]},
         {"private_key: is not a private key in PEM or OpenSSH format"}),
        ({"private_key": KEY.public}, {"private_key: is a public key"}),
        ({"private_key": "PuTTY-User-Key-File-3: ssh-ed25519"},
         {"private_key: is in PuTTY's format; export it as an OpenSSH key"}),
        ({"private_key": SshKey(X25519PrivateKey.generate()).private("pkcs8")},
         {"private_key: is of a kind that SSH does not log in with"}),
        ({"host_key_fingerprint": None}, {f"host_key_fingerprint: is missing, and known_hosts too ({HOW})"}),
        ({"host_key_fingerprint": None, "password": None},
         {"password: is missing (or give private_key)",
          f"host_key_fingerprint: is missing, and known_hosts too ({HOW})"}),
        ({"host_key_fingerprint": "SHA256:short"},
         {f"host_key_fingerprint: is not a fingerprint such as SHA256:... ({HOW})"}),
        ({"host_key_fingerprint": "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"},
         {f"host_key_fingerprint: is not a fingerprint such as SHA256:... ({HOW})"}),
        ({"host_key_fingerprint": [HOST_KEY.fingerprint, 7]},
         {f"host_key_fingerprint: is not a fingerprint such as SHA256:... ({HOW})"}),
        ({"known_hosts": "# only a comment"}, {"known_hosts: holds no key"}),
        ({"known_hosts": f"@revoked * {HOST_KEY.public}"}, {"known_hosts: holds no key"}),
        ({"known_hosts": f"|2|abc=|def= {HOST_KEY.public}"},
         {"known_hosts: line 1 begins with a hash that is not OpenSSH's"}),
        ({"trust_host_key": "first_use"},
         {"trust_host_key: does not go with known_hosts or host_key_fingerprint"}),
        ({"trust_host_key": "always"}, {"trust_host_key: Input should be 'first_use'"}),
        ({"endpoint_url": "http://h"}, {"endpoint_url: is not a field of this type"}),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(fields: dict[str, Any], expected: set[str]) -> None:
    assert faults(**fields) == expected


def test_any_host_key_is_trusted_only_if_that_is_asked_for() -> None:
    assert sftp(host_key_fingerprint=None, trust_host_key="first_use").trust_host_key == "first_use"


@given(st.sampled_from([*SftpConfig.model_fields, "new"]), json_values)
def test_no_value_of_a_field_is_repeated(field: str, odd: object) -> None:
    mark = "s3cr3tmark"
    document = PLACE | PASSWORD | {field: [odd, mark], "private_key": mark}
    assert not any(mark in fault for fault in faults_of(document))


def test_no_secret_is_shown() -> None:
    key = KEY.private()
    config = sftp(private_key=key, auth_method="PASSWORD")
    shown = repr(config) + str(config) + config.model_dump_json() + config.label
    assert "s3cr3tmark" not in shown
    assert key.splitlines()[3] not in shown
    assert {secret.get_secret_value() for secret in config.secrets} == {"s3cr3tmark", key}
