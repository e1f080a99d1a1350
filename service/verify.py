"""Reading archived files back, and comparing them with what the ledger and their manifests say of them."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from service.errors import ArchiverError, ObjectMissing, SettingsError, StorageMismatch
from service.findings import Findings
from service.ledger import Database, View
from service.ledger.verifications import Verifications
from service.manifests import read_manifest
from service.model import Archived
from service.readback import read_back
from service.settings import Settings
from service.storage import Storage, open_storage

_BATCH = 500


async def verify(
    settings: Settings,
    manifest_keys: Sequence[str],
    console: Console,
    *,
    storage_name: str | None = None,
    sample: int | None = None,
    before: float | None = None,
) -> int:
    """Check the named manifests' files, or the ledger's; returns how many are wrong.

    Prints a line for each file. Of the ledger's: all, manifests too; ``sample`` at random; those that were
    not verified since the moment ``before``. What is found of them is kept, so that the next one can leave
    them out. For named manifests no ledger is needed. ``storage_name``: look in that storage alone; without
    it, named manifests are looked for in the first.

    Raises :class:`~service.errors.SettingsError` if a storage is not configured, and
    :class:`~service.errors.LedgerUnavailable`.
    """
    if manifest_keys:
        return await _verify_manifests(settings, manifest_keys, console, storage_name)
    return await _verify_ledger(settings, console, _Choice(storage_name, sample, before))


@dataclass(frozen=True, slots=True)
class _Choice:
    storage: str | None = None
    sample: int | None = None
    before: float | None = None

    @property
    def is_whole(self) -> bool:
        return self.sample is None and self.before is None


async def _verify_manifests(
    settings: Settings, keys: Sequence[str], console: Console, storage_name: str | None
) -> int:
    name = storage_name or next(iter(settings.storages))
    async with _opened(settings, [name]) as storages:
        with Findings(console) as findings:
            for key in keys:
                await _check_manifest(storages[name], key, findings, known=None)
    return findings.faults


async def _verify_ledger(settings: Settings, console: Console, choice: _Choice) -> int:
    database = Database(settings.database_url.get_secret_value(), create=False)
    try:
        await database.check()
        ledger = Verifications(database)
        manifests: list[tuple[str, str]] = []
        if choice.is_whole:
            every = await View(database).manifests()
            manifests = [(name, key) for name, key in every if choice.storage in (None, name)]
        amounts = await ledger.amounts(before=choice.before, storage=choice.storage)
        count = sum(each.count for each in amounts.values())
        size = sum(each.size for each in amounts.values())
        named = {choice.storage} if choice.storage else {name for name, _ in manifests} | amounts.keys()
        if choice.sample is not None:
            drawn = await ledger.sample(choice.sample, before=choice.before, storage=choice.storage)
            count, size = len(drawn), sum(entry.size for _, entry in drawn)
        async with _opened(settings, sorted(named)) as storages:
            with Findings(console, count=count, size=size) as findings:
                chosen = _each(drawn) if choice.sample is not None else _all(ledger, choice)
                async for name, entry in chosen:
                    await _check_copy(ledger, name, storages[name], entry, findings)
                for name, key in manifests:
                    known = partial(ledger.known, name)
                    await _check_manifest(storages[name], key, findings, known=known)
        return findings.faults
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _opened(settings: Settings, names: Sequence[str]) -> AsyncIterator[Mapping[str, Storage]]:
    for name in names:
        if settings.routing.config(name) is None:
            raise SettingsError(f"there is no storage {name!r}", mend="name it in the routing file")
    async with contextlib.AsyncExitStack() as opened:
        storages: dict[str, Storage] = {}
        for name in names:
            config = settings.routing.config(name)
            assert config is not None  # looked at above
            storages[name] = await open_storage(config)
            opened.push_async_callback(storages[name].close)
        yield storages


async def _all(ledger: Verifications, choice: _Choice) -> AsyncIterator[tuple[str, Archived]]:
    after = None
    while batch := await ledger.batch(after, before=choice.before, storage=choice.storage, limit=_BATCH):
        for name, entry in batch:
            yield name, entry
        name, entry = batch[-1]
        after = entry.artifact_id, name


async def _each(drawn: Sequence[tuple[str, Archived]]) -> AsyncIterator[tuple[str, Archived]]:
    for each in drawn:
        yield each


async def _check_copy(
    ledger: Verifications, name: str, storage: Storage, entry: Archived, findings: Findings
) -> None:
    try:
        with findings.reading(entry.key, entry.size) as on_bytes:
            await read_back(storage, entry, on_bytes)
    except (ObjectMissing, StorageMismatch) as error:
        await ledger.found(name, entry, str(error))
        findings.wrong(entry.key, str(error))
    except ArchiverError as error:
        findings.wrong(entry.key, _unread(error))  # of the file nothing is known
    else:
        await ledger.found(name, entry, None)
        findings.whole(entry.key)


async def _check_manifest(
    storage: Storage,
    key: str,
    findings: Findings,
    *,
    known: Callable[[Sequence[Archived]], Awaitable[set[str]]] | None,
) -> None:
    """Check what a manifest names, but for the keys that are ``known`` to be as it says."""
    try:
        manifest = await read_manifest(storage, key)
    except (ObjectMissing, StorageMismatch) as error:
        findings.wrong(key, str(error))
        return
    except ArchiverError as error:
        findings.wrong(key, _unread(error))
        return
    read = await known(manifest.entries) if known else set()
    for entry in manifest.entries:
        if entry.key in read:
            continue
        try:
            with findings.reading(entry.key, entry.size) as on_bytes:
                await read_back(storage, entry, on_bytes)
        except (ObjectMissing, StorageMismatch) as error:
            findings.wrong(entry.key, str(error))
        except ArchiverError as error:
            findings.wrong(entry.key, _unread(error))
        else:
            findings.whole(entry.key)


def _unread(error: ArchiverError) -> str:
    return f"{error} (it could not be read: check again)"
