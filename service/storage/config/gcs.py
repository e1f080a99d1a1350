"""``gcs``: the service account's credential as JSON in ``secret``; without it the pod's own identity.

HMAC keys, ``access_key`` and ``secret``, speak the S3 API: they are an
:class:`~service.storage.config.s3.S3Config`.
"""

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
)

from service.storage.config.base import Config, ObjectLock, folder, web_address

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_KMS_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_PEM = re.compile(r"-----BEGIN (RSA )?PRIVATE KEY-----.*-----END (RSA )?PRIVATE KEY-----", re.DOTALL)
_NEEDED = ("client_email", "private_key", "token_uri")


def _as_text(given: object) -> object:
    """A credential that stands in the config as an object, as the text that it was."""
    return json.dumps(given) if isinstance(given, dict) else given


def _upper(given: object) -> object:
    return given.strip().upper() if isinstance(given, str) else given


class GcsConfig(Config):
    """A bucket of Google Cloud Storage, asked through its JSON API."""

    type: Literal["gcs"]
    secret: Annotated[SecretStr | None, BeforeValidator(_as_text)] = Field(
        None, validation_alias=AliasChoices("secret", "secret_key")
    )
    bucket: str
    region: str = ""
    path: Annotated[str, AfterValidator(folder)] = ""
    endpoint_url: str = ""
    storage_class: Annotated[
        Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", ""], BeforeValidator(_upper)
    ] = ""
    kms_key_id: str = ""
    object_lock: ObjectLock | None = None
    legal_hold: bool = False

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"gcs:{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log may show."""
        if self.secret is None:
            return ()
        return (self.secret, SecretStr(str((self.credential or {}).get("private_key", ""))))

    @property
    def endpoint(self) -> str:
        """The address of the JSON API's server."""
        return self.endpoint_url or "https://storage.googleapis.com"

    @property
    def credential(self) -> dict[str, Any] | None:
        """The service account's key, decoded; None for the pod's own identity."""
        if self.secret is None:
            return None
        info: dict[str, Any] = json.loads(self.secret.get_secret_value())
        # Through an environment variable or a dashboard the key's line ends often come escaped once more.
        return info | {"private_key": info["private_key"].replace("\\n", "\n")}

    @field_validator("secret")
    @classmethod
    def _is_a_service_accounts_key(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        try:
            info = json.loads(secret.get_secret_value())
        except ValueError:
            info = None
        if not isinstance(info, dict):
            raise ValueError(
                "is not the JSON of a service account's key: paste the whole file"
                " (HMAC keys need access_key beside it)"
            )
        if info.get("type") != "service_account":
            raise ValueError(
                "is not the key of a service account: its type is another;"
                " name such a file in GOOGLE_APPLICATION_CREDENTIALS and leave secret out"
            )
        if faults := _faults_in(info):
            raise ValueError("\n".join(faults))
        return secret

    @field_validator("bucket")
    @classmethod
    def _is_a_name(cls, bucket: str) -> str:
        bucket = bucket.strip()
        if "://" in bucket:
            raise ValueError("is an address; give the bucket's name alone")
        if "/" in bucket:
            raise ValueError("has a slash; a folder in the bucket goes into path")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError("is not the name of a bucket")
        return bucket

    @field_validator("endpoint_url")
    @classmethod
    def _leads_to_a_server(cls, url: str) -> str:
        url = web_address(url.strip())
        try:
            parts = urlsplit(url)
            plain = parts.port != 0 and bool(parts.hostname) and "@" not in parts.netloc
        except ValueError:
            plain = False
        if not plain or parts.query or parts.fragment or re.search(r"\s", url):
            raise ValueError("is not the address of a server, such as https://storage.googleapis.com")
        return url

    @field_validator("kms_key_id")
    @classmethod
    def _names_a_key(cls, kms_key_id: str) -> str:
        kms_key_id = kms_key_id.strip()
        if not _KMS_KEY.fullmatch(kms_key_id):
            raise ValueError(
                "is not a key's resource name, projects/.../locations/.../keyRings/.../cryptoKeys/..."
            )
        return kms_key_id


def asks_by_hmac_key(given: dict[Any, Any]) -> bool:
    """Whether a ``gcs`` config's keys are HMAC keys: then it speaks the S3 API.

    A service account's JSON is known by its brace; what stands in ``access_key`` beside it does not apply.
    """
    secret = given.get("secret") or given.get("secret_key")
    is_json = isinstance(secret, dict) or (isinstance(secret, str) and secret.lstrip().startswith("{"))
    return bool(str(given.get("access_key") or "").strip()) and not is_json


def _faults_in(info: dict[str, Any]) -> list[str]:
    """What is wrong with a service account's key, a line each."""
    missing = [name for name in _NEEDED if not (isinstance(info.get(name), str) and info[name].strip())]
    faults = [f"the key has no {name}: paste the whole file" for name in missing]
    if "private_key" not in missing and not _PEM.search(info["private_key"]):
        faults.append("its private_key is not whole: it goes from -----BEGIN to -----END PRIVATE KEY-----")
    if "token_uri" not in missing:
        try:
            web_address(info["token_uri"])
        except ValueError as error:
            faults.append(f"its token_uri {error}")
    return faults
