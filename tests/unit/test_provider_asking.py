"""A request is tried again where that helps, never where it might be done twice, and fails as one of ours."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from service.apps import parse_app
from service.errors import (
    ProviderMissing,
    ProviderUnavailable,
)
from service.provider import Pace, ProviderApi, api_session
from service.retry import PART_ATTEMPTS
from tests.unit.scripted_api import DYTE, Answer, ScriptedApi, bad, good

DROP = Answer(is_drop=True)
RECORDING = good({"id": "rec-1", "status": "RECORDING"})
WEBHOOK = good({"id": "w", "url": "https://a.example/webhook"})
WANTED: dict[str, Any] = {"name": "n", "url": "https://a.example/webhook", "events": ["meeting.ended"]}

Call = Callable[[ProviderApi], Awaitable[object]]
REPEATED: dict[str, tuple[Call, Answer]] = {
    "GET": (lambda api: api.recording("rec-1"), RECORDING),
    "PUT": (lambda api: api.change_webhook("w", **WANTED), WEBHOOK),
    "DELETE": (lambda api: api.delete_webhook("w"), WEBHOOK),
}
ONCE: Call = lambda api: api.start_recording("m")  # noqa: E731  (a table of calls)


def told(answer: Answer) -> str:
    return "drop" if answer.is_drop else str(answer.status)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


# ---- trying again


@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("trouble", [bad(429), bad(500), bad(502), bad(503), bad(408), DROP], ids=told)
async def test_what_may_be_done_twice_is_tried_again_until_it_works(
    server: ScriptedApi, api: ProviderApi, method: str, trouble: Answer
) -> None:
    call, answer = REPEATED[method]
    left = [trouble, trouble, answer]
    server.script = lambda _: left.pop(0)
    await call(api)
    assert [asked.method for asked in server.asked][-3:] == [method] * 3
    assert server.pauses == [0.125, 0.25]


@pytest.mark.parametrize("method", REPEATED)
@pytest.mark.parametrize("trouble", [bad(429), bad(503)], ids=told)
async def test_it_is_given_up_after_the_limit(
    server: ScriptedApi, api: ProviderApi, method: str, trouble: Answer
) -> None:
    server.answers(trouble)
    with pytest.raises(ProviderUnavailable, match=str(trouble.status)):
        await REPEATED[method][0](api)
    assert len(server.asked) == PART_ATTEMPTS
    assert len(server.pauses) == PART_ATTEMPTS - 1


@pytest.mark.parametrize("trouble", [bad(429), bad(503)], ids=told)
async def test_a_recording_whose_start_was_certainly_not_taken_is_started_again(
    server: ScriptedApi, api: ProviderApi, trouble: Answer
) -> None:
    server.answers(trouble, RECORDING)
    await ONCE(api)
    assert len(server.asked) == 2


@pytest.mark.parametrize("trouble", [bad(500), bad(502), bad(504), bad(408), DROP], ids=told)
async def test_a_recording_whose_start_may_have_been_taken_is_not_started_twice(
    server: ScriptedApi, api: ProviderApi, trouble: Answer
) -> None:
    server.answers(trouble, RECORDING)
    with pytest.raises(ProviderUnavailable) as caught:
        await ONCE(api)
    assert len(server.asked) == 1
    assert "look whether it was done" in caught.value.mend


@pytest.mark.parametrize("call", [REPEATED["GET"][0], ONCE], ids=["GET", "POST"])
async def test_a_refused_connection_is_tried_again_whatever_was_asked(call: Call) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        app = parse_app("default", {**DYTE, "api_url": f"http://127.0.0.1:{closed.getsockname()[1]}"})
        async with api_session() as session:
            pace = Pace(clock=lambda: 0.0, sleep=sleep)
            api = ProviderApi(app, session, pace=pace, sleep=sleep, jitter=lambda: 0.0)
            with pytest.raises(ProviderUnavailable, match="cannot be reached"):
                await call(api)
    assert len(pauses) == PART_ATTEMPTS - 1


async def test_an_api_that_says_nothing_is_given_up_by_the_sessions_time_out(server: ScriptedApi) -> None:
    server.answers(Answer(is_stall=True))
    timeout = aiohttp.ClientTimeout(total=0.05)
    async with asyncio.timeout(5), aiohttp.ClientSession(timeout=timeout) as session:
        app = parse_app("default", {**DYTE, "api_url": server.url})
        api = ProviderApi(app, session, pace=server.pace(), sleep=server.sleep, jitter=lambda: 0.0)
        with pytest.raises(ProviderUnavailable, match="TimeoutError"):
            await api.check()
    assert len(server.asked) == PART_ATTEMPTS


async def test_a_subscription_is_ended_though_the_first_answer_was_lost(
    server: ScriptedApi, api: ProviderApi
) -> None:
    for lost in (bad(502), DROP):
        server.answers(lost, bad(404))
        await api.delete_webhook("w")
    with pytest.raises(ProviderMissing):
        await api.delete_webhook("w")


async def test_every_try_waits_for_its_turn(server: ScriptedApi, api: ProviderApi) -> None:
    server.answers(bad(503), bad(503), RECORDING)
    await api.recording("rec-1")
    assert server.turns == 3


async def test_a_cancelled_request_is_not_tried_again(server: ScriptedApi, api: ProviderApi) -> None:
    asked = asyncio.Event()
    release = asyncio.Event()

    async def sleep(_: float) -> None:
        asked.set()
        await release.wait()

    server.answers(bad(503))
    async with api_session() as session:
        own = ProviderApi(api.app, session, pace=server.pace(), sleep=sleep, jitter=lambda: 0.0)
        running = asyncio.create_task(own.check())
        await asked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert len(server.asked) == 1


# ---- Retry-After


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "60"}, 60.0),
        ({"Retry-After": "Wed, 03 Jun 2026 10:00:30 GMT", "Date": "Wed, 03 Jun 2026 10:00:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 03 Jun 2026 09:00:00 GMT", "Date": "Wed, 03 Jun 2026 10:00:00 GMT"}, 0.125),
        ({"Retry-After": "0"}, 0.125),
        ({"Retry-After": "soon"}, 0.125),
        ({"Retry-After": "-5"}, 0.125),
        ({"Retry-After": "nan"}, 0.125),
        ({"Retry-After": "Wed, 03 Jun 2026 10:00:30"}, 0.125),
    ],
)
async def test_the_api_is_given_the_time_that_it_asks_for(
    server: ScriptedApi, api: ProviderApi, headers: dict[str, str], pause_s: float
) -> None:
    server.answers(Answer(429, None, headers), RECORDING)
    await api.recording("rec-1")
    assert server.pauses == [pause_s]


async def test_one_that_asks_for_more_time_than_a_request_waits_is_left_alone_until_then(
    server: ScriptedApi, api: ProviderApi
) -> None:
    server.answers(bad(429, "slow down", Retry_After="3600"))
    with pytest.raises(ProviderUnavailable, match="429: slow down") as caught:
        await api.recording("rec-1")
    assert (caught.value.retry_after_s, len(server.asked), server.pauses) == (3600.0, 1, [])
