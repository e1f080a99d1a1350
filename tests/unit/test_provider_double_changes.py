"""The provider double takes what may be asked of it, refuses the rest, and remembers."""

import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.doubles.provider import Account, ProviderDouble, threaded
from tests.doubles.sender import Sender
from tests.unit.asking_the_double import Client

NOBODY = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
WANTED: dict[str, Any] = {"name": "n", "url": "https://a.example/x", "events": ["recording.statusUpdate"]}


@pytest.fixture
async def provider(sender: Sender) -> AsyncIterator[ProviderDouble]:
    async with ProviderDouble(sender=sender) as provider:
        yield provider


@pytest.fixture(params=["dyte", "realtimekit"])
async def client(request: pytest.FixtureRequest, provider: ProviderDouble) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        yield Client(http, provider.dyte() if request.param == "dyte" else provider.realtimekit())


@pytest.fixture
def account(client: Client) -> Account:
    return client.account


async def test_a_subscription_is_replaced_edited_and_deleted(account: Account, client: Client) -> None:
    made = (await client.ask("POST", "/webhooks", WANTED)).data
    assert made["enabled"] is True
    path = f"/webhooks/{made['id']}"
    assert (await client.ask("PATCH", path, {"enabled": False})).data["name"] == "n"
    assert account.webhooks[made["id"]].enabled is False
    other = {"name": "m", "url": "https://b.example/y", "events": ["meeting.chatSynced", "meeting.summary"]}
    assert (await client.ask("PUT", path, other)).data["enabled"] is True
    [kept] = (await client.get("/webhooks")).data
    assert other.items() <= kept.items()
    assert (await client.ask("POST", "/webhooks", other)).data["id"] != made["id"]
    assert (await client.ask("DELETE", path)).data["id"] == made["id"]
    assert (await client.ask("DELETE", path)).status == 404
    assert len(account.webhooks) == 1


@pytest.mark.parametrize(
    ("method", "path", "json", "message"),
    [
        ("POST", "/webhooks", {**WANTED, "name": None}, '"name" is required'),
        ("POST", "/webhooks", {**WANTED, "events": ["meeting.started", "x"]}, r'"events\[1\]" must be one'),
        ("POST", "/webhooks", {**WANTED, "url": "a.example/x"}, '"url" must be'),
        ("POST", "/webhooks", {**WANTED, "enabled": "yes"}, '"enabled" must be'),
        ("POST", "/webhooks", [WANTED], "must be of type object"),
        ("PUT", "/webhooks/w", {"url": "https://b.example/y"}, '"events" is required'),
        ("GET", "/webhooks/not-an-id", None, '"id" must be a valid GUID'),
        ("POST", "/meetings", {"preferred_region": "mars"}, '"preferred_region" must be one'),
        ("POST", "/meetings", {"record_on_start": "yes"}, '"record_on_start" must be'),
        ("POST", "/recordings", {}, '"meeting_id" is required'),
        ("POST", "/recordings", {"meeting_id": "m", "max_seconds": 59}, '"max_seconds" must be from 60'),
        ("POST", "/recordings", {"meeting_id": "m", "max_seconds": 86_401}, '"max_seconds" must be'),
        (
            "POST",
            "/recordings",
            {"meeting_id": "m", "storage_config": {"type": "ftp"}},
            "storage_config.type",
        ),
        ("PUT", "/recordings/r", {"action": "rewind"}, '"action" must be one'),
        ("PUT", "/recordings/r", {"action": "stop"}, "cannot stop a recording that is UPLOADED"),
        ("GET", "/recordings?page_no=-1", None, '"page_no" must be a number'),
        ("GET", "/recordings?status=GONE", None, "GONE, which is none"),
        ("GET", "/recordings?sort_by=createdAt", None, '"sort_by" must be one'),
        ("GET", "/recordings?expired=1", None, '"expired" must be one'),
        ("GET", "/sessions?sort_order=desc", None, '"sort_order" must be one'),
        ("GET", "/sessions?start_time=now", None, '"start_time" must be a valid'),
    ],
)
async def test_what_is_malformed_is_refused(
    provider: ProviderDouble,
    account: Account,
    client: Client,
    method: str,
    path: str,
    json: Any,
    message: str,
) -> None:
    account.add_meeting("m")
    account.add_recording("r")
    account.add_webhook("https://a.example/x", webhook_id="w")
    told = await client.ask(method, path, json)
    assert (told.status, told.document["error"]["code"], told.document["success"]) == (400, 400, False)
    assert re.search(message, told.document["error"]["message"])
    provider.check_against_spec()


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", "/recordings/{}", None),
        ("PUT", "/recordings/{}", {"action": "stop"}),
        ("POST", "/recordings", {"meeting_id": NOBODY}),
        ("GET", "/sessions/{}", None),
        ("GET", "/sessions/{}/chat", None),
        ("PATCH", "/webhooks/{}", {"name": "m"}),
        ("GET", "/meetings/{}", None),
    ],
)
async def test_what_is_not_there_is_not_found(client: Client, method: str, path: str, json: Any) -> None:
    told = await client.ask(method, path.format(NOBODY), json)
    assert (told.status, told.document["error"]["code"]) == (404, 404)


async def test_a_meeting_has_one_active_recording_unless_several_are_allowed(
    account: Account, client: Client
) -> None:
    meeting = account.add_meeting()
    asked = {"meeting_id": meeting.id, "file_name_prefix": "weekly"}
    first = (await client.ask("POST", "/recordings", asked)).data
    assert (first["status"], first["started_time"], first["file_size"]) == ("INVOKED", None, None)
    assert first["session_id"] is None
    assert first["output_file_name"].startswith("weekly_")
    assert (await client.ask("POST", "/recordings", asked)).status == 409
    several = {**asked, "allow_multiple_recordings": True}
    second = (await client.ask("POST", "/recordings", several)).data
    assert second["id"] != first["id"]
    for recording in (first, second):
        stopped = await client.ask("PUT", f"/recordings/{recording['id']}", {"action": "stop"})
        assert (stopped.data["status"], stopped.data["stop_reason"]["reason"]) == ("UPLOADING", "API_CALL")
        assert stopped.data["stopped_time"] is not None
    assert (await client.ask("POST", "/recordings", asked)).status == 200


async def test_a_recording_is_paused_and_goes_on(account: Account, client: Client) -> None:
    path = f"/recordings/{account.add_recording('r', status='RECORDING').id}"
    assert (await client.ask("PUT", path, {"action": "resume"})).status == 400
    assert (await client.ask("PUT", path, {"action": "pause"})).data["status"] == "PAUSED"
    assert (await client.ask("PUT", path, {"action": "resume"})).data["status"] == "RECORDING"


async def test_what_a_recording_was_started_with_is_what_it_becomes(account: Account, client: Client) -> None:
    meeting = account.add_meeting()
    bucket = "dyte_bucket_config" if account.family == "dyte" else "realtimekit_bucket_config"
    config = {
        "type": "aws", "bucket": "b", "region": "eu-west-1", "path": "p",
        "access_key": "AKIA", "secret": "s3cr3t", "password": "pw", "private_key": "pk",
    }  # fmt: skip
    asked = {"meeting_id": meeting.id, "storage_config": config, bucket: {"enabled": False}}
    told = (await client.ask("POST", "/recordings", asked)).data
    account.recordings[told["id"]].become("UPLOADED")
    plain = {"type": "aws", "bucket": "b", "region": "eu-west-1", "path": "p"}
    [listed] = (await client.get("/recordings")).data
    for document in ((await client.get(f"/recordings/{told['id']}")).data, listed):
        assert document["storage_config"] == plain
        assert document["download_url"] is None
    asked = {"meeting_id": meeting.id, "audio_config": {"codec": "MP3"}}
    told = (await client.ask("POST", "/recordings", asked)).data
    account.recordings[told["id"]].become("UPLOADED")
    assert (await client.get(f"/recordings/{told['id']}")).data["audio_download_url"] is not None


async def test_the_first_to_join_starts_what_was_to_be_recorded(account: Account, client: Client) -> None:
    recorded = (await client.ask("POST", "/meetings", {"title": "t", "record_on_start": True})).data["id"]
    plain = (await client.ask("POST", "/meetings", {"title": None})).data["id"]
    recording = account.first_joins(recorded)
    assert recording is not None
    assert recording.start_reason == "RECORD_ON_START"
    assert account.first_joins(plain) is None
    live = next(each for each in account.sessions.values() if each.meeting.id == plain)
    assert account.start(live.meeting).session_id == live.id
    assert {each.status for each in account.sessions.values()} == {"LIVE"}
    recording.become("RECORDING")
    told = (await client.get(f"/recordings/{recording.id}")).data
    assert (await client.get(f"/sessions/{told['session_id']}")).data["session"]["associated_id"] == recorded


@pytest.mark.parametrize("kind", ["chat", "transcript", "summary"])
async def test_a_file_that_a_session_has_not_is_told_in_each_way(
    account: Account, client: Client, kind: str
) -> None:
    session = account.add_session(chat=None, transcript=None, summary=None)
    path = f"/sessions/{session.id}/{kind}"
    assert (await client.get(path)).status == 404
    session.absent = 403
    assert (await client.get(path)).status == 403
    session.absent = 400
    assert (await client.get(path)).status == 400
    session.absent = "empty"
    told = await client.get(path)
    assert told.status == 200
    assert "" in told.data.values()
    assert not any("://" in value for value in told.data.values())


async def test_a_session_that_is_live_has_no_files_before_it_ends(account: Account, client: Client) -> None:
    session = account.add_session(ended_ago_s=None, summary=None)
    assert (await client.get(f"/sessions/{session.id}/chat")).status == 404
    session.end()
    session.add_file("summary", 7)
    for kind in ("chat", "transcript", "summary"):
        links = (await client.get(f"/sessions/{session.id}/{kind}")).data.values()
        [link] = [value for value in links if "://" in value]
        assert await client.download(link) == (200, session.contents[kind].read())


async def test_every_request_is_remembered_as_it_was(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    await client.get("/recordings", status="UPLOADED,ERRORED", page_no="2")
    await client.ask("POST", "/webhooks", WANTED)
    await client.ask("GET", "/meetings", authorization="Bearer nobody's")
    listed, added, refused = provider.requests
    assert (listed.method, listed.path, listed.status) == ("GET", "/recordings", 200)
    assert (listed.query, listed.json) == ({"status": "UPLOADED,ERRORED", "page_no": "2"}, None)
    assert (added.method, added.json, added.status, added.account) == ("POST", WANTED, 201, account)
    assert (refused.status, refused.account) == (401, None)


def test_a_synchronous_test_has_the_same_provider(sender: Sender) -> None:
    with threaded(ProviderDouble(sender=sender)) as provider:
        account = provider.dyte(org_id="o", api_key="k")
        session = account.add_session()
        recording = account.add_recording(session_id=session.id)
        account.add_webhook(f"{provider.files.base_url}/nothing-is-here")
        sent = list(itertools.chain(recording.run().wait(), account.announce_session(session).wait()))
        assert [each.status for each in sent] == [404] * 7
        assert provider.requests == []


def test_an_account_has_the_settings_that_lead_to_it(sender: Sender) -> None:
    with threaded(ProviderDouble(sender=sender)) as provider:
        assert provider.dyte(org_id="o", api_key="k").settings == {
            "provider": "dyte", "api_url": f"{provider.url}/v2", "org_id": "o", "api_key": "k",
        }  # fmt: skip
        assert provider.realtimekit(account_id="a", app_id="p", api_token="t").settings == {
            "provider": "realtimekit", "api_url": f"{provider.url}/client/v4",
            "account_id": "a", "app_id": "p", "api_token": "t",
        }  # fmt: skip
