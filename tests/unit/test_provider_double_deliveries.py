"""The provider double delivers what is documented, signed, to whoever is subscribed to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web

from service.event import parse
from service.model import Provider
from service.signature import parse_key_document, verify
from tests.doubles.provider import Account, ProviderDouble, threaded
from tests.doubles.sender import Family, Sender
from tests.unit.asking_the_double import Client

RECORDING_EVENT = "recording.statusUpdate"
SESSION_EVENTS = ("meeting.chatSynced", "meeting.transcript", "meeting.summary")


class Subscriber:
    """Takes deliveries, with `status`, and keeps their headers and bodies."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.status = 200

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/webhook", self._take)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/webhook"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.taken]

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.taken.append((headers, await request.read()))
        return web.Response(status=self.status)


@pytest.fixture
async def provider(sender: Sender) -> AsyncIterator[ProviderDouble]:
    async with ProviderDouble(sender=sender) as provider:
        yield provider


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    async with Subscriber() as subscriber:
        yield subscriber


@pytest.fixture(params=["dyte", "realtimekit"])
async def client(request: pytest.FixtureRequest, provider: ProviderDouble) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        yield Client(http, provider.dyte() if request.param == "dyte" else provider.realtimekit())


@pytest.fixture
def account(client: Client) -> Account:
    return client.account


def statuses(subscriber: Subscriber) -> list[str]:
    return [body["recording"]["status"] for body in subscriber.bodies]


async def test_a_recording_lives_and_each_status_is_delivered(
    account: Account, client: Client, subscriber: Subscriber
) -> None:
    webhook = account.add_webhook(subscriber.url, events=[RECORDING_EVENT])
    recording = account.start(account.add_meeting(), audio=True)
    sent = await recording.run()
    assert statuses(subscriber) == ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]
    assert [(each.event, each.status, each.webhook_id) for each in sent] == [
        (RECORDING_EVENT, 200, webhook.id)
    ] * 4
    assert (await client.get(f"/recordings/{recording.id}")).data["status"] == "UPLOADED"
    told = subscriber.bodies[-1]["recording"]
    assert await client.download(told["downloadUrl"]) == (200, recording.content.read())
    assert (await client.download(told["audioDownloadUrl"]))[0] == 200


@pytest.mark.parametrize(
    ("status", "given", "expected"),
    [
        ("UPLOADED", (), ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]),
        ("RECORDING", (), ["RECORDING", "UPLOADING", "UPLOADED"]),
        ("UPLOADING", (), ["UPLOADING", "UPLOADED"]),
        ("INVOKED", ("RECORDING", "PAUSED", "RECORDING", "ERRORED"), None),
    ],
)
async def test_a_life_goes_on_from_where_it_is_or_as_it_is_told(
    provider: ProviderDouble, subscriber: Subscriber, status: str, given: tuple[str, ...], expected: Any
) -> None:
    account = provider.dyte()
    account.add_webhook(subscriber.url)
    recording = account.add_recording(status=status)
    await recording.run(*given)
    assert statuses(subscriber) == (expected or list(given))
    assert recording.status == statuses(subscriber)[-1]


async def test_only_who_is_subscribed_and_enabled_is_told(
    account: Account, client: Client, subscriber: Subscriber
) -> None:
    wanted = {"name": "n", "url": subscriber.url, "events": ["meeting.summary"]}
    by_api = (await client.ask("POST", "/webhooks", wanted)).data["id"]
    account.add_webhook(subscriber.url, enabled=False)
    recordings = account.add_webhook(subscriber.url, events=[RECORDING_EVENT])
    recording, session = account.add_recording(), account.add_session()
    assert [each.webhook_id for each in await account.announce(recording)] == [recordings.id]
    assert [each.webhook_id for each in await account.announce_session(session)] == [by_api]
    assert [body["event"] for body in subscriber.bodies] == [RECORDING_EVENT, "meeting.summary"]
    await client.ask("DELETE", f"/webhooks/{by_api}")
    assert await account.announce_session(session) == []


async def test_a_delivery_is_signed_and_says_whose_subscription_it_is(
    provider: ProviderDouble, account: Account, client: Client, subscriber: Subscriber
) -> None:
    webhook = account.add_webhook(subscriber.url)
    [sent] = await account.announce(account.add_recording())
    [(headers, body)] = subscriber.taken
    assert (headers[f"{account.family}-webhook-id"], sent.body) == (webhook.id, body)
    assert headers[f"{account.family}-uuid"] == sent.delivery_id
    async with client.http.get(provider.key_url) as answer:
        keys = parse_key_document(await answer.read())
    assert verify(keys, body, headers[f"{account.family}-signature"])
    assert account.sender is provider.sender


async def test_an_account_can_have_a_key_of_its_own(provider: ProviderDouble, subscriber: Subscriber) -> None:
    account = provider.dyte(sender=Sender())
    account.add_webhook(subscriber.url)
    await account.announce(account.add_recording())
    [(headers, body)] = subscriber.taken
    document = json.dumps({"data": {"publicKey": account.sender.public_pem}}).encode()
    assert verify(parse_key_document(document), body, headers["dyte-signature"])
    assert account.sender.public_pem != provider.sender.public_pem


async def test_what_a_delivery_was_answered_is_told(provider: ProviderDouble, subscriber: Subscriber) -> None:
    account = provider.dyte()
    account.add_webhook(subscriber.url)
    account.add_webhook("http://127.0.0.1:9/nobody")
    subscriber.status = 503
    assert [each.status for each in await account.announce(account.add_recording())] == [503, 0]


async def test_an_announcement_has_links_that_the_api_does_not_outdate(
    account: Account, client: Client, subscriber: Subscriber
) -> None:
    account.add_webhook(subscriber.url)
    recording = account.add_recording()
    await account.announce(recording)
    first = subscriber.bodies[0]["recording"]["downloadUrl"]
    assert (await client.get(f"/recordings/{recording.id}")).data["download_url"] != first
    assert (await client.download(first))[0] == 200
    recording.expire_links()
    await account.announce(recording)
    assert (await client.download(first))[0] == 403
    assert (await client.download(subscriber.bodies[1]["recording"]["downloadUrl"]))[0] == 200


async def test_the_service_reads_the_same_from_a_delivery_as_was_put_in(account: Account) -> None:
    provider = Provider(account.settings["provider"])
    recording = account.add_recording("r1", size=77, title="Ünïcode", audio=True, stopped_ago_s=5.0)
    event = parse(account.body(recording), provider)
    assert event.recording is not None
    found = event.recording
    assert (found.id, found.status, found.title, found.file_size) == ("r1", "UPLOADED", "Ünïcode", 77)
    assert (found.meeting_id, found.session_id) == (recording.meeting.id, recording.session_id)
    assert found.organization_id == account.organization_id
    assert found.stopped_at == pytest.approx(recording.stopped_at, abs=0.002)
    assert [artifact.kind for artifact in event.artifacts] == ["video", "audio"]
    assert event.artifacts[0].expires_at == pytest.approx(recording.expires_at, abs=0.002)
    tracks = parse(account.body(account.add_recording(tracks=3)), provider)
    assert [artifact.kind for artifact in tracks.artifacts] == ["track"] * 3


def test_each_provider_writes_times_and_sizes_in_its_own_way(sender: Sender) -> None:
    with threaded(ProviderDouble(sender=sender, clock=lambda: 1_800_000_060.25)) as provider:
        for account, stopped, size in (
            (provider.dyte(), "2027-01-15 08:00:00.250000Z", 5),
            (provider.realtimekit(), "2027-01-15T08:00:00.250Z", "5"),
        ):
            told = json.loads(account.body(account.add_recording(size=5, stopped_ago_s=60.0)))
            assert (told["recording"]["stoppedTime"], told["recording"]["fileSize"]) == (stopped, size)


def shape(value: Any) -> Any:
    """The names and kinds of a document's fields."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return None if value is None else type(value).__name__


@pytest.mark.parametrize(
    ("family", "sample", "more"),
    [
        ("dyte", "recording_statusUpdate.RECORDING", set()),
        # The sample's meeting has no session there, and its recording no name.
        ("dyte", "recording_statusUpdate.UPLOADING", set()),
        ("dyte", "recording_statusUpdate.UPLOADED", {"meeting.roomName"}),
        ("rtk", "recording_statusUpdate.UPLOADED", set()),
    ],
)
async def test_a_status_is_told_as_in_the_documented_sample(
    shared: Path, provider: ProviderDouble, family: Family, sample: str, more: set[str]
) -> None:
    account = provider.dyte() if family == "dyte" else provider.realtimekit()
    recording = account.add_recording(status=sample.rpartition(".")[2], audio=True)
    documented = json.loads((shared / f"dyte/payloads/{family}.{sample}.json").read_text())
    for name in more:
        outer, _, inner = name.partition(".")
        del documented[outer][inner]
    assert shape(json.loads(account.body(recording))) == shape(documented)


@pytest.mark.parametrize("kind", ["chat", "transcript", "summary"])
@pytest.mark.parametrize("family", ["dyte", "rtk"])
async def test_a_file_of_a_session_is_told_as_in_the_documented_sample(
    shared: Path, provider: ProviderDouble, subscriber: Subscriber, family: Family, kind: Any
) -> None:
    account = provider.dyte() if family == "dyte" else provider.realtimekit()
    account.add_webhook(subscriber.url)
    await account.announce_session(account.add_session(), [kind])
    name = "chatSynced" if kind == "chat" else kind
    documented = json.loads((shared / f"dyte/payloads/{family}.meeting_{name}.json").read_text())
    assert shape(subscriber.bodies[0]) == shape(documented)


async def test_deliveries_on_their_way_do_not_outlive_the_provider(sender: Sender) -> None:
    never = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, ProviderDouble(sender=sender) as provider:
        account = provider.dyte()
        account.add_webhook(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        deliveries = account.announce(account.add_recording())
        await asyncio.sleep(0.05)
        with pytest.raises(AssertionError, match="await the deliveries"):
            deliveries.wait()
    never.set()
    with pytest.raises(asyncio.CancelledError):
        await deliveries
