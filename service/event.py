"""From signed bytes to an :class:`~service.model.Event`. Pure.

Only what archiving needs is insisted on: the event's name, the recording's id and status, and a link if any
is given. Any other documented field may be missing, or be something else than documented: it is then left
out, because a recording must not be lost for an odd date. Documented bodies: the webhook guides of Dyte and
of Cloudflare RealtimeKit.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from service.errors import DeliveryMalformed
from service.model import Artifact, Event, Kind, Provider, Recording

RECORDING_EVENT = "recording.statusUpdate"
RETENTION_S = 7 * 24 * 3600.0
"""How long the provider keeps a recording after it stopped."""

_ID_LENGTH = 200
_TEXT_LENGTH = 2000
_MAX_NUMBER = 2**53


def parse(body: bytes, provider: Provider) -> Event:
    """Read a verified body.

    Raises :class:`DeliveryMalformed`, which names the field, if it is not the JSON it should be.
    """
    try:
        document = json.loads(body, parse_int=float)  # as int, thousands of digits would be an error
    except (ValueError, RecursionError) as error:
        raise DeliveryMalformed("body", "is not JSON") from error
    if not isinstance(document, dict):
        raise DeliveryMalformed("body", "is not a JSON object")
    name = document.get("event")
    if not isinstance(name, str) or not name:
        raise DeliveryMalformed("event", "is not a name")
    if name != RECORDING_EVENT:
        return Event(name=_clean(name)[:_ID_LENGTH])
    recording = _recording(document, provider)
    if recording.status != "UPLOADED":
        return Event(name=name, recording=recording)
    artifacts, odd = _artifacts(document["recording"], recording)
    return Event(name=name, recording=recording, artifacts=artifacts, odd=odd)


def _recording(document: Mapping[str, Any], provider: Provider) -> Recording:
    fields = document.get("recording")
    if not isinstance(fields, dict):
        raise DeliveryMalformed("recording", "is not an object")
    identity = _identity(fields.get("recordingId")) or _identity(fields.get("id"))
    if identity is None:
        raise DeliveryMalformed("recording.id", "is not an id")
    status = _text(fields.get("status"))
    if status is None:
        raise DeliveryMalformed("recording.status", "is not a status")
    meeting = document.get("meeting")
    meeting = meeting if isinstance(meeting, dict) else {}
    organizer = meeting.get("organizedBy")
    organizer = organizer if isinstance(organizer, dict) else {}
    return Recording(
        id=identity,
        provider=provider,
        status=status,
        organization_id=_text(fields.get("organizationId")) or _text(organizer.get("id")),
        meeting_id=_text(fields.get("meetingId")) or _text(meeting.get("id")),
        session_id=_text(meeting.get("sessionId")) or _text(fields.get("roomUUID")),
        title=_text(meeting.get("title")),
        output_file_name=_text(fields.get("outputFileName")),
        file_size=_whole(fields.get("fileSize")),
        started_at=_moment(fields.get("startedTime")),
        stopped_at=_moment(fields.get("stoppedTime")),
        duration_s=_number(fields.get("recordingDuration")),
        stop_reason=_text(fields.get("stopReason")),
    )


def _artifacts(
    fields: Mapping[str, Any], recording: Recording
) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
    """The artifacts, and the fields whose links are none; those are a fault only if there is no other."""
    expires_at = _moment(fields.get("downloadUrlExpiry"))
    if expires_at is None and recording.stopped_at is not None:
        expires_at = recording.stopped_at + RETENTION_S
    artifacts: list[Artifact] = []
    odd: list[str] = []
    video_name = recording.output_file_name or f"{recording.id}.mp4"
    for kind, field in ((Kind.VIDEO, "downloadUrl"), (Kind.AUDIO, "audioDownloadUrl")):
        url = fields.get(field)
        if url is None or url == "":
            continue
        if not isinstance(url, str) or not _is_link(url):
            odd.append(f"recording.{field}")
            continue
        if kind is Kind.VIDEO and recording.output_file_name is None:
            video_name = recording.id + (_suffix(url) or ".mp4")
        artifacts.append(
            Artifact(
                recording_id=recording.id,
                kind=kind,
                url=url,
                name=video_name if kind is Kind.VIDEO else _audio_name(video_name, url),
                announced_size=recording.file_size if kind is Kind.VIDEO else None,
                expires_at=expires_at,
            )
        )
    if odd and not artifacts:
        raise DeliveryMalformed(odd[0], "is not a link")
    return tuple(artifacts), tuple(odd)


def _audio_name(video_name: str, url: str) -> str:
    """The video's name with the audio's own suffix; never the same as the video's."""
    stem, dot, end = video_name.rpartition(".")
    stem = stem if dot and stem and "/" not in end else video_name
    suffix = _suffix(url) or ".mp3"
    name = stem + suffix
    return name if name.lower() != video_name.lower() else f"{stem}.audio{suffix}"


def _suffix(url: str) -> str:
    suffix = PurePosixPath(urlsplit(url).path).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""


def _is_link(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(url == _clean(url) and len(url) <= 16_384 and parts.scheme and parts.netloc)


def _clean(text: str) -> str:
    # Lone surrogates cannot be encoded and NUL cannot be stored: JSON escapes can bring either.
    return "".join(c for c in text if c >= " " and not "\ud800" <= c <= "\udfff" and c != "\x7f")


def _identity(value: object) -> str | None:
    identity = _text(value)
    return identity if identity == value and len(identity or "") <= _ID_LENGTH else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return _clean(value)[:_TEXT_LENGTH].strip() or None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= _MAX_NUMBER else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _moment(value: object) -> float | None:
    """Both documented forms: ``2023-01-25 04:51:35.903816Z`` and ``2026-06-03T10:00:00.000Z``."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
