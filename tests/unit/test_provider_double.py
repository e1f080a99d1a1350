"""The provider double is what the specification says, at every endpoint, for both providers."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.doubles.provider import EVENTS, Account, ProviderDouble
from tests.doubles.sender import Sender
from tests.doubles.spec import Spec
from tests.unit.asking_the_double import Client

NOBODY = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
AWS = {"type": "aws", "access_key": "AKIA", "secret": "s3cr3t", "bucket": "b", "region": "eu-west-1"}


@pytest.fixture
async def provider(sender: Sender) -> AsyncIterator[ProviderDouble]:
    async with ProviderDouble(sender=sender) as provider:
        yield provider


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture(params=["dyte", "realtimekit"])
def account(request: pytest.FixtureRequest, provider: ProviderDouble) -> Account:
    return provider.dyte() if request.param == "dyte" else provider.realtimekit()


@pytest.fixture
def client(http: aiohttp.ClientSession, account: Account) -> Client:
    return Client(http, account)


@pytest.fixture
def spec() -> Spec:
    spec = Spec.load()
    if spec is None:
        pytest.skip(
            "the specification is not beside the repository, or jsonschema and yaml are not installed"
        )
    return spec


async def test_every_endpoint_answers_as_specified(
    spec: Spec, provider: ProviderDouble, account: Account, client: Client
) -> None:
    await ask_everything(account, client)
    provider.check_against_spec()
    answered = {
        spec.operation(asked.method, asked.path) for asked in provider.requests if asked.status in (200, 201)
    }
    wanted = {
        (method, path)
        for method, path in spec.operations()
        if path.split("/")[1] in ("recordings", "sessions", "webhooks", "meetings")
        and not {"livestream", "participant", "active-session", "peer-report"} & set(_words(path))
    }
    unlike = {("PATCH", "/meetings/{meeting_id}"), ("PUT", "/meetings/{meeting_id}")}
    assert answered == wanted - unlike - {("POST", "/sessions/{session_id}/summary")}


def _words(path: str) -> list[str]:
    """The words of a path, in the singular where one ends in s."""
    ends = ("livestream", "participant")
    words = path.replace("{", "/").replace("}", "/").split("/")
    return [next((end for end in ends if word.startswith(end) or end in word), word) for word in words]


async def ask_everything(account: Account, client: Client) -> None:
    """Make each kind of request, with all kinds of things there."""
    everything = [
        account.add_recording(audio=True, storage_config={**AWS, "path": "calls"}),
        account.add_recording(tracks=2, storage_config={"type": "cloudflare", "account_id": "a"}),
        account.add_recording(provider_bucket=False),
        account.add_recording(stopped_ago_s=8 * 24 * 3600.0),
        *(account.add_recording(status=status) for status in ("INVOKED", "RECORDING", "PAUSED", "ERRORED")),
    ]
    await client.get("/recordings", status="UPLOADED,ERRORED", expired="false", sort_by="invokedTime")
    await client.get("/recordings", page_no="1", per_page="10", sort_order="ASC", search="Weekly")
    for recording in everything:
        assert (await client.get(f"/recordings/{recording.id}")).data["status"] == recording.status
    session = account.add_session()
    account.add_session(ended_ago_s=None)
    await client.get("/sessions", sort_by="createdAt", sort_order="DESC", page_no="1", per_page="5")
    for path in ("", "/chat", "/transcript", "/summary"):
        assert (await client.get(f"/sessions/{session.id}{path}")).status == 200
        assert (await client.get(f"/sessions/{NOBODY}{path}")).status == 404
    wanted: dict[str, Any] = {"name": "n", "url": "https://a.example/x", "events": [*EVENTS]}
    webhook = f"/webhooks/{(await client.ask('POST', '/webhooks', wanted)).data['id']}"
    await client.get("/webhooks")
    await client.get(webhook)
    await client.ask("PUT", webhook, {**wanted, "enabled": False})
    await client.ask("PATCH", webhook, {"name": "m"})
    await client.ask("DELETE", webhook)
    assert (await client.get(webhook)).status == 404
    told = {"title": "t", "record_on_start": True, "preferred_region": "eu-central-1"}
    meeting = (await client.ask("POST", "/meetings", told)).data
    await client.get("/meetings", page_no="1", per_page="2")
    assert (await client.get(f"/meetings/{meeting['id']}")).data == meeting
    assert (await client.get(f"/recordings/active-recording/{meeting['id']}")).status == 404
    wish = {"meeting_id": meeting["id"], "max_seconds": 60, "storage_config": AWS, "file_name_prefix": "p"}
    started = (await client.ask("POST", "/recordings", wish)).data
    assert (await client.ask("POST", "/recordings", wish)).status == 409
    assert (await client.get(f"/recordings/active-recording/{meeting['id']}")).data["id"] == started["id"]
    await client.ask("PUT", f"/recordings/{started['id']}", {"action": "stop"})
    tracks = {"meeting_id": meeting["id"], "layers": {"default": {"outputs": [{"type": "DYTE_BUCKET"}]}}}
    await client.ask("POST", "/recordings/track", tracks)
    assert (await client.ask("GET", "/recordings", authorization="Basic bm9ib2R5Og==")).status == 401
    assert (await client.get(f"/recordings/{NOBODY}")).status == 404


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"path": "/recording"}, "not in the specification"),
        ({"method": "DELETE"}, "not in the specification"),
        ({"query": {"page": "1"}}, "query.page undocumented"),
        ({"query": {"per_page": "many"}}, "query.per_page"),
        ({"query": {"status": "UPLOADED,GONE"}}, "query.status"),
        ({"query": {"expired": "no"}}, "query.expired"),
        ({"query": {"start_time": "yesterday"}}, "query.start_time"),
        ({"json": {}}, "body undocumented"),
        ({"answer": {"success": True, "data": []}}, "'paging' is a required property"),
        ({"status": 204, "answer": None}, "no status 204"),
        ({"status": 404, "answer": {"message": "gone"}}, "'success' is a required property"),
        ({"status": 401, "answer": {"success": False}}, "is not Unauthorized"),
    ],
)
async def test_an_exchange_that_is_not_specified_is_found(
    spec: Spec, provider: ProviderDouble, http: aiohttp.ClientSession, changes: dict[str, Any], fault: str
) -> None:
    account = provider.dyte()
    account.add_recording()
    assert (await Client(http, account).get("/recordings")).status == 200
    provider.check_against_spec()
    for name, value in changes.items():
        setattr(provider.requests[0], name, value)
    with pytest.raises(AssertionError, match=fault):
        provider.check_against_spec()


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("status", "GONE", "is not one of"),
        ("file_size", "5", "is not of type 'number'"),
        ("download_url", "no link", "is not a 'uri'"),
        ("invoked_time", "2023-01-25 04:51:35.903816Z", "is not a 'date-time'"),
        ("meeting_id", "m", "undocumented"),
        ("type", "TRACKS", ""),
        ("storage_config", {"type": "ftp"}, "is not one of"),
        ("storage_config", {"type": "aws", "colour": "red"}, "colour undocumented"),
        ("output_file_name", None, "is not of type 'string'"),
    ],
)
async def test_a_recording_that_is_not_as_specified_is_found(
    spec: Spec,
    provider: ProviderDouble,
    account: Account,
    client: Client,
    field: str,
    value: Any,
    fault: str,
) -> None:
    recording = account.add_recording()
    document = (await client.get(f"/recordings/{recording.id}")).document
    provider.check_against_spec()
    document["data"][field] = value
    provider.requests[0].answer = document
    is_right = field == "type" or (field == "file_size" and account.family == "rtk")
    if is_right:
        provider.check_against_spec()
        return
    with pytest.raises(AssertionError, match=f"answer.data.{field}.*{fault}"):
        provider.check_against_spec()


async def test_accounts_see_nothing_of_each_other(
    provider: ProviderDouble, http: aiohttp.ClientSession
) -> None:
    accounts = [
        provider.dyte(org_id="one"),
        provider.dyte(org_id="two", api_key="k2"),
        provider.realtimekit(app_id="one"),
        provider.realtimekit(app_id="two"),
        provider.realtimekit(app_id="one", account_id="account-2", api_token="t2"),
    ]
    for number, account in enumerate(accounts):
        account.add_recording("the-same-id", size=100 + number, title=f"of {number}")
        account.add_recording(f"own-{number}")
    for number, account in enumerate(accounts):
        client = Client(http, account)
        assert (await client.get("/recordings")).ids == ["own-" + str(number), "the-same-id"]
        document = (await client.get("/recordings/the-same-id")).data
        assert int(document["file_size"]) == 100 + number
        assert (await client.download(document["download_url"]))[1] == account.recordings[
            "the-same-id"
        ].content.read()


async def test_wrong_credentials_get_what_each_provider_says_of_them(
    provider: ProviderDouble, http: aiohttp.ClientSession
) -> None:
    dyte, app = provider.dyte(api_key="right"), provider.realtimekit(api_token="right")
    swapped = base64.b64encode(f"right:{dyte.organization_id}".encode()).decode()
    for authorization in (f"Basic {swapped}", app.authorization, "Basic", "none"):
        told = await Client(http, dyte).ask("GET", "/webhooks", authorization=authorization)
        assert (told.status, told.document) == (401, {"message": "Unauthorized"})
    told = await Client(http, app).ask("GET", "/webhooks", authorization=dyte.authorization)
    assert (told.status, told.document["success"], told.document["errors"][0]["code"]) == (401, False, 10000)
    assert provider.requests[-1].account is None


async def test_what_is_listed_is_what_was_asked_for(account: Account, client: Client) -> None:
    account.add_recording("old", stopped_ago_s=8 * 24 * 3600.0, meeting_id="m1")
    account.add_recording("new", stopped_ago_s=60.0, meeting_id="m2", title="Standup")
    account.add_recording("mid", stopped_ago_s=24 * 3600.0, meeting_id="m1", status="ERRORED")
    account.add_recording("now", stopped_ago_s=0.0, meeting_id="m3", status="RECORDING")
    assert (await client.get("/recordings")).ids == ["now", "new", "mid", "old"]
    assert (await client.get("/recordings", sort_order="ASC")).ids == ["old", "mid", "new", "now"]
    assert (await client.get("/recordings", status="UPLOADED")).ids == ["new", "old"]
    assert (await client.get("/recordings", status="RECORDING,ERRORED")).ids == ["now", "mid"]
    assert (await client.get("/recordings", expired="true")).ids == ["old"]
    assert (await client.get("/recordings", expired="false")).ids == ["now", "new", "mid"]
    assert (await client.get("/recordings", meeting_id="m1")).ids == ["mid", "old"]
    assert (await client.get("/recordings", search="Stand")).ids == ["new"]
    since = (await client.get("/recordings/mid")).data["invoked_time"]
    assert (await client.get("/recordings", end_time=since)).ids == ["mid", "old"]
    assert "old" not in (await client.get("/recordings", start_time=since)).ids
    account.add_session("s1", ended_ago_s=100.0)
    account.add_session("s2", ended_ago_s=10.0, meeting_id="m1")
    account.add_session("s3", ended_ago_s=None, duration_s=1.0)
    assert (await client.get("/sessions")).ids == ["s3", "s2", "s1"]
    assert (await client.get("/sessions", status="ENDED")).ids == ["s2", "s1"]
    assert (await client.get("/sessions", associated_id="m1")).ids == ["s2"]


async def test_pages_are_counted_from_one_and_no_larger_than_the_limit(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    for number in range(25):
        account.add_recording(f"r{number:02}", stopped_ago_s=number)
    whole = [f"r{number:02}" for number in range(25)]
    assert (await client.get("/recordings")).ids == whole[:10]
    provider.page_limit = 8
    pages = [await client.get("/recordings", page_no=str(n), per_page="100") for n in range(1, 6)]
    assert [page.ids for page in pages] == [whole[:8], whole[8:16], whole[16:24], whole[24:], []]
    paging = [page.document["paging"] for page in pages]
    assert [each["total_count"] for each in paging] == [25] * 5
    assert [(each["start_offset"], each["end_offset"]) for each in paging[:4]] == [
        (1, 8), (9, 16), (17, 24), (25, 25),
    ]  # fmt: skip
