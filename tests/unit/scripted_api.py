"""A REST API on a loopback port that answers as a test says, and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from service.apps import App, parse_app
from service.provider import Pace, ProviderApi, api_session

KEY = "the-api-key-of-the-tests"
DYTE = {"provider": "dyte", "org_id": "org-1", "api_key": KEY}
REALTIMEKIT = {"provider": "realtimekit", "account_id": "acc-1", "app_id": "app-1", "api_token": KEY}


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; ``path`` is as it was quoted, below the app's base."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What is answered: ``body`` as JSON unless it is bytes. ``: the connection is cut instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_drop: bool = False
    is_stall: bool = False


Script = Callable[[Asked], Answer]


class ScriptedApi:
    """`async with ScriptedApi() as server`; `script` answers each request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: Script = lambda _: Answer(404, {"success": False, "error": {"code": 404}})
        self.url = ""
        self.pauses: list[float] = []
        self.turns = 0

    def answers(self, *answers: Answer) -> None:
        """Give these one after the other, the last of them again and again."""
        left = list(answers)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @asynccontextmanager
    async def client(self, given: Mapping[str, Any] = DYTE, **more: Any) -> AsyncIterator[ProviderApi]:
        """A client of this server; what it would have slept is in `pauses`."""
        async with api_session() as session:
            app = parse_app("default", {"api_url": self.url, **given, **more})
            yield ProviderApi(app, session, pace=self.pace(), sleep=self.sleep, jitter=lambda: 0.0)

    def pace(self) -> Pace:
        """A pace without limits to speak of, that counts."""

        def clock() -> float:
            self.turns += 1
            return 0.0

        return Pace(limit=10_000, clock=clock, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        """Sleep for no time."""
        self.pauses.append(seconds)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v2"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0].removeprefix("/v2")
        body = json.loads(text) if (text := await request.text()) else None
        asked = Asked(request.method, path, dict(request.query), body, request.headers)
        self.asked.append(asked)
        answer = self.script(asked)
        if answer.is_stall:
            await asyncio.Event().wait()
        if answer.is_drop:
            assert request.transport is not None
            request.transport.abort()
        if isinstance(answer.body, bytes):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)


def paged(
    items: Iterable[Any], *, at_most: int = 100, first: int = 1, wrap: Callable[[list[Any]], Any] = list
) -> Script:
    """A list as the documentation has it, in pages of `at_most`, the first with the number `first`."""
    every = list(items)

    def script(asked: Asked) -> Answer:
        size = min(at_most, int(asked.query["per_page"]))
        start = (int(asked.query["page_no"]) - first) * size
        found = every[start : start + size]
        paging = {"total_count": len(every), "start_offset": start + 1, "end_offset": start + len(found)}
        return Answer(200, {"success": True, "data": wrap(found), "paging": paging})

    return script


def good(data: Any, status: int = 200) -> Answer:
    """The documented envelope around ``data``."""
    return Answer(status, {"success": True, "data": data})


def bad(status: int, message: str = "", **headers: str) -> Answer:
    """The documented envelope of a failure."""
    body = {"success": False, "error": {"code": status, "message": message}}
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def app_of(given: Mapping[str, Any] = DYTE) -> App:
    """The app that these settings are of."""
    return parse_app("default", given)
