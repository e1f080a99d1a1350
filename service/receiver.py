"""The public ASGI app: takes deliveries. A 2xx means that the event is committed."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.errors import DeliveryMalformed, KeyUnavailable, LedgerUnavailable, SignatureInvalid
from service.event import RECORDING_EVENT, parse
from service.ledger.intake import Intake, Outcome
from service.model import Delivery, Provider
from service.telemetry import Metrics

FAMILIES: Final[Mapping[str, Provider]] = {"dyte": Provider.DYTE, "rtk": Provider.REALTIMEKIT}
"""The first part of the headers ``*-signature``, ``*-uuid``, ``*-webhook-id``, and whose they are."""

BODY_LIMIT: Final = 1024 * 1024
BODY_S: Final = 2.0
"""A sender that needs longer for its body is cut off; the provider itself gives up after 3 s."""
ANSWER_S: Final = 2.7
"""Every answer is given within this time of the request's head."""

log = structlog.get_logger()


class KeyRing(Protocol):
    """Knows the provider's public keys."""

    async def check(self, provider: Provider, body: bytes, signature: str) -> None:
        """Return if the signature holds; raises ``SignatureInvalid`` or ``KeyUnavailable``."""
        ...


class Receiver:
    """``POST /webhook`` and ``GET /healthz``: nothing else."""

    def __init__(
        self,
        keys: KeyRing,
        intake: Intake,
        *,
        webhook_ids: Collection[str],
        metrics: Metrics,
        announced: Callable[[], None],
    ) -> None:
        """``webhook_ids``: accept only these, or all if empty. ``announced`` is called when there is work."""
        self._keys = keys
        self._intake = intake
        self._webhook_ids = frozenset(webhook_ids)
        self._metrics = metrics
        self._announced = announced
        self.app = Starlette(
            routes=[
                Route("/webhook", self._webhook, methods=["POST"]),
                Route("/healthz", self._healthz, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _problem},
        )
        self.app.router.redirect_slashes = False  # to a provider a redirect is a failure

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _webhook(self, request: Request) -> Response:
        began_at = time.monotonic()
        families = [name for name in FAMILIES if f"{name}-signature" in request.headers]
        provider = FAMILIES[families[0]] if families else None
        try:
            async with asyncio.timeout(ANSWER_S):
                status, answer, event_name = await self._taken(request, families)
        except TimeoutError:
            status, answer, event_name = 503, {"error": "the delivery could not be stored in time"}, None
        except Exception as error:
            # A fault of ours: the sender shall try again, and the log tells where it was.
            log.error("delivery_broke_off", exc_info=error)
            status, answer, event_name = 503, {"error": "internal fault"}, None
        outcome = str(answer.get("outcome") or status)
        known = event_name if event_name == RECORDING_EVENT else "other" if event_name else "none"
        self._metrics.deliveries.labels(provider or "none", known, outcome).inc()
        log.log(
            logging.INFO if status < 400 else logging.WARNING,
            "delivery_answered",
            status=status,
            provider=provider,
            event_name=event_name,
            milliseconds=round((time.monotonic() - began_at) * 1000, 1),
            **answer,
        )
        # What is left of a refused body is not read: the connection has no further use.
        headers = {"Connection": "close"} if status in (408, 413) else None
        return JSONResponse(answer, status_code=status, headers=headers)

    async def _taken(
        self, request: Request, families: list[str]
    ) -> tuple[int, dict[str, str | None], str | None]:
        """Status, answer and the event's name."""
        if refused := _unsupported(request):
            return 415, {"error": refused}, None
        if not families:
            return 401, {"error": "there is no dyte-signature or rtk-signature header"}, None
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request)
        except TimeoutError:
            return 408, {"error": f"the body was not sent within {BODY_S:g} s"}, None
        except ClientDisconnect:
            return 408, {"error": "the sender closed the connection"}, None
        if body is None:
            return 413, {"error": f"the body is larger than {BODY_LIMIT} bytes"}, None
        try:
            family = await self._verified(request, families, body)
            if self._webhook_ids and request.headers.get(f"{family}-webhook-id") not in self._webhook_ids:
                return 401, {"error": f"{family}-webhook-id is not one that is accepted here"}, None
            return await self._committed(request, family, body)
        except SignatureInvalid as error:
            return 401, {"error": str(error)}, None
        except DeliveryMalformed as error:
            return 400, {"error": str(error), "field": error.field}, None
        except (KeyUnavailable, LedgerUnavailable) as error:
            log.error("delivery_not_taken", error=str(error))
            return 503, {"error": str(error).partition(":")[0]}, None

    async def _verified(self, request: Request, families: list[str], body: bytes) -> str:
        """The family whose signature holds.

        Raises ``KeyUnavailable`` if one of them could not be judged, else ``SignatureInvalid``.
        """
        failure: SignatureInvalid | KeyUnavailable | None = None
        for family in families:
            try:
                await self._keys.check(FAMILIES[family], body, request.headers[f"{family}-signature"].strip())
            except (SignatureInvalid, KeyUnavailable) as error:
                failure = failure if isinstance(failure, KeyUnavailable) else error
            else:
                return family
        assert failure is not None  # there is at least one family
        raise failure

    async def _committed(
        self, request: Request, family: str, body: bytes
    ) -> tuple[int, dict[str, str | None], str | None]:
        event = parse(body, FAMILIES[family])
        delivery = Delivery(
            provider=FAMILIES[family],
            delivery_id=_header(request, f"{family}-uuid"),
            webhook_id=_header(request, f"{family}-webhook-id"),
        )
        outcome = await self._intake.record(delivery, event)
        if event.odd:
            log.error("link_is_none", recording_id=event.recording and event.recording.id, fields=event.odd)
        if outcome is Outcome.ANNOUNCED:
            self._announced()
        recording_id = event.recording.id if event.recording else None
        return 200, {"outcome": outcome, "recording_id": recording_id}, event.name


def _unsupported(request: Request) -> str | None:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        return "content-type is not application/json"
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return "content-encoding is not supported: the signature is over the bytes as sent"
    return None


async def _body(request: Request) -> bytes | None:
    """The raw body, or None as soon as it is known to be too large."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > BODY_LIMIT:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _header(request: Request, name: str) -> str | None:
    value = request.headers.get(name)
    return value[:200].replace("\x00", "") if value else None


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
