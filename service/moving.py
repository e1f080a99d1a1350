"""Moving one artifact into every storage that lacks it. Every step may run twice."""

import contextlib
import mimetypes
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from service.destination import Destination
from service.ending import Tally, told
from service.enduring import to_its_end
from service.errors import (
    ArchiverError,
    LeaseLost,
    NameTaken,
    ProviderError,
    SourceChanged,
    SourceError,
    SourceGone,
    SourceRefused,
    SourceUnavailable,
    StorageMismatch,
    UploadLost,
)
from service.ledger import Progress, Work
from service.links import Links
from service.model import Attributes, Checksum, Claim, Copy, Part, State, Stored, Upload
from service.placing import Placing
from service.sibling import StoredCopy
from service.source import Identity, Opened, Source
from service.telemetry import Metrics
from service.tracing import Tracing, step
from service.transfer import Target, Transfer, checksum_of, part_size_for, whole_checksum

_RESTARTS = 3
_DOUBTS = 3
"""How often an end that cannot be told from a cut, and is earlier than announced, is doubted."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves claimed artifacts. ``clock`` counts monotonic seconds."""

    work: Work
    progress: Progress
    source: Source
    destinations: Mapping[str, Destination]
    placing: Placing
    links: Links
    transfer: Transfer
    least_part_size: int
    metrics: Metrics
    clock: Callable[[], float]
    tracing: Tracing | None = None

    def target(self, claim: Claim, copy: Copy) -> Target:
        """A copy to be moved."""
        destination = self.destinations[copy.storage]
        return Target(destination, partial(self._keep, claim, destination))

    async def store(self, claim: Claim, targets: Sequence[Target], tally: Tally | None = None) -> None:
        """Move the file to the targets, read once for all; each ends ``stored`` or with its ``failure``.

        One whose storage is in trouble has failed before it is tried.
        Begins anew a few times if the source, an upload or a name turns out another. A link that is refused
        is renewed, in the midst of it too, and the transfer goes on at its parts. What it comes to is counted
        in ``tally``. Raises
        :class:`~service.errors.SourceError`, and :class:`~service.errors.Draining`.
        """
        tally = tally or Tally(self.clock())
        for target in targets:
            target.failure = target.destination.admit()
            target.was_tried = target.failure is None
        if claim.is_link_doubted and any(target.is_open for target in targets):
            claim = await self._renewed_as_asked(claim, tally)
        restarts, had_parts = 0, -1
        while True:
            changed = None
            try:
                await self._move(claim, targets, tally)
            except SourceChanged as error:
                changed = error
            except (SourceRefused, SourceGone) as error:
                parts = sum(len(target.done) for target in targets)
                if parts == had_parts:
                    raise  # the last link brought nothing, nor would another
                had_parts = parts
                await self._renew(claim, error, tally)
                claim = await self.work.current(claim)
                continue
            anew = [target for target in targets if _begins_anew(target, changed)]
            if not anew:
                return
            reasons: list[ArchiverError | None] = [target.failure or changed for target in anew]
            for target in anew:
                await self._begin_anew(claim, target, is_last=restarts == _RESTARTS)
            if changed is not None:
                await self.progress.forget_source(claim)
            if restarts == _RESTARTS:
                if changed is not None:
                    raise changed
                return
            log.warning("transfer_restarted", reason=str(reasons[0]))
            claim = await self.work.current(claim)
            restarts += 1

    async def free(self, claim: Claim, target: Target, *, keep_key: bool) -> None:
        """Abort what was begun of a copy, and forget it."""
        name, storage = target.destination.name, target.destination.storage
        upload = target.upload or _upload(claim, name)
        target.upload, target.done = None, {}
        # Forgotten first, under the fence: from then on it is nobody's, and no later claim goes on with it.
        # The name stays until it is aborted: were that cut short, the next claim finds it by the name.
        await self.progress.restart(claim, name, keep_key=True)
        if upload is not None:
            await target.destination.requested(lambda: storage.abort(upload))
        if not keep_key:
            await self.progress.restart(claim, name, keep_key=False)

    async def _renewed_as_asked(self, claim: Claim, tally: Tally) -> Claim:
        try:
            await self._renew(claim, SourceRefused("another link was asked for"), tally)
        except (SourceRefused, ProviderError) as error:
            # There may be nothing wrong with the one that there is.
            log.warning("link_not_renewed", error=str(error), mend=error.mend or None)
            return claim
        return await self.work.current(claim)

    async def _renew(self, claim: Claim, error: SourceError, tally: Tally) -> None:
        """Settle a fresh link from the provider's API; raises ``error`` if there is none."""
        with step(self.tracing, "renew link", reason=type(error).__name__):
            fresh = await self.links.fresh(claim, error)
            await self.progress.renewed(claim, fresh)
        tally.renewals += 1
        self.metrics.renewed_links.labels(claim.recording.app).inc()
        log.info("link_renewed", reason=error.detail)

    async def _begin_anew(self, claim: Claim, target: Target, *, is_last: bool) -> None:
        failure, target.failure = target.failure, None
        if isinstance(failure, NameTaken) and target.key is not None:
            target.refused.add(target.key)
        keep_key = not isinstance(failure, NameTaken | StorageMismatch)
        await self.transfer.each([target], partial(self.free, claim, keep_key=keep_key))
        if is_last:
            target.failure = target.failure or failure

    async def _move(self, claim: Claim, targets: Sequence[Target], tally: Tally) -> None:
        complete = partial(self._complete, claim, tally.began_at)
        await self.transfer.each(targets, partial(self._load, claim), lag_s=self.transfer.lag_s)
        moved = [target for target in targets if _size(target.parts) == claim.size and target.upload]
        await self.transfer.each(moved, complete)
        await self.transfer.each(targets, partial(self.placing.place, claim), lag_s=self.transfer.lag_s)
        targets = [target for target in targets if target.is_open]
        if not targets:
            return
        with step(self.tracing, "open source"):
            opened = await self._open(claim, targets)
        with contextlib.closing(opened), told(opened, targets, tally, self.tracing):
            size, part_size = opened.identity.size, claim.part_size or self.least_part_size
            put = partial(self._put_small, claim, tally.began_at, opened, targets)
            if not opened.ranged or isinstance(opened, StoredCopy):
                await self._move_stream(claim, opened, targets, put)
            elif size is not None and size <= part_size and not any(target.upload for target in targets):
                async with self.transfer.budget.buffer(size) as view:
                    await opened.read_into(0, view)
                    await put(view)
                return
            else:
                assert size is not None  # or it would not be ranged
                part_size = claim.part_size or part_size_for(size, least=self.least_part_size)
                await self._begin_all(claim, opened.identity, part_size, targets)
                await self.transfer.ranges(opened, size, part_size, targets)
                self._check_end(claim, opened, size)
            await self.transfer.each(targets, complete)

    async def _move_stream(
        self,
        claim: Claim,
        opened: Opened | StoredCopy,
        targets: Sequence[Target],
        put: Callable[[memoryview], Awaitable[None]],
    ) -> None:
        part_size = claim.part_size or part_size_for(opened.identity.size, least=self.least_part_size)
        begin = partial(self._begin_all, claim, opened.identity, part_size, targets)
        if any(target.upload for target in targets):
            await begin()
        size = await self.transfer.stream(opened, part_size, targets, begin=begin, put=put)
        if size is None or not any(target.is_open for target in targets):
            return  # put whole, or read no further because no storage takes it
        self._check_end(claim, opened, size)
        for target in targets:
            if target.is_open and target.upload:
                target.upload = replace(target.upload, size=size)
                await self._note_begun(claim, target, replace(opened.identity, size=size))

    async def _open(self, claim: Claim, targets: Sequence[Target]) -> Opened | StoredCopy:
        """The source at the first part that any target lacks; if it has no file any more, a stored copy."""
        part_size = claim.part_size or self.least_part_size
        first = min(_first_missing(target) for target in targets)
        start = part_size * (first - 1)
        length = min(part_size, claim.size - start) if claim.part_size and claim.size else part_size
        expected = Identity(claim.size, claim.source_etag) if claim.part_size else None
        try:
            return await self.source.open(claim.artifact.url, start=start, length=length, expected=expected)
        except (SourceGone, SourceRefused):
            whole = [copy for copy in claim.copies if copy.state in (State.STORED, State.ARCHIVED)]
            known = [copy for copy in whole if copy.storage in self.destinations and copy.key is not None]
            if not known:
                raise
            log.info("read_from_copy", storage=known[0].storage)
            storage = self.destinations[known[0].storage].storage
            return StoredCopy(storage, known[0].key or "", known[0].size)

    async def _load(self, claim: Claim, target: Target) -> None:
        """What the ledger and the storage know of a target: its session, and the parts that are there.

        If the ledger has them all, completing tells more than a look: it may have been completed before.
        """
        name, storage = target.destination.name, target.destination.storage
        target.upload, target.done = _upload(claim, name), {}
        upload = target.upload
        if upload is None:
            return
        parts = {part.number: part for part in await self.progress.parts(claim, name)}
        if _size(parts.values()) != claim.size:
            confirmed = await target.destination.requested(
                lambda: storage.confirm(upload, list(parts.values()))
            )
            if stale := [number for number in parts if number not in confirmed]:
                await self.progress.forget_parts(claim, name, stale)
                parts = {number: part for number, part in parts.items() if number in confirmed}
        target.done = parts

    async def _put_small(
        self,
        claim: Claim,
        began_at: float,
        opened: Opened | StoredCopy,
        targets: Sequence[Target],
        view: memoryview,
    ) -> None:
        self._check_end(claim, opened, len(view))
        checksum = checksum_of(view)

        async def put(target: Target) -> None:
            key, attributes = _key(target), _attributes(claim)
            stored = await target.destination.put(key, view, checksum, attributes, replace=False)
            self.metrics.moved_bytes.labels(target.destination.series).inc(len(view))
            await self._note_stored(claim, target, stored, checksum, len(view), began_at)

        await self.transfer.each(targets, put, lag_s=self.transfer.lag_s)

    async def _begin_all(
        self, claim: Claim, identity: Identity, part_size: int, targets: Sequence[Target]
    ) -> None:
        async def begin(target: Target) -> None:
            if target.upload is None:
                await self._begin(claim, target, identity, part_size)
            else:
                # A session begun while the source told no size knows it now.
                target.upload = replace(target.upload, size=identity.size)

        await self.transfer.each(targets, begin, lag_s=self.transfer.lag_s)

    async def _begin(self, claim: Claim, target: Target, identity: Identity, part_size: int) -> None:
        """Open a session and settle it in the ledger."""
        # A former claim that had the name, or a try of ours whose answer was lost, may have opened one that
        # the ledger does not know.
        is_doubtful = claim.copy(target.destination.name).key is not None

        async def begin() -> None:
            nonlocal is_doubtful
            if is_doubtful:
                await self._abort_unknown(claim, target)
            is_doubtful = True
            # To its end: were it cancelled between the two, nobody would know of the session.
            await to_its_end(self._open_session(claim, target, identity, part_size))

        await target.destination.requested(begin)

    async def _open_session(self, claim: Claim, target: Target, identity: Identity, part_size: int) -> None:
        key, attributes = _key(target), _attributes(claim)
        upload_id = await target.destination.storage.begin(key, attributes)
        target.upload = Upload(upload_id, key, part_size, identity.size, attributes)
        try:
            await self._note_begun(claim, target, identity)
        except LeaseLost:
            await target.destination.storage.abort(target.upload)
            raise

    async def _abort_unknown(self, claim: Claim, target: Target) -> None:
        """Abort what is open under our name, of which the ledger has no session: so it is nobody's."""
        storage, key = target.destination.storage, _key(target)
        opened = await storage.uploads(key)
        if opened:
            # Ours still after they were listed: so none of them is of a later claim.
            await self.work.renew(claim)
        for upload_id in opened:
            await storage.abort(Upload(upload_id, key, self.least_part_size, None, _attributes(claim)))

    async def _note_begun(self, claim: Claim, target: Target, identity: Identity) -> None:
        assert target.upload is not None
        await self.progress.begun(
            claim,
            target.destination.name,
            upload_id=target.upload.id,
            part_size=target.upload.part_size,
            size=identity.size,
            source_etag=identity.etag,
        )

    async def _keep(self, claim: Claim, destination: Destination, part: Part) -> None:
        await self.progress.part_stored(claim, destination.name, part)
        self.metrics.moved_bytes.labels(destination.series).inc(part.size)

    async def _complete(self, claim: Claim, began_at: float, target: Target) -> None:
        upload, storage = target.upload, target.destination.storage
        assert upload is not None
        checksum = whole_checksum(target.parts)
        with step(self.tracing, "complete", storage=target.destination.name):
            stored = await target.destination.requested(
                lambda: storage.complete(upload, target.parts, checksum)
            )
        await self._note_stored(claim, target, stored, checksum, upload.part_size, began_at)

    async def _note_stored(
        self,
        claim: Claim,
        target: Target,
        stored: Stored,
        checksum: Checksum,
        part_size: int,
        began_at: float,
    ) -> None:
        name, took_s = target.destination.name, self.clock() - began_at
        await self.progress.stored(
            claim,
            name,
            stored,
            checksum=checksum,
            part_size=part_size,
            content_type=_attributes(claim).content_type,
        )
        target.stored, target.checksum = stored, checksum
        self.metrics.archive_seconds.labels(target.destination.series).observe(took_s)
        self.metrics.artifacts.labels(claim.recording.app, claim.artifact.kind, "stored").inc()
        log.info(
            "artifact_stored",
            storage=name,
            kind=claim.artifact.kind,
            key=stored.key,
            size_bytes=stored.size,
            seconds=round(took_s, 3),
        )

    def _check_end(self, claim: Claim, opened: Opened | StoredCopy, size: int) -> None:
        """Compare what was read with what the source said (binding) and what the event said (a hint)."""
        told, announced = opened.identity.size, claim.artifact.announced_size
        if told is not None and size != told:
            raise SourceUnavailable(f"it gave {size} of {told} bytes")
        if announced is None or announced == size:
            return
        if size < announced and not opened.end_is_certain and claim.attempts < _DOUBTS:
            raise SourceUnavailable(f"it ended after {size} bytes, {announced} were announced")
        log.warning("size_differs", announced_bytes=announced, source_bytes=size)


def _begins_anew(target: Target, changed: ArchiverError | None) -> bool:
    if target.stored is not None:
        return False
    return (changed is not None and target.failure is None) or isinstance(
        target.failure, UploadLost | NameTaken | StorageMismatch
    )


def _key(target: Target) -> str:
    assert target.key is not None  # placed before anything is sent
    return target.key


def _upload(claim: Claim, storage: str) -> Upload | None:
    copy = claim.copy(storage)
    if copy.key is None or copy.upload_id is None or claim.part_size is None:
        return None
    return Upload(copy.upload_id, copy.key, claim.part_size, claim.size, _attributes(claim))


def _attributes(claim: Claim) -> Attributes:
    content_type = mimetypes.guess_type(claim.artifact.name)[0] or "application/octet-stream"
    return Attributes.of(claim.id, content_type, claim.recording)


def _size(parts: Iterable[Part]) -> int:
    return sum(part.size for part in parts)


def _first_missing(target: Target) -> int:
    return next(number for number in range(1, len(target.done) + 2) if number not in target.done)
