"""The demo's stand-in of a provider is like the providers, and its last look at the archive finds faults."""

import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console

from service.demo import DemoFailed
from service.demo.outcome import archived
from service.demo.plain import deliver
from service.demo.sample import Sample, random_sample, text_sample
from service.demo.stand_in import StandIn
from service.demo.telling import Teller
from service.event import EVENTS, parse
from service.manifest import render
from service.model import Archived, Event, Kind, Provider, Recording
from service.provider import Pace, ProviderApi, api_session
from service.signature import PinnedKeys, load_keys
from tests.doubles.spec import Spec

SESSION_KINDS = (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)


@dataclass
class Stage:
    """A stand-in, its API, whoever gets its deliveries, and what it told."""

    provider: Provider
    stand_in: StandIn
    api: ProviderApi
    session: aiohttp.ClientSession
    url: str = ""
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    told: io.StringIO = field(default_factory=io.StringIO)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one request with the right credentials."""
        headers = {"Authorization": self.api.app.authorization or ""}
        url = f"{self.api.app.api_url}{path}"
        async with self.session.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def record(self, name: str) -> tuple[str, str]:
        """Record a session of a new meeting to its end; returns the ids of both."""
        meeting = await self.api.create_meeting(title="Weekly sync", record_on_start=False, region=None)
        recording = await self.api.start_recording(meeting["id"], file_name_prefix=name)
        await self.api.stop_recording(recording["id"])
        await self.stand_in.end_session(recording["session_id"])
        return recording["id"], recording["session_id"]


@pytest.fixture(params=list(Provider))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    for name in ("sync.mp4", "sync.mp3", "chat.csv", "transcript.csv", "summary.txt"):
        random_sample(tmp_path / name, 1000)
    told = io.StringIO()
    stand_in = StandIn(request.param, tmp_path, Teller(Console(file=told)))
    async with contextlib.AsyncExitStack() as opened:
        await opened.enter_async_context(stand_in.serving())
        session = await opened.enter_async_context(api_session())
        api = ProviderApi(stand_in.app, session, pace=Pace(clock=lambda: 0.0), jitter=lambda: 0.0)
        stage = Stage(request.param, stand_in, api, session, told=told)

        async def take(asked: web.Request) -> web.Response:
            stage.taken.append((asked.headers, await asked.read()))
            return web.Response(text="taken")

        routes = web.Application()
        routes.router.add_post("/webhook", take)
        runner = web.AppRunner(routes, shutdown_timeout=1)
        await runner.setup()
        opened.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stage.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
        yield stage


async def test_the_stand_in_answers_as_specified(stage: Stage) -> None:
    spec = Spec.load()
    if spec is None:
        pytest.skip("the provider's specification is not beside the repository")

    async def checked(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        found, answer = await stage.ask(method, path, body)
        assert found == status
        spec.check_request(method, path, {}, body, provider=stage.provider)
        spec.check_answer(method, path, found, answer, provider=stage.provider)
        return answer["data"] if status < 300 else None

    wanted = {"name": "archiver", "url": "https://archive.example.com/webhook", "events": ["meeting.started"]}
    await checked("POST", "/webhooks", wanted, status=201)
    assert len(await checked("GET", "/webhooks")) == 1
    meeting = await checked("POST", "/meetings", {"title": "Weekly sync"}, status=201)
    started = await checked("POST", "/recordings", {"meeting_id": meeting["id"], "file_name_prefix": "sync"})
    own = f"/recordings/{started['id']}"
    assert (await checked("GET", own))["status"] == "RECORDING"
    assert (await checked("PUT", own, {"action": "stop"}))["status"] == "UPLOADING"
    assert (await checked("GET", own))["status"] == "UPLOADED"
    assert len(await checked("GET", "/recordings")) == 1
    assert [each["status"] for each in (await checked("GET", "/sessions"))["sessions"]] == ["LIVE"]
    for kind in SESSION_KINDS:
        await checked("GET", f"/sessions/{started['session_id']}/{kind}", status=404)
    await stage.stand_in.end_session(started["session_id"])
    assert [each["status"] for each in (await checked("GET", "/sessions"))["sessions"]] == ["ENDED"]
    for kind in SESSION_KINDS:
        await checked("GET", f"/sessions/{started['session_id']}/{kind}")
    await checked("GET", "/recordings/97440c6a-140b-40a9-9499-b23fd7a3868a", status=404)


async def test_what_is_delivered_is_signed_and_says_the_same_as_the_api(stage: Stage) -> None:
    await stage.api.add_webhook(name="archiver", url=stage.url, events=EVENTS)
    recording_id, session_id = await stage.record("sync")
    for kind in SESSION_KINDS:
        await stage.stand_in.announce(session_id, kind)
    async with stage.session.get(stage.stand_in.settings["webhook_key_url"]) as response:
        keys = PinnedKeys(load_keys((await response.json())["data"]["publicKey"]))
    family = {Provider.DYTE: "dyte", Provider.REALTIMEKIT: "rtk"}[stage.provider]
    events = []
    for headers, body in stage.taken:
        await keys.check(stage.provider, body, headers[f"{family}-signature"])
        events.append(parse(body, stage.provider))
    statuses = ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]
    assert [each.recording.status for each in events if each.recording] == [*statuses, *["ENDED"] * 3]
    listed = [event async for page in stage.api.recordings() for event in page]
    shown = await stage.api.recording(recording_id)
    assert _meeting(events[3]) == _meeting(listed[0])
    assert _facts(events[3]) == _facts(listed[0]) == _facts(shown)
    assert len(_times(events[3])) == 2
    assert _times(events[3]) == pytest.approx(_times(listed[0]), abs=0.002)  # the API tells milliseconds
    for kind, event in zip(SESSION_KINDS, events[4:], strict=True):
        found = await stage.api.session_file(session_id, kind)
        assert found is not None
        assert [(each.id, each.name) for each in event.artifacts] == [(found.id, found.name)]
    [[session]] = [page async for page in stage.api.sessions()]
    assert (session.id, session.status, session.title) == (session_id, "ENDED", "Weekly sync")


def _meeting(event: Event) -> Any:
    assert event.recording is not None
    assert event.recording.title == "Weekly sync"
    return event.recording.meeting_id, event.recording.title


def _times(event: Event) -> list[float]:
    assert event.recording is not None
    return [moment for moment in (event.recording.started_at, event.recording.stopped_at) if moment]


def _facts(event: Event) -> Any:
    told = event.recording
    assert told is not None
    files = [(each.id, each.name, each.announced_size) for each in event.artifacts]
    assert len(files) == 2
    return told.id, told.session_id, files


async def test_the_first_link_expires_half_way_and_a_fresh_one_does_not(stage: Stage) -> None:
    await stage.api.add_webhook(name="archiver", url=stage.url, events=EVENTS)
    recording_id, _ = await stage.record("sync")
    first = parse(stage.taken[-1][1], stage.provider).artifacts[0].url
    assert await _given(stage, first, "bytes=0-499") == (206, 500)
    assert await _given(stage, first, "bytes=499-999") == (403, None)
    assert await _given(stage, first, "bytes=0-499") == (403, None)
    assert "to sync.mp4 has expired: 403 at byte 499" in stage.told.getvalue()
    fresh = (await stage.api.recording(recording_id)).artifacts[0].url
    assert await _given(stage, fresh, "bytes=499-999") == (206, 501)
    assert await _given(stage, fresh.partition("?")[0], "bytes=0-1") == (403, None)


async def _given(stage: Stage, link: str, wanted: str) -> tuple[int, int | None]:
    async with stage.session.get(link, headers={"Range": wanted}) as response:
        return response.status, len(await response.read()) if response.status == 206 else None


async def test_other_credentials_are_refused(stage: Stage) -> None:
    async with stage.session.get(
        f"{stage.api.app.api_url}/webhooks", headers={"Authorization": "Bearer wrong"}
    ) as response:
        assert response.status == 401


async def test_a_delivery_that_nobody_answers_is_told_as_lost(stage: Stage) -> None:
    await stage.api.add_webhook(name="archiver", url="http://127.0.0.1:1/webhook", events=EVENTS)
    await stage.record("sync")
    assert stage.told.getvalue().count("nobody answers: lost") == 4


async def test_an_archive_with_a_fault_is_no_success(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    sample = text_sample(archive / "sync.mp4", "as it was recorded")
    _write_manifest(archive, sample)
    [(manifest, entries)] = (await archived(tmp_path, {"sync.mp4": sample})).items()
    assert (manifest, [each.key for each in entries]) == (archive / "sync.mp4.json", ["sync.mp4"])
    other = text_sample(tmp_path / "other.mp4", "as it was recordeD")
    with pytest.raises(DemoFailed, match=r"not what the source served: sync\.mp4"):
        await archived(tmp_path, {"sync.mp4": other})
    with pytest.raises(DemoFailed, match=r"not what the source served: sync\.mp4"):
        await archived(tmp_path, {})
    with pytest.raises(DemoFailed, match=r"no manifest names sync\.mp3"):
        await archived(tmp_path, {"sync.mp4": sample, "sync.mp3": sample})


def _write_manifest(archive: Path, sample: Sample) -> None:
    entry = Archived(
        "r1/video", Kind.VIDEO, sample.path.name, sample.size, 8, sample.checksum, "etag", "video/mp4", 0.0
    )
    text = render(Recording("r1", Provider.DYTE, "UPLOADED"), [entry], [], storage="main", version="1")
    (archive / f"{sample.path.name}.json").write_bytes(text)


# ---- one delivery


@pytest.mark.parametrize(
    ("answers", "posted"),
    [([503, 503, 200], 3), ([200], 1), ([401, 200], 1), ([503] * 5 + [200], 5)],
)
async def test_a_delivery_is_posted_as_often_as_dyte_does(
    answers: list[int], posted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.demo.plain._PAUSE_S", 0.0)
    asked = list(answers)

    async def answer(request: web.Request) -> web.Response:
        assert (request.headers["dyte-signature"], await request.read()) == ("signed", b"body")
        return web.json_response({}, status=asked.pop(0))

    told, routes = io.StringIO(), web.Application()
    routes.router.add_post("/webhook", answer)
    runner = web.AppRunner(routes, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
        with contextlib.nullcontext() if answers[posted - 1] == 200 else pytest.raises(DemoFailed):
            await deliver(url, b"body", "signed", Teller(Console(file=told)))
    finally:
        await runner.cleanup()

    assert len(answers) - len(asked) == posted
    assert [int(line.split()[2]) for line in told.getvalue().splitlines()] == answers[:posted]
