"""What the API holds is read whole, page after page, and what is asked of it arrives as documented."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.errors import ProviderMissing, ProviderRefused, ProviderRejected, ProviderUnavailable
from service.model import Kind, Provider
from service.provider import ProviderApi, Webhook
from tests.unit.scripted_api import DYTE, REALTIMEKIT, Answer, Asked, ScriptedApi, bad, good, paged

LINK = "https://files.example.com/rec.mp4?sig=1"
RECORDING = {"id": "rec-1", "status": "UPLOADED", "download_url": LINK}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


# ---- whose


@pytest.mark.parametrize(
    ("given", "path", "authorization"),
    [
        (DYTE, "/recordings/rec-1", "Basic b3JnLTE6dGhlLWFwaS1rZXktb2YtdGhlLXRlc3Rz"),
        (
            REALTIMEKIT,
            "/accounts/acc-1/realtime/kit/app-1/recordings/rec-1",
            "Bearer the-api-key-of-the-tests",
        ),
    ],
    ids=["dyte", "realtimekit"],
)
async def test_each_provider_is_asked_at_its_own_path_with_its_own_credentials(
    server: ScriptedApi, given: dict[str, str], path: str, authorization: str
) -> None:
    server.answers(good(RECORDING))
    async with server.client(given) as api:
        event = await api.recording("rec-1")
    [asked] = server.asked
    assert (asked.method, asked.path) == ("GET", path)
    assert asked.headers["Authorization"] == authorization
    assert event.recording is not None
    assert (event.recording.provider, event.name) == (Provider(given["provider"]), "api")
    assert [artifact.url for artifact in event.artifacts] == [LINK]


@pytest.mark.parametrize("identity", ["a/b", "a b?c=d#e", "..%2f", "é", "a&b"])
async def test_an_id_stays_within_its_part_of_the_path(
    server: ScriptedApi, api: ProviderApi, identity: str
) -> None:
    with pytest.raises(ProviderMissing):
        await api.recording(identity)
    [asked] = server.asked
    assert asked.path.count("/") == 2
    assert asked.query == {}


@pytest.mark.parametrize("identity", ["", ".", "..", " "])
async def test_an_id_that_would_lead_elsewhere_is_missing_without_asking(
    server: ScriptedApi, api: ProviderApi, identity: str
) -> None:
    with pytest.raises(ProviderMissing):
        await api.delete_webhook(identity)
    assert server.asked == []


# ---- files of sessions


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY])
async def test_a_sessions_file_is_found(server: ScriptedApi, api: ProviderApi, kind: Kind) -> None:
    server.answers(good({"sessionId": "s", f"{kind}_download_url": LINK}))
    found = await api.session_file("s", kind)
    assert found is not None
    assert (found.id, found.url, server.asked[0].path) == (f"s/{kind}", LINK, f"/sessions/s/{kind}")


@pytest.mark.parametrize(
    "answer",
    [
        bad(404), bad(400, "no transcript"), bad(403, "chat export is not enabled"), good({}), good(None),
        Answer(404, b"<html>"), good({"chat_download_url": ""}),
    ],
)  # fmt: skip
async def test_a_session_without_a_file_has_none(
    server: ScriptedApi, api: ProviderApi, answer: Answer
) -> None:
    server.answers(answer)
    assert await api.session_file("s", Kind.CHAT) is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, {"message": "Unauthorized"}),
        Answer(403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]}),
        Answer(400, {"success": False, "errors": [{"code": 6003, "message": "Invalid request headers"}]}),
        Answer(403, b"<html>blocked</html>"),
    ],
)
async def test_wrong_credentials_are_not_taken_for_a_session_without_a_file(
    server: ScriptedApi, api: ProviderApi, answer: Answer
) -> None:
    server.answers(answer)
    with pytest.raises(ProviderRefused):
        await api.session_file("s", Kind.CHAT)


# ---- setting up


async def test_a_subscription_is_made_listed_changed_and_ended(server: ScriptedApi, api: ProviderApi) -> None:
    wanted: dict[str, Any] = {
        "name": "archiver",
        "url": "https://a.example/webhook",
        "events": ["meeting.summary"],
    }
    kept: dict[str, dict[str, Any]] = {}

    def script(asked: Asked) -> Answer:
        match asked.method:
            case "GET":
                return good(list(kept.values()))
            case "POST":
                kept["w-1"] = {"id": "w-1", **asked.body}
                return good(kept["w-1"], 201)
            case "PUT" if asked.path == "/webhooks/w-1":
                kept["w-1"] = {"id": "w-1", **asked.body}
                return good(kept["w-1"])
            case "DELETE" if asked.path == "/webhooks/w-1":
                return good(kept.pop("w-1"))
        return bad(405)

    server.script = script
    made = Webhook("w-1", "archiver", "https://a.example/webhook", ("meeting.summary",), enabled=True)
    assert await api.add_webhook(**wanted) == made
    assert await api.webhooks() == [made]
    changed = await api.change_webhook("w-1", **{**wanted, "events": ["meeting.ended"]}, enabled=False)
    assert (changed.events, changed.enabled) == (("meeting.ended",), False)
    assert await api.webhooks() == [changed]
    await api.delete_webhook("w-1")
    assert await api.webhooks() == []


async def test_only_the_options_that_are_given_are_sent(server: ScriptedApi, api: ProviderApi) -> None:
    server.answers(good({"id": "x"}))
    await api.create_meeting(title=None, record_on_start=True, region=None)
    await api.create_meeting(title="Weekly", record_on_start=False, region="eu-central-1")
    await api.start_recording("m", max_seconds=None, file_name_prefix=None)
    config = {"type": "aws", "bucket": "b", "secret": "s"}
    await api.start_recording("m", max_seconds=60, allow_multiple_recordings=True, storage_config=config)
    await api.stop_recording("rec-1")
    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [
        ("POST", "/meetings", {"record_on_start": True}),
        ("POST", "/meetings",
         {"title": "Weekly", "record_on_start": False, "preferred_region": "eu-central-1"}),
        ("POST", "/recordings", {"meeting_id": "m"}),
        ("POST", "/recordings",
         {"meeting_id": "m", "max_seconds": 60, "allow_multiple_recordings": True, "storage_config": config}),
        ("PUT", "/recordings/rec-1", {"action": "stop"}),
    ]  # fmt: skip


async def test_the_check_is_one_small_request_that_raises_why_nothing_would_work(
    server: ScriptedApi, api: ProviderApi
) -> None:
    server.script = paged([RECORDING])
    await api.check()
    assert [(asked.path, asked.query["per_page"]) for asked in server.asked] == [("/recordings", "1")]
    server.answers(Answer(401, {"message": "Unauthorized"}))
    with pytest.raises(ProviderRefused):
        await api.check()


@pytest.mark.parametrize("found", [None, [], "text", {"status": "UPLOADED"}])
async def test_an_answer_without_the_recording_is_told(
    server: ScriptedApi, api: ProviderApi, found: object
) -> None:
    server.answers(good(found))
    with pytest.raises(ProviderUnavailable, match="something else than a recording"):
        await api.recording("rec-1")


async def test_a_message_of_the_api_reaches_the_user(server: ScriptedApi, api: ProviderApi) -> None:
    server.answers(bad(409, "a recording is already running"))
    with pytest.raises(ProviderRejected, match="409: a recording is already running"):
        await api.start_recording("m")
