"""What came of it: the transfer as the ledger tells it, and then the archive itself."""

import asyncio
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.demo.sample import Sample
from service.demo.telling import DemoFailed, Teller
from service.ledger import Database, View
from service.ledger.overview import Line
from service.manifests import read_manifest
from service.model import Archived, State
from service.readback import read_back
from service.storage import LocalConfig, open_storage

_POLL_S = 0.1
_STALL_S = 180.0
_LINES = 100


async def follow(folder: Path, names: Collection[str], total: int, tell: Teller) -> None:
    """Show the transfer of the files called ``names``, ``total`` bytes, until all of them are archived.

    Raises :class:`DemoFailed` if one fails, or nothing happens any more.
    """
    database = Database(f"sqlite:///{folder}/archiver.db", create=False)
    columns = TextColumn("archiving"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = tell.console
    told, seen, seen_at = 0, -1, time.monotonic()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("", total=total)
            while True:
                lines = [line for line in await View(database).lines(limit=_LINES) if line.name in names]
                moved = min(total, sum(_moved(line) for line in lines))
                progress.update(bar, completed=moved)
                if not console.is_terminal and moved * 4 // max(total, 1) > told:
                    told = moved * 4 // max(total, 1)
                    tell("archiving", f"{100 * moved // total} %")
                if {line.name for line in lines if line.state is State.ARCHIVED} == set(names):
                    return
                for line in lines:
                    if line.error and line.state is not State.ARCHIVED:
                        raise DemoFailed(line.error)
                if moved != seen:
                    seen, seen_at = moved, time.monotonic()
                if time.monotonic() > seen_at + _STALL_S:
                    raise DemoFailed(f"nothing moves any more; see {folder / 'service.log'}")
                await asyncio.sleep(_POLL_S)
    finally:
        await database.close()


async def archived(folder: Path, expected: Mapping[str, Sample]) -> dict[Path, list[Archived]]:
    """What each manifest in the archive names, each file read back and found to be the ``expected`` one.

    Raises :class:`DemoFailed` if one is not what the source served, or anything is missing or beyond that.
    """
    archive = folder / "archive"
    storage = await open_storage(LocalConfig(type="local", path=archive))
    found: dict[Path, list[Archived]] = {}
    for path in sorted(archive.glob("*.json"), key=lambda path: path.stat().st_ctime):
        manifest = await read_manifest(storage, path.name)
        for entry in manifest.entries:
            await read_back(storage, entry, lambda _: None)
            sample = expected.get(entry.key)
            if sample is None or (entry.size, entry.checksum) != (sample.size, sample.checksum):
                raise DemoFailed(f"the archived file is not what the source served: {entry.key}")
        found[path] = list(manifest.entries)
    missing = set(expected) - {entry.key for entries in found.values() for entry in entries}
    if missing:
        raise DemoFailed(f"no manifest names {', '.join(sorted(missing))}")
    return found


def _moved(line: Line) -> int:
    return (line.size or 0) if line.state is State.ARCHIVED else line.moved
