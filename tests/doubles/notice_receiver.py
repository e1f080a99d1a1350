"""The customer's own system, as it is told of recordings: it fails, hangs, comes back, and verifies all."""

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook

from tests.doubles.threaded import threaded

__all__ = ["OLD_SECRET", "SECRET", "Fault", "NoticeReceiver", "Told", "threaded"]

SECRET = f"whsec_{base64.b64encode(b'S3CRET that signs notices, in tests').decode()}"
OLD_SECRET = f"whsec_{base64.b64encode(b'S3CRET that signed notices, before').decode()}"


@dataclass(frozen=True)
class Fault:
    """What becomes of one request: after `delay_s` it is answered, or its connection is cut."""

    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    is_cut: bool = False
    hangs: bool = False
    """Nothing comes, for as long as the sender waits."""


@dataclass(frozen=True)
class Told:
    """One request as it came; `is_taken` if it was, or was to be, answered 2xx."""

    headers: Mapping[str, str]
    body: bytes
    is_taken: bool

    @property
    def event(self) -> dict[str, Any]:
        """The body's JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class NoticeReceiver:
    """Answers one request after the other as `faults` say, then as `always`, at last 204.

    What comes unsigned fails the test that asks for `events`.
    """

    def __init__(self, *, secret: str | None = SECRET) -> None:
        self._verifier = Webhook(secret) if secret else None
        self.faults: deque[Fault] = deque()
        self.always: dict[str, Fault] = {}
        """By the last part of an event's type."""
        self.told: list[Told] = []
        self.unsigned: list[str] = []
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/hooks/T0K3Nofthereceiver?key=K3Yofthereceiver"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def taken(self) -> list[Told]:
        """What was taken, each time that it was."""
        assert self.unsigned == []
        return [each for each in self.told if each.is_taken]

    @property
    def events(self) -> dict[str, dict[str, Any]]:
        """The events that were taken, by their ids: what came twice is one, as a customer has it."""
        return {each.event["id"]: each.event for each in self.taken}

    def types(self) -> list[str]:
        """The last parts of the types of what was taken, in their order."""
        return [event["type"].rpartition(".")[2] for event in self.events.values()]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._verifier is not None:
            try:
                self._verifier.verify(body, dict(request.headers))
            except Exception as error:
                self.unsigned.append(f"{type(error).__name__}: {error}")
                return web.Response(status=401)
        topic = json.loads(body).get("type", "").rpartition(".")[2]
        fault = self.faults.popleft() if self.faults else self.always.get(topic, Fault(204))
        is_taken = 200 <= fault.status < 300 and not fault.hangs
        self.told.append(Told(dict(request.headers), body, is_taken))
        if fault.hangs:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.sleep(fault.delay_s)
        if fault.is_cut:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=fault.status, headers=fault.headers)
