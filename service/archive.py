"""One artifact, from its claim to its manifests. Every step may run twice."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from service import __version__
from service.destination import Destination, Destinations
from service.ending import Tally, tell_end
from service.enduring import to_its_end
from service.errors import (
    ArchiverError,
    LeaseLost,
    NameTaken,
    ObjectMissing,
    ProviderError,
    ProviderUnavailable,
    SourceError,
    StorageError,
    StorageMismatch,
    StorageRefused,
)
from service.ledger import Trouble, View, Work
from service.ledger.view import Holding
from service.links import Links
from service.manifest import parse, render
from service.manifests import new_manifest_keys, read_text
from service.model import Attributes, Claim, Scope, State
from service.moving import Mover
from service.retry import artifact_delay_s
from service.routing import Routing
from service.storage import Storage
from service.telemetry import Metrics, family_of
from service.tracing import Tracing, step
from service.transfer import Target, checksum_of

_HURRY_S = 24 * 3600.0
_DOUBTS = 30
_DOUBT_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Archivist:
    """Archives claimed artifacts, a copy in each storage that the routing names.

    ``from_provider``: a recording's own ``storage_config`` at the provider comes before the routing's rules.
    ``jitter`` is random in [0, 1).
    """

    work: Work
    view: View
    mover: Mover
    destinations: Destinations
    routing: Routing
    links: Links
    from_provider: bool
    metrics: Metrics
    jitter: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tracing: Tracing | None = None

    async def archive(self, claim: Claim) -> None:
        """Store every copy that is due, and write the manifests of which this was the last; end the claim.

        What fails in one storage is settled for that copy alone. Raises
        :class:`~service.errors.ArchiverError` if the source fails, or a manifest: then the claim is still
        held, and what was reached by then is in the ledger.
        """
        tally = Tally(self.mover.clock())
        if claim.is_cancelled:
            await self._cancel(claim, tally)
            return
        if claim.state is State.EXPIRED:
            await self._expire(claim, tally)
            return
        claim = await self._routed(claim)
        due = [copy for copy in claim.copies if copy.state is State.WAITING and copy.is_due]
        targets = [self.mover.target(claim, copy) for copy in due]
        failure: ArchiverError | None = None
        try:
            await self.mover.store(claim, targets, tally)
        except (SourceError, ProviderError) as error:
            failure = error  # what is stored by now gets its manifest nevertheless
        # A former claim may have been cut off between a manifest and its note.
        written = await self._conclude(claim, targets, again=not targets or claim.epoch > 1)
        if failure is not None:
            raise failure
        await self.work.finish(claim)
        stored = {target.destination.name for target in targets if target.stored is not None}
        places = {copy.storage for copy in claim.copies}
        whole = {copy.storage for copy in claim.copies if copy.state is not State.WAITING}
        if places <= whole | stored:
            archived = {copy.storage for copy in claim.copies if copy.state is State.ARCHIVED}
            is_archived = places <= archived | written
            outcome = "archived" if is_archived else "stored"
            tell_end(claim, targets, tally, outcome, now=self.mover.clock())

    async def give_up(self, claim: Claim, error: Exception) -> None:
        """End a claim whose file is gone for certain and stored nowhere, and free what was moved of it."""
        tally = Tally(self.mover.clock())
        # A link that was announced since the claim is a fresher one, also if that was a moment ago.
        claim = replace(await self.work.current(claim), announced_at=claim.announced_at)
        await self._free_all(claim)
        await self._expire(claim, tally, error)

    async def _expire(self, claim: Claim, tally: Tally, error: Exception | None = None) -> None:
        await self._conclude(claim, expired=True)
        is_over = (await self.work.current(claim)).state is State.EXPIRED
        await self.work.finish(claim)
        if is_over:  # else a fresher link has come meanwhile
            tell_end(claim, (), tally, "expired", now=self.mover.clock(), error=error)

    async def _cancel(self, claim: Claim, tally: Tally) -> None:
        """End a claim that somebody gave up: what is stored of it stays, and gets its manifest."""
        await self._free_all(claim)
        left = [copy.storage for copy in claim.copies if copy.state is State.WAITING]
        if len(left) < len(claim.copies):
            await self.work.route(claim, (), drop=left)
            await self._conclude(claim, again=True)
        else:
            await self._conclude(claim, expired=True)
        await self.work.finish(claim)
        self.metrics.artifacts.labels(claim.recording.app, claim.artifact.kind, "cancelled").inc()
        tell_end(claim, (), tally, "cancelled", now=self.mover.clock())

    async def _free_all(self, claim: Claim) -> None:
        await self.destinations.open(copy.storage for copy in claim.copies)
        begun = [copy for copy in claim.copies if copy.upload_id and copy.storage in self.destinations]
        for target in [self.mover.target(claim, copy) for copy in begun]:
            try:
                await self.mover.free(claim, target, keep_key=True)
            except StorageError as error:
                log.warning("upload_left", storage=target.destination.name, error=str(error))

    async def _routed(self, claim: Claim) -> Claim:
        """The claim with its copies: chosen once, and again only for storages that are no longer there."""
        await self.destinations.open(copy.storage for copy in claim.copies)
        left = [copy for copy in claim.copies if copy.storage not in self.destinations]
        drop = [copy.storage for copy in left if copy.state is State.WAITING]
        if claim.copies and not drop:
            return claim
        names = await self._chosen(claim)
        await self.destinations.open(names)
        await self.work.route(claim, names, drop=drop)
        return await self.work.current(claim)

    async def _chosen(self, claim: Claim) -> tuple[str, ...]:
        """Where it goes: as the recording's own ``storage_config`` says if that counts, else by the rules.

        Raises :class:`~service.errors.ProviderUnavailable` while there is time to wait for the API.
        """
        by_rules = self.routing.storages_for(claim.artifact, claim.recording)
        if not self.from_provider:
            return by_rules
        try:
            told = claim.recording.storage_config or await self.links.storage_config(claim.recording)
        except ProviderUnavailable as error:
            if not by_rules or claim.expires_at - claim.now > _HURRY_S:
                raise
            # In some storage rather than in none.
            log.warning("storage_of_recording_not_known", error=str(error), taken=list(by_rules))
            return by_rules
        if told is None and by_rules:
            return by_rules
        name = self.routing.storage_of(told) if told else None
        if name is not None:
            return (name,)
        if by_rules:
            log.warning("storage_of_recording_not_configured", storage_config=told, taken=list(by_rules))
            return by_rules
        raise StorageRefused(
            f"no configured storage is that of the recording: {told or 'it has none'}",
            mend="name that storage, with its secrets, in ARCHIVER_ROUTING_FILE, or give a last rule",
        )

    async def _conclude(
        self, claim: Claim, targets: Sequence[Target] = (), *, expired: bool = False, again: bool = False
    ) -> set[str]:
        """Settle how each copy went, and write the manifests for which this was the last thing to come.

        ``again``: those that were written before are looked at too. Returns where manifests were written.
        """
        troubles = {
            target.destination.name: self._trouble(claim, target, target.failure)
            for target in targets
            if target.failure is not None
        }
        failures = []
        written = {}
        ready = await self.work.settle(claim, troubles, expired=expired, again=again)
        await self.destinations.open(ready)
        for name in ready:
            if name not in self.destinations:
                log.error("storage_not_configured", storage=name)
                continue
            try:
                with step(self.tracing, "write manifest", storage=name):
                    written[name] = await self._write_manifest(claim, self.destinations[name])
            except StorageError as error:
                self.destinations[name].failed(error)
                failures.append(error)
        # Another storage may have had its manifest before.
        is_first = any(written.values()) and all(copy.state is not State.ARCHIVED for copy in claim.copies)
        if self.tracing is not None and is_first:
            self.tracing.archived(claim.recording, began_at=claim.seen_at)
        if failures:
            raise failures[0]
        return set(written)

    def _trouble(self, claim: Claim, target: Target, error: StorageError) -> Trouble:
        """When a copy is tried again. One put off with its whole storage is not told in the log."""
        name = target.destination.name
        tries = next(copy.attempts for copy in claim.copies if copy.storage == name) + target.was_tried
        delay_s = artifact_delay_s(error, max(tries, 1), expired=False, jitter=self.jitter())
        assert delay_s is not None  # a storage's failure is never the end
        if target.was_tried:
            target.destination.failed(error)
            self.metrics.artifacts.labels(claim.recording.app, claim.artifact.kind, "failed").inc()
            self.metrics.retries.labels(family_of(error)).inc()
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

    async def _write_manifest(self, claim: Claim, destination: Destination) -> bool:
        """Write what the ledger knows of the recording in this storage, until nothing has come meanwhile.

        True if it is the first there.
        """
        is_settled, is_first = False, True
        try:
            while not is_settled:
                # To its end: were it cancelled, it could still come, and after what makes it good.
                holding, key, _ = await to_its_end(self._put_manifest(claim, destination))
                is_first = holding.manifest_key is None
                ids = {entry.artifact_id for entry in holding.archived}
                is_settled = await self.work.manifest_written(
                    claim, destination.name, key=key, artifact_ids=ids
                )
        except (LeaseLost, asyncio.CancelledError):
            # What was sent may come after what the new owner wrote, who knew more.
            await to_its_end(self._make_good(claim, destination))
            raise
        log.info(
            "session_archived" if claim.recording.scope is Scope.SESSION else "recording_archived",
            storage=destination.name,
            manifest_key=key,
            files=len(holding.archived),
            expired=list(holding.expired),
        )
        return is_first

    async def _make_good(self, claim: Claim, destination: Destination) -> None:
        """Have the manifest say what the ledger says, as someone who may no longer change the ledger."""
        for _ in range(_DOUBTS):
            try:
                if not (await self._put_manifest(claim, destination))[2]:
                    return
            except ArchiverError as error:
                log.warning("manifest_in_doubt", storage=destination.name, error=str(error))
                await self.sleep(_DOUBT_S)

    async def _put_manifest(self, claim: Claim, destination: Destination) -> tuple[Holding, str, bool]:
        """Put the manifest there if another lies there: what it says, its key, and whether it was put."""
        storage, recording_id = destination.storage, claim.artifact.recording_id
        holding = await self.view.recording(recording_id, destination.name)
        key, before = await _manifest_place(storage, holding)
        body = render(
            holding.recording,
            holding.archived,
            holding.expired,
            storage=storage.label,
            version=__version__,
            before=parse(before) if before else None,
        )
        if body == before:
            return holding, key, False
        attributes = Attributes.of(recording_id, "application/json", holding.recording)
        view = memoryview(body)
        await destination.put(key, view, checksum_of(view), attributes, replace=True)
        return holding, key, True


async def _manifest_place(storage: Storage, holding: Holding) -> tuple[str, bytes | None]:
    """The manifest's key, and what lies there of it; never under what something else has."""
    known = [holding.manifest_key] if holding.manifest_key else []
    for key in (*known, *new_manifest_keys(holding.recording, holding.archived[0])):
        try:
            before = await read_text(storage, key)
            if parse(before).recording_id == holding.recording.id:
                return key, before
        except ObjectMissing:
            return key, None
        except (StorageMismatch, NameTaken):
            continue  # something of somebody else's
    raise NameTaken(key)
