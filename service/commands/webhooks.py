"""``webhook register``, ``list`` and ``delete``."""

import asyncio
import ipaddress
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final
from urllib.parse import SplitResult, urlsplit

from service.commands.telling import Telling
from service.errors import ProviderMissing, ProviderUnavailable, SettingsError
from service.event import EVENTS
from service.model import ONLY
from service.provider import ProviderApi, Webhook
from service.settings import PREFIX

NAME: Final = "dyte-archiver"
"""What a webhook is called if nobody says otherwise."""
PATH: Final = "/webhook"
"""Where the service takes deliveries."""

_ROUNDS = 5
_PAUSE_S = 1.0
_AGAIN = "run it again: what is registered already is not registered twice"
_PORTS = {"https": 443, "http": 80}


async def register(
    api: ProviderApi,
    telling: Telling,
    *,
    url: str,
    name: str | None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Have exactly :data:`~service.event.EVENTS` delivered to ``url``, by one webhook.

    One with this address is left as it is if it fits, and changed if it has other events, is disabled or is
    called otherwise than ``name``. Raises :class:`SettingsError` for the address, and
    :class:`~service.errors.ProviderError`.
    """
    parts = _address(url)
    if parts.path != PATH:
        telling.warning(
            f"the service takes deliveries at {PATH}, this address says {parts.path or '/'}: "
            "that is right only if something before the service rewrites it"
        )
    if found := await _at(api, url):
        webhook, *doubles = found
        done = "is registered already"
        if doubles:
            telling.warning(_told_of(doubles))
        if not _fits(webhook) or name not in (None, webhook.name):
            called = name or webhook.name or NAME
            webhook = await api.change_webhook(webhook.id, name=called, url=webhook.url, events=EVENTS)
            done = "was registered already, and is changed"
    else:
        webhook = await _added(api, url, name or NAME, sleep, jitter)
        done = "is registered"
    if telling.as_json:
        telling.document(asdict(webhook))
        return
    telling.line(f"webhook {webhook.id} {done}: {webhook.url}")
    telling.line(f"  events: {', '.join(EVENTS)}")
    telling.line("To have the service accept no other's deliveries, set:")
    telling.line(_setting(api, webhook))


async def show(api: ProviderApi, telling: Telling) -> None:
    """Print all webhooks; those that deliver what is archived say so."""
    webhooks = await api.webhooks()
    rows = [
        {
            "id": webhook.id,
            "enabled": "yes" if webhook.enabled else "no",
            "url": webhook.url,
            "name": webhook.name,
            "events": "those that are archived"
            if set(webhook.events) == set(EVENTS)
            else ", ".join(webhook.events),
        }
        for webhook in webhooks
    ]
    none = "There is no webhook yet: dyte-archiver webhook register URL"
    telling.documents([asdict(webhook) for webhook in webhooks], rows, none=none)


async def delete(api: ProviderApi, telling: Telling, *, webhook_id: str) -> None:
    """Delete a webhook. Raises :class:`ProviderMissing` if there is none of that id."""
    found = next((each for each in await api.webhooks() if each.id == webhook_id), None)
    if found is None:
        raise ProviderMissing(
            f"there is no webhook {webhook_id!r}", mend="dyte-archiver webhook list shows all"
        )
    await api.delete_webhook(webhook_id)
    if webhook_id in api.app.webhook_ids:
        telling.warning(f"the settings still name it: take {webhook_id} out of {PREFIX}WEBHOOK_IDS")
    if telling.as_json:
        telling.document(asdict(found))
    telling.line(f"webhook {webhook_id} deleted: {found.url}")


async def _added(
    api: ProviderApi,
    url: str,
    name: str,
    sleep: Callable[[float], Awaitable[None]],
    jitter: Callable[[], float],
) -> Webhook:
    """A webhook with this address: ours, or one that somebody else has added at the same time.

    The API takes an address twice, so whoever has added it looks again, and withdraws his own if he sees
    another. One that is told to be registered was alone then, so everybody after it sees it and gives way.
    Two who both gave way wait at random, and the first finds nobody.
    """
    for _ in range(_ROUNDS):
        own = await _tried(api, url, name)
        others = [each for each in await _at(api, url) if each.id != own.id]
        if not others:
            return own
        await api.delete_webhook(own.id)
        await sleep(_PAUSE_S * (1 + jitter()))
        if left := await _at(api, url):
            return left[0]
    raise ProviderUnavailable("others register this address at the same time", mend=_AGAIN)


async def _tried(api: ProviderApi, url: str, name: str) -> Webhook:
    try:
        return await api.add_webhook(name=name, url=url, events=EVENTS)
    except ProviderUnavailable as error:
        # The answer may be what was lost, not the request.
        raise ProviderUnavailable(error.detail, mend=_AGAIN, retry_after_s=error.retry_after_s) from error


async def _at(api: ProviderApi, url: str) -> list[Webhook]:
    """The webhooks with this address: first what the settings name, then what fits."""
    found = [each for each in await api.webhooks() if _same(each.url, url)]
    return sorted(found, key=lambda each: (each.id not in api.app.webhook_ids, not _fits(each), each.id))


def _fits(webhook: Webhook) -> bool:
    return webhook.enabled and set(webhook.events) == set(EVENTS)


def _same(one: str, other: str) -> bool:
    try:
        return _told_apart_by(urlsplit(one)) == _told_apart_by(urlsplit(other))
    except ValueError:
        return False


def _told_apart_by(parts: SplitResult) -> tuple[object, ...]:
    return (
        parts.scheme,
        parts.hostname,
        parts.port or _PORTS.get(parts.scheme),
        parts.path or "/",
        parts.query,
    )


def _address(url: str) -> SplitResult:
    """The parts of an address that the provider can deliver to. Raises :class:`SettingsError`."""
    try:
        parts = urlsplit(url)
        is_whole = parts.port != 0 and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        is_whole = False
    if not is_whole:
        raise SettingsError("URL is not an address such as https://archiver.example.com/webhook")
    if parts.username is not None or parts.fragment:
        raise SettingsError("URL has a user or a fragment in it, which no delivery carries")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return parts
    raise SettingsError(
        "URL is not https: whoever is on the way could read what is delivered, and the links in it",
        mend="put a TLS ingress before the public port, and give its https address",
    )


def _told_of(doubles: list[Webhook]) -> str:
    ids = ", ".join(each.id for each in doubles)
    return (
        f"each event is delivered {len(doubles) + 1} times, by {ids} too: "
        "dyte-archiver webhook delete ends one"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _setting(api: ProviderApi, webhook: Webhook) -> str:
    """The line to set, beside the ids that are set already."""
    ids = [each for each in api.app.webhook_ids if each != webhook.id] + [webhook.id]
    if api.app.name == ONLY:
        return f"{PREFIX}WEBHOOK_IDS={','.join(ids)}"
    return f'"webhook_ids": {json.dumps(ids)}   (of {api.app.name}, in the file of {PREFIX}APPS_FILE)'
