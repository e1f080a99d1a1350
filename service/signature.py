"""Verifying a delivery's raw bytes, and the key ring that knows the provider's public keys.

The signature is base64 of RSASSA-PKCS1-v1_5 with SHA-256 over the body exactly as received (both providers'
webhook guides). Nothing is parsed before it holds.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.errors import KeyUnavailable, SignatureInvalid
from service.model import Provider

KEY_URLS: Final[Mapping[Provider, str]] = {
    Provider.DYTE: "https://api.dyte.io/.well-known/webhooks.json",
    Provider.REALTIMEKIT: "https://api.realtime.cloudflare.com/.well-known/webhooks.json",
}
REFETCH_S: Final = 60.0
"""A key that is there is fetched again at most this often, however many signatures fail."""
FIRST_FETCH_S: Final = 5.0
"""While there is no key at all, it is asked for at most this often."""

_PEM = re.compile(r"-----BEGIN (RSA )?PUBLIC KEY-----.+?-----END (RSA )?PUBLIC KEY-----", re.DOTALL)


def load_keys(text: str) -> tuple[RSAPublicKey, ...]:
    """Every RSA public key in a PEM text (several blocks: any of them may sign).

    Raises ValueError if there is none, or one that is not an RSA public key of at least 2048 bits.
    """
    keys = []
    for block in _PEM.finditer(text.replace("\\n", "\n")):
        try:
            key = load_pem_public_key(block.group().encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("holds a PEM block that is not a public key") from error
        if not isinstance(key, RSAPublicKey):
            raise ValueError("holds a public key that is not an RSA key")
        if key.key_size < 2048:
            raise ValueError("holds an RSA key of fewer than 2048 bits")
        keys.append(key)
    if not keys:
        raise ValueError("holds no PEM public key")
    return tuple(keys)


def parse_key_document(document: bytes) -> tuple[RSAPublicKey, ...]:
    """The keys in a provider's key document, ``{"data": {"publicKey": PEM}}``, or in a bare PEM file.

    Raises :class:`KeyUnavailable` if it is neither.
    """
    text = document.decode("utf-8", "replace")
    try:
        if text.lstrip().startswith("{"):
            text = json.loads(text)["data"]["publicKey"]
        return load_keys(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyUnavailable("the key document holds no public key") from error


def verify(keys: Sequence[RSAPublicKey], body: bytes, signature: str) -> bool:
    """Whether ``signature`` (base64) of ``body`` was made with one of ``keys``."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    for key in keys:
        try:
            key.verify(raw, body, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return True
    return False


class PinnedKeys:
    """A key ring whose keys the operator gave; nothing is ever fetched."""

    def __init__(self, keys: Sequence[RSAPublicKey]) -> None:
        self._keys = keys

    async def check(self, provider: Provider, body: bytes, signature: str) -> None:
        """Return if the signature holds. Raises :class:`SignatureInvalid`."""
        if not verify(self._keys, body, signature):
            raise SignatureInvalid("the signature does not match the body")


class FetchedKeys:
    """A key ring that fetches each provider's key document when first needed and when a signature fails.

    One fetch at a time for each address, at most one in :data:`REFETCH_S` once there is a key; the old key
    is good until the new one is here. A fetch belongs to nobody: a delivery that is cut off does not cancel
    it for the others. ``clock`` counts monotonic seconds.
    """

    def __init__(
        self,
        urls: Mapping[Provider, str],
        fetch: Callable[[str], Awaitable[bytes]],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._urls = urls
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, tuple[RSAPublicKey, ...]] = {}
        self._asked_at: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def check(self, provider: Provider, body: bytes, signature: str) -> None:
        """Return if the signature holds.

        Raises :class:`SignatureInvalid`, or :class:`KeyUnavailable` if no key could judge it: there is none
        yet, or the one at hand fails and a newer one cannot be had.
        """
        url = self._urls[provider]
        if verify(self._keys.get(url, ()), body, signature):
            return
        await self._renew(url)
        if verify(self._keys.get(url, ()), body, signature):
            return
        if url in self._failed:
            raise KeyUnavailable(self._failed[url])
        raise SignatureInvalid("the signature does not match the body")

    async def _renew(self, url: str) -> None:
        running = self._running.get(url)
        if running is None:
            pause_s = REFETCH_S if url in self._keys else FIRST_FETCH_S
            asked_at = self._asked_at.get(url)
            if asked_at is not None and self._clock() - asked_at < pause_s:
                return
            self._asked_at[url] = self._clock()
            running = self._running[url] = asyncio.create_task(self._ask(url))
            running.add_done_callback(lambda _: self._running.pop(url))
        await asyncio.shield(running)

    async def _ask(self, url: str) -> None:
        try:
            self._keys[url] = parse_key_document(await self._fetch(url))
            self._failed.pop(url, None)
        except KeyUnavailable as error:
            self._failed[url] = error.detail
