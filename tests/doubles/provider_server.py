"""The server of both providers' API: whose a request is, what goes wrong, which endpoint answers it."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.doubles.provider_account import Account
from tests.doubles.provider_asking import Call, Refusal
from tests.doubles.provider_endpoints import ROUTES
from tests.doubles.provider_trouble import Asked, Failure, Trouble

__all__ = ["CLOUDFLARE", "DYTE", "KEY_PATH", "ApiServer"]

DYTE, CLOUDFLARE = "/v2", "/client/v4"
KEY_PATH = "/.well-known/webhooks.json"
_PROVIDERS = {"/v2": "dyte", "/cl": "realtimekit"}


class ApiServer:
    """Listens on a loopback port from entering to leaving; `public_pem` is published at `KEY_PATH`."""

    def __init__(self, *, trouble: Trouble, public_pem: str) -> None:
        self.accounts: list[Account] = []
        self.page_limit = 50
        self.url = ""
        self._trouble = trouble
        self._public_pem = public_pem

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        # A time-out of nothing would be none at all, and what is stalled would hold up the end.
        self._runner = web.AppRunner(
            application, handler_cancellation=True, shutdown_timeout=0.01, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        whole = request.raw_path.partition("?")[0]
        if whole == KEY_PATH:
            return web.json_response(
                {"success": True, "data": {"publicKey": self._public_pem}, "message": ""}
            )
        text = await request.text()
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = text
        base, account = self._whose(whole, request.headers.get("Authorization", ""))
        asked = Asked(
            request.method,
            whole.removeprefix(base),
            dict(request.query),
            body,
            provider=_PROVIDERS.get(base[:3]),
            account=account,
        )
        failure = self._trouble.next(asked)
        asked.is_honest = failure is None
        if failure is not None and failure.fault != "lost":
            return await self._fail(request, asked, failure, base)
        asked.status, asked.answer = self._answer(asked, base, request.content_type)
        if failure is not None:
            await _cut(request)
        return web.json_response(asked.answer, status=asked.status)

    def _whose(self, path: str, authorization: str) -> tuple[str, Account | None]:
        """The base of the path, and the account that both it and the credentials are of."""
        at = [each for each in self.accounts if path.startswith(f"{each.base_path}/")]
        base = at[0].base_path if at else ""
        return base, next((each for each in at if each.authorization == authorization), None)

    def _answer(self, asked: Asked, base: str, content_type: str) -> tuple[int, Any]:
        if not base:
            return 404, _refusal(asked.path, 404, "no such address")
        if not isinstance(asked.account, Account):
            return 401, _refusal(base, 401, "Authentication error")
        try:
            if asked.json is not None and content_type != "application/json":
                raise Refusal(400, "BAD_REQUEST: the body is not application/json")
            call = Call(asked.account, asked.query, asked.json, self.page_limit)
            for route in ROUTES:
                ids = route.match(asked.path) if route.method == asked.method else None
                if ids is not None:
                    return route.endpoint(call, **ids)
            raise Refusal(404, f"NOT_FOUND: no {asked.method} {asked.path}")
        except Refusal as refusal:
            # What the app itself refuses looks the same at both; what comes before it does not.
            return refusal.status, _refusal(DYTE, refusal.status, refusal.message)

    async def _fail(
        self, request: web.Request, asked: Asked, failure: Failure, base: str
    ) -> web.StreamResponse:
        headers = {}
        if failure.retry_after_s is not None:
            headers["Retry-After"] = f"{failure.retry_after_s:g}"
        match failure.fault:
            case "stall":
                await asyncio.Event().wait()
            case "drop":
                await _cut(request)
            case "page":
                asked.status = 200
                page = "<!doctype html><title>Just a moment...</title>"
                return web.Response(text=page, content_type="text/html", headers=headers)
            case int(status):
                asked.status, asked.answer = status, _refusal(base, status, f"trouble: {status}")
                return web.json_response(asked.answer, status=status, headers=headers)
        raise AssertionError(f"no such fault: {failure.fault}")


async def _cut(request: web.Request) -> None:
    """Close the connection without a word, which ends this task too."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()


def _refusal(base: str, status: int, message: str) -> dict[str, Any]:
    """The documented shapes: Cloudflare's where its gateway answers, Dyte's for 401 and for all else."""
    if base.startswith(CLOUDFLARE):
        code = {401: 10000, 403: 10000, 429: 971}.get(status, status)
        return {
            "success": False,
            "errors": [{"code": code, "message": message}],
            "messages": [],
            "result": None,
        }
    if status == 401:
        return {"message": "Unauthorized"}
    return {"success": False, "error": {"code": status, "message": message}}
