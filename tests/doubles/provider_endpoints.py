"""The endpoints of both providers' API: what each answers, and what it changes."""

from typing import Any
from urllib.parse import urlsplit

from tests.doubles.provider_account import Account
from tests.doubles.provider_asking import Answer, Call, Refusal, Route, check_guid, good
from tests.doubles.provider_documents import (
    meeting_document,
    session_document,
    session_file_document,
    webhook_document,
)
from tests.doubles.provider_recording_endpoints import (
    change_recording,
    list_recordings,
    show_active_recording,
    show_recording,
    start_recording,
    start_track_recording,
)
from tests.doubles.provider_things import EVENTS, SessionDouble, SessionKind, WebhookDouble

__all__ = ["ROUTES"]

REGIONS = ("ap-south-1", "ap-southeast-1", "us-east-1", "eu-central-1")

# ---- sessions


def list_sessions(call: Call) -> Answer:
    account = call.account
    status = call.choice("status", "LIVE", "ENDED")
    since, until = call.moment("start_time"), call.moment("end_time")
    by = call.choice("sort_by", "createdAt", "minutesConsumed")
    meeting_id, search = call.query.get("associated_id"), call.query.get("search", "")
    found = [
        each
        for each in [*account.sessions.values()]
        if status in (None, each.status)
        and meeting_id in (None, each.meeting.id)
        and search in (each.meeting.title or "") + each.meeting.id + each.id
        and (since is None or round(each.started_at, 3) >= since)
        and (until is None or round(each.started_at, 3) <= until)
    ]

    def key(session: SessionDouble) -> float:
        lasted_s = (session.ended_at or session.started_at) - session.started_at
        return lasted_s if by == "minutesConsumed" else session.started_at

    return 200, call.page(
        call.sorted(found, key),
        lambda each: session_document(each, account.organization_id),
        is_under="sessions",
    )


def show_session(call: Call, session_id: str) -> Answer:
    session = call.account.sessions.get(session_id)
    if session is None:
        raise Refusal(404, f"NOT_FOUND: no session {session_id}")
    return 200, good({"session": session_document(session, call.account.organization_id)})


def show_chat(call: Call, session_id: str) -> Answer:
    return _session_file(call, session_id, "chat")


def show_transcript(call: Call, session_id: str) -> Answer:
    return _session_file(call, session_id, "transcript")


def show_summary(call: Call, session_id: str) -> Answer:
    return _session_file(call, session_id, "summary")


def _session_file(call: Call, session_id: str, kind: SessionKind) -> Answer:
    session = call.account.sessions.get(session_id)
    if session is None:
        raise Refusal(404, f"NOT_FOUND: no session {session_id}")
    is_there = kind in session.files and session.ended_at is not None
    match session.absent:
        case 403 if not is_there:
            raise Refusal(403, f"FORBIDDEN: {kind} is not enabled for this organization")
        case 400 | 404 as status if not is_there:
            raise Refusal(status, f"no {kind} was found for this session")
    return 200, good(session_file_document(session, kind, is_empty=not is_there))


# ---- webhooks


def list_webhooks(call: Call) -> Answer:
    return 200, good([webhook_document(each) for each in [*call.account.webhooks.values()]])


def add_webhook(call: Call) -> Answer:
    told = _subscription(call, is_whole=True)
    return 201, good(webhook_document(call.account.add_webhook(told.pop("url"), **told)))


def show_webhook(call: Call, webhook_id: str) -> Answer:
    return 200, good(webhook_document(_webhook(call.account, webhook_id)))


def replace_webhook(call: Call, webhook_id: str) -> Answer:
    return _changed(call, webhook_id, is_whole=True)


def edit_webhook(call: Call, webhook_id: str) -> Answer:
    return _changed(call, webhook_id, is_whole=False)


def delete_webhook(call: Call, webhook_id: str) -> Answer:
    webhook = _webhook(call.account, webhook_id)
    del call.account.webhooks[webhook.id]
    return 200, good(webhook_document(webhook))


# ---- meetings


def list_meetings(call: Call) -> Answer:
    since, until = call.moment("start_time"), call.moment("end_time")
    search = call.query.get("search", "")
    found = [
        each
        for each in [*call.account.meetings.values()]
        if search in (each.title or "") + each.id
        and (since is None or round(each.created_at, 3) >= since)
        and (until is None or round(each.created_at, 3) <= until)
    ]
    return 200, call.page(call.sorted(found, lambda each: each.created_at), meeting_document)


def add_meeting(call: Call) -> Answer:
    region = call.field("preferred_region", str)
    if region is not None and region not in REGIONS:
        raise Refusal(400, f'BAD_REQUEST: "preferred_region" must be one of [{", ".join(REGIONS)}, null]')
    options = {
        name: call.field(name, bool)
        for name in ("record_on_start", "live_stream_on_start", "persist_chat", "summarize_on_end")
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    meeting = call.account.add_meeting(title=call.field("title", str), preferred_region=region, **given)
    return 201, good(meeting_document(meeting))


def show_meeting(call: Call, meeting_id: str) -> Answer:
    meeting = call.account.meetings.get(meeting_id)
    if meeting is None:
        raise Refusal(404, f"NOT_FOUND: no meeting {meeting_id}")
    return 200, good(meeting_document(meeting))


def _webhook(account: Account, webhook_id: str) -> WebhookDouble:
    check_guid("id", webhook_id, account.webhooks)
    webhook = account.webhooks.get(webhook_id)
    if webhook is None:
        raise Refusal(404, f"NOT_FOUND: no webhook {webhook_id}")
    return webhook


def _changed(call: Call, webhook_id: str, *, is_whole: bool) -> Answer:
    webhook = _webhook(call.account, webhook_id)
    for name, value in _subscription(call, is_whole=is_whole).items():
        setattr(webhook, name, value)
    webhook.updated_at = call.account.clock()
    return 200, good(webhook_document(webhook))


def _subscription(call: Call, *, is_whole: bool) -> dict[str, Any]:
    """What is said of a subscription; all of it must be there if it `is_whole`."""
    url = call.field("url", str, is_needed=is_whole)
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise Refusal(400, 'BAD_REQUEST: "url" must be a valid uri')
    events = call.field("events", list, is_needed=is_whole)
    for at, event in enumerate(events or ()):
        if event not in EVENTS:
            raise Refusal(400, f'BAD_REQUEST: "events[{at}]" must be one of [{", ".join(EVENTS)}]')
    enabled = call.field("enabled", bool)
    told = {
        "name": call.field("name", str, is_needed=is_whole),
        "url": url,
        "events": None if events is None else tuple(events),
        "enabled": True if enabled is None and is_whole else enabled,
    }
    return {name: value for name, value in told.items() if value is not None}


ROUTES = (
    Route("GET", "/recordings", list_recordings),
    Route("POST", "/recordings", start_recording),
    Route("POST", "/recordings/track", start_track_recording),
    Route("GET", "/recordings/active-recording/{meeting_id}", show_active_recording),
    Route("GET", "/recordings/{recording_id}", show_recording),
    Route("PUT", "/recordings/{recording_id}", change_recording),
    Route("GET", "/sessions", list_sessions),
    Route("GET", "/sessions/{session_id}", show_session),
    Route("GET", "/sessions/{session_id}/chat", show_chat),
    Route("GET", "/sessions/{session_id}/transcript", show_transcript),
    Route("GET", "/sessions/{session_id}/summary", show_summary),
    Route("GET", "/webhooks", list_webhooks),
    Route("POST", "/webhooks", add_webhook),
    Route("GET", "/webhooks/{webhook_id}", show_webhook),
    Route("PUT", "/webhooks/{webhook_id}", replace_webhook),
    Route("PATCH", "/webhooks/{webhook_id}", edit_webhook),
    Route("DELETE", "/webhooks/{webhook_id}", delete_webhook),
    Route("GET", "/meetings", list_meetings),
    Route("POST", "/meetings", add_meeting),
    Route("GET", "/meetings/{meeting_id}", show_meeting),
)
