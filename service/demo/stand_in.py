"""A small stand-in of a provider: as much of its REST API, webhooks and file host as one story needs."""

import asyncio
import contextlib
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from service.apps import App, parse_app
from service.demo import documents
from service.demo.documents import Meeting, Recording, Session
from service.demo.files import Files
from service.demo.process import LOOPBACK
from service.demo.telling import Teller
from service.demo.webhooks import Webhooks
from service.model import ONLY, Kind, Provider

_BASES = {Provider.DYTE: "/v2", Provider.REALTIMEKIT: "/client/v4"}
_KEY_PATH = "/.well-known/webhooks.json"

_Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """Serves while it is entered; then ``settings`` say how it is reached.

    A recording's files are those in ``folder`` called by its ``file_name_prefix``, ``.mp4`` and ``.mp3``; a
    session's are called by their kinds. The first link to a video expires half-way. Deliveries, and requests
    that only the service makes, are told.
    """

    def __init__(self, provider: Provider, folder: Path, tell: Teller) -> None:
        self._provider = provider
        self._folder = folder
        self._tell = tell
        self._files = Files(tell)
        self._webhooks = Webhooks(provider, tell)
        self._meetings: dict[str, Meeting] = {}
        self._sessions: dict[str, Session] = {}
        self._recordings: dict[str, Recording] = {}
        self._organization_id = str(uuid.uuid4())
        secret = secrets.token_hex(16)
        self._credentials = {
            Provider.DYTE: {"org_id": self._organization_id, "api_key": secret},
            Provider.REALTIMEKIT: {
                "account_id": secrets.token_hex(16),
                "app_id": "demo",
                "api_token": secret,
            },
        }[provider]
        self._url = ""
        self.was_listed = asyncio.Event()
        """Set as soon as somebody has asked for all there is."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What the service is told of the provider, by the settings' names in lower case."""
        return {
            "provider": str(self._provider),
            "api_url": self._url + _BASES[self._provider],
            "webhook_key_url": self._url + _KEY_PATH,
            **self._credentials,
        }

    @property
    def app(self) -> App:
        """The same for whoever asks the API."""
        return parse_app(ONLY, self.settings)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a port of loopback."""
        listener = socket.create_server((LOOPBACK, 0))
        self._url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        runner = web.AppRunner(self._routes(self.app), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()
            listener.close()

    async def end_session(self, session_id: str) -> None:
        """Everybody leaves: from now on the session has a chat, a transcript and a summary."""
        self._sessions[session_id] = replace(self._sessions[session_id], ended_at=datetime.now(UTC))

    async def announce(self, session_id: str, kind: Kind) -> None:
        """Deliver a session's chat, transcript or summary."""
        session = self._sessions[session_id]
        link = self._url + self._files.link(self._session_path(kind))
        await self._webhooks.deliver(
            documents.session_delivery(self._provider, self._organization_id, session, kind, link)
        )

    def _routes(self, app: App) -> web.Application:
        base = urlsplit(app.api_url or "").path

        @web.middleware
        # aiohttp insists on the second name.
        async def authorized(request: web.Request, handler: _Answering) -> web.StreamResponse:
            if request.path.startswith(base) and request.headers.get("Authorization") != app.authorization:
                return _failed(401, "Unauthorized")
            return await handler(request)

        routes = web.Application(middlewares=[authorized])
        routes.add_routes(
            [
                web.get(_KEY_PATH, self._key),
                web.get("/files/{name}", self._files.give),
                web.post(f"{base}/webhooks", self._add_webhook),
                web.get(f"{base}/webhooks", self._list_webhooks),
                web.post(f"{base}/meetings", self._create_meeting),
                web.post(f"{base}/recordings", self._start_recording),
                web.get(f"{base}/recordings", self._list_recordings),
                web.get(f"{base}/recordings/{{id}}", self._show_recording),
                web.put(f"{base}/recordings/{{id}}", self._stop_recording),
                web.get(f"{base}/sessions", self._list_sessions),
                web.get(f"{base}/sessions/{{id}}/{{kind:chat|transcript|summary}}", self._show_session_file),
            ]
        )
        return routes

    async def _key(self, _request: web.Request) -> web.Response:
        return web.json_response(self._webhooks.key_document)

    async def _add_webhook(self, request: web.Request) -> web.Response:
        return _good(self._webhooks.register(await request.json()), 201)

    async def _list_webhooks(self, _request: web.Request) -> web.Response:
        return _good(self._webhooks.registered)

    async def _create_meeting(self, request: web.Request) -> web.Response:
        told = await request.json()
        meeting = Meeting(
            id=str(uuid.uuid4()),
            title=told.get("title", ""),
            record_on_start=told.get("record_on_start", False),
            created_at=datetime.now(UTC),
        )
        self._meetings[meeting.id] = meeting
        return _good(documents.meeting_document(meeting), 201)

    async def _start_recording(self, request: web.Request) -> web.Response:
        told = await request.json()
        if told["meeting_id"] not in self._meetings:
            return _failed(404, "No meeting found")
        now = datetime.now(UTC)
        session = Session(str(uuid.uuid4()), self._meetings[told["meeting_id"]], now)
        name = f"{told['file_name_prefix']}.mp4"
        recording = Recording(str(uuid.uuid4()), session, name, "INVOKED", now)
        self._sessions[session.id] = session
        await self._is_now(recording)
        await self._is_now(replace(recording, status="RECORDING", started_at=datetime.now(UTC)))
        return _good(documents.recording_document(recording))

    async def _stop_recording(self, request: web.Request) -> web.Response:
        recording = self._recordings.get(request.match_info["id"])
        if recording is None:
            return _failed(404, "No recording found")
        if (await request.json()).get("action") != "stop":
            return _failed(422, "Only stop is played here")
        size = self._video(recording).stat().st_size
        uploading = replace(recording, status="UPLOADING", stopped_at=datetime.now(UTC), size=size)
        await self._is_now(uploading)
        await self._is_now(self._offered(replace(uploading, status="UPLOADED"), is_for_half=True))
        return _good(documents.recording_document(uploading))

    async def _list_recordings(self, request: web.Request) -> web.Response:
        found = [self._offered(each) for each in reversed(self._recordings.values())]
        self._tell("api", f"GET /recordings: {len(found)}")
        return web.json_response(documents.listed([documents.recording_item(each) for each in found]))

    async def _show_recording(self, request: web.Request) -> web.Response:
        recording = self._recordings.get(request.match_info["id"])
        if recording is None:
            return _failed(404, "No recording found")
        self._tell("api", f"GET /recordings/{recording.id}: {recording.status}, with fresh links")
        return _good(documents.recording_document(self._offered(recording)))

    async def _list_sessions(self, _request: web.Request) -> web.Response:
        found = list(reversed(self._sessions.values()))
        self.was_listed.set()
        self._tell("api", f"GET /sessions: {len(found)}")
        items = [documents.session_document(each, self._organization_id) for each in found]
        return web.json_response(documents.listed(items, "sessions"))

    async def _show_session_file(self, request: web.Request) -> web.Response:
        session, kind = self._sessions.get(request.match_info["id"]), Kind(request.match_info["kind"])
        there = session is not None and session.ended_at is not None
        self._tell("api", f"GET /sessions/{request.match_info['id']}/{kind}: {'a link' if there else 404}")
        if session is None or not there:
            return _failed(404, f"No {kind} found")
        link = self._url + self._files.link(self._session_path(kind))
        return _good(documents.session_file_document(kind, link, session))

    async def _is_now(self, recording: Recording) -> None:
        """Keep what a recording has become, and deliver it."""
        self._recordings[recording.id] = recording
        await self._webhooks.deliver(
            documents.recording_delivery(self._provider, self._organization_id, recording)
        )

    def _offered(self, recording: Recording, *, is_for_half: bool = False) -> Recording:
        """The recording with fresh links, if it has been uploaded."""
        if recording.status != "UPLOADED":
            return recording
        video = self._video(recording)
        return replace(
            recording,
            video=self._url + self._files.link(video, is_for_half=is_for_half),
            audio=self._url + self._files.link(video.with_suffix(".mp3")),
        )

    def _video(self, recording: Recording) -> Path:
        return self._folder / recording.name

    def _session_path(self, kind: Kind) -> Path:
        return self._folder / f"{kind}{'.txt' if kind is Kind.SUMMARY else '.csv'}"


def _good(found: Any, status: int = 200) -> web.Response:
    return web.json_response({"success": True, "data": found}, status=status)


def _failed(status: int, message: str) -> web.Response:
    return web.json_response({"success": False, "error": {"code": status, "message": message}}, status=status)
