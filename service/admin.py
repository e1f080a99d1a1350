"""The admin ASGI app: health, readiness, metrics. Not for the public."""

import hmac
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ArchiverError
from service.telemetry import Metrics

_OPEN = ("/healthz", "/readyz")
"""What a kubelet asks for, which has no token to send."""


class Admin:
    """``/healthz``: the loop turns. ``/readyz``: the ledger answers and the service is not stopping."""

    def __init__(
        self,
        *,
        check: Callable[[], Awaitable[None]],
        draining: Callable[[], bool],
        metrics: Metrics,
        token: str | None = None,
    ) -> None:
        """``check`` returns if the ledger answers, else raises an :class:`ArchiverError`.

        With a ``token`` all but ``/healthz`` and ``/readyz`` is only for those who send it.
        """
        self._check = check
        self._draining = draining
        self._metrics = metrics
        app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._render_metrics),
            ]
        )
        self.app: ASGIApp = _Gate(app, token.encode()) if token else app

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _request: Request) -> Response:
        if self._draining():
            return JSONResponse({"status": "draining"}, status_code=503)
        try:
            await self._check()
        except ArchiverError as error:
            return JSONResponse({"status": str(error)}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _render_metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)


class _Gate:
    """Before the routes rather than on each: what is added later, and what is not there, is behind it too."""

    def __init__(self, app: ASGIApp, token: bytes) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _OPEN or self._admits(scope):
            return await self._app(scope, receive, send)
        refusal = JSONResponse(
            {"error": "the admin token is asked for: Authorization: Bearer <ARCHIVER_ADMIN_TOKEN>"},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)
        return None

    def _admits(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        # In constant time: an answer's delay tells nothing of how much of a guess was right.
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
