"""Keys of hosts and accounts, in the forms in which people come by them."""

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

__all__ = ["SshKey"]


@dataclass(frozen=True)
class SshKey:
    """A pair of keys; `key` is one of cryptography's private keys."""

    key: Any

    @property
    def public(self) -> str:
        """Its public half as OpenSSH writes it, type and key."""
        return str(self.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -lf` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.public.split()[1])).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    def private(self, form: str = "openssh", *, passphrase: str = "") -> str:
        """Its private half in OpenSSH's format or, both PEM, in OpenSSL's old one or PKCS #8."""
        forms = {"openssh": PrivateFormat.OpenSSH, "pem": PrivateFormat.TraditionalOpenSSL}
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        written = self.key.private_bytes(Encoding.PEM, forms.get(form, PrivateFormat.PKCS8), encryption)
        return str(written.decode())

    def known_as(self, host: str, port: int = 22, *, is_hashed: bool = False) -> str:
        """Its line in a `known_hosts` file."""
        name = host if port == 22 else f"[{host}]:{port}"
        if is_hashed:
            salt = os.urandom(20)
            digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
            name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
        return f"{name} {self.public}\n"

    def write(self, path: Path) -> None:
        """Write its private half, for its owner alone."""
        path.write_text(self.private())
        path.chmod(0o600)
