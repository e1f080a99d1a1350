"""The organisations (Dyte) and apps (RealtimeKit) whose recordings are archived: one, or several. Pure."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from service.model import ONLY, Provider
from service.signature import load_keys

API_URLS: Final[Mapping[Provider, str]] = {
    Provider.DYTE: "https://api.dyte.io/v2",
    Provider.REALTIMEKIT: "https://api.cloudflare.com/client/v4",
}
"""Where each provider's REST API is, if no other address is given."""

_CREDENTIALS: Final[Mapping[Provider, tuple[str, ...]]] = {
    Provider.DYTE: ("org_id", "api_key"),
    Provider.REALTIMEKIT: ("account_id", "app_id", "api_token"),
}
_TEXTS = ("api_url", *(name for names in _CREDENTIALS.values() for name in names))
FIELDS: Final = ("provider", *_TEXTS, "webhook_public_key", "webhook_key_url", "webhook_ids")
"""What can be said of an app, by the settings' names in lower case without their prefix."""


@dataclass(frozen=True, slots=True)
class App:
    """One organisation or app: how its deliveries are recognised, and how its API is asked.

    ``public_key`` (PEM) or ``key_url`` replaces the provider's own published key. ``webhook_ids``: its
    subscriptions; empty: any. ``api_url`` is the address that the API's paths follow, without a slash at its
    end, and ``authorization`` the value of that header; both are None where no credentials are given.
    """

    name: str = ONLY
    provider: Provider | None = None
    organization_id: str | None = None
    public_key: str | None = None
    key_url: str | None = None
    webhook_ids: tuple[str, ...] = ()
    api_url: str | None = None
    authorization: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be read anywhere: the header's value, and what it was made of."""
        if self.authorization is None:
            return ()
        scheme, _, value = self.authorization.partition(" ")
        if scheme == "Basic":
            return value, base64.b64decode(value).decode().partition(":")[2]
        return (value,)


def parse_app(name: str, given: Mapping[str, Any]) -> App:
    """An app from its settings, by their names in lower case without the prefix; what is None is not given.

    Raises ValueError, one line a fault: the field and what is wrong with it, without any value.
    """
    told = {key: value for key, value in given.items() if value not in (None, "")}
    faults = list(_faults(told))
    if faults:
        raise ValueError("\n".join(faults))
    provider = Provider(told["provider"]) if "provider" in told else None
    api_url, authorization = _access(provider, told)
    return App(
        name=name,
        provider=provider,
        organization_id=told.get("org_id"),
        public_key=told.get("webhook_public_key"),
        key_url=told.get("webhook_key_url"),
        webhook_ids=tuple(told.get("webhook_ids", ())),
        api_url=api_url,
        authorization=authorization,
    )


def parse_apps(text: str) -> tuple[App, ...]:
    """Read a file of several apps: a JSON object that names each, with the fields of :func:`parse_app`.

    Raises ValueError, one line a fault.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(given, dict) or not given:
        raise ValueError("is not a JSON object that names at least one app")
    apps: list[App] = []
    faults: list[str] = []
    for name, fields in given.items():
        if not name.strip() or not name.isprintable() or len(name) > 60:
            faults.append("an app's name is blank, too long, or cannot be printed")
        elif not isinstance(fields, dict):
            faults.append(f"{name}: is not an object")
        else:
            try:
                apps.append(parse_app(name, fields))
            except ValueError as error:
                faults += [f"{name}.{line}" for line in str(error).splitlines()]
    if not faults:
        faults += _indistinct(apps)
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(apps)


def _faults(told: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{name}: is not a field" for name in told if name not in FIELDS)
    texts = [name for name in (*_TEXTS, "webhook_public_key", "webhook_key_url") if name in told]
    odd = [name for name in texts if not isinstance(told[name], str) or not told[name].isprintable()]
    odd = [name for name in odd if name != "webhook_public_key" or not isinstance(told[name], str)]
    yield from (f"{name}: is not a text" for name in odd)
    ids = told.get("webhook_ids", ())
    if not isinstance(ids, list | tuple) or not all(isinstance(each, str) for each in ids):
        yield "webhook_ids: is not a list of texts"
    for name in ("api_url", "webhook_key_url"):
        # Paths follow the API's address; a key's is asked for as it is.
        if name in told and name not in odd and not _is_address(told[name], with_query=name != "api_url"):
            yield f"{name}: is not an http or https address"
    if "webhook_public_key" in told and "webhook_public_key" not in odd:
        try:
            load_keys(told["webhook_public_key"])
        except ValueError as error:
            yield f"webhook_public_key: {error}"
        if "webhook_key_url" in told:
            yield "webhook_key_url: is of no use beside webhook_public_key"
    yield from _faults_of_credentials(told)


def _faults_of_credentials(told: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name in _TEXTS if name in told]
    if "provider" not in told:
        if given:
            yield "provider: is missing: dyte or realtimekit"
        return
    if told["provider"] not in list(Provider):
        yield "provider: is neither dyte nor realtimekit"
        return
    provider = Provider(told["provider"])
    needed = _CREDENTIALS[provider]
    missing = [name for name in needed if name not in told]
    # Dyte's organisation alone tells whose a delivery is.
    if given and missing and given != ["org_id"]:
        yield from (f"{name}: is missing" for name in missing)
    yield from (
        f"{name}: is of no use with provider {provider}"
        for name in given
        if name not in needed and name != "api_url"
    )


def _access(provider: Provider | None, told: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The API's address and the ``Authorization`` that it wants, if the credentials are there."""
    if provider is None or any(name not in told for name in _CREDENTIALS[provider]):
        return None, None
    base = told.get("api_url", API_URLS[provider]).rstrip("/")
    if provider is Provider.DYTE:
        credentials = base64.b64encode(f"{told['org_id']}:{told['api_key']}".encode()).decode()
        return base, f"Basic {credentials}"
    path = f"/accounts/{told['account_id']}/realtime/kit/{told['app_id']}"
    return base + path, f"Bearer {told['api_token']}"


def _is_address(text: str, *, with_query: bool) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and (with_query or not parts.query)


def _indistinct(apps: list[App]) -> Iterator[str]:
    """Apps that are one, or whose deliveries could not be told apart by key, subscription or organisation."""
    accounts: dict[object, str] = {}
    subscriptions: dict[object, str] = {}
    unknown: dict[object, str] = {}
    for app in apps:
        if app.organization_id or app.api_url:
            other = accounts.setdefault((app.organization_id, app.api_url), app.name)
            if other != app.name:
                yield f"{app.name}: is the same organization or app as {other}"
        for webhook_id in app.webhook_ids:
            other = subscriptions.setdefault((app.provider, webhook_id), app.name)
            if other != app.name:
                yield f"{app.name}.webhook_ids: has one that {other} has"
        if app.webhook_ids or app.organization_id:
            continue
        other = unknown.setdefault(app.public_key or app.key_url or app.provider, app.name)
        if other != app.name:
            yield f"{app.name}.webhook_ids: is missing, so its deliveries are not told from those of {other}"
