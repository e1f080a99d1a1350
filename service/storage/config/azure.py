"""``azure``: the connection string in ``access_key``, the container in ``bucket``."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from service.storage.config.base import Config, ObjectLock, folder, web_address

_CLOUD = "core.windows.net"
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")

_TAGS, _TAG_NAME, _TAG_VALUE = 10, 128, 256
_TAG_TEXT = re.compile(r"[A-Za-z0-9 +\-./:=_]*")
"""Azure's limits and characters (REST reference, "Set Blob Tags")."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What a connection string says: where the blob service is, and the account's key or a SAS for it."""

    endpoint: str
    account_name: str
    account_key: SecretStr | None
    sas: SecretStr | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what the Azure portal shows. Raises ValueError, a line a fault, without any value."""
        pairs = [pair.partition("=") for pair in text.strip().split(";") if pair]
        given = {name.strip().lower(): value.strip() for name, _, value in pairs}
        key, sas = given.get("accountkey", ""), given.get("sharedaccesssignature", "").lstrip("?")
        account, endpoint = given.get("accountname", ""), given.get("blobendpoint", "").rstrip("/")
        if not given.keys() & {"accountkey", "accountname", "sharedaccesssignature", "blobendpoint"}:
            raise ValueError(
                "is not a connection string, such as AccountName=...;AccountKey=...: the portal shows it"
                " under Access keys, or under Shared access signature"
            )
        faults = []
        if not (key or sas):
            faults.append("has neither AccountKey nor SharedAccessSignature")
        if key and not _is_base64(key):
            faults.append("has an AccountKey that is not base64; it may be cut off")
        if key and not account:
            faults.append("has no AccountName")
        if sas and not key and "sig" not in parse_qs(sas):
            faults.append("has a SharedAccessSignature without sig; it may be cut off")
        if endpoint and not _is_address(endpoint):
            faults.append("has a BlobEndpoint that is not an http or https address")
        if not (endpoint or account):
            faults.append("has neither BlobEndpoint nor AccountName")
        if faults:
            raise ValueError("\n".join(faults))
        protocol = given.get("defaultendpointsprotocol", "https").lower()
        return cls(
            endpoint or f"{protocol}://{account}.blob.{given.get('endpointsuffix', _CLOUD)}",
            account,
            SecretStr(key) if key else None,
            SecretStr(sas) if sas and not key else None,
        )


class AzureConfig(Config):
    """A container of Azure Blob Storage.

    Without ``access_key`` the pod's own identity is used, and ``account_name`` or ``endpoint_url`` says
    where. ``checksum``: ``crc64`` (Azure's CRC-64 is the CRC-64/NVME that every part has anyway) or ``md5``
    is sent with each part and verified by the service; ``none`` leaves integrity on the way to TLS.
    """

    # A rule that spans fields stands at the later one, so that all faults are told at once.
    model_config = ConfigDict(validate_default=True)

    type: Literal["azure"]
    bucket: str
    account_name: str = ""
    endpoint_url: str = ""
    access_key: SecretStr | None = None
    path: Annotated[str, AfterValidator(folder)] = ""
    checksum: Literal["crc64", "md5", "none"] = "crc64"
    storage_class: Literal["Hot", "Cool", "Cold", "Archive", ""] = ""
    tags: dict[str, str] = Field(default_factory=dict)
    encryption_scope: str = ""
    object_lock: ObjectLock | None = None
    legal_hold: bool = False

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"azure:{self.bucket}" + (f"/{self.path}" if self.path else "")

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log may show."""
        known = self.connection
        return tuple(
            each for each in (self.access_key, known and known.account_key, known and known.sas) if each
        )

    @property
    def connection(self) -> Connection | None:
        """What the connection string says; None for the pod's own identity."""
        return Connection.parse(self.access_key.get_secret_value()) if self.access_key else None

    @property
    def endpoint(self) -> str:
        """The address of the blob service."""
        known = self.connection.endpoint if self.connection else f"https://{self.account_name}.blob.{_CLOUD}"
        return self.endpoint_url or known

    @field_validator("bucket")
    @classmethod
    def _is_a_name(cls, bucket: str) -> str:
        bucket = bucket.strip()
        if "://" in bucket:
            raise ValueError("is an address; give the container's name alone")
        if "/" in bucket:
            raise ValueError("has a slash; a folder in the container goes into path")
        if not _CONTAINER.fullmatch(bucket):
            raise ValueError(
                "is not the name of a container: 3 to 63 lower-case letters, digits, single hyphens"
            )
        return bucket

    @field_validator("account_name")
    @classmethod
    def _names_the_account(cls, account_name: str) -> str:
        account_name = account_name.strip()
        if account_name and not _ACCOUNT.fullmatch(account_name):
            raise ValueError("is not the name of a storage account: 3 to 24 lower-case letters and digits")
        return account_name

    @field_validator("endpoint_url")
    @classmethod
    def _leads_to_the_blob_service(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return url
        url = web_address(url.strip())
        if not _is_address(url):
            raise ValueError(
                "is not the address of a blob service, such as https://account.blob.core.windows.net"
            )
        if ".dfs." in urlsplit(url).netloc:
            raise ValueError("is the address of the Data Lake service; give the one with .blob. in it")
        if urlsplit(url).path.endswith(f"/{info.data.get('bucket', '')}"):
            raise ValueError("has the container in it; give the address without it")
        return url

    @field_validator("access_key")
    @classmethod
    def _is_a_connection_string(cls, given: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        account, url = info.data.get("account_name"), info.data.get("endpoint_url")
        if given is None:
            if (account, url) == ("", ""):
                raise ValueError("is missing (or give account_name, for the pod's own identity)")
            if url and url.startswith("http://"):
                raise ValueError("is missing; the pod's own identity is only told to an https endpoint_url")
            return None
        named = Connection.parse(given.get_secret_value()).account_name
        if account and named and account != named:
            raise ValueError("has another AccountName than account_name")
        return given

    @field_validator("checksum", "storage_class", mode="before")
    @classmethod
    def _any_case(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, str):
            return given
        return given.lower() if info.field_name == "checksum" else given.capitalize()

    @field_validator("tags")
    @classmethod
    def _are_within_limits(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > _TAGS:
            raise ValueError(f"has more than {_TAGS}, the most that a blob carries")
        if any(not 0 < len(name) <= _TAG_NAME or len(value) > _TAG_VALUE for name, value in tags.items()):
            raise ValueError(f"has a name beyond 1 to {_TAG_NAME} characters, or a value beyond {_TAG_VALUE}")
        if not all(_TAG_TEXT.fullmatch(text) for pair in tags.items() for text in pair):
            raise ValueError("has a character other than a to z, A to Z, digits, spaces and + - . / : = _")
        return tags


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and parts.hostname and "@" not in parts.netloc
    except ValueError:
        return False
    return bool(plain and parts.scheme in {"http", "https"} and not (parts.query or parts.fragment)) and not (
        re.search(r"\s", url)
    )
