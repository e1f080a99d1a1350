"""A list is read whole and once, whatever its pages are and whatever is added meanwhile."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from service.errors import ProviderUnavailable
from service.model import Scope
from service.provider import ProviderApi
from tests.unit.scripted_api import Answer, Asked, ScriptedApi, good, paged

LINK = "https://files.example.com/rec.mp4?sig=1"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


def recordings(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    """As many, the newest (with the highest number) first."""
    numbers = range(start + count - 1, start - 1, -1)
    return [{"id": f"rec-{number}", "status": "UPLOADED", "download_url": LINK} for number in numbers]


def sessions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"session-{number}", "status": "ENDED"} for number in range(count)]


async def ids(api: ProviderApi) -> list[str]:
    pages = [page async for page in api.recordings()]
    return [event.recording.id for page in pages for event in page if event.recording]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("at_most", [100, 50, 7])
@pytest.mark.parametrize("first", [1, 0])
async def test_every_recording_is_read_once_in_order_whatever_the_pages_are(
    server: ScriptedApi, api: ProviderApi, count: int, at_most: int, first: int
) -> None:
    server.script = paged(recordings(count), at_most=at_most, first=first)
    assert await ids(api) == [each["id"] for each in recordings(count)]
    asked = server.asked[0]
    assert (asked.path, asked.query) == (
        "/recordings",
        {"page_no": "1", "per_page": "100", "sort_by": "invokedTime", "sort_order": "DESC"},
    )


@pytest.mark.parametrize("paging", [{}, {"paging": None}, {"paging": {"total_count": "many"}}])
async def test_a_list_that_does_not_tell_its_size_is_read_until_a_page_is_empty(
    server: ScriptedApi, api: ProviderApi, paging: dict[str, Any]
) -> None:
    every = recordings(25)

    def script(asked: Asked) -> Answer:
        start = (int(asked.query["page_no"]) - 1) * 10
        return Answer(200, {"success": True, "data": every[start : start + 10], **paging})

    server.script = script
    assert await ids(api) == [each["id"] for each in every]
    assert [asked.query["page_no"] for asked in server.asked] == ["1", "2", "3", "4"]


async def test_a_list_that_says_that_it_ends_is_not_asked_for_more(
    server: ScriptedApi, api: ProviderApi
) -> None:
    server.script = paged(recordings(20), at_most=10)
    await ids(api)
    assert len(server.asked) == 2


async def test_what_is_recorded_meanwhile_neither_repeats_nor_hides_a_recording(
    server: ScriptedApi, api: ProviderApi
) -> None:
    def script(asked: Asked) -> Answer:
        # Three more at the top before every page.
        return paged(recordings(30 + 3 * len(server.asked)), at_most=10)(asked)

    server.script = script
    found = await ids(api)
    assert len(found) == len(set(found))
    assert {f"rec-{number}" for number in range(33)} <= set(found)


async def test_a_server_that_gives_the_same_page_for_ever_is_left(
    server: ScriptedApi, api: ProviderApi
) -> None:
    server.answers(good(recordings(10)))
    assert len(await ids(api)) == 10
    assert len(server.asked) == 2


async def test_items_that_are_of_no_use_are_left_out_and_counted_once_a_page(
    server: ScriptedApi, api: ProviderApi
) -> None:
    items = [*recordings(2), {"id": "no-status"}, None, {"status": "UPLOADED"}, "text"]
    server.script = paged(items)
    with structlog.testing.capture_logs() as logs:
        assert await ids(api) == ["rec-1", "rec-0"]
    assert [(line["event"], line["what"], line["count"]) for line in logs] == [
        ("items_left_out", "recordings", 4)
    ]


@pytest.mark.parametrize("body", [{"success": True, "data": "none"}, [1, 2], "text"])
async def test_what_is_no_list_is_not_taken_for_its_end(
    server: ScriptedApi, api: ProviderApi, body: object
) -> None:
    page = paged(recordings(20), at_most=10)
    server.script = lambda asked: page(asked) if asked.query["page_no"] == "1" else Answer(200, body)
    if isinstance(body, list):  # a bare list is one, if of nothing
        assert len(await ids(api)) == 10
    else:
        with pytest.raises(ProviderUnavailable, match="something else than a list"):
            await ids(api)


async def test_the_recordings_of_a_meeting_are_asked_for_by_its_id(
    server: ScriptedApi, api: ProviderApi
) -> None:
    server.script = paged(recordings(1))
    assert [len(page) async for page in api.recordings(meeting_id="meeting-1")] == [1]
    assert server.asked[0].query["meeting_id"] == "meeting-1"


async def test_documents_are_handed_on_as_they_are_without_the_envelope(
    server: ScriptedApi, api: ProviderApi
) -> None:
    every = [{**each, "file_size": "7", "odd": [1]} for each in recordings(3)]
    server.script = paged([*every, None])
    found = [page async for page in api.recording_documents(meeting_id="m", status="UPLOADED,ERRORED")]
    assert found == [every]
    assert server.asked[0].query["status"] == "UPLOADED,ERRORED"
    assert server.asked[0].query["meeting_id"] == "m"


@pytest.mark.parametrize("wrap", [list, lambda found: {"sessions": found}], ids=["bare", "documented"])
async def test_every_session_is_read_the_newest_first(
    server: ScriptedApi, api: ProviderApi, wrap: Any
) -> None:
    server.script = paged(sessions(120), wrap=wrap)
    found = [session async for page in api.sessions() for session in page]
    assert [session.id for session in found] == [each["id"] for each in sessions(120)]
    assert {session.scope for session in found} == {Scope.SESSION}
    assert (server.asked[0].path, server.asked[0].query) == (
        "/sessions",
        {"page_no": "1", "per_page": "100", "sort_by": "createdAt", "sort_order": "DESC"},
    )
