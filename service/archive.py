"""One artifact, from its claim to its manifests. Every step may run twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from service import __version__
from service.destination import Destination
from service.errors import (
    NameTaken,
    ObjectMissing,
    SourceError,
    StorageError,
    StorageMismatch,
)
from service.ledger import Trouble, View, Work
from service.manifest import Manifest, parse, render
from service.model import Attributes, Claim, State
from service.moving import Mover
from service.naming import safe
from service.retry import artifact_delay_s
from service.routing import Routing
from service.storage import Storage
from service.telemetry import Metrics
from service.transfer import Target, checksum_of

_MANIFEST_LIMIT = 1024 * 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Archivist:
    """Archives claimed artifacts, a copy in each storage that the routing names.

    ``jitter`` is random in [0, 1).
    """

    work: Work
    view: View
    mover: Mover
    destinations: Mapping[str, Destination]
    routing: Routing
    metrics: Metrics
    jitter: Callable[[], float]

    async def archive(self, claim: Claim) -> None:
        """Store every copy that is due, and write the manifests of which this was the last; end the claim.

        What fails in one storage is settled for that copy alone. Raises
        :class:`~service.errors.ArchiverError` if the source fails, or a manifest: then the claim is still
        held, and what was reached by then is in the ledger.
        """
        if claim.state is State.EXPIRED:
            await self._conclude(claim, expired=True)
            await self.work.finish(claim)
            return
        claim = await self._routed(claim)
        due = [copy for copy in claim.copies if copy.state is State.WAITING and copy.is_due]
        targets = [self.mover.target(claim, copy) for copy in due]
        failure = None
        try:
            await self.mover.store(claim, targets)
        except SourceError as error:
            failure = error  # what is stored by now gets its manifest nevertheless
        await self._conclude(claim, targets)
        if failure is not None:
            raise failure
        await self.work.finish(claim)

    async def give_up(self, claim: Claim) -> None:
        """End a claim whose file is gone for certain and stored nowhere, and free what was moved of it."""
        claim = await self.work.current(claim)
        begun = [copy for copy in claim.copies if copy.upload_id and copy.storage in self.destinations]
        for target in [self.mover.target(claim, copy) for copy in begun]:
            try:
                await self.mover.free(claim, target, keep_key=True)
            except StorageError as error:
                log.warning("upload_left", storage=target.destination.name, error=str(error))
        await self._conclude(claim, expired=True)
        await self.work.finish(claim)

    async def _routed(self, claim: Claim) -> Claim:
        """The claim with its copies: chosen once, and again only for storages that are no longer there."""
        left = [copy for copy in claim.copies if copy.storage not in self.destinations]
        drop = [copy.storage for copy in left if copy.state is State.WAITING]
        if claim.copies and not drop:
            return claim
        names = self.routing.storages_for(claim.artifact, claim.recording)
        await self.work.route(claim, names, drop=drop)
        return await self.work.current(claim)

    async def _conclude(self, claim: Claim, targets: Sequence[Target] = (), *, expired: bool = False) -> None:
        """Settle how each copy went, and write the manifests for which this was the last thing to come."""
        troubles = {
            target.destination.name: self._trouble(claim, target, target.failure)
            for target in targets
            if target.failure is not None
        }
        failures = []
        for name in await self.work.settle(claim, troubles, expired=expired):
            if name not in self.destinations:
                log.error("storage_not_configured", storage=name)
                continue
            try:
                await self._write_manifest(claim, self.destinations[name])
            except StorageError as error:
                self.destinations[name].failed(error)
                failures.append(error)
        if failures:
            raise failures[0]

    def _trouble(self, claim: Claim, target: Target, error: StorageError) -> Trouble:
        """When a copy is tried again. One put off with its whole storage is not told in the log."""
        name = target.destination.name
        tries = next(copy.attempts for copy in claim.copies if copy.storage == name) + target.was_tried
        delay_s = artifact_delay_s(error, max(tries, 1), expired=False, jitter=self.jitter())
        assert delay_s is not None  # a storage's failure is never the end
        if target.was_tried:
            target.destination.failed(error)
            self.metrics.artifacts.labels(claim.artifact.kind, "failed").inc()
            log.warning(
                "try_failed",
                storage=name,
                kind=claim.artifact.kind,
                attempts=tries,
                error=str(error),
                mend=error.mend or None,
                next_in_seconds=round(delay_s, 1),
            )
        return Trouble(delay_s, str(error), error.mend, was_tried=target.was_tried)

    async def _write_manifest(self, claim: Claim, destination: Destination) -> None:
        """Write what the ledger knows of the recording in this storage, until nothing has come meanwhile."""
        storage, recording_id = destination.storage, claim.artifact.recording_id
        while True:
            recording, archived, expired = await self.view.recording(recording_id, destination.name)
            key = await _manifest_key(storage, archived[0].key, recording.id)
            body = render(recording, archived, expired, storage=storage.label, version=__version__)
            attributes = Attributes(
                recording.id, "application/json", recording.id, recording.meeting_id, recording.session_id
            )
            view = memoryview(body)
            await destination.put(key, view, checksum_of(view), attributes, replace=True)
            ids = {entry.artifact_id for entry in archived}
            if await self.work.manifest_written(claim, destination.name, key=key, artifact_ids=ids):
                break
        log.info(
            "recording_archived",
            storage=destination.name,
            manifest_key=key,
            files=len(archived),
            expired=expired,
        )


async def read_manifest(storage: Storage, key: str) -> Manifest:
    """The manifest under ``key``. Raises ``ObjectMissing``, or ``StorageMismatch`` if it is not one."""
    text = b""
    async for chunk in storage.read(key):
        text += chunk
        if len(text) > _MANIFEST_LIMIT:
            raise StorageMismatch("this is too large for a manifest")
    return parse(text)


async def _manifest_key(storage: Storage, key: str, recording_id: str) -> str:
    """Beside the first artifact; by another name if something else already has that one."""
    manifest_key = f"{key}.json"
    try:
        if (await read_manifest(storage, manifest_key)).recording_id == recording_id:
            return manifest_key
    except ObjectMissing:
        return manifest_key
    except (StorageMismatch, NameTaken):
        pass  # something of somebody else's
    folder, slash, name = key.rpartition("/")
    return folder + slash + safe(f"{name}.{recording_id}.json")
