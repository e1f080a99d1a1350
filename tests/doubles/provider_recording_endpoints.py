"""The endpoints of both providers' API that are about recordings."""

from typing import Any

from tests.doubles.provider_account import Account
from tests.doubles.provider_asking import Answer, Call, Refusal, good
from tests.doubles.provider_documents import (
    listed_recording_document,
    recording_document,
    single_recording_document,
)
from tests.doubles.provider_recording import ACTIVE, RecordingDouble
from tests.doubles.provider_things import MeetingDouble

__all__ = [
    "change_recording",
    "list_recordings",
    "show_active_recording",
    "show_recording",
    "start_recording",
    "start_track_recording",
]

STATUSES = ("INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED")
STORAGE_TYPES = ("aws", "azure", "cloudflare", "digitalocean", "gcs", "sftp")
SHORTEST_S, LONGEST_S = 60, 86_400


def list_recordings(call: Call) -> Answer:
    account = call.account
    call.choice("sort_by", "invokedTime")
    statuses = [text for text in call.query.get("status", "").split(",") if text]
    if odd := [text for text in statuses if text not in STATUSES]:
        raise Refusal(400, f'BAD_REQUEST: "status" has {odd[0]}, which is none')
    expired = call.choice("expired", "true", "false")
    since, until = call.moment("start_time"), call.moment("end_time")
    now, meeting_id, search = account.clock(), call.query.get("meeting_id"), call.query.get("search", "")
    found = [
        each
        for each in [*account.recordings.values()]
        if (not statuses or each.status in statuses)
        and meeting_id in (None, each.meeting.id)
        and search in (each.meeting.title or "") + each.meeting.id
        and (
            expired is None or (each.expires_at is not None and each.expires_at <= now) is (expired == "true")
        )
        and (since is None or round(each.invoked_at, 3) >= since)
        and (until is None or round(each.invoked_at, 3) <= until)
    ]
    found = call.sorted(found, lambda each: each.invoked_at)
    return 200, call.page(found, lambda each: listed_recording_document(each, account.family))


def show_recording(call: Call, recording_id: str) -> Answer:
    return _one(call, _recording(call.account, recording_id))


def start_recording(call: Call) -> Answer:
    meeting = _meeting_to_record(call)
    bucket = "dyte_bucket_config" if call.account.family == "dyte" else "realtimekit_bucket_config"
    audio = call.field("audio_config", dict)
    recording = call.account.start(
        meeting,
        audio=audio is not None and audio.get("export_file") is not False,
        storage_config=_storage_config(call),
        provider_bucket=(call.field(bucket, dict) or {}).get("enabled") is not False,
        file_name_prefix=call.field("file_name_prefix", str),
    )
    return _one(call, recording)


def start_track_recording(call: Call) -> Answer:
    call.field("layers", dict, is_needed=call.account.family == "dyte")
    return _one(call, call.account.start(_meeting_to_record(call), tracks=2))


def change_recording(call: Call, recording_id: str) -> Answer:
    recording = _recording(call.account, recording_id)
    match call.field("action", str, is_needed=True), recording.status:
        case ("stop", status) if status in ACTIVE:
            recording.stop_reason = "API_CALL"
            recording.become("UPLOADING")
        case ("pause", "RECORDING"):
            recording.become("PAUSED")
        case ("resume", "PAUSED"):
            recording.become("RECORDING")
        case (("stop" | "pause" | "resume") as action, status):
            raise Refusal(400, f"BAD_REQUEST: cannot {action} a recording that is {status}")
        case _:
            raise Refusal(400, 'BAD_REQUEST: "action" must be one of [stop, pause, resume]')
    return _one(call, recording)


def show_active_recording(call: Call, meeting_id: str) -> Answer:
    recording = call.account.active_recording(meeting_id)
    if recording is None:
        raise Refusal(404, f"NOT_FOUND: no active recording of the meeting {meeting_id}")
    return 200, good(recording_document(recording, call.account.family))


def _one(call: Call, recording: RecordingDouble) -> Answer:
    return 200, good(single_recording_document(recording, call.account.family))


def _recording(account: Account, recording_id: str) -> RecordingDouble:
    recording = account.recordings.get(recording_id)
    if recording is None:
        raise Refusal(404, f"NOT_FOUND: no recording {recording_id}")
    return recording


def _meeting_to_record(call: Call) -> MeetingDouble:
    """The meeting that is named, if it may be recorded now as it was asked for."""
    seconds = call.field("max_seconds", int)
    if seconds is not None and not SHORTEST_S <= seconds <= LONGEST_S:
        raise Refusal(400, f'BAD_REQUEST: "max_seconds" must be from {SHORTEST_S} to {LONGEST_S}')
    meeting_id = call.field("meeting_id", str, is_needed=True)
    meeting = call.account.meetings.get(meeting_id or "")
    if meeting is None:
        raise Refusal(404, f"NOT_FOUND: no meeting {meeting_id}")
    if not call.field("allow_multiple_recordings", bool) and call.account.active_recording(meeting.id):
        raise Refusal(409, f"CONFLICT: the meeting {meeting.id} is already being recorded")
    return meeting


def _storage_config(call: Call) -> dict[str, Any] | None:
    told: dict[str, Any] | None = call.field("storage_config", dict)
    if told is not None and told.get("type") not in STORAGE_TYPES:
        raise Refusal(400, f'BAD_REQUEST: "storage_config.type" must be one of [{", ".join(STORAGE_TYPES)}]')
    return told
