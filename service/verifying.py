"""Reading back what people asked to have verified, beside the worker, one copy at a time."""

import asyncio

import structlog

from service.destination import Destinations
from service.errors import (
    ArchiverError,
    LedgerUnavailable,
    ObjectMissing,
    StorageMismatch,
    StorageUnavailable,
)
from service.ledger.verifications import Verifications
from service.model import Archived
from service.readback import read_back
from service.telemetry import Metrics

_POLL_S = 5.0
_AGAIN_S = 300.0
"""When what could not be read is tried again: it says nothing of the file."""

log = structlog.get_logger()


class Verifier:
    """Takes what is to be verified, the longest due first; each copy is one process's at a time."""

    def __init__(
        self, ledger: Verifications, destinations: Destinations, *, lease_s: float, metrics: Metrics
    ) -> None:
        """``lease_s``: how long a silent process keeps a copy from the others."""
        self._ledger = ledger
        self._destinations = destinations
        self._lease_s = lease_s
        self._metrics = metrics

    async def run(self) -> None:
        """Verify until cancelled."""
        while True:
            try:
                taken = await self._ledger.take(lease_s=self._lease_s)
                if taken is not None:
                    await self._verify(*taken)
                    continue
            except LedgerUnavailable as error:
                log.warning("verifications_not_read", error=str(error))
            await asyncio.sleep(_POLL_S)

    async def _verify(self, name: str, entry: Archived) -> None:
        told = {"artifact": entry.artifact_id, "storage": name, "key": entry.key}
        keeping = asyncio.create_task(self._keep(name, entry))
        try:
            fault = await self._fault(name, entry)
        except ArchiverError as error:
            keeping.cancel()
            await self._ledger.put_off(name, entry, delay_s=_AGAIN_S)
            self._metrics.verified.labels("unread").inc()
            log.warning(
                "copy_unread", **told, error=str(error), mend=error.mend or None, next_in_seconds=_AGAIN_S
            )
            return
        finally:
            keeping.cancel()
        await self._ledger.found(name, entry, fault)
        self._metrics.verified.labels("faulty" if fault else "whole").inc()
        if fault:
            log.error("copy_faulty", **told, error=fault)
        else:
            log.info("copy_verified", **told, size_bytes=entry.size)

    async def _fault(self, name: str, entry: Archived) -> str | None:
        """What is wrong with a copy; raises what keeps it from being read."""
        await self._destinations.open([name])
        if name not in self._destinations:
            raise StorageUnavailable(
                "it is not configured any more", mend="name it in ARCHIVER_ROUTING_FILE, with its secrets"
            )
        try:
            await read_back(self._destinations[name].storage, entry, lambda _size: None)
        except (ObjectMissing, StorageMismatch) as error:
            return str(error)
        return None

    async def _keep(self, name: str, entry: Archived) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._ledger.put_off(name, entry, delay_s=self._lease_s)
            except LedgerUnavailable as error:
                log.warning("verification_not_kept", error=str(error))
