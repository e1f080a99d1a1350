"""Looks for what the customer's own system is to be told that no single step of the work brings about."""

import asyncio

import structlog

from service.errors import LedgerUnavailable
from service.ledger import Duties, Notices, Outbox
from service.telemetry import Metrics

_EVERY_S = 60.0
_DUTY = "notices"

log = structlog.get_logger()


class Lookout:
    """Looks once a minute. How many notices wait each process says; one of them looks for new ones."""

    def __init__(
        self,
        notices: Notices,
        outbox: Outbox,
        duties: Duties,
        metrics: Metrics,
        *,
        failing_s: float,
        near_s: float,
    ) -> None:
        """As :meth:`~service.ledger.Notices.look` has them."""
        self._notices = notices
        self._outbox = outbox
        self._duties = duties
        self._metrics = metrics
        self._failing_s = failing_s
        self._near_s = near_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                log.warning("notices_not_looked_for", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Look once. Raises :class:`~service.errors.LedgerUnavailable`."""
        if await self._duties.take(_DUTY):
            await self._notices.look(failing_s=self._failing_s, near_s=self._near_s)
            # A little sooner than everybody looks: else every other look would find it not due yet.
            await self._duties.done(_DUTY, again_in_s=_EVERY_S / 2)
        self._metrics.waiting_notices.set(await self._outbox.waiting())
