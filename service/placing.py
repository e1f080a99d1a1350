"""What a file is called in a storage, and whether it lies there already."""

from dataclasses import dataclass, replace
from functools import partial

import structlog

from service.destination import Destination
from service.errors import NameTaken
from service.ledger import Progress, View
from service.manifests import find_manifest, manifest_keys
from service.model import Archived, Claim, Stored
from service.naming import KeyTemplate, candidates
from service.telemetry import Metrics
from service.transfer import Target

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Placing:
    """Gives artifacts their places."""

    progress: Progress
    view: View
    template: KeyTemplate
    metrics: Metrics

    async def place(self, claim: Claim, target: Target) -> None:
        """Settle ``target.key``: a name that no other file has there; once.

        If the file lies there already, whole, as its manifest says (the ledger is new, the storage is not),
        the target is ``stored``: nothing is moved again.
        """
        destination = target.destination
        copy = claim.copy(destination.name)
        target.key = copy.key
        if copy.upload_id is not None:
            return
        if copy.key is not None:
            # Settled by a try that may not have got as far as a look.
            await self._look(claim, target, copy.key)
            return
        key = self.template.key(claim.artifact, claim.recording)
        *names, last = candidates(key, claim.artifact, claim.epoch)
        for name in names:
            if not await self.progress.reserve(claim, destination.name, name):
                continue
            found = await self._look(claim, target, name)
            if target.stored is not None:
                return
            # One of ours is replaced, or taken for the file, where it lies; but not if that was tried: what a
            # former claim sent may be of another file that the source had then.
            if found is None or (found.artifact_id == claim.id and name not in target.refused):
                target.key = name
                return
        if not await self.progress.reserve(claim, destination.name, last):
            raise NameTaken(last)
        target.key = last

    async def _look(self, claim: Claim, target: Target, name: str) -> Stored | None:
        """What lies under ``name``; taken over if it is the file."""
        destination = target.destination
        found = await destination.requested(partial(destination.storage.stat, name))
        if found is not None and found.artifact_id in (None, claim.id):
            archived = await self._archived(claim, destination, found)
            if archived is not None:
                await self._take_over(claim, target, found, *archived)
        return found

    async def _archived(
        self, claim: Claim, destination: Destination, found: Stored
    ) -> tuple[str, Archived] | None:
        """What a manifest says of this very object, if it is the artifact, and that manifest's key."""
        keys = [
            manifest_key
            for artifact in await self.view.names(claim.artifact.recording_id)
            for manifest_key in manifest_keys(
                claim.recording,
                artifact.kind,
                candidates(self.template.key(artifact, claim.recording), artifact, claim.epoch)[:-1],
            )
        ]
        manifest = await destination.requested(
            partial(find_manifest, destination.storage, dict.fromkeys(keys), claim.artifact.recording_id)
        )
        if manifest is None:
            return None
        manifest_key, told = manifest
        for entry in told.entries:
            if (entry.artifact_id, entry.key, entry.size) == (claim.id, found.key, found.size):
                same = found.crc64nvme in (None, entry.checksum.crc64nvme)
                return (manifest_key, entry) if same else None
        return None

    async def _take_over(
        self, claim: Claim, target: Target, found: Stored, manifest_key: str, archived: Archived
    ) -> None:
        name = target.destination.name
        await self.progress.stored(
            claim,
            name,
            replace(found, etag=archived.etag),
            checksum=archived.checksum,
            part_size=archived.part_size,
            content_type=archived.content_type,
            stored_at=archived.stored_at,
            manifest_key=manifest_key,
        )
        target.key, target.stored, target.checksum = found.key, found, archived.checksum
        self.metrics.artifacts.labels(claim.recording.app, claim.artifact.kind, "found").inc()
        log.info(
            "artifact_found", storage=name, kind=claim.artifact.kind, key=found.key, size_bytes=found.size
        )
