"""One artifact, from its link to its manifest. Every step may run twice."""

import contextlib
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from service import __version__
from service.errors import (
    LeaseLost,
    NameTaken,
    ObjectMissing,
    SourceChanged,
    SourceUnavailable,
    StorageMismatch,
    UploadLost,
)
from service.ledger import View, Work
from service.manifest import Manifest, parse, render
from service.model import Checksum, Claim, Part, State, Stored, Upload
from service.naming import candidates, safe
from service.source import Identity, Opened, Source
from service.storage import Storage
from service.telemetry import Metrics
from service.transfer import Transfer, checksum_of, part_size_for, whole_checksum

_RESTARTS = 3
_DOUBTS = 3
"""How often an end that cannot be told from a cut, and is earlier than announced, is doubted."""
_MANIFEST_LIMIT = 1024 * 1024

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Archivist:
    """Archives claimed artifacts in one storage."""

    work: Work
    view: View
    source: Source
    storage: Storage
    transfer: Transfer
    least_part_size: int
    metrics: Metrics

    async def archive(self, claim: Claim) -> Stored | None:
        """Store the artifact if it is not, and write the recording's manifest if it is the last of it.

        Returns what was stored, None if a former claim had done it. Raises
        :class:`~service.errors.ArchiverError`; what was reached by then is in the ledger.
        """
        stored = None if claim.state is State.STORED else await self._store(claim)
        await self.finish(claim)
        return stored

    async def finish(self, claim: Claim) -> None:
        """End a claim that is stored, or expired for good: the last of its recording writes the manifest."""
        if await self.work.await_siblings(claim):
            return
        recording, archived, expired = await self.view.recording(claim.artifact.recording_id)
        if claim.state is State.EXPIRED:
            expired = [*expired, claim.artifact.kind]
        key = None
        if archived:
            key = await self._manifest_key(archived[0].key, recording.id)
            body = render(recording, archived, expired, storage=self.storage.label, version=__version__)
            await self._put(
                key,
                memoryview(body),
                artifact_id=recording.id,
                content_type="application/json",
                replace=True,
            )
        await self.work.archived(claim, manifest_key=key)
        if key:
            log.info("recording_archived", manifest_key=key, files=len(archived), expired=expired)

    async def give_up(self, claim: Claim) -> None:
        """End a claim whose file is gone for certain, and free what was stored of it."""
        upload = _upload(claim)
        if upload is not None:
            await self._begin_anew(claim, upload, keep_key=False)
        await self.finish(replace(claim, state=State.EXPIRED))

    async def _store(self, claim: Claim) -> Stored:
        """Move the file; begin anew a few times if the source, the upload or the name turns out another."""
        restarts = 0
        while True:
            try:
                return await self._move(claim)
            except (UploadLost, NameTaken, SourceChanged) as error:
                keep_key = not isinstance(error, NameTaken)
                claim = await self.work.current(claim)
                await self._begin_anew(claim, _upload(claim), keep_key=keep_key)
                restarts += 1
                if restarts > _RESTARTS:
                    raise
                log.warning("transfer_restarted", reason=str(error))
                claim = await self.work.current(claim)

    async def _move(self, claim: Claim) -> Stored:
        artifact, upload = claim.artifact, _upload(claim)
        done = await self._done(claim, upload) if upload else {}
        if upload and sum(part.size for part in done.values()) == upload.size:
            return await self._complete(claim, upload, [done[number] for number in sorted(done)])
        part_size = upload.part_size if upload else self.least_part_size
        start = part_size * next(index for index in range(len(done) + 1) if index + 1 not in done)
        expected = Identity(claim.size, claim.source_etag) if upload else None
        length = min(part_size, upload.size - start) if upload and upload.size else part_size
        opened = await self.source.open(artifact.url, start=start, length=length, expected=expected)
        with contextlib.closing(opened):
            size = opened.identity.size
            if upload is None and size is not None and size <= part_size and (opened.ranged or not size):
                async with self.transfer.budget.buffer(size) as view:
                    await opened.read_into(0, view)
                    return await self._put_small(claim, opened, view)
            if not opened.ranged:
                return await self._move_stream(claim, opened, upload, done)
            # A session begun while the source told no size knows it now.
            upload = replace(upload, size=size) if upload else await self._begin(claim, opened)
            parts = await self.transfer.ranges(opened, upload, done, partial(self._keep, claim))
            self._check_end(claim, opened, sum(part.size for part in parts))
            return await self._complete(claim, upload, parts)

    async def _move_stream(
        self, claim: Claim, opened: Opened, upload: Upload | None, done: Mapping[int, Part]
    ) -> Stored:
        begun = [upload] if upload else []

        async def begin() -> Upload:
            begun.append(await self._begin(claim, opened))
            return begun[0]

        part_size = (
            upload.part_size if upload else part_size_for(opened.identity.size, least=self.least_part_size)
        )
        moved = await self.transfer.stream(
            opened,
            part_size,
            upload,
            done,
            begin=begin,
            keep=partial(self._keep, claim),
            put=partial(self._put_small, claim, opened),
        )
        if isinstance(moved, Stored):
            return moved
        size = sum(part.size for part in moved)
        self._check_end(claim, opened, size)
        upload = replace(begun[0], size=size)
        await self._note_begun(claim, upload, opened.identity)
        return await self._complete(claim, upload, moved)

    async def _put_small(self, claim: Claim, opened: Opened, view: memoryview) -> Stored:
        self._check_end(claim, opened, len(view))
        key, content_type = await self._place(claim), _content_type(claim)
        stored, checksum = await self._put(
            key, view, artifact_id=claim.id, content_type=content_type, replace=False
        )
        self.metrics.moved_bytes.inc(len(view))
        await self.work.stored(
            claim, stored, checksum=checksum, part_size=len(view), content_type=content_type
        )
        return stored

    async def _put(
        self, key: str, body: memoryview, *, artifact_id: str, content_type: str, replace: bool
    ) -> tuple[Stored, Checksum]:
        checksum = checksum_of(body)
        stored = await self.transfer.requested(
            lambda: self.storage.put(
                key,
                body,
                checksum=checksum,
                artifact_id=artifact_id,
                content_type=content_type,
                replace=replace,
            )
        )
        return stored, checksum

    async def _begin(self, claim: Claim, opened: Opened) -> Upload:
        """Open a session and settle it in the ledger. Were it not settled, it is aborted again."""
        key = await self._place(claim)
        if claim.key is not None:
            # A former claim had the name and no session in the ledger: one it may have opened is nobody's.
            await self.transfer.requested(lambda: self.storage.abort_orphans(key))
        identity = opened.identity
        upload_id = await self.transfer.requested(
            lambda: self.storage.begin(key, artifact_id=claim.id, content_type=_content_type(claim))
        )
        part_size = part_size_for(identity.size, least=self.least_part_size)
        upload = Upload(upload_id, key, part_size, identity.size, claim.id)
        try:
            await self._note_begun(claim, upload, identity)
        except LeaseLost:
            await self.storage.abort(upload)
            raise
        return upload

    async def _note_begun(self, claim: Claim, upload: Upload, identity: Identity) -> None:
        await self.work.begun(
            claim,
            upload_id=upload.id,
            part_size=upload.part_size,
            size=upload.size,
            source_etag=identity.etag,
        )

    async def _place(self, claim: Claim) -> str:
        """The artifact's name in the storage, which no other file has; settled once."""
        if claim.key is not None:
            return claim.key
        *names, last = candidates(claim.artifact, claim.epoch)
        for name in names:
            if await self.work.reserve(claim, name):
                found = await self.transfer.requested(partial(self.storage.stat, name))
                if found is None or found.artifact_id == claim.id:
                    return name
        if await self.work.reserve(claim, last):
            return last
        raise NameTaken(last)

    async def _done(self, claim: Claim, upload: Upload) -> dict[int, Part]:
        """The parts that need not be moved again: in the ledger, and in the storage's own list.

        If the ledger has them all, completing tells more than a list: it may have been completed before.
        """
        parts = {part.number: part for part in await self.work.parts(claim)}
        if sum(part.size for part in parts.values()) == upload.size:
            return parts
        listed = await self.transfer.requested(lambda: self.storage.list_parts(upload))
        stale = [number for number, part in parts.items() if listed.get(number) != (part.size, part.receipt)]
        if stale:
            await self.work.forget_parts(claim, stale)
        return {number: part for number, part in parts.items() if number not in stale}

    async def _keep(self, claim: Claim, part: Part) -> None:
        await self.work.part_stored(claim, part)
        self.metrics.moved_bytes.inc(part.size)

    async def _complete(self, claim: Claim, upload: Upload, parts: Sequence[Part]) -> Stored:
        checksum = whole_checksum(parts)
        stored = await self.transfer.requested(lambda: self.storage.complete(upload, parts, checksum))
        await self.work.stored(
            claim, stored, checksum=checksum, part_size=upload.part_size, content_type=_content_type(claim)
        )
        return stored

    async def _begin_anew(self, claim: Claim, upload: Upload | None, *, keep_key: bool) -> None:
        if upload is not None:
            await self.transfer.requested(lambda: self.storage.abort(upload))
        await self.work.restart(claim, keep_key=keep_key)

    def _check_end(self, claim: Claim, opened: Opened, size: int) -> None:
        """Compare what was read with what the source said (binding) and what the event said (a hint)."""
        told, announced = opened.identity.size, claim.artifact.announced_size
        if told is not None and size != told:
            raise SourceUnavailable(f"it gave {size} of {told} bytes")
        if announced is None or announced == size:
            return
        if size < announced and not opened.end_is_certain and claim.attempts < _DOUBTS:
            raise SourceUnavailable(f"it ended after {size} bytes, {announced} were announced")
        log.warning("size_differs", announced_bytes=announced, source_bytes=size)

    async def _manifest_key(self, key: str, recording_id: str) -> str:
        """Beside the first artifact; by another name if something else already has that one."""
        manifest_key = f"{key}.json"
        try:
            if (await read_manifest(self.storage, manifest_key)).recording_id == recording_id:
                return manifest_key
        except ObjectMissing:
            return manifest_key
        except (StorageMismatch, NameTaken):
            pass  # something of somebody else's
        return safe(f"{key}.{recording_id}.json")


async def read_manifest(storage: Storage, key: str) -> Manifest:
    """The manifest under ``key``. Raises ``ObjectMissing``, or ``StorageMismatch`` if it is not one."""
    text = b""
    async for chunk in storage.read(key):
        text += chunk
        if len(text) > _MANIFEST_LIMIT:
            raise StorageMismatch("this is too large for a manifest")
    return parse(text)


def _upload(claim: Claim) -> Upload | None:
    if claim.key is None or claim.upload_id is None or claim.part_size is None:
        return None
    return Upload(claim.upload_id, claim.key, claim.part_size, claim.size, claim.id)


def _content_type(claim: Claim) -> str:
    return mimetypes.guess_type(claim.artifact.name)[0] or "application/octet-stream"
