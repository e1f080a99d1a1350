"""The admin ASGI app: health, readiness, metrics. Not for the public."""

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.errors import ArchiverError
from service.telemetry import Metrics


class Admin:
    """``/healthz``: the loop turns. ``/readyz``: the ledger answers and the service is not stopping."""

    def __init__(
        self, *, check: Callable[[], Awaitable[None]], draining: Callable[[], bool], metrics: Metrics
    ) -> None:
        """``check`` returns if the ledger answers, else raises an :class:`ArchiverError`."""
        self._check = check
        self._draining = draining
        self._metrics = metrics
        self.app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._render_metrics),
            ]
        )

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
