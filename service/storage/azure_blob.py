"""What is said to Azure of a blob and its blocks, and what Azure's answers say of them."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from awscrt.checksums import combine_crc64nvme
from azure.storage.blob import BlobProperties, ContentSettings, ImmutabilityPolicy, StandardBlobTier

from service.model import Attributes, Checksum, Part, Stored, owner_in
from service.storage.config import AzureConfig

OPEN, ENDED = b"-", b"--"
"""What the marker of a session holds: its size tells them apart in a list of blocks."""

_MARKER = re.compile(r"([0-9a-f]{16})-00000-0{16}")
_CRC64NVME = "dyte-archiver-crc64nvme"
_MODES = {"GOVERNANCE": "Unlocked", "COMPLIANCE": "Locked"}
_HASH_SLICE = 256 * 1024


def block_id(upload_id: str, number: int, crc64nvme: int) -> str:
    """The id of a part's block: of one length always, as Azure wants it, and at most 64 bytes."""
    return f"{upload_id}-{number:05d}-{crc64nvme:016x}"


def marker_id(upload_id: str) -> str:
    """The id of a session's marker, which no part has: they count from 1."""
    return block_id(upload_id, 0, 0)


def open_sessions(blocks: Mapping[str, int]) -> list[str]:
    """The upload ids whose markers are among ``blocks`` (id and size) and say that they are open."""
    markers = [(_MARKER.fullmatch(found), size) for found, size in blocks.items()]
    return [marker[1] for marker, size in markers if marker and size == len(OPEN)]


def combined(parts: Sequence[Part]) -> int:
    """The CRC-64/NVME of all parts in a row."""

    def add(crc: int, part: Part) -> int:
        return int(combine_crc64nvme(crc, part.checksum.crc64nvme, part.size))

    return reduce(add, parts, 0)


async def checked(config: AzureConfig, body: memoryview, checksum: Checksum) -> dict[str, str]:
    """The header by which the service verifies a body.

    Azure's CRC-64 is CRC-64/NVME, in little-endian order: so the SDK's own ``calculate_crc64_bytes`` has it.
    """
    if config.checksum == "crc64":
        return {"x-ms-content-crc64": _base64(checksum.crc64nvme.to_bytes(8, "little"))}
    if config.checksum == "none":
        return {}
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(body), _HASH_SLICE):
        md5.update(body[start : start + _HASH_SLICE])
        await asyncio.sleep(0)
    return {"Content-MD5": _base64(md5.digest())}


def described(
    config: AzureConfig, attributes: Attributes, checksum: Checksum, *, now: datetime, replaceable: bool
) -> dict[str, Any]:
    """The SDK's options for what a blob carries beside its bytes.

    One that may be replaced is not put into the Archive tier, where it could be neither replaced nor read.
    """
    facts = attributes.metadata | {_CRC64NVME: f"{checksum.crc64nvme:016x}"}
    options: dict[str, Any] = {
        "content_settings": ContentSettings(content_type=attributes.content_type),
        # A name has to be an identifier of C#.
        "metadata": {name.replace("-", "_"): value for name, value in facts.items()},
    }
    if config.encryption_scope:
        options["encryption_scope"] = config.encryption_scope
    if config.storage_class and not (replaceable and config.storage_class == "Archive"):
        options["standard_blob_tier"] = StandardBlobTier(config.storage_class)
    if config.tags:
        options["tags"] = config.tags
    if config.object_lock:
        options["immutability_policy"] = ImmutabilityPolicy(
            expiry_time=config.object_lock.until_at(now), policy_mode=_MODES[config.object_lock.mode]
        )
    if config.legal_hold:
        options["legal_hold"] = True
    return options


def stored(key: str, found: BlobProperties) -> Stored:
    """What lies under ``key``; the checksum is the one that was written with it."""
    metadata = {name.lower().replace("_", "-"): value for name, value in (found.metadata or {}).items()}
    crc = metadata.get(_CRC64NVME, "")
    return Stored(
        key=key,
        size=found.size,
        etag=found.etag or "",
        crc64nvme=int(crc, 16) if re.fullmatch(r"[0-9a-f]{16}", crc) else None,
        artifact_id=owner_in(metadata),
    )


def is_meant(found: Stored, size: int, checksum: Checksum, attributes: Attributes) -> bool:
    """Whether a blob is the one meant: the same bytes, written for the same artifact."""
    meant = (size, checksum.crc64nvme, attributes.artifact_id)
    return (found.size, found.crc64nvme, found.artifact_id) == meant


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
