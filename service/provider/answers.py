"""From the API's JSON to values. Pure.

Tolerant: what is missing or odd is left out, because a recording must not be lost for an odd date. Sources:
Dyte's REST specification v2 and Cloudflare's RealtimeKit API reference. Names are snake_case there but for a
few; each is understood in camelCase too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.apps import App
from service.artifacts import recording_files, session_file
from service.fields import fields, identity, link, moment, number, text, whole
from service.model import Artifact, Event, Kind, Provider, Recording, Scope

API_EVENT: Final = "api"
"""The name of an event that was read from the API; none was delivered."""

_ENVELOPES = ("data", "result")
_LISTS = ("recordings", "sessions", "webhooks")
_NESTED = 4
_PLACE = ("type", "bucket", "region", "path", "host", "port", "username")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"<>]*)\?[^\s\"<>]*", re.IGNORECASE)
_DIGITS = 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """A subscription: ``events`` are sent to ``url`` while it is ``enabled``."""

    id: str
    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its items as they came, and what the answer says of its place in the whole."""

    items: list[Any]
    start: float | None = None
    end: float | None = None
    total: float | None = None

    @property
    def is_last(self) -> bool:
        """Whether the answer says that nothing follows."""
        return self.end is not None and self.total is not None and 0 < self.total <= self.end


@dataclass(frozen=True, slots=True)
class Fault:
    """What an answer says of why it is not the one that was wanted; ``codes`` are the API's own."""

    message: str
    codes: tuple[int, ...] = ()


def read(body: bytes) -> Any:
    """The JSON document. Raises ValueError if it is none."""
    try:
        return json.loads(body, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_failure(document: Any) -> bool:
    """Whether the envelope itself says that it failed, whatever the HTTP status."""
    return fields(document).get("success") is False


def fault(document: Any) -> Fault:
    """Why it failed: ``error`` of Dyte's envelope, ``errors`` of Cloudflare's, or a bare ``message``."""
    told = fields(document)
    listed = told.get("errors")
    errors = listed if isinstance(listed, list) and listed else [told.get("error")]
    messages = [text(each) or text(fields(each).get("message")) for each in errors]
    codes = [whole(fields(each).get("code")) for each in errors]
    message = "; ".join(each for each in messages if each) or text(told.get("message")) or ""
    # The API may repeat a link that it was given, or gave.
    return Fault(_QUERY.sub(r"\1?***", message), tuple(code for code in codes if code is not None))


def one(document: Any, name: str = "") -> dict[str, Any] | None:
    """The object that was asked for, out of its envelope; None if the answer has none.

    It may be wrapped once more under its ``name``.
    """
    *_, found = _layers(document)
    if not isinstance(found, dict):
        return None
    inner = found.get(name)
    return inner if isinstance(inner, dict) and "id" not in found else found


def page(document: Any) -> Page | None:
    """The list that was asked for; None if the answer has none."""
    layers = list(_layers(document))
    found = layers[-1]
    if isinstance(found, dict):
        found = next((found[name] for name in _LISTS if name in found), found)
    if found is not None and found != {} and not isinstance(found, list):
        return None
    paging = next((fields(each)["paging"] for each in layers if fields(each).get("paging")), None)
    start, end, total = (
        number(_told(paging, name)) for name in ("start_offset", "end_offset", "total_count")
    )
    return Page(found or [], start, end, total)


def item_id(item: Any) -> str | None:
    """What tells an item of a list from the others."""
    return identity(_told(item, "id")) or identity(_told(item, "recording_id", "session_id"))


def recording_event(item: Any, app: App, provider: Provider) -> Event | None:
    """A recording, with its files if it has been uploaded; None without a usable id or status."""
    recording = _recording(item, app, provider)
    if recording is None:
        return None
    if recording.status != "UPLOADED":
        return Event(API_EVENT, recording)
    artifacts, odd = recording_files(
        recording,
        video=_told(item, "download_url"),
        audio=_told(item, "audio_download_url", "download_audio_url"),
        expires_at=moment(_told(item, "download_url_expiry")),
    )
    names = ("audio_download_url" if kind is Kind.AUDIO else "download_url" for kind in odd)
    return Event(API_EVENT, recording, artifacts, tuple(names))


def session(item: Any, app: App, provider: Provider) -> Recording | None:
    """A meeting's session; None without a usable id or status."""
    session_id, status = item_id(item), text(_told(item, "status"))
    if session_id is None or status is None:
        return None
    return Recording(
        id=session_id,
        provider=provider,
        status=status,
        scope=Scope.SESSION,
        app=app.name,
        organization_id=text(_told(item, "organization_id")) or app.organization_id,
        meeting_id=identity(_told(item, "associated_id", "meeting_id")),
        session_id=session_id,
        title=text(_told(item, "meeting_display_name", "title")),
        invoked_at=moment(_told(item, "created_at")),
        started_at=moment(_told(item, "started_at")),
        stopped_at=moment(_told(item, "ended_at")),
    )


def file_of_session(document: Any, session_id: str, kind: Kind) -> Artifact | None:
    """The chat, transcript or summary that a link leads to; None where there is no link."""
    told = one(document, str(kind))
    url = link(_told(told, f"{kind}_download_url"))
    if url is None:
        return None
    return session_file(session_id, kind, url, moment(_told(told, f"{kind}_download_url_expiry")))


def webhook(item: Any) -> Webhook | None:
    """A subscription; None without an id or an address."""
    webhook_id, url = identity(_told(item, "id")), text(_told(item, "url"))
    if webhook_id is None or url is None:
        return None
    events = _told(item, "events")
    return Webhook(
        id=webhook_id,
        name=text(_told(item, "name")) or "",
        url=url,
        events=tuple(name for name in events if isinstance(name, str)) if isinstance(events, list) else (),
        enabled=_told(item, "enabled") is not False,
    )


def _layers(document: Any) -> Iterator[Any]:
    """The document, then what is in its envelope, then what is in that one's."""
    yield document
    for _ in range(_NESTED):
        told = fields(document)
        inside = [name for name in _ENVELOPES if name in told]
        if not inside or "id" in told:
            return
        document = next((told[name] for name in inside if told[name] is not None), None)
        yield document


def _integer(digits: str) -> int | float:
    # Thousands of digits would be an error, and one odd number is no reason to lose a page.
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _told(item: Any, *names: str) -> Any:
    """The first of these fields that is there, in either way of writing it."""
    told = fields(item)
    return next((told[way] for name in names for way in _ways(name) if told.get(way) not in (None, "")), None)


def _ways(name: str) -> Iterator[str]:
    yield name
    first, *rest = name.split("_")
    yield first + "".join(word.title() for word in rest)


def _recording(item: Any, app: App, provider: Provider) -> Recording | None:
    recording_id, status = item_id(item), text(_told(item, "status"))
    if recording_id is None or status is None:
        return None
    meeting, reason = _told(item, "meeting"), _told(item, "stop_reason")
    return Recording(
        id=recording_id,
        provider=provider,
        status=status,
        app=app.name,
        organization_id=text(_told(item, "organization_id")) or app.organization_id,
        meeting_id=identity(_told(item, "meeting_id")) or identity(_told(meeting, "id")),
        session_id=identity(_told(item, "session_id")) or identity(_told(meeting, "session_id")),
        title=text(_told(meeting, "title")) or text(_told(item, "title")),
        output_file_name=text(_told(item, "output_file_name")),
        file_size=whole(_told(item, "file_size")),
        invoked_at=moment(_told(item, "invoked_time")),
        started_at=moment(_told(item, "started_time")),
        stopped_at=moment(_told(item, "stopped_time")),
        duration_s=number(_told(item, "recording_duration")),
        stop_reason=text(reason) or text(_told(reason, "reason")),
        storage_config=_storage_config(_told(item, "storage_config")),
    )


def _storage_config(told: Any) -> str | None:
    # Only what says where: whatever else the API may give, a secret is never among it.
    place: Mapping[str, Any] = {
        name: whole(_told(told, name)) if name == "port" else text(_told(told, name)) for name in _PLACE
    }
    if place["type"] is None:
        return None
    return json.dumps({name: value for name, value in place.items() if value is not None}, sort_keys=True)
