"""Proves that a worker stops when its lease is over, also where nobody tells it."""

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

from service.errors import LedgerUnavailable
from service.model import Artifact, Claim, Kind, Provider, Recording
from service.telemetry import Metrics
from service.worker import Worker

LEASE_S = 0.3
GIVE_UP_S = 20.0


class Silent:
    """Work that is claimed once; what renews it comes to nothing in the way that `renewed` says."""

    def __init__(self, *renewed: str) -> None:
        self.renewed = list(renewed)
        self.is_claimed = False
        self.ended = asyncio.Event()
        self.stopped_after_s = 0.0
        self.destinations = SimpleNamespace(troubled=frozenset(), doubtful=frozenset())

    async def claim(self, _limit: int, *, avoided: Collection[str], doubted: Collection[str]) -> list[Claim]:
        """One, once."""
        assert not avoided
        assert not doubted
        if self.is_claimed:
            return []
        self.is_claimed = True
        artifact = Artifact("one", Kind.VIDEO, "https://files.test/one", "one.mp4")
        recording = Recording("one", Provider.DYTE, "UPLOADED", app="app")
        return [
            cast("Claim", SimpleNamespace(id="one/video", artifact=artifact, recording=recording, epoch=1))
        ]

    async def renew(self, _claim: Claim) -> None:
        """Answer, refuse, or do neither."""
        answer = self.renewed.pop(0) if self.renewed else "silence"
        if answer == "refusal":
            raise LedgerUnavailable("away")
        if answer == "silence":
            await asyncio.Event().wait()

    async def archive(self, _claim: Claim) -> None:
        """Never done."""
        began_at = time.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped_after_s = time.monotonic() - began_at
            self.ended.set()


async def worked(work: Silent) -> float:
    """Let a worker do this until it stops by itself; returns after how many seconds it did."""
    draining = asyncio.Event()
    both: Any = work
    worker = Worker(
        both, both, at_once=1, lease_s=LEASE_S, draining=draining, metrics=Metrics(),
        clock=time.monotonic, jitter=lambda: 0.5,
    )  # fmt: skip
    running = asyncio.create_task(worker.run())
    try:
        await asyncio.wait_for(work.ended.wait(), GIVE_UP_S)
    finally:
        draining.set()
        running.cancel()
        await asyncio.wait([running])
    return work.stopped_after_s


async def test_a_lease_that_a_silent_ledger_does_not_renew_ends_in_time() -> None:
    assert await worked(Silent()) >= LEASE_S * 0.9


async def test_it_counts_from_the_last_renewal_that_was_answered() -> None:
    assert await worked(Silent("answer", "answer", "refusal")) >= LEASE_S * 1.5
