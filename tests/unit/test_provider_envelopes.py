"""Whatever the API wraps its answers in, what was asked for is found in them, and so is why there is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.apps import App
from service.model import Artifact, Kind, Provider, Recording, Scope
from service.provider import answers
from service.provider.answers import Fault, Page, Webhook
from tests.unit.announcements import json_values

APP = App(name="staging", provider=Provider.REALTIMEKIT, organization_id="org-of-the-app")


@given(item=json_values)
def test_no_answer_whatever_breaks_the_reading(item: Any) -> None:
    for wrapped in (item, {"success": True, "data": item}, {"result": {"data": item}, "paging": item}):
        answers.page(wrapped)
        answers.fault(wrapped)
        answers.session(item, APP, Provider.DYTE)
        answers.webhook(answers.one(wrapped, "webhook"))
        answers.file_of_session(wrapped, "session-1", Kind.CHAT)
        answers.recording_event(answers.one(wrapped, "recording"), APP, Provider.DYTE)


# ---- sessions


def test_a_documented_session_is_read_whole() -> None:
    item = {
        "id": "session-1",
        "associated_id": "meeting-1",
        "meeting_display_name": "Weekly",
        "type": "meeting",
        "status": "ENDED",
        "organization_id": "org-1",
        "created_at": "2022-01-12T14:21:34.000Z",
        "started_at": "2022-01-12T14:21:35.000Z",
        "ended_at": "2022-01-12T14:31:35.000Z",
    }
    assert answers.session(item, APP, Provider.DYTE) == Recording(
        id="session-1",
        provider=Provider.DYTE,
        status="ENDED",
        scope=Scope.SESSION,
        app="staging",
        organization_id="org-1",
        meeting_id="meeting-1",
        session_id="session-1",
        title="Weekly",
        invoked_at=1641997294.0,
        started_at=1641997295.0,
        stopped_at=1641997895.0,
    )


def test_a_live_session_has_not_ended_though_the_sample_says_null_in_quotes() -> None:
    found = answers.session({"id": "s", "status": "LIVE", "ended_at": "null"}, APP, Provider.DYTE)
    assert found is not None
    assert (found.status, found.stopped_at, found.organization_id) == ("LIVE", None, "org-of-the-app")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Kind.CHAT, ("chat_download_url", "chat_download_url_expiry")),
        (Kind.TRANSCRIPT, ("transcript_download_url", "transcript_download_url_expiry")),
        (Kind.SUMMARY, ("summaryDownloadUrl", "summaryDownloadUrlExpiry")),
        (Kind.SUMMARY, ("summary_download_url", "summary_download_url_expiry")),
    ],
)
def test_a_sessions_file_is_found_by_its_link(kind: Kind, names: tuple[str, str]) -> None:
    url, expiry = names
    told = {"sessionId": "s", url: "https://files.example.com/f?sig=1", expiry: "2026-06-03T10:00:00.000Z"}
    suffix = ".txt" if kind is Kind.SUMMARY else ".csv"
    assert answers.file_of_session({"success": True, "data": told}, "s", kind) == Artifact(
        "s", kind, "https://files.example.com/f?sig=1", f"session-s-{kind}{suffix}", None, 1780480800.0
    )


@pytest.mark.parametrize("told", [None, {}, {"chat_download_url": ""}, {"chat_download_url": None}, [], "no"])
def test_a_session_without_a_link_has_no_such_file(told: object) -> None:
    assert answers.file_of_session({"success": True, "data": told}, "s", Kind.CHAT) is None


# ---- envelopes


@pytest.mark.parametrize(
    "document",
    [
        {"id": "x", "status": "UPLOADED"},
        {"success": True, "data": {"id": "x", "status": "UPLOADED"}},
        {"success": True, "errors": [], "messages": [], "result": {"id": "x", "status": "UPLOADED"}},
        {"success": True, "data": {"recording": {"id": "x", "status": "UPLOADED"}}},
        {"success": True, "result": {"data": {"recording": {"id": "x", "status": "UPLOADED"}}}},
        {"success": True, "data": None, "result": {"id": "x", "status": "UPLOADED"}},
    ],
)
def test_an_object_is_found_however_it_is_wrapped(document: object) -> None:
    assert answers.one(document, "recording") == {"id": "x", "status": "UPLOADED"}


def test_an_object_with_an_id_is_the_one_whatever_else_is_in_it() -> None:
    document = {"success": True, "data": {"id": "x", "data": {"id": "y"}, "recording": {"id": "z"}}}
    found = answers.one(document, "recording")
    assert found is not None
    assert found["id"] == "x"


@pytest.mark.parametrize("document", [None, "text", [], {"success": True, "data": None}, {"data": "text"}])
def test_an_answer_without_an_object_has_none(document: object) -> None:
    assert answers.one(document, "recording") is None


PAGING = {"total_count": 30, "start_offset": 1, "end_offset": "30"}


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "data": [{"id": "x"}], "paging": PAGING},
        {"success": True, "data": {"sessions": [{"id": "x"}], "paging": PAGING}},
        {"success": True, "result": {"data": [{"id": "x"}], "paging": PAGING}},
        {"success": True, "data": {"recordings": [{"id": "x"}]}, "paging": PAGING},
    ],
)
def test_a_list_and_its_place_in_the_whole_are_found_however_they_are_wrapped(document: object) -> None:
    assert answers.page(document) == Page([{"id": "x"}], 1, 30, 30)


@pytest.mark.parametrize("found", [None, [], {}, {"sessions": []}, {"sessions": None}])
def test_an_empty_list_may_be_written_in_many_ways(found: object) -> None:
    assert answers.page({"success": True, "data": found}) == Page([])


@pytest.mark.parametrize("found", ["text", "", 0, {"id": "x"}, {"sessions": "none"}])
def test_what_is_no_list_is_not_taken_for_an_empty_one(found: object) -> None:
    assert answers.page({"success": True, "data": found}) is None


@pytest.mark.parametrize(
    ("end", "total", "is_last"),
    [(30, 30, True), (31, 30, True), (29, 30, False), (None, 30, False), (30, None, False), (0, 0, False)],
)
def test_a_page_is_the_last_where_its_end_is_that_of_the_whole(
    end: float | None, total: float | None, *, is_last: bool
) -> None:
    assert Page([{}], 1, end, total).is_last is is_last


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"success": False, "error": {"code": 404, "message": "no such"}}, Fault("no such", (404,))),
        ({"errors": [{"code": 10000, "message": "a"}, {"message": "b"}]}, Fault("a; b", (10000,))),
        ({"success": False, "errors": [], "error": "plain"}, Fault("plain")),
        ({"message": "Unauthorized"}, Fault("Unauthorized")),
        ({"message": "at https://a.example/x?sig=s3cret now"}, Fault("at https://a.example/x?*** now")),
        (None, Fault("")),
        ({"errors": {"code": 1}}, Fault("")),
    ],
)  # fmt: skip
def test_why_it_failed_is_told_in_every_documented_form(document: object, expected: Fault) -> None:
    assert answers.fault(document) == expected


def test_a_subscription_is_read_and_one_without_an_address_is_none() -> None:
    told = {"id": "w", "name": "n", "url": "https://a.example/webhook", "events": ["meeting.ended", 7]}
    assert answers.webhook(told) == Webhook(
        "w", "n", "https://a.example/webhook", ("meeting.ended",), enabled=True
    )
    assert answers.webhook({**told, "enabled": False, "events": None}) == Webhook(
        "w", "n", "https://a.example/webhook", (), enabled=False
    )
    assert answers.webhook({**told, "url": None}) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        answers.read(body)


@given(digits=st.integers(1, 6000))
def test_a_number_of_any_length_does_not_cost_the_page(digits: int) -> None:
    page = answers.page(
        answers.read(b'[{"id": "x", "status": "INVOKED", "file_size": ' + b"9" * digits + b"}]")
    )
    assert page is not None
    event = answers.recording_event(page.items[0], APP, Provider.DYTE)
    assert event is not None
    assert event.recording is not None
    assert event.recording.file_size == (10**digits - 1 if digits < 16 else None)
