"""What a provider says of meetings, sessions and recordings: by its API, and in deliveries. Pure.

Only what the story needs, in the documented fields and formats: Dyte's REST specification v2, and the webhook
guides of Dyte and of Cloudflare RealtimeKit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.model import Kind, Provider

_RETENTION = timedelta(days=7)
_EVENTS = {Kind.CHAT: "chatSynced", Kind.TRANSCRIPT: "transcript", Kind.SUMMARY: "summary"}
_STOP_REASONS = {
    Provider.DYTE: "{'reason':'API_CALL','caller':{'type':'ORGANIZATION'}}",
    Provider.REALTIMEKIT: None,
}


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting; it may have a session, and another."""

    id: str
    title: str
    record_on_start: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """One coming together; ``ended_at`` is None while it lasts."""

    id: str
    meeting: Meeting
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording; ``size`` in bytes and both links are there when it has been uploaded."""

    id: str
    session: Session
    name: str
    status: str
    invoked_at: datetime
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    size: int | None = None
    video: str | None = None
    audio: str | None = None

    @property
    def expires_at(self) -> datetime | None:
        """When the provider deletes it."""
        return self.stopped_at and self.stopped_at + _RETENTION

    @property
    def duration_s(self) -> int:
        """How long it was recorded."""
        if self.started_at is None or self.stopped_at is None:
            return 0
        return round((self.stopped_at - self.started_at).total_seconds())


# ---- the API's documents


def listed(items: list[dict[str, Any]], name: str | None = None) -> dict[str, Any]:
    """A list in its envelope, ``name`` being the field that holds it, all on one page."""
    paging = {"total_count": len(items), "start_offset": min(1, len(items)), "end_offset": len(items)}
    return {"success": True, "data": {name: items} if name else items, "paging": paging}


def meeting_document(meeting: Meeting) -> dict[str, Any]:
    """A meeting, as ``POST /meetings`` answers it."""
    return {
        "id": meeting.id,
        "title": meeting.title,
        "record_on_start": meeting.record_on_start,
        "status": "ACTIVE",
        "created_at": _moment(meeting.created_at),
        "updated_at": _moment(meeting.created_at),
    }


def session_document(session: Session, organization_id: str) -> dict[str, Any]:
    """A session, as ``GET /sessions`` lists it."""
    return {
        "id": session.id,
        "associated_id": session.meeting.id,
        "meeting_display_name": session.meeting.title,
        "type": "meeting",
        "status": "ENDED" if session.ended_at else "LIVE",
        "live_participants": 0 if session.ended_at else 2,
        "max_concurrent_participants": 2,
        "minutes_consumed": 0,
        "organization_id": organization_id,
        "started_at": _moment(session.started_at),
        **({"ended_at": _moment(session.ended_at)} if session.ended_at else {}),
        "created_at": _moment(session.started_at),
        "updated_at": _moment(session.ended_at or session.started_at),
    }


def recording_document(recording: Recording) -> dict[str, Any]:
    """A recording, as ``/recordings/{id}`` has it."""
    return {
        "id": recording.id,
        "status": recording.status,
        "session_id": recording.session.id,
        "output_file_name": recording.name,
        "file_size": recording.size,
        "download_url": recording.video,
        "audio_download_url": recording.audio,
        "download_url_expiry": _moment(recording.expires_at if recording.video else None),
        "invoked_time": _moment(recording.invoked_at),
        "started_time": _moment(recording.started_at),
        "stopped_time": _moment(recording.stopped_at),
        "recording_duration": recording.duration_s,
    }


def recording_item(recording: Recording) -> dict[str, Any]:
    """The same as ``GET /recordings`` lists it: with its meeting."""
    return recording_document(recording) | {"meeting": meeting_document(recording.session.meeting)}


def session_file_document(kind: Kind, link: str, session: Session) -> dict[str, Any]:
    """A link, as ``/sessions/{id}/chat``, ``transcript`` and ``summary`` answer it."""
    expires_at = _moment((session.ended_at or session.started_at) + _RETENTION)
    if kind is Kind.SUMMARY:
        return {"sessionId": session.id, "summaryDownloadUrl": link, "summaryDownloadUrlExpiry": expires_at}
    return {
        **({} if kind is Kind.CHAT else {"sessionId": session.id}),
        f"{kind}_download_url": link,
        f"{kind}_download_url_expiry": expires_at,
    }


# ---- deliveries


def recording_delivery(provider: Provider, organization_id: str, recording: Recording) -> dict[str, Any]:
    """``recording.statusUpdate``."""
    has_file = recording.status == "UPLOADED"
    told = {
        "id": recording.id,
        "recordingId": recording.id,
        "status": recording.status,
        "meetingId": recording.session.meeting.id,
        "organizationId": organization_id,
        "roomUUID": recording.session.id,
        "outputFileName": recording.name,
        "startedTime": _told(provider, recording.started_at),
        "stoppedTime": _told(provider, recording.stopped_at),
        "downloadUrl": recording.video,
        "audioDownloadUrl": recording.audio,
        "downloadUrlExpiry": _told(provider, recording.expires_at) if has_file else None,
        "fileSize": str(recording.size) if has_file and provider is Provider.REALTIMEKIT else recording.size,
        "recordingDuration": recording.duration_s if has_file else None,
        "stopReason": _STOP_REASONS[provider] if has_file else None,
    }
    return {
        "event": "recording.statusUpdate",
        "recording": {name: value for name, value in told.items() if value is not None},
        "meeting": _meeting(recording.session, organization_id),
    }


def session_delivery(
    provider: Provider, organization_id: str, session: Session, kind: Kind, link: str
) -> dict[str, Any]:
    """``meeting.chatSynced``, ``meeting.transcript`` or ``meeting.summary``."""
    meeting = _meeting(session, organization_id)
    ids = {"sessionId": session.id, "meetingId": session.meeting.id, "organizedBy": meeting["organizedBy"]}
    expires_at = (session.ended_at or session.started_at) + _RETENTION
    return {
        "event": f"meeting.{_EVENTS[kind]}",
        **(ids if kind is Kind.CHAT else {"meeting": meeting}),
        f"{kind}DownloadUrl": link,
        f"{kind}DownloadUrlExpiry": _told(provider, expires_at),
    }


def _meeting(session: Session, organization_id: str) -> Mapping[str, Any]:
    return {
        "id": session.meeting.id,
        "sessionId": session.id,
        "title": session.meeting.title,
        "status": "LIVE",
        "createdAt": _moment(session.meeting.created_at),
        "startedAt": _moment(session.started_at),
        "endedAt": _moment(session.ended_at),
        "organizedBy": {"id": organization_id, "name": "Example organization"},
    }


def _told(provider: Provider, moment: datetime | None) -> str | None:
    """A time in a delivery's own fields: Dyte's have a blank and microseconds."""
    if moment is None or provider is Provider.REALTIMEKIT:
        return _moment(moment)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%fZ")


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
