"""A webhook is registered once, for exactly what is archived; and listed, and deleted."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.apps import parse_app
from service.commands.webhooks import delete, register
from service.commands.webhooks import show as show_webhooks
from service.errors import ProviderMissing, ProviderUnavailable, SettingsError
from service.event import EVENTS
from service.provider import ProviderApi
from tests.unit.at_the_provider import URL, Subscriptions, fitting, telling
from tests.unit.scripted_api import DYTE, Answer, Asked, ScriptedApi, bad


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def api(server: ScriptedApi) -> AsyncIterator[ProviderApi]:
    async with server.client() as api:
        yield api


async def registered(api: ProviderApi, *, url: str = URL, name: str | None = None, **told: Any) -> None:
    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    await register(api, telling(**told), url=url, name=name, sleep=pause, jitter=lambda: 0.0)


# ---- register


async def test_a_webhook_is_registered_for_exactly_the_events_that_are_archived(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = kept = Subscriptions(fitting(url="https://else.example.com/webhook"))
    await registered(api)
    own = kept.kept[-1]
    assert own == {"id": "new1", "name": "dyte-archiver", "url": URL, "events": [*EVENTS], "enabled": True}
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"webhook new1 is registered: {URL}"
    assert out.splitlines()[-1] == "ARCHIVER_WEBHOOK_IDS=new1"
    assert err == ""


async def test_a_webhook_that_fits_is_left_as_it_is(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = kept = Subscriptions(fitting(events=[*reversed(EVENTS)]))
    for url in (URL, URL, "HTTPS://ARCHIVER.example.com:443/webhook"):
        await registered(api, url=url)
    assert kept.changes == []
    out, _ = capsys.readouterr()
    assert out.count("webhook w0 is registered already") == 3
    assert out.count("ARCHIVER_WEBHOOK_IDS=w0") == 3


@pytest.mark.parametrize(
    ("kept_as", "name"),
    [
        ({"events": ["meeting.started"]}, None),
        ({"events": [*EVENTS, "meeting.started"]}, None),
        ({"enabled": False}, None),
        ({}, "another name"),
    ],
    ids=["other events", "more events", "disabled", "called otherwise"],
)
async def test_a_webhook_that_does_not_fit_is_changed_and_not_doubled(
    server: ScriptedApi,
    api: ProviderApi,
    kept_as: dict[str, Any],
    name: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.script = kept = Subscriptions(fitting(**kept_as))
    await registered(api, name=name)
    await registered(api, name=name)
    assert kept.changes == ["PUT"]
    [webhook] = kept.kept
    assert webhook == {"id": "w0", "name": name or "kept", "url": URL, "events": [*EVENTS], "enabled": True}
    assert "webhook w0 was registered already, and is changed" in capsys.readouterr().out


@pytest.mark.parametrize("count", [2, 5])
async def test_registered_many_times_at_once_there_is_one(server: ScriptedApi, count: int) -> None:
    server.script = kept = Subscriptions()
    jitters = iter(range(1000))

    async def pause(seconds: float) -> None:
        await asyncio.sleep(seconds / 200)

    async def run() -> None:
        async with server.client() as api:
            told = telling()
            await register(api, told, url=URL, name=None, sleep=pause, jitter=lambda: next(jitters) * 1.0)

    await asyncio.gather(*(run() for _ in range(count)))
    assert len(kept.kept) == 1


async def test_who_registers_second_gives_way_to_the_first_who_may_be_done(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Subscriptions()

    def script(asked: Asked) -> Answer:
        answer = kept(asked)
        if asked.method == "POST":
            kept.kept.append({"id": "theirs", "name": "", "enabled": True} | fitting())
        return answer

    server.script = script
    await registered(api)
    assert [webhook["id"] for webhook in kept.kept] == ["theirs"]
    assert "ARCHIVER_WEBHOOK_IDS=theirs\n" in capsys.readouterr().out


async def test_doubles_from_before_are_told_and_the_one_that_is_set_is_kept(
    server: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = kept = Subscriptions(fitting(), fitting())
    async with server.client(webhook_ids=["w1", "elsewhere"]) as api:
        await registered(api)
    assert kept.changes == []
    out, err = capsys.readouterr()
    assert "webhook w1 is registered already" in out
    assert "ARCHIVER_WEBHOOK_IDS=elsewhere,w1\n" in out
    assert "each event is delivered 2 times, by w0 too" in err


async def test_the_line_to_set_is_one_of_the_file_where_several_apps_are_in_one(
    server: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = Subscriptions(fitting())
    async with server.client() as api:
        api.app = parse_app("staging", {**DYTE, "api_url": server.url})
        await registered(api)
    assert '"webhook_ids": ["w0"]   (of staging' in capsys.readouterr().out


@pytest.mark.parametrize(
    "url",
    [
        "http://archiver.example.com/webhook",
        "ftp://127.0.0.1/webhook",
        "archiver.example.com/webhook",
        "https:///webhook",
        "https://archiver.example.com:x/webhook",
        "https://[::1/webhook",
        "https://user:s3cret@archiver.example.com/webhook",
        "https://archiver.example.com/webhook#here",
        "https://archiver.example.com/web hook",
        "",
    ],
)
async def test_an_address_that_cannot_be_delivered_to_is_refused_before_anything_is_asked(
    server: ScriptedApi, api: ProviderApi, url: str
) -> None:
    with pytest.raises(SettingsError, match="URL ") as told:
        await registered(api, url=url)
    assert server.asked == []
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost"])
async def test_plain_http_is_good_enough_for_this_machine(
    server: ScriptedApi, api: ProviderApi, host: str
) -> None:
    server.script = kept = Subscriptions()
    await registered(api, url=f"http://{host}/webhook")
    assert [each["url"] for each in kept.kept] == [f"http://{host}/webhook"]


@pytest.mark.parametrize(
    ("path", "told"), [("", "/"), ("/hooks/dyte", "/hooks/dyte"), ("/webhook/", "/webhook/")]
)
async def test_another_path_than_the_services_is_told_and_taken(
    server: ScriptedApi, api: ProviderApi, path: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = kept = Subscriptions()
    await registered(api, url=f"https://archiver.example.com{path}", as_json=True)
    assert len(kept.kept) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["id"] == "new1"
    assert f"takes deliveries at /webhook, this address says {told}: " in err


async def test_when_the_answer_is_lost_running_it_again_is_said_to_be_safe_and_is(
    server: ScriptedApi, api: ProviderApi
) -> None:
    kept = Subscriptions()

    def script(asked: Asked) -> Answer:
        answer = kept(asked)
        return bad(502) if asked.method == "POST" else answer

    server.script = script
    with pytest.raises(ProviderUnavailable) as told:
        await registered(api)
    assert "run it again" in told.value.mend
    await registered(api)
    assert len(kept.kept) == 1


# ---- list, delete


async def test_webhooks_are_listed_for_people_and_for_programs(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = Subscriptions(
        fitting(), {"url": "https://b.example.com/x", "events": ["meeting.ended"], "enabled": False}
    )
    await show_webhooks(api, telling())
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.split() == ["w0", "yes", URL, "kept", "those", "that", "are", "archived"]
    assert second.split() == ["w1", "no", "https://b.example.com/x", "kept", "meeting.ended"]
    await show_webhooks(api, telling(as_json=True))
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ["w0", "w1"]


async def test_the_address_of_a_webhook_is_shown_whole_but_for_the_services_own_secrets(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = Subscriptions(fitting(url="https://b.example.com/x?team=5&key=own-5ecret"))
    for as_json in (True, False):
        await show_webhooks(api, telling(as_json=as_json, links=True, secrets=("own-5ecret",)))
        assert "https://b.example.com/x?team=5&key=***" in capsys.readouterr().out


async def test_no_webhooks_are_said_to_be_none(
    server: ScriptedApi, api: ProviderApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = Subscriptions()
    await show_webhooks(api, telling())
    assert "There is no webhook yet" in capsys.readouterr().out
    await show_webhooks(api, telling(as_json=True))
    assert json.loads(capsys.readouterr().out) == []


async def test_a_webhook_is_deleted_and_an_unknown_one_is_a_clear_error(
    server: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = kept = Subscriptions(fitting(), fitting())
    async with server.client(webhook_ids=["w0"]) as api:
        await delete(api, telling(as_json=True), webhook_id="w0")
        out, err = capsys.readouterr()
        assert json.loads(out)["id"] == "w0"
        assert "take w0 out of ARCHIVER_WEBHOOK_IDS" in err
        with pytest.raises(ProviderMissing, match="there is no webhook 'w0'"):
            await delete(api, telling(), webhook_id="w0")
        await delete(api, telling(), webhook_id="w1")
    assert kept.kept == []
    assert kept.changes == ["DELETE", "DELETE"]
    out, err = capsys.readouterr()
    assert (out, err) == (f"webhook w1 deleted: {URL}\n", "")
