"""Claims what is due, keeps the leases, and settles how each try ended."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from service.archive import Archivist
from service.destination import Destinations
from service.ending import ids_of
from service.errors import ArchiverError, Draining, LeaseLost, LedgerUnavailable
from service.ledger import Trouble, Work
from service.logs import without_signatures
from service.model import Claim
from service.retry import artifact_delay_s
from service.telemetry import Metrics, family_of
from service.tracing import Tracing

_POLL_S = 2.0
_LEDGER_PAUSE_S = 5.0
_T = TypeVar("_T")

log = structlog.get_logger()


class Worker:
    """Archives up to ``at_once`` artifacts at a time until it is drained.

    ``clock`` counts monotonic seconds; ``jitter`` is random in [0, 1). ``draining`` is shared with the
    transfer: once set, nothing new is begun and :meth:`run` returns when all is given back.
    """

    def __init__(
        self,
        work: Work,
        archivist: Archivist,
        *,
        at_once: int,
        lease_s: float,
        draining: asyncio.Event,
        metrics: Metrics,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        tracing: Tracing | None = None,
    ) -> None:
        self._work = work
        self._archivist = archivist
        self._at_once = at_once
        self._lease_s = lease_s
        self._draining = draining
        self._metrics = metrics
        self._clock = clock
        self._jitter = jitter
        self._tracing = tracing
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Claim] = {}

    @property
    def destinations(self) -> Destinations:
        """The storages that it has open."""
        return self._archivist.destinations

    def wake(self) -> None:
        """Something may be due: look now, not at the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Work until draining is set; then return when every try has ended and every lease is given back."""
        try:
            while not self._draining.is_set():
                self._woken.clear()
                pause_s = await self._claim_and_start()
                await self._until_something_happens(pause_s)
            if self._running:
                await asyncio.wait(self._running)
        finally:
            await self._stop_now()

    async def _claim_and_start(self) -> float:
        """Start what is due; returns how long nothing more need be asked for."""
        free = self._at_once - len(self._running)
        if free <= 0:
            return _POLL_S
        claimed_at = self._clock()
        try:
            storages = self._archivist.destinations
            claims = await self._work.claim(free, avoided=storages.troubled, doubted=storages.doubtful)
        except LedgerUnavailable as error:
            log.error("claim_failed", error=str(error))
            return _LEDGER_PAUSE_S
        for claim in claims:
            task = asyncio.create_task(self._run_one(claim, claimed_at), name=claim.id)
            self._running[task] = claim
            task.add_done_callback(self._ended)
        return _POLL_S

    async def _until_something_happens(self, pause_s: float) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (self._woken, self._draining)]
        try:
            await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self.wake()
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("try_broke_off", artifact=task.get_name(), exc_info=fault)

    async def _stop_now(self) -> None:
        """Cancel what still runs and give its leases back; if that is cut short they run out."""
        claims = list(self._running.values())
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            with contextlib.suppress(LedgerUnavailable):  # then the leases run out
                await self._work.release(claims)

    async def _run_one(self, claim: Claim, claimed_at: float) -> None:
        recording_id, kind = claim.recording.id, claim.artifact.kind
        with contextlib.ExitStack() as within:
            ids = {"artifact": claim.id, **ids_of(claim.recording), "epoch": claim.epoch}
            if self._tracing is not None:
                ids["trace_id"] = self._tracing.trace_id(recording_id)
                job = self._tracing.job("try", recording_id, artifact=claim.id, kind=kind, epoch=claim.epoch)
                within.enter_context(job)
            within.enter_context(structlog.contextvars.bound_contextvars(**ids))
            try:
                await self._holding(claim, claimed_at, self._archivist.archive)
            except Draining:
                await self._settled(claim, "given_back", lambda: self._work.release([claim]))
            except LeaseLost:
                self._count(claim, "lease_lost")
                log.warning("lease_lost")
            except Exception as error:  # every way a try can end is settled, a fault of ours too
                await self._failed(claim, claimed_at, error)

    async def _holding(self, claim: Claim, claimed_at: float, job: Callable[[Claim], Awaitable[_T]]) -> _T:
        """Run ``job`` while the lease is kept; cancel it when the lease is lost."""
        running = asyncio.ensure_future(job(claim))
        keeping = asyncio.create_task(self._keep(claim, claimed_at))
        try:
            await asyncio.wait([running, keeping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                keeping.result()  # raises LeaseLost, or what broke the keeping
            return await running
        finally:
            for task in (running, keeping):
                task.cancel()
            await asyncio.wait([running, keeping])

    async def _keep(self, claim: Claim, renewed_at: float) -> None:
        """Renew at a third of the lease; the lease counts from before each request was sent.

        A ledger that is silent is not waited for beyond that: what comes then is another's work.
        """
        while True:
            await asyncio.sleep(self._lease_s / 3)
            asked_at = self._clock()
            # Whoever slept past the end of it, as all may have, still asks whether it is another's.
            left_s = renewed_at + self._lease_s - asked_at
            try:
                async with asyncio.timeout(left_s if left_s > 0 else self._lease_s / 3):
                    await self._work.renew(claim)
                renewed_at = asked_at
            except TimeoutError as error:
                raise LeaseLost(claim.id) from error
            except LedgerUnavailable as error:
                if self._clock() - renewed_at >= self._lease_s:
                    raise LeaseLost(claim.id) from error
                log.warning("renewal_failed", error=str(error))

    async def _failed(self, claim: Claim, claimed_at: float, error: Exception) -> None:
        expired = await self._is_over(claim, claimed_at)
        delay_s = artifact_delay_s(error, claim.attempts + 1, expired=expired, jitter=self._jitter())
        if self._tracing is not None:
            self._tracing.tell(error=error)
        if delay_s is None:
            await self._settled(
                claim,
                "expired",
                lambda: self._holding(claim, self._clock(), partial(self._archivist.give_up, error=error)),
            )
            return
        mend = error.mend if isinstance(error, ArchiverError) else ""
        # What no one foresaw may name a link whole, and the ledger's pages show what it keeps.
        told = str(error) if isinstance(error, ArchiverError) else f"{type(error).__name__}: {error}"
        told = without_signatures(told)
        self._metrics.retries.labels(family_of(error)).inc()
        log.warning(
            "try_failed",
            kind=claim.artifact.kind,
            attempts=claim.attempts + 1,
            mend=mend or None,
            next_in_seconds=round(delay_s, 1),
            **({"error": told} if isinstance(error, ArchiverError) else {"exc_info": error}),
        )
        await self._settled(
            claim,
            "failed",
            lambda: self._work.try_later(claim, Trouble(delay_s, told, mend)),
        )

    async def _is_over(self, claim: Claim, claimed_at: float) -> bool:
        """Whether the provider's own time limit has passed, also as a renewed link tells it."""
        if claim.now + (self._clock() - claimed_at) < claim.expires_at:
            return False
        try:
            current = await self._work.current(claim)
        except ArchiverError:
            return False
        return current.now >= current.expires_at

    async def _settled(self, claim: Claim, outcome: str, settle: Callable[[], Awaitable[None]]) -> None:
        """Write the outcome. If that fails the lease runs out, and the artifact is claimed again."""
        self._count(claim, outcome)
        try:
            await settle()
        except ArchiverError as error:
            log.warning("outcome_not_written", outcome=outcome, error=str(error))

    def _count(self, claim: Claim, outcome: str) -> None:
        if self._tracing is not None:
            self._tracing.tell(outcome=outcome)
        self._metrics.artifacts.labels(claim.recording.app, claim.artifact.kind, outcome).inc()
