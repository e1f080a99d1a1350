"""The address where a provider publishes the key that its deliveries are signed with."""

import asyncio
from types import TracebackType
from typing import Literal, Self

from aiohttp import web

__all__ = ["KeyFault", "KeyServer"]

KeyFault = Literal["error", "stall", "garbage", "no key"]


class KeyServer:
    """Serves the key document of `public_pem`; `async with`, or `threaded()` from a synchronous test.

    `public_pem` may be replaced at any time, which is a rotation. `fault` is what happens instead of an
    answer until it is None again: `error` a 500, `stall` no answer at all, `garbage` a 200 with a page that
    is no JSON, `no key` the document with an empty `data`. `requests` counts all, `stalled` those still
    waiting.
    """

    def __init__(self, public_pem: str) -> None:
        self.public_pem = public_pem
        self.fault: KeyFault | None = None
        self.requests = 0
        self.stalled = 0
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/.well-known/webhooks.json", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/.well-known/webhooks.json"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        match self.fault:
            case None:
                return web.json_response(
                    {"success": True, "data": {"publicKey": self.public_pem}, "message": ""}
                )
            case "error":
                return web.json_response({"success": False, "message": "internal error"}, status=500)
            case "garbage":
                return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")
            case "no key":
                return web.json_response({"success": True, "data": {}, "message": ""})
            case "stall":
                self.stalled += 1
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stalled -= 1
        raise AssertionError(f"no such fault: {self.fault}")
