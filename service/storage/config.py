"""The customer's ``storage_config``, as the provider documents it, read into frozen values.

Field names and quirks are the provider's (REST spec ``StorageConfig`` and its guide): ``secret`` or
``secret_key``, blank strings for what does not apply, upper-case Spaces regions, ``/`` for the root. Beside
them stand this service's own: ``endpoint_url``, ``addressing``, ``checksum`` and ``{"type": "local"}``.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

_DOCUMENTED = {
    "type", "access_key", "secret", "secret_key", "bucket", "region", "path", "host", "port", "username",
    "password", "private_key", "auth_method", "account_id",
}  # fmt: skip


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_does_not_apply(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = set(cls.model_fields) | {"secret_key"}
        return {
            name: value
            for name, value in given.items()
            if not (isinstance(value, str) and not value.strip()) and value is not None
            if name in known or name not in _DOCUMENTED
        }


class LocalConfig(_Config):
    """A folder on this machine (or a volume mounted into the pod)."""

    type: Literal["local"]
    path: Path

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"local:{self.path}"


class S3Config(_Config):
    """A bucket behind the S3 API.

    ``endpoint_url`` overrides the provider's own endpoint. ``checksum``: ``crc64nvme`` asks the store to
    verify CRC-64/NVME on every part and on the whole object (S3 does; the default on AWS itself); ``none``
    leaves integrity on the way to TLS, or, over plain http, to the signed SHA-256 of each part.
    """

    type: Literal["aws", "digitalocean", "cloudflare"]
    access_key: SecretStr
    secret: SecretStr = Field(validation_alias=AliasChoices("secret", "secret_key"))
    bucket: str
    region: str = ""
    path: str = ""
    account_id: str = ""
    endpoint_url: str = ""
    addressing: Literal["path", "virtual", ""] = ""
    checksum: Literal["crc64nvme", "none", ""] = ""

    @field_validator("path")
    @classmethod
    def _no_outer_slashes(cls, path: str) -> str:
        return path.strip().strip("/")

    @field_validator("endpoint_url")
    @classmethod
    def _http_only(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("is not an http or https address")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.endpoint_url:
            return self
        if self.type == "cloudflare" and not self.account_id:
            raise ValueError("account_id: is missing (or give endpoint_url)")
        if self.type != "cloudflare" and not self.region:
            raise ValueError("region: is missing (or give endpoint_url)")
        return self

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"{self.type}:{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def endpoint(self) -> str | None:
        """The address of the S3 API, None where the SDK knows it from the region."""
        if self.endpoint_url:
            return self.endpoint_url
        if self.type == "digitalocean":
            return f"https://{self.region.lower()}.digitaloceanspaces.com"
        if self.type == "cloudflare":
            return f"https://{self.account_id}.r2.cloudflarestorage.com"
        return None

    @property
    def signing_region(self) -> str:
        """The region that requests are signed for."""
        if self.type == "cloudflare":
            return "auto"
        return self.region.lower() or "us-east-1"

    @property
    def verifies_checksums(self) -> bool:
        """Whether the store is asked to verify CRC-64/NVME."""
        return (self.checksum or ("crc64nvme" if self.endpoint is None else "none")) == "crc64nvme"


StorageConfig = Annotated[LocalConfig | S3Config, Field(discriminator="type")]

_ADAPTER: TypeAdapter[LocalConfig | S3Config] = TypeAdapter(StorageConfig)


def parse_storage_config(given: object) -> LocalConfig | S3Config:
    """Read a decoded ``storage_config``. Raises ValueError, one line a fault: the field and what is wrong."""
    try:
        return _ADAPTER.validate_python(given)
    except ValidationError as error:
        raise ValueError("\n".join(_fault(fault) for fault in error.errors())) from None


def _fault(fault: Any) -> str:
    kind, field = fault["type"], ".".join(str(part) for part in fault["loc"][1:])
    if kind == "union_tag_invalid":
        return "type: is not one of aws, digitalocean, cloudflare, local"
    if kind == "union_tag_not_found":
        return "type: is missing"
    if kind == "missing":
        return f"{field}: is missing"
    if kind == "extra_forbidden":
        return f"{field}: is not a field of this type"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
