"""The alarm for files that the provider deletes soon and that are stored nowhere yet; what is to be done."""

import asyncio
import math
from typing import Final

import structlog

from service.errors import LedgerUnavailable
from service.ledger import Duties, View
from service.telemetry import Metrics

ALARM_S: Final = 24 * 3600.0
"""Less time left than this is an alarm."""

_EVERY_S = 60.0
_TOLD_EVERY_S = 3600.0
_LIMIT = 1000

log = structlog.get_logger()


class Deadlines:
    """Looks once a minute. The metrics are each process's own; one of them tells the log, once an hour."""

    def __init__(self, view: View, duties: Duties, metrics: Metrics) -> None:
        self._view = view
        self._duties = duties
        self._metrics = metrics
        self._apps: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                log.warning("deadlines_not_read", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Look once. Raises :class:`~service.errors.LedgerUnavailable`."""
        self._metrics.due.set(await self._view.backlog())
        waiting = await self._view.waiting()
        for state, count in waiting.counts.items():
            self._metrics.backlog.labels(state).set(count)
        self._metrics.oldest_waiting.set(waiting.oldest_s)
        nearest = await self._view.deadlines(within_s=math.inf, limit=1)
        self._metrics.nearest_deadline.set(min((each.expires_in_s for each in nearest), default=math.inf))
        near = await self._view.deadlines(within_s=ALARM_S, limit=_LIMIT)
        counts = {app: sum(each.app == app for each in near) for app in {each.app for each in near}}
        self._apps |= counts.keys()
        for app in self._apps:
            self._metrics.near_deadline.labels(app).set(counts.get(app, 0))
        if near and await self._duties.take("deadlines"):
            for each in near:
                log.error(
                    "deadline_near",
                    artifact=each.artifact_id,
                    app=each.app,
                    seconds_left=round(each.expires_in_s),
                    error=each.error,
                )
            await self._duties.done("deadlines", again_in_s=_TOLD_EVERY_S)
