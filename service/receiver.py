"""The public ASGI app: takes deliveries. A 2xx means that the event is committed."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final, Protocol

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Send

from service.apps import App
from service.errors import DeliveryMalformed, KeyUnavailable, LedgerUnavailable, SignatureInvalid
from service.event import EVENTS, parse
from service.ledger.intake import Intake, Outcome
from service.model import Delivery, Event, Provider, Scope
from service.telemetry import Metrics
from service.tracing import Tracing, committing

FAMILIES: Final[Mapping[str, Provider]] = {"dyte": Provider.DYTE, "rtk": Provider.REALTIMEKIT}
"""The first part of the headers ``*-signature``, ``*-uuid``, ``*-webhook-id``, and whose they are."""

BODY_LIMIT: Final = 1024 * 1024
ANSWER_S: Final = 2.7
"""Every answer is given within this time of the request's head; the provider gives up after 3 s."""

# One for all answers: JSONResponse makes a new one for each.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

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
        senders: Mapping[KeyRing, Sequence[App]],
        intake: Intake,
        *,
        metrics: Metrics,
        announced: Callable[[Event], None],
        tracing: Tracing | None = None,
    ) -> None:
        """``senders``: the apps whose deliveries are taken, by the keys that sign them.

        ``announced`` is called with each event that brought something new.
        """
        self._senders = senders
        self._intake = intake
        self._metrics = metrics
        self._announced = announced
        self._tracing = tracing
        self._starlette = Starlette(
            routes=[
                Route("/webhook", self._webhook, methods=["POST"]),
                Route("/healthz", self._healthz, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _problem},
        )
        self._starlette.router.redirect_slashes = False  # to a provider a redirect is a failure
        # To Prometheus a first value is no increase: what may be counted is there at 0.
        for app in {app for theirs in senders.values() for app in theirs}:
            for provider in (app.provider,) if app.provider else Provider:
                for event_name, outcome in product(EVENTS, Outcome):
                    metrics.deliveries.labels(app.name, provider, event_name, outcome)

    async def app(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI app. A delivery goes straight to its endpoint: by the router it costs a tenth more."""
        if scope["type"] == "http" and scope["path"] == "/webhook" and scope["method"] == "POST":
            answer = await self._webhook(Request(scope, receive))
            await answer(scope, receive, send)
        else:
            await self._starlette(scope, receive, send)

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _webhook(self, request: Request) -> Response:
        began_at = time.monotonic()
        headers = _headers(request)
        families = [name for name in FAMILIES if f"{name}-signature" in headers]
        provider = FAMILIES[families[0]] if families else None
        body: bytes | None = None
        given = _refused(headers, families)
        try:
            if given is None:
                async with asyncio.timeout(ANSWER_S):
                    body = await _body(request)
                    given = (
                        _TOO_LARGE if body is None else await self._taken(headers, families, body, began_at)
                    )
        except ClientDisconnect:
            given = _Given(408, {"error": "the sender closed the connection"})
        except TimeoutError:
            late = "the body was not sent" if body is None else "the delivery could not be stored"
            given = _Given(408 if body is None else 503, {"error": f"{late} in time"})
        except Exception as error:
            # A fault of ours: the sender shall try again, and the log tells where it was.
            log.error("delivery_broke_off", exc_info=error)
            given = _Given(503, {"error": "internal fault"})
        outcome = str(given.answer.get("outcome") or given.status)
        known = given.event_name if given.event_name in EVENTS else "other" if given.event_name else "none"
        self._metrics.deliveries.labels(given.app or "none", provider or "none", known, outcome).inc()
        log.log(
            logging.INFO if given.status < 400 else logging.WARNING,
            "delivery_answered",
            status=given.status,
            app=given.app,
            provider=provider,
            event_name=given.event_name,
            milliseconds=round((time.monotonic() - began_at) * 1000, 1),
            **{**given.ids, **given.answer},
        )
        # What is left of a refused body is not read: the connection has no further use.
        is_last = given.status in (408, 413)
        return Response(
            _ENCODER.encode(given.answer),
            given.status,
            {"Connection": "close"} if is_last else None,
            "application/json",
        )

    async def _taken(
        self, headers: Mapping[str, str], families: list[str], body: bytes, began_at: float
    ) -> "_Given":
        verifying_at = time.monotonic()
        try:
            try:
                family, apps = await self._verified(headers, families, body)
            finally:
                verified_at = time.monotonic()
                self._metrics.verification_seconds.observe(verified_at - verifying_at)
            webhook_id = headers.get(f"{family}-webhook-id")
            named = [app for app in apps if webhook_id in app.webhook_ids]
            named = named or [app for app in apps if not app.webhook_ids]
            if not named:
                return _Given(401, {"error": f"{family}-webhook-id is not one that is accepted here"})
            return await self._committed(headers, family, body, named, (began_at, verifying_at, verified_at))
        except SignatureInvalid as error:
            return _Given(401, {"error": str(error)})
        except DeliveryMalformed as error:
            return _Given(400, {"error": str(error), "field": error.field})
        except (KeyUnavailable, LedgerUnavailable) as error:
            log.error("delivery_not_taken", error=str(error))
            return _Given(503, {"error": str(error).partition(":")[0]})

    async def _verified(
        self, headers: Mapping[str, str], families: list[str], body: bytes
    ) -> tuple[str, list[App]]:
        """The family whose signature holds, and the apps that the key may sign for.

        Raises ``KeyUnavailable`` if one of them could not be judged, else ``SignatureInvalid``.
        """
        failure: SignatureInvalid | KeyUnavailable | None = None
        for family in families:
            signature = headers[f"{family}-signature"].strip()
            apps: list[App] = []
            for keys, theirs in self._senders.items():
                try:
                    await keys.check(FAMILIES[family], body, signature)
                except (SignatureInvalid, KeyUnavailable) as error:
                    failure = failure if isinstance(failure, KeyUnavailable) else error
                else:
                    apps += theirs
            if apps:
                return family, apps
        assert failure is not None  # there is at least one family, and one key ring
        raise failure

    async def _committed(
        self,
        headers: Mapping[str, str],
        family: str,
        body: bytes,
        apps: Sequence[App],
        moments: tuple[float, float, float],
    ) -> "_Given":
        """``moments``: when the delivery began, its verifying, and its end."""
        event = parse(body, FAMILIES[family])
        app = _owner(apps, event, FAMILIES[family])
        if event.recording is not None and event.recording.app != app.name:
            event = replace(event, recording=replace(event.recording, app=app.name))
        delivery = Delivery(
            provider=FAMILIES[family],
            delivery_id=_short(headers.get(f"{family}-uuid")),
            webhook_id=_short(headers.get(f"{family}-webhook-id")),
            app=app.name,
        )
        with committing(self._tracing, event, headers.get("traceparent"), moments):
            outcome = await self._intake.record(delivery, event)
        if event.odd:
            log.error("link_is_none", recording_id=event.recording and event.recording.id, fields=event.odd)
        if outcome in (Outcome.ANNOUNCED, Outcome.NOTED):
            self._announced(event)
        scope = event.recording.scope if event.recording else Scope.RECORDING
        about = {f"{scope}_id": event.recording.id if event.recording else None}
        return _Given(200, {"outcome": outcome, **about}, event.name, app.name, self._ids(event, delivery))

    def _ids(self, event: Event, delivery: Delivery) -> dict[str, str | None]:
        """What the log is told beside the answer, so that a delivery's line is found by any id."""
        recording = event.recording
        ids = {"delivery_id": delivery.delivery_id}
        if recording is not None:
            ids |= {"meeting_id": recording.meeting_id, "session_id": recording.session_id}
            if self._tracing is not None and event.artifacts:
                ids["trace_id"] = self._tracing.trace_id(recording.id)
        return {name: value for name, value in ids.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Given:
    """What a delivery is answered, and what is known of it."""

    status: int
    answer: dict[str, str | None]
    event_name: str | None = None
    app: str | None = None
    ids: Mapping[str, str | None] = field(default_factory=dict)


_TOO_LARGE = _Given(413, {"error": f"the body is larger than {BODY_LIMIT} bytes"})


def _owner(apps: Sequence[App], event: Event, provider: Provider) -> App:
    """Whose it is, of those that its key and its webhook id allow."""
    # Both providers' own keys are in one ring.
    apps = [app for app in apps if app.provider in (None, provider)] or apps
    organization = event.recording.organization_id if event.recording else None
    known = [app for app in apps if app.organization_id is not None and app.organization_id == organization]
    # An app that names no organisation takes what no other does.
    others = [app for app in apps if app.organization_id is None]
    if event.recording is not None and not known and not others and len(apps) > 1:
        log.warning("app_unclear", organization_id=organization, taken_for=apps[0].name)
    return [*known, *others, *apps][0]


def _headers(request: Request) -> Mapping[str, str]:
    """The fields of the head; of those with the same name the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.headers.raw)}


def _refused(headers: Mapping[str, str], families: Sequence[str]) -> _Given | None:
    """What is wrong with the head, if anything is."""
    content_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        return _Given(415, {"error": "content-type is not application/json"})
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        told = "content-encoding is not supported: the signature is over the bytes as sent"
        return _Given(415, {"error": told})
    if not families:
        return _Given(401, {"error": "there is no dyte-signature or rtk-signature header"})
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > BODY_LIMIT:
        return _TOO_LARGE
    return None


async def _body(request: Request) -> bytes | None:
    """The raw body, or None as soon as it is known to be too large."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _short(value: str | None) -> str | None:
    return value[:200].replace("\x00", "") if value else None


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
