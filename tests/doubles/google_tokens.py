"""Who gives Google's access tokens: the token endpoint, the token exchange and the metadata server."""

import base64
import functools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["EMAIL", "Tokens", "other_private_key_pem", "private_key_pem"]

EMAIL = "archiver@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""What google-auth addresses its assertions to, wherever it sends them; others name where they do."""


class Tokens:
    """Issues tokens to who proves who he is, and knows them again.

    `lifetime_s` is what it tells of a token; `refusal` (status, error, description) is answered instead of
    one. `subject` is whom the token exchange takes. Without `has_account` the metadata server knows nobody.
    """

    def __init__(self) -> None:
        self.issued: list[str] = []
        self.lifetime_s = 3600
        self.refusal: tuple[int, str, str] | None = None
        self.subject = "subject-token"
        self.has_account = True

    def knows(self, authorization: str) -> bool:
        """Whether a request carries a token that was issued here."""
        return authorization.removeprefix("Bearer ") in self.issued

    def revoke(self) -> None:
        """Know none of the tokens issued so far any more, but how many they were."""
        self.issued = ["revoked"] * len(self.issued)

    async def grant(self, request: web.Request) -> web.Response:
        """RFC 7523: a token for an assertion that is signed with the service account's key."""
        form = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        if self.refusal is not None:
            status, error, description = self.refusal
            return web.json_response({"error": error, "error_description": description}, status=status)
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _refused("unsupported_grant_type", "")
        if fault := _fault_in(form.get("assertion", ""), audiences={AUDIENCE, str(request.url)}):
            return _refused("invalid_grant", fault)
        return web.json_response(self._token())

    async def exchange(self, request: web.Request) -> web.Response:
        """RFC 8693: a token for the token of another cloud, as Workload Identity Federation does it."""
        form = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        if form.get("subject_token") != self.subject:
            return _refused("invalid_grant", "The subject token is unknown.")
        if SCOPE not in form.get("scope", "").split():
            return _refused("invalid_scope", "")
        return web.json_response(self._token() | {"issued_token_type": "access_token"})

    async def metadata(self, request: web.Request) -> web.Response:
        """The metadata server, as a pod on GKE or a virtual machine asks it."""
        headers = {"Metadata-Flavor": "Google"}
        if request.headers.get("Metadata-Flavor") != "Google":
            return web.Response(status=403)
        match request.path.removeprefix("/computeMetadata/v1/").split("/"):
            case ["project", "project-id"]:
                return web.Response(text="project", headers=headers)
            case ["instance", "service-accounts", _, "token"] if self.has_account:
                return web.json_response(self._token(), headers=headers)
            case ["instance", "service-accounts", _, ""] if self.has_account:
                account = {"email": EMAIL, "aliases": ["default"], "scopes": [SCOPE]}
                return web.json_response(account, headers=headers)
            case ["", ""] | [""]:
                return web.Response(text="computeMetadata/", headers=headers)
        return web.Response(status=404, headers=headers)

    def _token(self) -> dict[str, Any]:
        self.issued.append(uuid4().hex)
        return {"access_token": self.issued[-1], "expires_in": self.lifetime_s, "token_type": "Bearer"}


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def private_key_pem() -> str:
    """The service account's private key."""
    return _pem(_key())


@functools.cache
def other_private_key_pem() -> str:
    """A key that the service account no longer has."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _pem(key: rsa.RSAPrivateKey) -> str:
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _fault_in(assertion: str, *, audiences: set[str]) -> str:
    """What Google says is wrong with an assertion, or nothing."""
    try:
        signed, _, signature = assertion.rpartition(".")
        _key().public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims: Mapping[str, Any] = json.loads(_decoded(signed.partition(".")[2]))
    except (InvalidSignature, ValueError):
        return "Invalid JWT Signature."
    if claims["iss"] != EMAIL:
        return "Invalid grant: account not found"
    if claims["aud"] not in audiences or SCOPE not in claims["scope"].split():
        return "Invalid JWT"
    if not claims["iat"] <= time.time() + 60 <= claims["exp"] + 60:
        return (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            " Check your iat and exp values in the JWT claim."
        )
    return ""


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
