"""Manifests as they lie in a storage: where, and what they say."""

from collections.abc import Iterable, Iterator

from service.errors import NameTaken, ObjectMissing, StorageMismatch
from service.manifest import Manifest, parse
from service.model import Archived, Kind, Recording
from service.naming import safe
from service.storage import Storage

_LIMIT = 16 * 1024 * 1024


async def read_manifest(storage: Storage, key: str) -> Manifest:
    """The manifest under ``key``. Raises ``ObjectMissing``, or ``StorageMismatch`` if it is not one."""
    return parse(await read_text(storage, key))


async def read_text(storage: Storage, key: str) -> bytes:
    """The bytes of a manifest. Raises ``ObjectMissing``, or ``StorageMismatch`` if it cannot be one."""
    chunks, size = [], 0
    async for chunk in storage.read(key):
        chunks.append(bytes(chunk))
        size += len(chunk)
        if size > _LIMIT:
            raise StorageMismatch("this is too large for a manifest")
    return b"".join(chunks)


async def find_manifest(
    storage: Storage, keys: Iterable[str], recording_id: str
) -> tuple[str, Manifest] | None:
    """The first manifest of a recording or session under one of ``keys``, and that key."""
    for key in keys:
        try:
            found = await read_manifest(storage, key)
        except (ObjectMissing, StorageMismatch, NameTaken):
            continue  # none, or something of somebody else's
        if found.recording_id == recording_id:
            return key, found
    return None


def manifest_keys(recording: Recording, kind: Kind, keys: Iterable[str]) -> Iterator[str]:
    """Where the manifest of an artifact of this kind may lie, from the ``keys`` that it may have itself.

    A video's lies beside it (``weekly-sync.mp4.json``), or by another name if something else has that one; it
    names the audio too. That of tracks, and that of a session, is called by the id.
    """
    keys = list(dict.fromkeys(keys))
    if kind in (Kind.VIDEO, Kind.AUDIO):
        yield from (f"{key}.json" for key in keys)
        for key in keys:
            folder, slash, name = key.rpartition("/")
            yield folder + slash + safe(f"{name}.{recording.id}.json")
        return
    for folder in dict.fromkeys(key.rpartition("/")[0] for key in keys):
        name = safe(f"{recording.scope}-{recording.id}.json")
        yield f"{folder}/{name}" if folder else name


def new_manifest_keys(recording: Recording, archived: Archived) -> tuple[str, ...]:
    """The names to try for a manifest whose first entry is ``archived``."""
    return tuple(manifest_keys(recording, archived.kind, [archived.key]))
