"""Reading archived files back, and comparing them with their manifests."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from awscrt.checksums import crc32c, crc64nvme
from rich.console import Console
from rich.progress import Progress

from service.errors import ArchiverError, ObjectMissing, SettingsError, StorageMismatch
from service.ledger import Database, View
from service.manifests import read_manifest
from service.model import Archived, Checksum
from service.settings import Settings
from service.status import size_text
from service.storage import Storage, open_storage


async def verify(
    settings: Settings, manifest_keys: Sequence[str], console: Console, *, storage_name: str | None = None
) -> int:
    """Check the named manifests' files, or those of every manifest in the ledger; returns how many are wrong.

    Prints a line for each file. The ledger is only needed where no manifest is named. ``storage_name``: look
    in that storage alone; without it, named manifests are looked for in the first.

    Raises :class:`~service.errors.SettingsError` if a storage is not configured.
    """
    named = storage_name or next(iter(settings.storages))
    manifests = [(named, key) for key in manifest_keys] or [
        (name, key) for name, key in await _known_manifests(settings) if storage_name in (None, name)
    ]
    for name in {named, *(name for name, _ in manifests)}:
        if settings.routing.config(name) is None:
            raise SettingsError(f"there is no storage {name!r}", mend="name it in the routing file")
    faults = checked = 0
    async with contextlib.AsyncExitStack() as opened:
        storages: dict[str, Storage] = {}
        for name in dict.fromkeys(name for name, _ in manifests):
            config = settings.routing.config(name)
            assert config is not None  # looked at above
            storages[name] = await open_storage(config)
            opened.push_async_callback(storages[name].close)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            for storage, key in progress.track(manifests, description="verifying"):
                for name, fault in await _check(storages[storage], key, progress):
                    checked += 1
                    faults += fault is not None
                    if fault:
                        console.print(f"[bold red]wrong[/]  {name}: {fault}", highlight=False, soft_wrap=True)
                    else:
                        console.print(f"[green]whole[/]  {name}", highlight=False, soft_wrap=True)
    console.print(f"{checked - faults} of {checked} files are whole.")
    return faults


async def read_back(storage: Storage, entry: Archived, on_bytes: Callable[[int], None]) -> None:
    """Read a file and compare it with its entry. ``on_bytes`` is told of every chunk's size.

    Raises :class:`StorageMismatch` if it is another size or has other checksums, and whatever else keeps it
    from being read.
    """
    size = crc64 = crc32 = 0
    async for chunk in storage.read(entry.key):
        size += len(chunk)
        crc64, crc32 = crc64nvme(chunk, crc64), crc32c(chunk, crc32)
        on_bytes(len(chunk))
    if size != entry.size:
        raise StorageMismatch(f"{size} bytes, {entry.size} were archived")
    if Checksum(crc64, crc32) != entry.checksum:
        raise StorageMismatch("its checksums are others")


async def _known_manifests(settings: Settings) -> list[tuple[str, str]]:
    database = Database(settings.database_url.get_secret_value(), create=False)
    try:
        await database.check()
        return await View(database).manifests()
    finally:
        await database.close()


async def _check(storage: Storage, key: str, progress: Progress) -> list[tuple[str, str | None]]:
    """Each file of a manifest (or the manifest itself), and what is wrong with it."""
    try:
        manifest = await read_manifest(storage, key)
    except (ObjectMissing, StorageMismatch) as error:
        return [(key, str(error))]
    found: list[tuple[str, str | None]] = []
    for entry in manifest.entries:
        task = progress.add_task(f"{entry.key} ({size_text(entry.size)})", total=entry.size)
        try:
            await read_back(storage, entry, partial(progress.advance, task))
        except (ObjectMissing, StorageMismatch) as error:
            found.append((entry.key, str(error)))
        except ArchiverError as error:
            found.append((entry.key, f"{error} (it could not be read: check again)"))
        else:
            found.append((entry.key, None))
        progress.remove_task(task)
    return found
