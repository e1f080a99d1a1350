"""A mover with a real ledger, real folders and a file server, and storages that fail as a test says."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack, cast

from service.budget import Budget, Gate
from service.destination import Destination
from service.ledger import Database
from service.links import LinkApi, Links
from service.model import ONLY, Artifact, Claim, Copy, Event, Kind, Provider, Recording, State
from service.moving import Mover
from service.naming import KeyTemplate
from service.placing import Placing
from service.storage import LocalConfig, Storage
from service.storage.local import LocalStorage
from service.telemetry import Metrics
from service.transfer import Target, Transfer
from tests.contract.ledgers import FAR, HERE, THERE, Ledger
from tests.doubles.source import Faults, FaultySource
from tests.doubles.source import Recording as Served
from tests.unit.reading import reading

__all__ = ["HERE", "MIB", "NAME", "SIZE", "THERE", "Asked", "Scene", "scene"]

MIB = 1024 * 1024
SIZE = 3 * MIB + 12_345
"""Four parts."""
NAME = "call.mp4"

Asked = Callable[[], None]
"""Called instead of the next request of its kind; the request goes on unless it raises."""


class Watched:
    """A storage whose requests are noted; `answers` has what comes before the next ones, by their name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.answers: defaultdict[str, list[Exception | Asked | None]] = defaultdict(list)
        self._inner = LocalStorage(LocalConfig(type="local", path=folder))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in ("label", "close"):
            return found
        if name == "read":
            return self._noted_reading

        async def request(*args: Any, **options: Any) -> Any:
            self._note(name)
            return await found(*args, **options)

        return request

    @property
    def files(self) -> dict[str, bytes]:
        """What lies in the folder, whatever is on its way there too."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*")) if path.is_file()}

    async def _noted_reading(self, key: str) -> AsyncIterator[bytes]:
        self._note("read")
        async for chunk in self._inner.read(key):
            yield chunk

    def _note(self, name: str) -> None:
        self.requests.append(name)
        answer = self.answers[name].pop(0) if self.answers[name] else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            answer()


class Scene:
    """One recording on its way into two storages, `HERE` and `THERE`."""

    def __init__(
        self, ledger: Ledger, source: FaultySource, mover: Mover, here: Watched, there: Watched
    ) -> None:
        self.ledger = ledger
        self.mover = mover
        self.here = here
        self.there = there
        self.source = source

    @property
    def renewed(self) -> float:
        """How many links were renewed, as the metric tells."""
        return float(self.mover.metrics.renewed_links.labels(ONLY)._value.get())

    @property
    def served(self) -> Served:
        """The file at its source."""
        return self.source["recording"]

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.served.content.read()

    async def announce(
        self, size: int = SIZE, *, announced_size: int | None = None, **faults: Unpack[Faults]
    ) -> Claim:
        """Serve a file, hear of it, and claim it for both storages."""
        link = self.source.add("recording", size, **faults)
        video = Artifact("recording", Kind.VIDEO, link, NAME, announced_size, expires_at=FAR)
        told = Recording("recording", Provider.DYTE, "UPLOADED")
        await self.ledger.hear(Event("recording.statusUpdate", told, (video,)))
        (claim,) = await self.ledger.work().claim(1)
        await self.ledger.work().route(claim, [HERE, THERE])
        return await self.ledger.work().current(claim)

    async def again(self, claim: Claim) -> Claim:
        """The claim as another process takes it over; the storages answer as they should."""
        self.here.answers.clear()
        self.there.answers.clear()
        await self.ledger.lapse()
        (taken,) = await self.ledger.work("another").claim(1)
        assert taken.id == claim.id
        return taken

    async def store(self, claim: Claim) -> list[Target]:
        """Move what is not stored yet; returns the targets, `HERE` before `THERE` where both are open."""
        targets = [self.mover.target(claim, copy) for copy in claim.copies if copy.state is State.WAITING]
        await self.mover.store(claim, targets)
        assert self.mover.transfer.budget.used_bytes == 0
        return targets

    async def copies(self) -> tuple[Copy, Copy]:
        """What the ledger says of both."""
        (taken,) = [row for row in await self.ledger.rows("artifacts") if row["owner"]]
        claims = await self.ledger.work().current(_held(taken))
        here, there = claims.copies
        return here, there

    async def parts(self) -> dict[str, list[int]]:
        """The numbers of the parts that the ledger has of each."""
        found: dict[str, list[int]] = {HERE: [], THERE: []}
        for row in await self.ledger.rows("parts"):
            found[row["storage"]].append(row["number"])
        return found

    async def assert_whole(self, *storages: Watched, content: bytes | None = None) -> None:
        """The file lies in these storages, under its own name and alone, and the ledger says so."""
        content = self.content if content is None else content
        for storage, copy in zip((self.here, self.there), await self.copies(), strict=True):
            if storage in storages:
                assert copy.state is State.STORED
                assert storage.files == {NAME: content}
                assert (copy.key, copy.size, copy.upload_id) == (NAME, len(content), None)


def _held(row: dict[str, Any]) -> Claim:
    artifact = Artifact(row["recording_id"], Kind(row["kind"]), row["url"], row["name"])
    known = Recording(row["recording_id"], Provider.DYTE, "UPLOADED")
    return Claim(artifact, known, State.MOVING, row["owner"], row["epoch"], 0, 0.0, FAR)


@asynccontextmanager
async def scene(ledger: Path, folder: Path, *, api: LinkApi | None = None) -> AsyncIterator[Scene]:
    """Everything, opened and closed; parts are 1 MiB, pauses take no time. `api` has fresh links."""
    metrics = Metrics()
    database = Database(f"sqlite:///{ledger}")
    here, there = Watched(folder / HERE), Watched(folder / THERE)
    draining = asyncio.Event()
    clock = asyncio.get_running_loop().time
    try:
        async with reading(stall_s=5.0) as reader, FaultySource() as source:
            known = Ledger(database)
            mover = Mover(
                known.work(),
                known.progress,
                reader.source,
                {name: _destination(name, storage) for name, storage in ((HERE, here), (THERE, there))},
                Placing(known.progress, known.view, KeyTemplate.parse("{output_file_name}"), metrics),
                Links({ONLY: api} if api else {}),
                Transfer(Budget(4 * MIB), 2, draining),
                MIB,
                metrics,
                clock,
            )
            yield Scene(known, source, mover, here, there)
    finally:
        await database.close()


def _destination(name: str, storage: Watched) -> Destination:
    clock = asyncio.get_running_loop().time
    return Destination(
        name,
        cast("Storage", storage),
        gate=Gate(8, clock=clock),
        clock=clock,
        sleep=_no_sleep,
        jitter=lambda: 0.5,
    )


async def _no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)
