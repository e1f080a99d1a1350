"""Only the provider's own bytes pass, nothing that a stranger sends raises, and keys are read strictly."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import KeyUnavailable, SignatureInvalid
from service.model import Provider
from service.signature import PinnedKeys, load_keys, parse_key_document, verify
from tests.doubles.sender import Sender

BODY = b'{"event":"recording.statusUpdate","recording":{"id":"r1"}}'
SPKI, PKCS1 = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1

fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def stranger() -> Sender:
    return Sender()


def pem_of(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, SPKI).decode()


def small_key() -> str:
    return pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key())


def elliptic_key() -> str:
    return pem_of(ec.generate_private_key(ec.SECP256R1()).public_key())


def edwards_key() -> str:
    return pem_of(ed25519.Ed25519PrivateKey.generate().public_key())


# ---- verifying


@given(body=st.binary(max_size=2000))
@fuzzed
def test_whatever_the_provider_signs_is_verified(sender: Sender, body: bytes) -> None:
    assert verify(load_keys(sender.public_pem), body, sender.sign(body))


@given(bit=st.integers(0, len(BODY) * 8 - 1))
@fuzzed
def test_no_bit_of_the_body_can_be_changed(sender: Sender, bit: int) -> None:
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(load_keys(sender.public_pem), bytes(changed), sender.sign(BODY))


@given(bit=st.integers(0, 256 * 8 - 1))
@fuzzed
def test_no_bit_of_the_signature_can_be_changed(sender: Sender, bit: int) -> None:
    changed = bytearray(base64.b64decode(sender.sign(BODY)))
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(load_keys(sender.public_pem), BODY, base64.b64encode(changed).decode())


@given(
    text=st.text()
    | st.binary().map(lambda raw: base64.b64encode(raw).decode())
    | st.from_regex(r"[\x00-\xff]*")
)
@fuzzed
def test_no_text_in_the_signature_header_is_more_than_a_bad_signature(sender: Sender, text: str) -> None:
    assert not verify(load_keys(sender.public_pem), BODY, text)


@given(length=st.integers(0, 343))
@fuzzed
def test_a_signature_cut_short_is_a_bad_one(sender: Sender, length: int) -> None:
    assert not verify(load_keys(sender.public_pem), BODY, sender.sign(BODY)[:length])


@given(text=st.text(st.sampled_from("!-_ \n\u00e9"), min_size=1, max_size=3), at=st.integers(0, 344))
@fuzzed
def test_a_signature_with_something_between_is_a_bad_one(sender: Sender, text: str, at: int) -> None:
    signature = sender.sign(BODY)
    assert not verify(load_keys(sender.public_pem), BODY, signature[:at] + text + signature[at:])


def test_a_signature_of_another_provider_is_a_bad_one(sender: Sender, stranger: Sender) -> None:
    assert not verify(load_keys(sender.public_pem), BODY, stranger.sign(BODY))


def test_without_keys_nothing_is_verified(sender: Sender) -> None:
    assert not verify((), BODY, sender.sign(BODY))


def test_the_same_news_in_other_bytes_is_not_what_was_signed(sender: Sender) -> None:
    rewritten = json.dumps(json.loads(BODY)).encode()
    assert rewritten != BODY
    assert not verify(load_keys(sender.public_pem), rewritten, sender.sign(BODY))


async def test_a_pinned_key_judges_both_providers(sender: Sender, stranger: Sender) -> None:
    ring = PinnedKeys(load_keys(sender.public_pem))
    for provider in Provider:
        await ring.check(provider, BODY, sender.sign(BODY))
        with pytest.raises(SignatureInvalid):
            await ring.check(provider, BODY, stranger.sign(BODY))


# ---- reading keys


def test_any_of_several_pem_blocks_may_sign(sender: Sender, stranger: Sender) -> None:
    keys = load_keys(f"the old one:\n{stranger.public_pem}\nthe new one:\n{sender.public_pem}")
    assert verify(keys, BODY, sender.sign(BODY))
    assert verify(keys, BODY, stranger.sign(BODY))


@pytest.mark.parametrize("newline", ["\\n", "\r\n"])
def test_a_pem_survives_what_environments_do_to_newlines(sender: Sender, newline: str) -> None:
    assert verify(load_keys(sender.public_pem.replace("\n", newline)), BODY, sender.sign(BODY))


def test_a_key_in_the_older_rsa_form_is_read(sender: Sender) -> None:
    (key,) = load_keys(sender.public_pem)
    older = key.public_bytes(Encoding.PEM, PKCS1).decode()
    assert "BEGIN RSA PUBLIC KEY" in older
    assert verify(load_keys(older), BODY, sender.sign(BODY))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no PEM public key"),
        ("ssh-rsa AAAAB3NzaC1yc2E", "no PEM public key"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB", "no PEM public key"),
        ("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\n\u00e9\n-----END PUBLIC KEY-----", "not a public key"),
        (elliptic_key(), "not an RSA key"),
        (edwards_key(), "not an RSA key"),
        (small_key(), "fewer than 2048 bits"),
    ],
    ids=["empty", "ssh", "cut", "no-base64", "no-key", "not-ascii", "elliptic", "edwards", "small"],
)
def test_a_key_that_cannot_serve_is_refused_with_its_reason(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        load_keys(text)


def test_one_unfit_block_among_good_ones_is_not_passed_over(sender: Sender) -> None:
    with pytest.raises(ValueError, match="not an RSA key"):
        load_keys(sender.public_pem + elliptic_key())


@given(inner=st.text())
def test_no_pem_text_is_more_than_a_wrong_key(inner: str) -> None:
    with pytest.raises(ValueError, match="holds"):
        load_keys(f"-----BEGIN PUBLIC KEY-----{inner}-----END PUBLIC KEY-----")


def test_the_documented_key_document_holds_its_key(sender: Sender) -> None:
    document = {"success": True, "data": {"publicKey": sender.public_pem}, "message": ""}
    assert verify(parse_key_document(json.dumps(document).encode()), BODY, sender.sign(BODY))


def test_a_bare_pem_file_is_a_key_document_too(sender: Sender) -> None:
    assert verify(parse_key_document(f"\n{sender.public_pem}".encode()), BODY, sender.sign(BODY))


@pytest.mark.parametrize(
    "document",
    [
        b"", b"\xff\xfe", b"{", b"[]", b"<html>Welcome</html>", b"{}", b'{"data":null}', b'{"data":[]}',
        b'{"data":{}}', b'{"data":{"publicKey":null}}', b'{"data":{"publicKey":5}}',
        b'{"data":{"publicKey":{"a":1}}}', b'{"data":{"publicKey":"\\ud800"}}', b'{"a":' * 100_000,
        b'{"data":{"publicKey":"-----BEGIN PUBLIC KEY-----\\ud800-----END PUBLIC KEY-----"}}',
    ],
)  # fmt: skip
def test_any_other_document_means_that_the_key_cannot_be_had(document: bytes) -> None:
    with pytest.raises(KeyUnavailable):
        parse_key_document(document)


@given(document=st.binary())
def test_no_document_is_more_than_a_key_that_cannot_be_had(document: bytes) -> None:
    with pytest.raises(KeyUnavailable):
        parse_key_document(document)
