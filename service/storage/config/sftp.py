"""``sftp``: a folder on a server, by password or key. The server's own key has to be known."""

import contextlib
from typing import Annotated, Literal, Self

from cryptography.exceptions import UnsupportedAlgorithm
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from service.storage.config.base import Config
from service.storage.config.sftp_fields import (
    HOW_TO_SEE_KEYS,
    fingerprints,
    host_name,
    known_hosts_lines,
    login_method,
    plain_key,
    remote_folder,
)


class SftpConfig(Config):
    """A folder on an SFTP server.

    ``path`` counts from the folder in which the account lands, unless it begins with ``/``. ``/`` alone is
    that folder too: to the provider it is the root of the place, and few accounts may write to the root of a
    server (which is ``/.``). ``password`` is the passphrase where the account logs in with ``private_key``.

    The server's key is one that ``known_hosts`` (OpenSSH's format) or ``host_key_fingerprint`` names. With
    ``"trust_host_key": "first_use"`` it is whichever the server shows first after each start.
    """

    type: Literal["sftp"]
    host: Annotated[str, AfterValidator(host_name)]
    port: int = Field(22, ge=1, le=65535)
    username: str
    auth_method: Annotated[Literal["KEY", "PASSWORD"] | None, BeforeValidator(login_method)] = None
    password: SecretStr | None = None
    private_key: SecretStr | None = None
    path: Annotated[str, AfterValidator(remote_folder)] = ""
    known_hosts: Annotated[str, AfterValidator(known_hosts_lines)] = ""
    host_key_fingerprint: Annotated[tuple[str, ...], BeforeValidator(fingerprints)] = ()
    trust_host_key: Literal["first_use"] | None = None

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if faults := [*self._login_faults(), *self._host_key_faults()]:
            raise ValueError("\n".join(faults))
        return self

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it. ``~`` is where the account lands."""
        port = "" if self.port == 22 else f":{self.port}"
        folder = self.path if self.path.startswith("/") else f"/~/{self.path}".rstrip("/")
        return f"sftp:{self.username}@{self.host}{port}{folder}"

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log may show."""
        return tuple(secret for secret in (self.password, self.private_key) if secret)

    @property
    def uses_key(self) -> bool:
        """Whether the account logs in with a key; where ``auth_method`` is missing, the fields tell."""
        return self.auth_method == "KEY" or (self.auth_method is None and self.private_key is not None)

    def plain_key(self) -> bytes | None:
        """The private key to log in with, decrypted; None if it is the password.

        Raises :class:`cryptography.exceptions.UnsupportedAlgorithm` if a library for it is missing.
        """
        if not self.uses_key or self.private_key is None:
            return None
        passphrase = self.password.get_secret_value() if self.password else None
        return plain_key(self.private_key.get_secret_value(), passphrase)

    def _login_faults(self) -> list[str]:
        if self.uses_key:
            if self.private_key is None:
                return ["private_key: is missing"]
            try:
                # If a library for it is missing, opening the storage says so.
                with contextlib.suppress(UnsupportedAlgorithm):
                    self.plain_key()
            except ValueError as error:
                return [str(error)]
        elif self.password is None:
            return ["password: is missing" + ("" if self.auth_method else " (or give private_key)")]
        return []

    def _host_key_faults(self) -> list[str]:
        is_known = bool(self.known_hosts or self.host_key_fingerprint)
        if is_known and self.trust_host_key:
            return ["trust_host_key: does not go with known_hosts or host_key_fingerprint"]
        if is_known or self.trust_host_key:
            return []
        return [f"host_key_fingerprint: is missing, and known_hosts too ({HOW_TO_SEE_KEYS})"]
