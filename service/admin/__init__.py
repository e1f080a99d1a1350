"""The admin ASGI app: health, readiness, metrics, the API and the page. Not for the public."""

import time
from collections.abc import Awaitable, Callable
from functools import cache, partial

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admin.gate import Gate
from service.admin.sessions import Sessions
from service.errors import ArchiverError
from service.ledger import Database
from service.telemetry import Metrics


class Admin:
    """``/healthz``: the loop turns. ``/readyz``: the ledger answers and the service is not stopping."""

    def __init__(
        self,
        *,
        check: Callable[[], Awaitable[None]],
        draining: Callable[[], bool],
        metrics: Metrics,
        database: Database,
        token: str | None = None,
    ) -> None:
        """``check`` returns if the ledger answers, else raises an :class:`ArchiverError`.

        With a ``token`` all but ``/healthz`` and ``/readyz`` is for those who send it, or log in with it.
        """
        self._check = check
        self._draining = draining
        self._metrics = metrics
        sessions = Sessions(token, clock=time.time) if token else None
        app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._render_metrics),
                Mount("/api", _Later(partial(_api, database, takes_orders=token is not None))),
                Mount("", _Later(partial(_pages, database, draining, sessions))),
            ]
        )
        self.app: ASGIApp = Gate(app, sessions) if sessions else app

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


def _api(database: Database, *, takes_orders: bool) -> ASGIApp:
    from service.admin.api import Api

    return Api(database, takes_orders=takes_orders).app


def _pages(database: Database, draining: Callable[[], bool], sessions: Sessions | None) -> ASGIApp:
    from service.admin.pages import Pages

    return Pages(database, draining=draining, sessions=sessions).app


class _Later:
    """An app that is made when it is first asked: a process of which nobody asks it does not load it."""

    def __init__(self, made: Callable[[], ASGIApp]) -> None:
        self._made = cache(made)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._made()(scope, receive, send)
