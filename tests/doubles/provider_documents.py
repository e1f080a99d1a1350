"""How both providers write what they have: the API's documents, and the bodies of deliveries."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.doubles.provider_recording import ACTIVE, RecordingDouble
from tests.doubles.provider_things import MeetingDouble, SessionDouble, SessionKind, WebhookDouble
from tests.doubles.sender import Family, Sender

__all__ = [
    "listed_recording_document",
    "meeting_document",
    "recording_body",
    "recording_document",
    "session_body",
    "session_document",
    "session_file_document",
    "single_recording_document",
    "webhook_document",
]

_ORGANIZATION = "Example organization"


def meeting_document(meeting: MeetingDouble) -> dict[str, Any]:
    """A meeting, as the API gives it."""
    told = {
        "title": meeting.title,
        "preferred_region": None,
        "record_on_start": False,
        "live_stream_on_start": False,
        "persist_chat": False,
        "summarize_on_end": False,
        **meeting.options,
        "status": "ACTIVE",
    }
    at = _rest_time(meeting.created_at)
    found = {"id": meeting.id, **told, "created_at": at, "updated_at": at}
    # Null is documented for the region alone.
    return {name: value for name, value in found.items() if value is not None or name == "preferred_region"}


def webhook_document(webhook: WebhookDouble) -> dict[str, Any]:
    """A subscription, as the API gives it."""
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "events": list(webhook.events),
        "created_at": _rest_time(webhook.created_at),
        "updated_at": _rest_time(webhook.updated_at),
        "enabled": webhook.enabled,
    }


def recording_document(recording: RecordingDouble, family: Family) -> dict[str, Any]:
    """A recording, as the API gives it wherever it does, with new links."""
    has_file = recording.status in ("UPLOADING", "UPLOADED") and not recording.is_track
    size: int | str | None = recording.content.size if has_file else None
    document: dict[str, Any] = {
        "id": recording.id,
        "download_url": _video(recording),
        "download_url_expiry": _rest_time(recording.expires_at) if recording.has_links else None,
        "audio_download_url": _audio(recording),
        "file_size": str(size) if size is not None and family == "rtk" else size,
        "session_id": None if recording.status == "INVOKED" else recording.session_id,
        "output_file_name": recording.output_file_name,
        "status": recording.status,
        "invoked_time": _rest_time(recording.invoked_at),
        "started_time": _rest_time(_started_at(recording)),
        "stopped_time": _rest_time(_stopped_at(recording)),
    }
    if _stopped_at(recording) is not None:
        document["recording_duration"] = recording.duration_s
    if recording.is_track:
        document["type"] = "TRACK"
    return document


def listed_recording_document(recording: RecordingDouble, family: Family) -> dict[str, Any]:
    """A recording in a list: there it comes with its meeting, and nowhere else."""
    beside = {"storage_config": recording.place(), "meeting": meeting_document(recording.meeting)}
    return recording_document(recording, family) | beside


def single_recording_document(recording: RecordingDouble, family: Family) -> dict[str, Any]:
    """A recording that was asked for by its id, or changed."""
    caller = {"caller": {"type": "ORGANIZATION"}}
    document = recording_document(recording, family) | {"storage_config": recording.place()}
    document["start_reason"] = {"reason": recording.start_reason, **caller}
    if _stopped_at(recording) is not None:
        document["stop_reason"] = {"reason": recording.stop_reason, **caller}
    return document


def session_document(session: SessionDouble, organization_id: str) -> dict[str, Any]:
    """A session, as the API gives it."""
    ended_at = session.ended_at
    document = {
        "id": session.id,
        "associated_id": session.meeting.id,
        "meeting_display_name": session.meeting.title or "",
        "type": "meeting",
        "status": session.status,
        "live_participants": 2 if ended_at is None else 0,
        "max_concurrent_participants": 2,
        "minutes_consumed": 0 if ended_at is None else (ended_at - session.started_at) / 30,
        "organization_id": organization_id,
        "started_at": _rest_time(session.started_at),
        "created_at": _rest_time(session.started_at),
        "updated_at": _rest_time(ended_at or session.started_at),
    }
    return document if ended_at is None else document | {"ended_at": _rest_time(ended_at)}


def session_file_document(session: SessionDouble, kind: SessionKind, *, is_empty: bool) -> dict[str, Any]:
    """The link to a session's chat, transcript or summary; each has its own way of naming it."""
    link = "" if is_empty else session.links.issue(session.files[kind])
    expiry = "" if is_empty else _rest_time(session.expires_at)
    if kind == "chat":
        return {"chat_download_url": link, "chat_download_url_expiry": expiry}
    if kind == "summary":
        return {"sessionId": session.id, "summaryDownloadUrl": link, "summaryDownloadUrlExpiry": expiry}
    names = ("transcript_download_url", "transcript_download_url_expiry")
    return {"sessionId": session.id, **dict(zip(names, (link, expiry), strict=True))}


def recording_body(
    sender: Sender, recording: RecordingDouble, family: Family, organization_id: str, *, is_live: bool
) -> bytes:
    """The `recording.statusUpdate` of its status now, with the fields that are documented for that."""
    status, is_dyte = recording.status, family == "dyte"
    has_file = status in ("UPLOADING", "UPLOADED") and not recording.is_track
    size = recording.content.size if has_file else None
    is_sparse = is_dyte and status == "UPLOADING"  # Dyte's sample of it has neither
    stopped_at = _stopped_at(recording)
    meeting = _meeting_of(recording.meeting, recording.session_id, family, organization_id)
    meeting |= {"startedAt": _rest_time(_started_at(recording) or recording.invoked_at)}
    meeting |= {"endedAt": None if is_dyte or is_live or stopped_at is None else _rest_time(stopped_at)}
    if is_sparse:
        del meeting["sessionId"]
    return sender.status(
        recording.id,
        status,
        family=family,
        meeting=meeting,
        meetingId=None if is_sparse else recording.meeting.id,
        organizationId=organization_id,
        roomUUID=recording.session_id,
        startedTime=_hook_time(_started_at(recording), family),
        stoppedTime=_hook_time(stopped_at, family),
        outputFileName=None if is_sparse else recording.output_file_name,
        fileSize=size if is_dyte or size is None else str(size),
        downloadUrl=_video(recording),
        audioDownloadUrl=_audio(recording),
        downloadUrlExpiry=_hook_time(recording.expires_at, family) if recording.has_links else None,
        recordingDuration=recording.duration_s if status == "UPLOADED" else None,
        stopReason=_stop_reason(recording) if is_dyte and status == "UPLOADED" else None,
    )


def session_body(
    sender: Sender, session: SessionDouble, kind: SessionKind, family: Family, organization_id: str
) -> bytes:
    """The event that announces a session's chat, transcript or summary."""
    link = session.links.issue(session.files[kind])
    expiry = _hook_time(session.expires_at, family)
    started, ended = _rest_time(session.started_at), _rest_time(session.ended_at)
    if kind == "chat":
        times = {"createdAt": started, "startedAt": started, "endedAt": ended}
        return sender.chat_synced(
            link,
            family=family,
            sessionId=session.id,
            meetingId=session.meeting.id,
            chatDownloadUrlExpiry=expiry,
            organizedBy={"id": organization_id, "name": _ORGANIZATION},
            **({} if family == "dyte" else {"title": session.meeting.title, **times}),
        )
    meeting = _meeting_of(session.meeting, session.id, family, organization_id)
    meeting |= {"startedAt": started, "endedAt": ended}
    return sender.finished(kind, link, family=family, expiry=expiry, meeting=meeting)


def _meeting_of(
    meeting: MeetingDouble, session_id: str, family: Family, organization_id: str
) -> dict[str, Any]:
    return {
        "id": meeting.id,
        "sessionId": session_id,
        "title": meeting.title,
        **({} if family == "dyte" else {"roomName": meeting.id}),
        "status": "LIVE",
        "createdAt": _rest_time(meeting.created_at),
        "organizedBy": {"id": organization_id, "name": _ORGANIZATION},
    }


def _video(recording: RecordingDouble) -> Any:
    if not recording.has_links:
        return None
    if not recording.is_track:
        return recording.links.issue(recording.file("video"))
    layers: dict[str, dict[str, Mapping[str, str]]] = {}
    for file in recording.files:
        layers.setdefault(file.layer, {})[file.name] = {"download_url": recording.links.issue(file)}
    return [{"layer_name": name, "download_urls": urls} for name, urls in layers.items()]


def _audio(recording: RecordingDouble) -> str | None:
    audio = next((file for file in recording.files if file.kind == "audio"), None)
    return recording.links.issue(audio) if audio is not None and recording.has_links else None


def _started_at(recording: RecordingDouble) -> float | None:
    return None if recording.status == "INVOKED" else recording.started_at


def _stopped_at(recording: RecordingDouble) -> float | None:
    return None if recording.status in ACTIVE else recording.stopped_at


def _stop_reason(recording: RecordingDouble) -> str:
    return f"{{'reason':'{recording.stop_reason}','caller':{{'type':'INTERNAL'}}}}"


def _rest_time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hook_time(at: float | None, family: Family) -> str | None:
    if at is None or family == "rtk":
        return _rest_time(at)
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.%f}Z"
