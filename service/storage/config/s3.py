"""Stores behind the S3 API: ``aws``, ``digitalocean`` (Spaces), ``cloudflare`` (R2), and compatible ones.

``gcs`` is one of them where its keys are HMAC keys.
"""

import re
import unicodedata
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from service.storage.config.base import Config, ObjectLock, folder, web_address
from service.storage.config.s3_stores import Addressing, Check, Store, region_at, store_at, store_of

_TAGS, _TAG_NAME, _TAG_VALUE = 10, 128, 256
"""S3's limits (User Guide, "Categorizing your objects using tags")."""


class S3Config(Config):
    """A bucket behind the S3 API.

    ``endpoint_url`` overrides the provider's own endpoint. What is left blank of ``addressing``,
    ``checksum`` and ``conditional_writes`` is as the store's row in
    :mod:`~service.storage.config.s3_stores` has it. ``checksum``: ``crc64nvme`` asks the store to verify
    CRC-64/NVME on every part and on the whole object, ``md5`` to verify each part alone; ``none`` leaves
    integrity on the way to TLS, or, over plain http, to the signed SHA-256 of each part.
    """

    # A rule that spans fields stands at the later one, so that all faults are told at once.
    model_config = ConfigDict(validate_default=True)

    type: Literal["aws", "digitalocean", "cloudflare", "gcs"]
    bucket: str
    endpoint_url: str = ""
    secret: SecretStr | None = Field(None, validation_alias=AliasChoices("secret", "secret_key"))
    access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    account_id: str = ""
    region: str = ""
    path: Annotated[str, AfterValidator(folder)] = ""
    addressing: Addressing | None = None
    checksum: Check | None = None
    conditional_writes: bool | None = None
    storage_class: str = ""
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str = ""
    bucket_key: bool | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    object_lock: ObjectLock | None = None
    legal_hold: bool = False

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"{self.type}:{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log may show."""
        return tuple(each for each in (self.access_key, self.secret, self.session_token) if each)

    @property
    def store(self) -> Store:
        """What this store needs and has."""
        return store_of(self.type, self.endpoint_url)

    @property
    def endpoint(self) -> str | None:
        """The address of the S3 API, None where the SDK knows it from the region."""
        template = self.endpoint_url or self.store.endpoint
        return template.format(region=self.region.lower(), account_id=self.account_id) or None

    @property
    def signing_region(self) -> str:
        """The region that requests are signed for."""
        return self.store.region or self.region.lower() or region_at(self.endpoint_url) or "us-east-1"

    @property
    def addressing_style(self) -> Addressing:
        """Whether the bucket stands in the path or before the host."""
        return self.addressing or ("path" if self.endpoint_url else self.store.addressing)

    @property
    def check(self) -> Check:
        """What the store is asked to verify. Object Lock takes nothing without a checksum of some kind."""
        asked = self.checksum or self.store.check
        return "md5" if asked == "none" and (self.object_lock or self.legal_hold) else asked

    @property
    def takes_names_atomically(self) -> bool:
        """Whether the store itself refuses a name that is taken (``If-None-Match``)."""
        given = self.conditional_writes
        return self.store.conditional_writes if given is None else given

    @field_validator("bucket")
    @classmethod
    def _is_a_name(cls, bucket: str) -> str:
        bucket = bucket.strip()
        if bucket.startswith("arn:") or re.fullmatch(r"[A-Za-z0-9._-]{3,255}", bucket):
            return bucket
        if "://" in bucket:
            raise ValueError("is an address; give the bucket's name alone")
        if "/" in bucket:
            raise ValueError("has a slash; a folder in the bucket goes into path")
        raise ValueError("is not the name of a bucket")

    @field_validator("endpoint_url")
    @classmethod
    def _leads_to_the_store_alone(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return url
        url = web_address(url.strip())
        try:
            parts = urlsplit(url)
            plain = parts.port != 0 and parts.hostname and "@" not in parts.netloc
        except ValueError:
            plain = False
        if not plain or parts.query or parts.fragment or re.search(r"[\s{}]", url):
            raise ValueError("is not the address of a store, such as https://s3.example.com")
        bucket = str(info.data.get("bucket", "\0"))
        behind = parts.netloc.removeprefix(f"{bucket}.")
        if parts.path == f"/{bucket}" or (behind != parts.netloc and store_at(f"https://{behind}")):
            raise ValueError("has the bucket in it; give the store's address without it")
        return url

    @field_validator("secret", "access_key", "session_token")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Without any keys ``aws`` asks its environment who it is; elsewhere there is nobody to ask."""
        name, given = info.field_name, info.data
        if key is None:
            halved = name == "access_key" and given.get("secret")
            if halved or (name != "session_token" and given.get("type", "aws") != "aws"):
                raise ValueError("is missing")
            return None
        if name != "secret" and "secret" in given and given["secret"] is None:
            raise ValueError("needs secret beside it")
        text = key.get_secret_value().strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("has a character that no key has")
        return SecretStr(text)

    @field_validator("account_id")
    @classmethod
    def _names_the_account(cls, account_id: str, info: ValidationInfo) -> str:
        if info.data.get("type") == "cloudflare" and info.data.get("endpoint_url") == "":
            if not account_id:
                raise ValueError("is missing (or give endpoint_url)")
            if not re.fullmatch(r"[0-9A-Za-z]+", account_id.strip()):
                raise ValueError("is not an account's id; an address goes into endpoint_url")
        return account_id.strip()

    @field_validator("region")
    @classmethod
    def _names_the_region(cls, region: str, info: ValidationInfo) -> str:
        region, kind = region.strip(), info.data.get("type")
        own = kind in ("aws", "digitalocean") and info.data.get("endpoint_url") == ""
        if own and not region:
            raise ValueError("is missing (or give endpoint_url)")
        if own and kind == "aws" and re.fullmatch(r"[a-z]+(-[a-z]+)+-\d+[a-z]", region.lower()):
            raise ValueError("is an availability zone; leave its last letter out")
        known = r"[a-z]+(-[a-z]+)+-\d+" if own and kind == "aws" else r"[a-z0-9-]*"
        if not re.fullmatch(known, region.lower()):
            raise ValueError("is not the name of a region, such as eu-central-1")
        return region

    @field_validator("storage_class", "encryption", "tags", "object_lock", "legal_hold")
    @classmethod
    def _is_what_the_store_has(cls, value: Any, info: ValidationInfo) -> Any:
        name, given = info.field_name, info.data
        if not value or "endpoint_url" not in given or "type" not in given:
            return value
        store = store_of(given["type"], given["endpoint_url"])
        if name in store.lacks or (name == "encryption" and not store.encryptions):
            raise ValueError(f"{store.name} does not have it")
        if name == "encryption" and value not in store.encryptions:
            raise ValueError(f"{store.name} has {_listed(store.encryptions)} alone")
        if name == "storage_class" and store.storage_classes and value not in store.storage_classes:
            raise ValueError(f"{store.name} has {_listed(store.storage_classes)}")
        return value

    @field_validator("kms_key_id", "bucket_key")
    @classmethod
    def _belongs_to_kms(cls, value: Any, info: ValidationInfo) -> Any:
        if value not in ("", None) and info.data.get("encryption", "aws:kms") != "aws:kms":
            raise ValueError("needs encryption aws:kms beside it")
        return value

    @field_validator("tags")
    @classmethod
    def _are_within_limits(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > _TAGS:
            raise ValueError(f"has more than {_TAGS}, the most that an object carries")
        if any(not 0 < len(name) <= _TAG_NAME or len(value) > _TAG_VALUE for name, value in tags.items()):
            raise ValueError(f"has a name beyond 1 to {_TAG_NAME} characters, or a value beyond {_TAG_VALUE}")
        if any(name.lower().startswith("aws:") for name in tags):
            raise ValueError("has a name that begins with aws:, which AWS keeps for itself")
        if not all(_is_tag_character(each) for pair in tags.items() for text in pair for each in text):
            raise ValueError("has a character other than letters, digits, spaces and + - = . _ : / @")
        return tags


def _listed(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))


def _is_tag_character(character: str) -> bool:
    return character in "+-=._:/@" or unicodedata.category(character)[0] in "LNZ"
