"""The provider double goes wrong as it is told, and counts what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.apps import parse_app
from service.provider import Pace, ProviderApi, api_session
from tests.doubles.provider import Account, ProviderDouble
from tests.doubles.provider_trouble import Asked, Trouble
from tests.doubles.sender import Sender
from tests.unit.asking_the_double import Client

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


async def test_more_requests_than_the_limit_are_told_when_to_come_back(
    provider: ProviderDouble, client: Client
) -> None:
    provider.limit(3, 40.0)
    told = [await client.get("/webhooks") for _ in range(5)]
    assert [each.status for each in told] == [200, 200, 200, 429, 429]
    assert 39 <= int(told[3].headers["Retry-After"]) <= 40
    assert told[3].document["success"] is False
    assert provider.peak_in_window == 5
    provider.limit(None)
    assert (await client.get("/webhooks")).status == 200


async def test_after_the_window_as_many_are_taken_again(provider: ProviderDouble, client: Client) -> None:
    provider.limit(2, 0.2)
    assert [(await client.get("/webhooks")).status for _ in range(3)] == [200, 200, 429]
    await asyncio.sleep(0.25)
    assert [(await client.get("/webhooks")).status for _ in range(3)] == [200, 200, 429]
    assert provider.peak_in_window == 3


def test_the_peak_is_the_most_in_any_window() -> None:
    trouble = Trouble()
    trouble.limit(None, 10.0)
    for at in (0.0, 1.0, 9.0, 10.5, 11.2, 11.3, 25.0):
        trouble.asked.append(Asked("GET", "/", {}, None, at))
    assert trouble.peak == 4


async def test_a_status_is_answered_so_many_times_in_the_provider_s_own_way(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    provider.fail(2, 503, retry_after_s=7)
    told = [await client.get("/webhooks") for _ in range(3)]
    assert [each.status for each in told] == [503, 503, 200]
    assert told[0].headers["Retry-After"] == "7"
    assert ("errors" in told[0].document) == (account.family == "rtk")
    assert [each.is_honest for each in provider.requests] == [False, False, True]


async def test_only_the_paths_and_methods_that_are_named_fail(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    recording = account.add_recording()
    provider.fail(9, 500, path="/recordings/*")
    provider.fail(9, 502, path="/webhooks", method="POST")
    assert (await client.get("/recordings")).status == 200
    assert (await client.get(f"/recordings/{recording.id}")).status == 500
    assert (await client.get("/webhooks")).status == 200
    assert (await client.ask("POST", "/webhooks", WANTED)).status == 502
    assert account.webhooks == {}
    provider.recover()
    assert (await client.get(f"/recordings/{recording.id}")).status == 200


async def test_a_page_comes_in_place_of_json(provider: ProviderDouble, client: Client) -> None:
    provider.fail(1, "page")
    told = await client.get("/webhooks")
    assert (told.status, told.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


async def test_a_dropped_request_was_not_done(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    provider.fail(1, "drop")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.ask("POST", "/webhooks", WANTED)
    assert (len(account.webhooks), provider.requests[0].status) == (0, None)


async def test_a_request_whose_answer_is_lost_was_done(
    provider: ProviderDouble, account: Account, client: Client
) -> None:
    provider.fail(1, "lost")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.ask("POST", "/webhooks", WANTED)
    assert (len(account.webhooks), provider.requests[0].status) == (1, 201)


async def test_a_stalled_request_is_never_answered(provider: ProviderDouble, client: Client) -> None:
    provider.fail(1, "stall")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get("/webhooks"), 0.1)
    assert (await client.get("/webhooks")).status == 200


async def test_a_stall_does_not_hold_up_the_end(sender: Sender) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        async with ProviderDouble(sender=sender) as provider:
            provider.fail(1, "stall")
            asked = asyncio.create_task(Client(http, provider.dyte()).get("/webhooks"))
            await asyncio.sleep(0.1)
            assert len(provider.requests) == 1
        with pytest.raises(aiohttp.ClientError):
            await asked


async def test_the_client_of_the_service_gets_through_all_of_it(
    provider: ProviderDouble, account: Account
) -> None:
    for number in range(120):
        account.add_recording(stopped_ago_s=number, size=1)
    provider.fail(1, "drop", path="/recordings")
    provider.fail(1, "page", path="/sessions")
    provider.fail(2, 503, path="/recordings")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with api_session() as session:
        app = parse_app("default", account.settings)
        pace = Pace(clock=asyncio.get_running_loop().time)
        api = ProviderApi(app, session, pace=pace, sleep=sleep, jitter=lambda: 0.0)
        pages = [[event.recording.id for event in page if event.recording] async for page in api.recordings()]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert [identity for page in pages for identity in page] == list(account.recordings)
    assert len(pauses) == 3
    provider.check_against_spec()
