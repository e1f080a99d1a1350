"""From signed bytes to an :class:`~service.model.Event`. Pure.

Only what archiving needs is insisted on: the event's name, the recording's id and status, the session's id,
and a link if any is given. Any other documented field may be missing, or be something else than documented:
it is then left out, because a recording must not be lost for an odd date. Documented bodies: the webhook
guides of Dyte and of Cloudflare RealtimeKit.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from service.artifacts import recording_files, session_file
from service.errors import DeliveryMalformed
from service.fields import clean, fields, identity, link, moment, number, text, whole
from service.model import Event, Kind, Provider, Recording, Scope

RECORDING_EVENT: Final = "recording.statusUpdate"
SESSION_EVENTS: Final[Mapping[str, Kind]] = {
    "meeting.chatSynced": Kind.CHAT,
    "meeting.transcript": Kind.TRANSCRIPT,
    "meeting.summary": Kind.SUMMARY,
}
"""What each of these events announces; its link is in ``chatDownloadUrl`` and so on."""
EVENTS: Final = (RECORDING_EVENT, *SESSION_EVENTS)
"""The events to subscribe to."""

_NAME_LENGTH = 200
_DECODER = json.JSONDecoder(parse_int=float)  # as int, thousands of digits would be an error


def parse(body: bytes, provider: Provider) -> Event:
    """Read a verified body.

    Raises :class:`DeliveryMalformed`, which names the field, if it is not the JSON it should be.
    """
    try:
        document = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise DeliveryMalformed("body", "is not JSON") from error
    if not isinstance(document, dict):
        raise DeliveryMalformed("body", "is not a JSON object")
    name = document.get("event")
    if not isinstance(name, str) or not name:
        raise DeliveryMalformed("event", "is not a name")
    if name == RECORDING_EVENT:
        return _recording_event(document, provider)
    if name in SESSION_EVENTS:
        return _session_event(name, document, provider)
    return Event(name=clean(name)[:_NAME_LENGTH])


def _recording_event(document: Mapping[str, Any], provider: Provider) -> Event:
    recording = _recording(document, provider)
    if recording.status != "UPLOADED":
        return Event(RECORDING_EVENT, recording)
    told = document["recording"]
    artifacts, odd = recording_files(
        recording,
        video=told.get("downloadUrl"),
        audio=told.get("audioDownloadUrl"),
        expires_at=moment(told.get("downloadUrlExpiry")),
    )
    names = tuple(
        "recording.audioDownloadUrl" if kind is Kind.AUDIO else "recording.downloadUrl" for kind in odd
    )
    if names and not artifacts:
        raise DeliveryMalformed(names[0], "is not a link")
    return Event(RECORDING_EVENT, recording, artifacts, names)


def _recording(document: Mapping[str, Any], provider: Provider) -> Recording:
    told = document.get("recording")
    if not isinstance(told, dict):
        raise DeliveryMalformed("recording", "is not an object")
    recording_id = identity(told.get("recordingId")) or identity(told.get("id"))
    if recording_id is None:
        raise DeliveryMalformed("recording.id", "is not an id")
    status = text(told.get("status"))
    if status is None:
        raise DeliveryMalformed("recording.status", "is not a status")
    meeting = fields(document.get("meeting"))
    organizer = fields(meeting.get("organizedBy"))
    return Recording(
        id=recording_id,
        provider=provider,
        status=status,
        organization_id=text(told.get("organizationId")) or text(organizer.get("id")),
        meeting_id=identity(told.get("meetingId")) or identity(meeting.get("id")),
        session_id=identity(meeting.get("sessionId")) or identity(told.get("roomUUID")),
        title=text(meeting.get("title")),
        output_file_name=text(told.get("outputFileName")),
        file_size=whole(told.get("fileSize")),
        invoked_at=moment(told.get("invokedTime")),
        started_at=moment(told.get("startedTime")),
        stopped_at=moment(told.get("stoppedTime")),
        duration_s=number(told.get("recordingDuration")),
        stop_reason=text(told.get("stopReason")),
    )


def _session_event(name: str, document: Mapping[str, Any], provider: Provider) -> Event:
    kind = SESSION_EVENTS[name]
    # The chat's ids are at the top level, the others' in `meeting`.
    meeting = fields(document.get("meeting"))
    session_id = identity(document.get("sessionId")) or identity(meeting.get("sessionId"))
    if session_id is None:
        raise DeliveryMalformed("sessionId" if kind is Kind.CHAT else "meeting.sessionId", "is not an id")
    field = f"{kind}DownloadUrl"
    told, url = document.get(field), link(document.get(field))
    if url is None and told not in (None, ""):
        raise DeliveryMalformed(field, "is not a link")
    organizer = fields(document.get("organizedBy")) or fields(meeting.get("organizedBy"))
    session = Recording(
        id=session_id,
        provider=provider,
        status="ENDED",
        scope=Scope.SESSION,
        organization_id=text(organizer.get("id")),
        meeting_id=identity(document.get("meetingId")) or identity(meeting.get("id")),
        session_id=session_id,
        title=text(document.get("title")) or text(meeting.get("title")),
        started_at=moment(document.get("startedAt")) or moment(meeting.get("startedAt")),
        stopped_at=moment(document.get("endedAt")) or moment(meeting.get("endedAt")),
    )
    expires_at = moment(document.get(f"{field}Expiry"))
    return Event(name, session, (session_file(session_id, kind, url, expires_at),) if url else ())
