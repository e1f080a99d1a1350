"""The manifest: what lies beside a recording and lets anyone check it years later. Pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.errors import StorageMismatch
from service.model import Archived, Checksum, Kind, Recording, Scope

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says of its files; ``recording_id`` is the session's id in a session's.

    ``documents`` are the files' own JSON objects, in the order of ``entries``.
    """

    recording_id: str
    entries: tuple[Archived, ...]
    documents: tuple[Mapping[str, Any], ...]


def render(
    recording: Recording,
    archived: Sequence[Archived],
    expired: Sequence[str],
    *,
    storage: str,
    version: str,
    before: Manifest | None = None,
) -> bytes:
    """The manifest's JSON: the same facts give the same bytes, whoever writes them, however often.

    What the manifest ``before`` names, and ``archived`` does not, stays in it: a new ledger knows less.
    """
    known = {entry.artifact_id for entry in archived}
    kept = (
        []
        if before is None
        else [
            document
            for entry, document in zip(before.entries, before.documents, strict=True)
            if entry.artifact_id not in known
        ]
    )
    document = {
        "format": FORMAT,
        "archiver": {"name": "dyte-archiver", "version": version},
        "archived_at": moment(max(artifact.stored_at for artifact in archived)),
        "storage": storage,
        "provider": recording.provider,
        "app": recording.app,
        "organization_id": recording.organization_id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "title": recording.title,
        recording.scope: _recording(recording) if recording.scope is Scope.RECORDING else _session(recording),
        "artifacts": [*(document_of(artifact) for artifact in archived), *kept],
        "expired": [name for name in expired if name not in {_name(document) for document in kept}],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def parse(text: bytes) -> Manifest:
    """Read a manifest of any version of this service.

    Raises :class:`~service.errors.StorageMismatch` if it is not one.
    """
    try:
        document = json.loads(text)
        of = document["recording"] if "recording" in document else document["session"]
        documents = tuple(document["artifacts"])
        recording_id = str(of["id"])
        return Manifest(
            recording_id, tuple(_entry(recording_id, artifact) for artifact in documents), documents
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageMismatch("this is not a manifest") from error


def document_of(artifact: Archived) -> dict[str, Any]:
    """A file as manifests and notices name it; its key is counted from the storage's folder."""
    track = {} if artifact.track is None else {"track": artifact.track}
    return {
        "kind": artifact.kind,
        **track,
        "key": artifact.key,
        "size_bytes": artifact.size,
        "content_type": artifact.content_type,
        "checksums": {
            "crc32c": _both(artifact.checksum.crc32c, 4),
            "crc64nvme": _both(artifact.checksum.crc64nvme, 8),
        },
        "part_size_bytes": artifact.part_size,
        "etag": artifact.etag,
        "archived_at": moment(artifact.stored_at),
    }


def moment(seconds: float | None) -> str | None:
    """A moment as manifests and notices write it: UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _recording(recording: Recording) -> dict[str, Any]:
    return {
        "id": recording.id,
        "output_file_name": recording.output_file_name,
        "started_at": moment(recording.started_at),
        "stopped_at": moment(recording.stopped_at),
        "duration_seconds": recording.duration_s,
        "stop_reason": recording.stop_reason,
        "announced_size_bytes": recording.file_size,
    }


def _session(session: Recording) -> dict[str, Any]:
    return {
        "id": session.id,
        "started_at": moment(session.started_at),
        "ended_at": moment(session.stopped_at),
    }


def _name(document: Mapping[str, Any]) -> str:
    return "/".join([document["kind"], *([document["track"]] if "track" in document else [])])


def _entry(recording_id: str, document: Mapping[str, Any]) -> Archived:
    checksums = document["checksums"]
    return Archived(
        artifact_id=f"{recording_id}/{_name(document)}",
        kind=Kind(document["kind"]),
        track=document.get("track"),
        key=str(document["key"]),
        size=int(document["size_bytes"]),
        part_size=int(document["part_size_bytes"]),
        checksum=Checksum(int(checksums["crc64nvme"]["hex"], 16), int(checksums["crc32c"]["hex"], 16)),
        etag=str(document["etag"]),
        content_type=str(document["content_type"]),
        stored_at=datetime.fromisoformat(document["archived_at"]).timestamp(),
    )


def _both(value: int, length: int) -> dict[str, str]:
    """A checksum as command-line tools print it (hex) and as S3 and GCS do (base64)."""
    raw = value.to_bytes(length)
    return {"hex": raw.hex(), "base64": base64.b64encode(raw).decode()}
