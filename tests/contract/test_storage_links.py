"""Proves how links are signed where no server of the tests verifies them, and where there are none."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.storage import open_storage, parse_storage_config

HOUR_S = 3600.0
KEY = "2026/weekly sync & more.mp4"


async def test_google_s_link_is_signed_as_its_reference_has_it() -> None:
    key = generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "client_email": "a@b.iam.gserviceaccount.com",
               "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token"}  # fmt: skip
    storage = await open_storage(
        parse_storage_config({"type": "gcs", "bucket": "meetings", "path": "calls", "secret": account})
    )
    try:
        link = await storage.link(KEY, valid_s=HOUR_S)
    finally:
        await storage.close()

    assert link is not None
    parts = urlsplit(link)
    told = {name: each[0] for name, each in parse_qs(parts.query).items()}
    at = datetime.strptime(told["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    day = f"{at:%Y%m%d}/auto/storage/goog4_request"
    assert (parts.netloc, parts.path) == (
        "storage.googleapis.com",
        "/meetings/calls/2026/weekly%20sync%20%26%20more.mp4",
    )
    assert told["X-Goog-Credential"] == f"a@b.iam.gserviceaccount.com/{day}"
    assert told["X-Goog-Expires"] == "3600"
    # https://cloud.google.com/storage/docs/authentication/canonical-requests
    canonical = (
        f"GET\n{parts.path}\n"
        f"X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%40b.iam.gserviceaccount.com%2F"
        f"{day.replace('/', '%2F')}&X-Goog-Date={told['X-Goog-Date']}&X-Goog-Expires=3600"
        "&X-Goog-SignedHeaders=host\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signed = f"GOOG4-RSA-SHA256\n{told['X-Goog-Date']}\n{day}\n{digest}"
    key.public_key().verify(bytes.fromhex(told["X-Goog-Signature"]), signed.encode(), PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    "config",
    [
        {"type": "azure", "account_name": "archive1", "bucket": "recordings"},
        {"type": "azure", "bucket": "recordings", "access_key":
         "SharedAccessSignature=sv=2024&sig=abc;BlobEndpoint=https://archive1.blob.core.windows.net"},
        {"type": "gcs", "bucket": "recordings"},
    ],
    ids=["azure-identity", "azure-sas", "gcs-identity"],
)  # fmt: skip
async def test_without_a_key_that_signs_there_is_no_link(config: Mapping[str, Any]) -> None:
    storage = await open_storage(parse_storage_config(config))
    try:
        assert await storage.link("call.mp4", valid_s=HOUR_S) is None
    finally:
        await storage.close()
