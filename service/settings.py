"""The only reader of the environment: every ``ARCHIVER_`` variable, checked, all faults at once."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from service.apps import FIELDS, App, parse_app, parse_apps
from service.choices import Role
from service.errors import SettingsError
from service.model import ONLY, Kind, NoticeFormat, Provider, Topic
from service.naming import KeyTemplate
from service.notice_secrets import parse_secrets
from service.routing import Routing
from service.signature import load_keys
from service.storage.config import LocalConfig, StorageConfig, parse_storage_config

PREFIX = "ARCHIVER_"
MIB = 1024 * 1024
NO_ACCESS = (
    f"set {PREFIX}PROVIDER=dyte, {PREFIX}ORG_ID and {PREFIX}API_KEY, or {PREFIX}PROVIDER=realtimekit, "
    f"{PREFIX}ACCOUNT_ID, {PREFIX}APP_ID and {PREFIX}API_TOKEN"
)
"""What to set where the provider's API has to be asked and there are no credentials."""

Names = Annotated[tuple[str, ...], NoDecode]
_LEAST_TOKEN = 16


class Settings(BaseSettings):
    """Every setting; the field's description is its line in the README."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        SecretStr("sqlite:///archiver.db"),
        description="Where the ledger lives: `sqlite:///file` or `postgresql://user:password@host/name`",
    )
    storage_config: SecretStr | None = Field(
        None,
        description="The provider's `storage_config` object as JSON; a folder `./archive` if none is given",
    )
    storage_config_file: Path | None = Field(None, description="A file that holds it instead")
    routing_file: Path | None = Field(
        None, description="A JSON file of several named storages, and the rules that choose among them"
    )
    key_template: str = Field(
        "{output_file_name}",
        description="What a file is called in its storage, from fields in braces: see Names",
    )
    storage_from_provider: bool = Field(
        False,
        description="`true`: a recording goes where its own `storage_config` at the provider says, see "
        "The customer's own config",
    )
    kinds: Names = Field(
        (),
        description="What to archive, comma-separated: `video`, `audio`, `track`, `chat`, `transcript`, "
        "`summary`; empty means all",
    )
    provider: Provider | None = Field(
        None, description="Whose API is asked: `dyte` or `realtimekit`; needed for the credentials below"
    )
    api_url: str | None = Field(None, description="The address of the API, if it is not the provider's own")
    org_id: str | None = Field(None, description="Dyte: the organisation's id")
    api_key: SecretStr | None = Field(None, description="Dyte: the organisation's API key")
    account_id: str | None = Field(None, description="RealtimeKit: the Cloudflare account's id")
    app_id: str | None = Field(None, description="RealtimeKit: the app's id")
    api_token: SecretStr | None = Field(
        None, description="RealtimeKit: an API token with the permission *Realtime Admin*"
    )
    apps_file: Path | None = Field(
        None, description="A JSON file of several organisations or apps, instead of the single one's settings"
    )
    reconcile_minutes: float = Field(
        15.0,
        ge=0,
        description="How often the provider is asked for what no delivery announced; `0`: never",
    )
    webhook_public_key: str | None = Field(
        None, description="The PEM of the key that signs deliveries; several blocks: any of them may sign"
    )
    webhook_key_url: str | None = Field(
        None, description="The address of the key document, if it is not the provider's own"
    )
    webhook_ids: Names = Field(
        (), description="Accept only these webhook (subscription) ids, comma-separated; empty accepts all"
    )
    source_hosts: Names = Field(
        (),
        description="Hosts whose links are trusted as they are, plain http and private addresses too: "
        "comma-separated patterns such as `*.example.com`",
    )
    host: str = Field("0.0.0.0", description="The address that both ports listen on")  # noqa: S104 - a pod
    port: int = Field(8080, ge=0, le=65535, description="The public port: `POST /webhook`, `GET /healthz`")
    admin_port: int = Field(
        9090,
        ge=0,
        le=65535,
        description="The admin port: the page, `/api`, `/metrics`, `/healthz`, `/readyz`; keep it private",
    )
    admin_token: SecretStr | None = Field(
        None,
        description="What all on the admin port but `/healthz` and `/readyz` asks for, as "
        "`Authorization: Bearer ...` or at the page's login; at least 16 characters. Without it the page and "
        "the API take no orders",
    )
    admin_url: str | None = Field(
        None,
        description="For commands alone: the admin port of a running service, such as "
        "`http://127.0.0.1:9090`, which they ask instead of the database; with the path that a reverse "
        "proxy gives it",
    )
    notice_url: SecretStr | None = Field(
        None, description="Where notices are sent to, see Notices; without it there are none"
    )
    notice_format: NoticeFormat = Field(
        NoticeFormat.CLOUDEVENTS,
        description="`cloudevents`, or `slack`: a text for an incoming webhook of Slack's, not signed",
    )
    notice_secret: SecretStr | None = Field(
        None,
        description="What signs notices, `whsec_` and 24 to 64 bytes in base64; during a change the new one "
        "and the old, comma-separated",
    )
    notice_on: Names = Field(
        (),
        description="What is told, comma-separated: `archived`, `failing`, `deadline_near`, `expired`, "
        "`errored`; empty means all",
    )
    notice_failed_minutes: float = Field(
        15.0, gt=0, description="How long a file has to fail until it is told as `failing`"
    )
    notice_link_hours: float = Field(
        0.0,
        ge=0,
        le=168,
        description="How long the signed links to files in notices are good; `0`: there are no links",
    )
    role: Role = Field(
        Role.ALL, description="`all`, `receiver` (deliveries only) or `worker` (archiving only)"
    )
    part_size_mib: int = Field(
        8, ge=5, le=5120, description="The size of a part; larger for files that need it"
    )
    parts_in_flight: int = Field(5, ge=1, le=64, description="Parts moved at once for one file")
    artifacts_in_flight: int = Field(4, ge=1, le=256, description="Files moved at once by this process")
    memory_budget_mib: int = Field(
        40, ge=5, le=1_048_576, description="Memory for parts in flight, for the whole process"
    )
    lease_seconds: float = Field(
        60.0, ge=3, le=3600, description="How long a silent worker keeps a file before another takes it"
    )
    drain_seconds: float = Field(
        25.0,
        ge=0,
        le=3600,
        description="How long parts in flight may finish after SIGTERM; below the grace period",
    )
    deliveries_keep_days: float = Field(30.0, gt=0, description="How long the record of deliveries is kept")
    archived_keep_days: float = Field(
        0.0,
        ge=0,
        description="How long the ledger keeps how each file was archived, at least `30`; that it was is "
        "never forgotten. `0`: for ever",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level logged"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` lines, or `console` for people"
    )

    _routing: Routing = PrivateAttr()
    _apps: tuple[App, ...] = PrivateAttr()

    @property
    def routing(self) -> Routing:
        """Where artifacts go."""
        return self._routing

    @property
    def storages(self) -> Mapping[str, StorageConfig]:
        """Every configured storage by its name."""
        return self._routing.storages

    @property
    def apps(self) -> tuple[App, ...]:
        """The organisations and apps whose recordings are archived; at least one."""
        return self._apps

    @property
    def wanted(self) -> tuple[Kind, ...]:
        """The kinds of artifacts to archive."""
        return tuple(Kind(kind) for kind in self.kinds) or tuple(Kind)

    @property
    def notice_topics(self) -> tuple[Topic, ...]:
        """What is told of; none where nobody is to be told."""
        return (tuple(Topic(topic) for topic in self.notice_on) or tuple(Topic)) if self.notice_url else ()

    @property
    def notice_secrets(self) -> tuple[str, ...]:
        """What signs notices, each as ``whsec_...``; none for Slack's webhooks."""
        return parse_secrets(self.notice_secret.get_secret_value()) if self.notice_secret else ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, for the log's redaction."""
        every = {
            secret.get_secret_value() for storage in self.storages.values() for secret in storage.secrets
        }
        every |= {secret for app in self.apps for secret in app.secrets}
        password = urlsplit(self.database_url.get_secret_value()).password or ""
        if self.admin_token:
            every.add(self.admin_token.get_secret_value())
        if self.notice_url:
            address = urlsplit(self.notice_url.get_secret_value())
            every |= {self.notice_url.get_secret_value(), unquote(address.password or "")}
            every |= {address.path} if len(address.path) >= _LEAST_TOKEN else set()
        every |= {part for secret in self.notice_secrets for part in (secret, secret.partition("_")[2])}
        return tuple({*every, password, unquote(password)} - {""})

    @field_validator("webhook_ids", "source_hosts", "kinds", "notice_on", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("port", "admin_port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: object) -> object:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "is the address of a Kubernetes Service called 'archiver', not a port: "
                "set enableServiceLinks: false in the pod"
            )
        return value

    @field_validator("admin_token")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        token = value.get_secret_value() if value else None
        if token is not None and not re.fullmatch(r"[!-~]*", token):
            raise ValueError("has what a header cannot carry: use letters, digits and -._~+/= alone")
        if token is not None and len(token) < _LEAST_TOKEN:
            raise ValueError(
                f"is short: use at least {_LEAST_TOKEN} characters, such as openssl rand -hex 32"
            )
        return value

    @field_validator("archived_keep_days")
    @classmethod
    def _beyond_the_provider_s(cls, value: float) -> float:
        if 0 < value < 30:
            raise ValueError("is less than 30 days: news of a recording may come as long as that")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("is neither sqlite:///file nor postgresql://...")
        try:
            urlsplit(value.get_secret_value()).port  # noqa: B018 - reading it is what checks it
        except ValueError:
            raise ValueError("is not a URL that can be read: percent-encode user and password") from None
        return value

    @field_validator("webhook_public_key")
    @classmethod
    def _loadable(cls, value: str | None) -> str | None:
        if value is not None:
            load_keys(value)
        return value

    @field_validator("webhook_key_url")
    @classmethod
    def _fetchable(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("is not an http or https address")
        return value

    @field_validator("admin_url")
    @classmethod
    def _askable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole or not value.isprintable() or " " in value:
            raise ValueError("is not an address such as http://127.0.0.1:9090")
        if parts.username is not None:
            raise ValueError(f"has a user in it: the token is given as {PREFIX}ADMIN_TOKEN")
        if parts.query or parts.fragment:
            raise ValueError("has more than host, port and path")
        return value.rstrip("/")

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(Kind):
            raise ValueError(f"has one that is not among {', '.join(Kind)}")
        return value

    @field_validator("notice_url")
    @classmethod
    def _tellable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_web_address(value.get_secret_value()):
            raise ValueError("is not an http or https address")
        return value

    @field_validator("notice_secret")
    @classmethod
    def _signing(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_secrets(value.get_secret_value())
        return value

    @field_validator("notice_on")
    @classmethod
    def _known_topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(Topic):
            raise ValueError(f"has one that is not among {', '.join(Topic)}")
        return value

    @field_validator("apps_file")
    @classmethod
    def _readable_apps(cls, value: Path | None) -> Path | None:
        if value is not None:
            parse_apps(_text_of(value))
        return value

    @field_validator("storage_config")
    @classmethod
    def _storable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _read_storage(value.get_secret_value())
        return value

    @field_validator("storage_config_file")
    @classmethod
    def _storable_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            _read_storage(_text_of(value))
        return value

    @field_validator("routing_file")
    @classmethod
    def _routable(cls, value: Path | None) -> Path | None:
        if value is not None:
            Routing.parse(_text_of(value))
        return value

    @field_validator("key_template")
    @classmethod
    def _nameable(cls, value: str) -> str:
        KeyTemplate.parse(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = []
        single = {name: getattr(self, name) for name in FIELDS}
        if self.apps_file:
            faults += [
                f"{PREFIX}{name.upper()}: is of no use beside {PREFIX}APPS_FILE"
                for name, value in single.items()
                if value
            ]
        if self.notice_format is NoticeFormat.SLACK and self.notice_secret:
            faults.append(f"{PREFIX}NOTICE_SECRET: is of no use for Slack, which verifies no signature")
        elif self.notice_url and not self.notice_secret and self.notice_format is not NoticeFormat.SLACK:
            faults.append(
                f"{PREFIX}NOTICE_SECRET: is missing, which signs notices: "
                "echo whsec_$(openssl rand -base64 32)"
            )
        if self.memory_budget_mib < self.part_size_mib:
            faults.append(f"{PREFIX}MEMORY_BUDGET_MIB: is smaller than one part ({PREFIX}PART_SIZE_MIB)")
        if self.storage_config and self.storage_config_file:
            faults.append(f"{PREFIX}STORAGE_CONFIG_FILE: is of no use beside {PREFIX}STORAGE_CONFIG")
        if self.routing_file and (self.storage_config or self.storage_config_file):
            faults.append(f"{PREFIX}ROUTING_FILE: names all storages; take the single storage config away")
        try:
            self._apps = parse_apps(_text_of(self.apps_file)) if self.apps_file else (_app(single),)
        except ValueError as error:
            faults += [_named(line) for line in str(error).splitlines()]
        if faults:
            raise ValueError("\n".join(faults))
        if self.routing_file:
            self._routing = Routing.parse(_text_of(self.routing_file))
        elif self.storage_config:
            self._routing = Routing.only(_read_storage(self.storage_config.get_secret_value()))
        elif self.storage_config_file:
            self._routing = Routing.only(_read_storage(_text_of(self.storage_config_file)))
        else:
            self._routing = Routing.only(LocalConfig(type="local", path=Path("archive")))
        if not self._routing.rules and not self.storage_from_provider:
            raise ValueError(f"{PREFIX}ROUTING_FILE: rules: is missing: there are several storages")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options on the command line, then the environment: nothing else."""
        return init_settings, env_settings


def load_settings(environ: Mapping[str, str] = os.environ, **options: object) -> Settings:
    """The settings from the environment, with the command line's options (None: not given) over them.

    Raises :class:`SettingsError`, whose detail has one line a fault, each with the variable's name.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    faults = [
        f"{name}: is not a setting of this version"
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    ]
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        faults += [line for fault in error.errors() for line in _lines(fault)]
    if faults:
        raise SettingsError("\n  " + "\n  ".join(faults))
    return settings


def _app(given: Mapping[str, Any]) -> App:
    return parse_app(
        ONLY,
        {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in given.items()
        },
    )


def _named(line: str) -> str:
    name, _, fault = line.partition(": ")
    return f"{PREFIX}{name.upper()}: {fault}"


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__})") from None


def _read_storage(text: str) -> StorageConfig:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    return parse_storage_config(given)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and url.isprintable() and " " not in url


def _lines(fault: Any) -> list[str]:
    lines = str(fault["msg"]).removeprefix("Value error, ").splitlines()
    if not fault["loc"]:
        return lines
    name = f"{PREFIX}{str(fault['loc'][0]).upper()}"
    return [f"{name}: {line[:1].lower()}{line[1:]}" for line in lines]
