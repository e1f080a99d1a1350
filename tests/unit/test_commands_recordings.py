"""Meetings are created, recordings started, stopped and shown, as the API documents it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.commands.recordings import create_meeting, show, show_all, stop
from service.errors import SettingsError
from service.provider import ProviderApi
from service.storage import parse_storage_config
from tests.unit.at_the_provider import AWS, begun, telling
from tests.unit.scripted_api import DYTE, REALTIMEKIT, ScriptedApi, good, paged

LINK = "https://files.example.com/x.mp4?X-Amz-Signature=5ecret"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


# ---- meetings


@pytest.mark.parametrize("given", [DYTE, REALTIMEKIT], ids=["dyte", "realtimekit"])
async def test_a_meeting_is_created_as_it_is_asked_for(
    server: ScriptedApi, given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers(good({"id": "m1", "title": "Weekly\x1b[31m", "record_on_start": True}, 201))
    async with server.client(given) as api:
        await create_meeting(api, telling(), title="Weekly", record_on_start=True, region="eu-central-1")
    assert server.asked[0].body == {
        "title": "Weekly", "record_on_start": True, "preferred_region": "eu-central-1"
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "meeting m1 is created" in out
    assert "as soon as somebody joins" in out
    assert "\x1b" not in out


async def test_a_meeting_that_is_not_recorded_by_itself_says_how(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers(good({"id": "m1"}, 201))
    await create_meeting(api, telling(), title=None, record_on_start=False, region=None)
    assert server.asked[0].body == {"record_on_start": False}
    assert "dyte-archiver recording start m1" in capsys.readouterr().out


# ---- recordings


async def test_a_recording_begins_with_only_what_is_asked_for(server: ScriptedApi, api: ProviderApi) -> None:
    server.answers(good({"id": "r1", "status": "INVOKED"}))
    await begun(api, telling())
    await begun(api, telling(), max_seconds=60, allow_multiple=True, file_name_prefix="board")
    assert [each.body for each in server.asked] == [
        {"meeting_id": "m1"},
        {
            "meeting_id": "m1",
            "max_seconds": 60,
            "allow_multiple_recordings": True,
            "file_name_prefix": "board",
        },
    ]


async def test_a_storage_config_is_sent_whole_and_shown_nowhere(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = lambda asked: good({"id": "r1", "note": f"with {AWS['secret']}", **asked.body})
    secrets = (AWS["access_key"], AWS["secret"])
    storage = parse_storage_config({**AWS, "tags": {"kind": "call"}, "checksum": "none"})
    for as_json in (True, False):
        await begun(api, telling(as_json=as_json, secrets=secrets), storage=storage)
    assert server.asked[0].body["storage_config"] == AWS
    out, err = capsys.readouterr()
    for secret in secrets:
        assert secret not in out + err
    assert "meetings" in out
    assert err.count("does not know tags: its copy is without") == 2


async def test_a_recording_is_stopped(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers(good({"id": "r1", "status": "UPLOADING"}))
    await stop(api, telling(), recording_id="r1")
    assert (server.asked[0].method, server.asked[0].body) == ("PUT", {"action": "stop"})
    assert "recording r1 is stopped" in capsys.readouterr().out


TRACKS = {"layer_name": "default", "download_urls": {"a.webm": {"download_url": LINK}}}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("video", [LINK, [TRACKS]], ids=["video", "tracks"])
async def test_signed_links_are_cut_unless_they_are_asked_for(
    server: ScriptedApi,
    api: ProviderApi,
    video: object,
    *,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.script = lambda asked: (
        paged([{"id": "r1", "download_url": video}])(asked)
        if asked.query
        else good({"id": "r1", "download_url": video, "size": 3})
    )
    for links in (False, True):
        told = telling(as_json=as_json, links=links)
        await show(api, told, recording_id="r1")
        shown = capsys.readouterr().out
        assert ("5ecret" in shown) == links
        assert ("https://files.example.com/x.mp4?***" in shown) != links
        await show_all(api, told, meeting_id=None, status=None, limit=5)
        assert ("5ecret" in capsys.readouterr().out) == (links and as_json)


def recordings(count: int) -> list[dict[str, Any]]:
    statuses = ("UPLOADED", "ERRORED", "RECORDING")
    return [{"id": f"r{n}", "status": statuses[n % 3]} for n in range(count)]


async def listed(api: ProviderApi, capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    options: dict[str, Any] = {"meeting_id": None, "status": None, "limit": 30}
    await show_all(api, telling(as_json=True), **{**options, **more})
    return [each["id"] for each in json.loads(capsys.readouterr().out)]


async def test_recordings_are_listed_up_to_the_limit_and_no_further_page_is_asked_for(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = paged(recordings(50), at_most=10)
    assert await listed(api, capsys, limit=15) == [f"r{n}" for n in range(15)]
    assert len(server.asked) == 2
    assert len(await listed(api, capsys, limit=60)) == 50


async def test_recordings_are_listed_by_status_also_where_the_api_does_not_filter(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = paged(recordings(9), at_most=4)
    assert await listed(api, capsys, status="errored") == ["r1", "r4", "r7"]
    assert "status" not in server.asked[-1].query
    assert await listed(api, capsys, status="recording, UPLOADED", meeting_id="m1", limit=4) == [
        "r0", "r2", "r3", "r5"
    ]  # fmt: skip
    assert server.asked[-1].query["status"] == "RECORDING,UPLOADED"
    assert server.asked[-1].query["meeting_id"] == "m1"
    with pytest.raises(SettingsError, match="--status has DONE"):
        await listed(api, capsys, status="DONE")


async def test_the_table_of_recordings_tells_what_people_look_for(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {
        "id": "0d1f069d-43bb-489a-ad8c-7eb95592ba8e", "status": "UPLOADED", "recording_duration": 3725,
        "file_size": "300000000", "invoked_time": "2026-06-03T10:00:00.000Z", "output_file_name": "a [b].mp4",
        "download_url_expiry": "2026-06-10 11:02:05.5Z",
    }  # fmt: skip
    odd = {"id": 7, "status": None, "recording_duration": "long", "file_size": -1, "invoked_time": "?"}
    server.script = paged([whole, odd, {"recording_duration": 2**53}])
    await show_all(api, telling(), meeting_id=None, status=None, limit=30)
    line = capsys.readouterr().out.splitlines()[1]
    assert " ".join(line.split()) == (
        "0d1f069d-43bb-489a-ad8c-7eb95592ba8e UPLOADED 2026-06-03 10:00 1:02:05 300.0 MB "
        "2026-06-10 11:02 a [b].mp4"
    )
