"""A key of the demo's own, which signs deliveries as the providers do."""

import base64

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Signer:
    """Base64 of RSASSA-PKCS1-v1_5 with SHA-256 over the raw body."""

    def __init__(self) -> None:
        self._key = generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        """The key to check signatures with, in PEM."""
        key = self._key.public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signed(self, body: bytes) -> str:
        """The signature's header for ``body``."""
        return base64.b64encode(self._key.sign(body, PKCS1v15(), SHA256())).decode()
