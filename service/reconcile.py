"""Asking the provider what it has, so that nothing depends on a delivery that may never come."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from service.artifacts import RETENTION_S
from service.errors import ArchiverError, LedgerUnavailable, ProviderError, ProviderMissing, ProviderRejected
from service.ledger import Duties, Inquiry, Intake
from service.ledger.intake import Outcome
from service.model import Artifact, Event, Kind, Recording, Scope
from service.telemetry import Metrics

WINDOW_S = RETENTION_S + 2 * 24 * 3600.0
"""How old what is asked for may be: kept for 7 days after up to 24 hours of recording; and a day to spare."""
SESSION_KINDS = frozenset({Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY})

_BATCH = 100
_POLL_S = 15.0
_RETRY_S = 60.0
_TOGETHER_S = 1.0
"""Deliveries that come so close together are one look."""
_AGAIN_S = 900.0
_ASKED_AT_ONCE = 4

log = structlog.get_logger()


class ListingApi(Protocol):
    """What is asked of a provider's API: :class:`~service.provider.ProviderApi`, the newest first."""

    def recordings(self, *, meeting_id: str | None = None) -> AsyncIterator[list[Event]]:
        """Every recording, in pages."""
        ...

    def sessions(self) -> AsyncIterator[list[Recording]]:
        """Every session, in pages."""
        ...

    async def recording(self, recording_id: str) -> Event:
        """One recording."""
        ...

    async def session_file(self, session_id: str, kind: Kind) -> Artifact | None:
        """A session's chat, transcript or summary; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """The recordings and sessions of which the provider is asked; moments since the epoch."""

    since: float
    until: float = math.inf
    meeting_id: str | None = None

    def holds(self, recording: Recording) -> bool:
        """Whether it began in the span; one that does not tell when does."""
        began_at = _began_at(recording)
        return began_at is None or self.since <= began_at <= self.until


async def listed(api: ListingApi, span: Span, *, now: float) -> AsyncIterator[list[Event]]:
    """The recordings of a span, in pages, without links that are past their time.

    A recording that ended and has no file any more is left out. Raises
    :class:`~service.errors.ProviderError`; what came before is good.
    """
    async for page in api.recordings(meeting_id=span.meeting_id):
        known = [event for event in page if event.recording is not None]
        offered = [_offered(event, now) for event in known if span.holds(_recording(event))]
        yield [event for event in offered if event is not None]
        if known and all((_began_at(_recording(event)) or math.inf) < span.since for event in known):
            return  # the newest come first


def by_expiry(events: Sequence[Event]) -> list[Event]:
    """The same events, those that the provider deletes next first."""
    return sorted(
        events,
        key=lambda event: min((file.expires_at or math.inf for file in event.artifacts), default=math.inf),
    )


class Reconciler:
    """Compares the ledger with what the apps' APIs list, one process at a time for each app.

    ``clock`` is the time of day in seconds since the epoch. ``news`` is called with each event that brought
    something.
    """

    def __init__(
        self,
        apis: Sequence[tuple[str, ListingApi]],
        duties: Duties,
        intake: Intake,
        *,
        kinds: Collection[Kind],
        every_s: float,
        news: Callable[[Event], None],
        metrics: Metrics,
        clock: Callable[[], float],
        woken: asyncio.Event,
    ) -> None:
        """``apis`` are those with credentials, by their apps' names; ``every_s`` 0: only inquiries.

        ``woken`` is set when there is something to ask for: it is done now, not at the next poll.
        """
        self._apis = apis
        self._duties = duties
        self._intake = intake
        self._session_kinds = SESSION_KINDS & set(kinds)
        self._every_s = every_s
        self._news = news
        self._metrics = metrics
        self._clock = clock
        self._woken = woken

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._woken.clear()
            goes_on = False
            for app, api in self._apis:
                if self._every_s:
                    compare = partial(self._compare, app, api)
                    await self._duty(app, f"reconcile {app}", self._every_s, compare)
                if await self._has_inquiries(app):
                    asked = await self._duty(app, f"ask {app}", 0.0, partial(self._ask, app, api))
                    goes_on = goes_on or asked
            if goes_on:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._woken.wait()
                    await asyncio.sleep(_TOGETHER_S)

    async def hand_over(self, app: str, events: Sequence[Event]) -> int:
        """Commit what the API said, soonest expiry first; returns in how many there were new files."""
        found = 0
        ordered = by_expiry(events)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            for event, outcome in zip(batch, await self._intake.learn(batch), strict=True):
                if outcome in (Outcome.ANNOUNCED, Outcome.NOTED):
                    self._news(event)
                if outcome is Outcome.ANNOUNCED:
                    found += 1
                    self._metrics.found.labels(app).inc()
        return found

    async def _duty(self, app: str, name: str, every_s: float, job: Callable[[], Awaitable[None]]) -> bool:
        """Do ``job`` if it is due and nobody does it, or say what kept it; returns whether it was done."""
        try:
            if not await self._duties.take(name):
                return False
            again_in_s, error = every_s, None
            try:
                await self._duties.holding(name, job)
            except ProviderError as failure:
                error = str(failure)
                again_in_s = failure.retry_after_s or min(_RETRY_S, max(every_s, _POLL_S))
                log.warning("provider_not_asked", app=app, duty=name, error=error, mend=failure.mend or None)
            except asyncio.CancelledError:
                # Nobody need wait for the lease to run out.
                await asyncio.shield(self._duties.done(name, again_in_s=0.0))
                raise
            except ArchiverError:
                raise
            except Exception as fault:
                # A fault of ours in one duty keeps nobody from the others.
                error, again_in_s = type(fault).__name__, max(every_s, _RETRY_S)
                log.error("duty_broke_off", app=app, duty=name, exc_info=fault)
            await self._duties.done(name, again_in_s=again_in_s, error=error)
        except ArchiverError as failure:
            log.warning("duty_not_done", duty=name, error=str(failure))
            return False
        return error is None

    async def _has_inquiries(self, app: str) -> bool:
        try:
            return bool(await self._duties.inquiries(app, limit=1))
        except LedgerUnavailable as failure:
            log.warning("duty_not_done", duty=f"ask {app}", error=str(failure))
            return False

    async def _compare(self, app: str, api: ListingApi) -> None:
        span = Span(since=self._clock() - WINDOW_S)
        events: list[Event] = []
        failure = None
        try:
            async for page in listed(api, span, now=self._clock()):
                events += page
        except ProviderError as error:
            failure = error  # what came before is handed over nevertheless
        found = await self.hand_over(app, events)
        if failure is not None:
            raise failure
        sessions = await self._sessions(app, api, span) if self._session_kinds else 0
        self._metrics.reconciled_at.labels(app).set(self._clock())
        log.info("reconciled", app=app, recordings=len(events), found=found, sessions=sessions)

    async def _sessions(self, app: str, api: ListingApi, span: Span) -> int:
        """Note the sessions that ended; what they left behind is asked for one by one."""
        seen = 0
        async for page in api.sessions():
            ended = [session for session in page if session.status == "ENDED" and span.holds(session)]
            await self.hand_over(app, [Event("api", session) for session in ended])
            seen += len(ended)
            if page and all((_began_at(session) or math.inf) < span.since for session in page):
                break
        return seen

    async def _ask(self, app: str, api: ListingApi) -> None:
        """Ask for some of what is due; the rest has its turn after whatever else is."""
        gate = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def one(inquiry: Inquiry) -> None:
            async with gate:
                await self._inquire(app, api, inquiry)

        inquiries = await self._duties.inquiries(app, limit=_BATCH)
        for outcome in await asyncio.gather(*map(one, inquiries), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _inquire(self, app: str, api: ListingApi, inquiry: Inquiry) -> None:
        recording = inquiry.recording
        if recording.scope is Scope.RECORDING:
            try:
                event = await api.recording(recording.id)
            except (ProviderMissing, ProviderRejected):
                event = Event("api")
            await self.hand_over(app, [event])
            if not event.artifacts:
                log.info("recording_not_offered", app=app, recording_id=recording.id)
            await self._duties.answered(recording.id, again_in_s=None)
            return
        missing = [kind for kind in Kind if kind in self._session_kinds - inquiry.known]
        files = [await _session_file(api, recording.id, kind) for kind in missing]
        there = tuple(file for file in files if file is not None)
        if there:
            await self.hand_over(app, [Event("api", recording, there)])
        is_complete = len(there) == len(missing) or inquiry.ended_s_ago > RETENTION_S
        # The older the session, the less is to be expected.
        again_in_s = None if is_complete else max(_AGAIN_S, inquiry.ended_s_ago / 2)
        await self._duties.answered(recording.id, again_in_s=again_in_s)


async def _session_file(api: ListingApi, session_id: str, kind: Kind) -> Artifact | None:
    try:
        return await api.session_file(session_id, kind)
    except ProviderRejected:
        return None  # a session that the API does not take; it is asked ever more seldom


def _recording(event: Event) -> Recording:
    assert event.recording is not None
    return event.recording


def _began_at(recording: Recording) -> float | None:
    return recording.invoked_at or recording.started_at or recording.stopped_at


def _offered(event: Event, now: float) -> Event | None:
    """The event without what is past its time; None if that is all there was to archive."""
    recording = _recording(event)
    living = tuple(file for file in event.artifacts if file.expires_at is None or file.expires_at > now)
    if recording.status == "UPLOADED" and not living:
        ended_at = recording.stopped_at or _began_at(recording)
        if event.artifacts or (ended_at is not None and ended_at + RETENTION_S < now):
            return None
    return replace(event, artifacts=living)
