"""The manifest: what lies beside a recording and lets anyone check it years later. Pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from service.errors import StorageMismatch
from service.model import Archived, Checksum, Kind, Recording

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One archived file as a manifest names it."""

    key: str
    size: int
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Manifest:
    """What checking needs of a manifest."""

    recording_id: str
    entries: tuple[Entry, ...]


def render(
    recording: Recording, archived: Sequence[Archived], expired: Sequence[Kind], *, storage: str, version: str
) -> bytes:
    """The manifest's JSON: the same facts give the same bytes, whoever writes them, however often."""
    document = {
        "format": FORMAT,
        "archiver": {"name": "dyte-archiver", "version": version},
        "archived_at": _moment(max(artifact.stored_at for artifact in archived)),
        "storage": storage,
        "provider": recording.provider,
        "organization_id": recording.organization_id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "title": recording.title,
        "recording": {
            "id": recording.id,
            "output_file_name": recording.output_file_name,
            "started_at": _moment(recording.started_at),
            "stopped_at": _moment(recording.stopped_at),
            "duration_seconds": recording.duration_s,
            "stop_reason": recording.stop_reason,
            "announced_size_bytes": recording.file_size,
        },
        "artifacts": [
            {
                "kind": artifact.kind,
                "key": artifact.key,
                "size_bytes": artifact.size,
                "content_type": artifact.content_type,
                "checksums": {
                    "crc32c": _both(artifact.checksum.crc32c, 4),
                    "crc64nvme": _both(artifact.checksum.crc64nvme, 8),
                },
                "part_size_bytes": artifact.part_size,
                "etag": artifact.etag,
                "archived_at": _moment(artifact.stored_at),
            }
            for artifact in archived
        ],
        "expired": list(expired),
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def parse(text: bytes) -> Manifest:
    """Read a manifest of any version of this service.

    Raises :class:`~service.errors.StorageMismatch` if it is not one.
    """
    try:
        document = json.loads(text)
        return Manifest(
            recording_id=str(document["recording"]["id"]),
            entries=tuple(_entry(artifact) for artifact in document["artifacts"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageMismatch("this is not a manifest") from error


def _entry(artifact: Mapping[str, Any]) -> Entry:
    checksums = artifact["checksums"]
    return Entry(
        key=str(artifact["key"]),
        size=int(artifact["size_bytes"]),
        checksum=Checksum(int(checksums["crc64nvme"]["hex"], 16), int(checksums["crc32c"]["hex"], 16)),
    )


def _both(value: int, length: int) -> dict[str, str]:
    """A checksum as command-line tools print it (hex) and as S3 and GCS do (base64)."""
    raw = value.to_bytes(length)
    return {"hex": raw.hex(), "base64": base64.b64encode(raw).decode()}


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
