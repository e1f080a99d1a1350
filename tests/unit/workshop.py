"""A worker with a real ledger, real folders and a file server, and an API whose answers are made up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from service.archive import Archivist
from service.budget import Budget, Gate
from service.destination import Destination, Destinations
from service.errors import ProviderMissing
from service.ledger import Database
from service.ledger.tables import artifacts, copies
from service.links import Links
from service.model import ONLY, Artifact, Claim, Event, Kind, Provider, Recording, Scope
from service.moving import Mover
from service.naming import KeyTemplate
from service.placing import Placing
from service.routing import Routing, Rule
from service.storage import LocalConfig, Storage
from service.telemetry import Metrics
from service.tracing import Tracing
from service.transfer import Transfer
from service.worker import Worker
from tests.contract.ledgers import FAR, Ledger
from tests.doubles.source import FaultySource
from tests.unit.reading import reading
from tests.unit.scene import MIB, Watched

__all__ = ["Offers", "Workshop", "config_of", "workshop"]

Stores = Callable[[str], Awaitable[Storage]]
"""Gives the storage of a name; whoever made it closes it."""


@dataclass
class Offers:
    """What a provider's API says, and what it was asked; ``failures`` come before the next answers.

    Recordings are listed in pages of ``page`` in the order in which they were told, sessions likewise;
    ``broken_after`` is how many pages come before the listing fails with what is first in ``failures``.
    """

    told: dict[str, Event] = field(default_factory=dict)
    ended: list[Recording] = field(default_factory=list)
    files: dict[tuple[str, Kind], Artifact] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    next_told: list[Event] = field(default_factory=list)
    """What the next questions for a recording are answered, whatever is told."""
    page: int = 100
    broken_after: int | None = None
    pages_read: int = 0
    repeats: int = 0
    """How many of a page's items come again at the beginning of the next."""

    def offer(self, *artifacts: Artifact, status: str = "UPLOADED", **facts: Any) -> Event:
        """Say from now on that these are a recording's files."""
        known = Recording(artifacts[0].recording_id, Provider.DYTE, status, **facts)
        self.told[known.id] = Event("api", known, artifacts)
        return self.told[known.id]

    def state(self, recording_id: str, status: str, **facts: Any) -> Event:
        """Say from now on that a recording is in this status, and has no file."""
        known = Recording(recording_id, Provider.DYTE, status, **facts)
        self.told[recording_id] = Event("api", known)
        return self.told[recording_id]

    async def recordings(self, *, meeting_id: str | None = None) -> AsyncIterator[list[Event]]:
        """See `ListingApi`."""
        self.asked.append("recordings")
        for page in self._pages(list(self.told.values())):
            await asyncio.sleep(0)
            yield page

    async def sessions(self) -> AsyncIterator[list[Recording]]:
        """See `ListingApi`."""
        self.asked.append("sessions")
        for page in self._pages(self.ended):
            await asyncio.sleep(0)
            yield page

    async def recording(self, recording_id: str) -> Event:
        """See `LinkApi`."""
        await self._noted(recording_id)
        if self.next_told:
            return self.next_told.pop(0)
        if recording_id not in self.told:
            raise ProviderMissing(recording_id)
        return self.told[recording_id]

    async def session_file(self, session_id: str, kind: Kind) -> Artifact | None:
        """See `LinkApi`."""
        await self._noted(f"{session_id}/{kind}")
        return self.files.get((session_id, kind))

    async def _noted(self, what: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(what)
        if self.failures:
            raise self.failures.pop(0)

    def _pages(self, items: list[Any]) -> Iterator[list[Any]]:
        for number, start in enumerate(range(0, len(items), self.page)):
            if self.broken_after is not None and number >= self.broken_after:
                raise self.failures[0]
            self.pages_read += 1
            yield items[max(start - self.repeats, 0) : start + self.page]


class Workshop:
    """One process: `worker` and what it works with; `folders` are its storages, by name."""

    def __init__(
        self,
        ledger: Ledger,
        source: FaultySource,
        routing: Routing,
        folder: Path,
        metrics: Metrics,
        stores: Stores | None,
    ) -> None:
        self.ledger = ledger
        self.source = source
        self.folder = folder
        self.metrics = metrics
        self.folders: dict[str, Watched] = {}
        self._routing = routing
        self._stores = stores
        self.archivist: Archivist
        self.worker: Worker

    def __getitem__(self, storage: str) -> Watched:
        """A storage that is open."""
        return self.folders[storage]

    @property
    def main(self) -> Watched:
        """The one storage, where there is one."""
        return self.folders[ONLY]

    def file(self, kind: Kind, *, id: str = "one", size: int = 1000, **told: Any) -> Artifact:  # noqa: A002
        """Serve a file and say so: `call.mp4` is a recording's video, `id-kind.kind` the others."""
        name = "call.mp4" if kind is Kind.VIDEO else f"{id}-{kind}.{kind}"
        link = self.source.add(f"{id}-{kind}{told.get('track') or ''}", size, seed=list(Kind).index(kind))
        return Artifact(id, kind, link, **{"name": name, "expires_at": FAR, **told})

    def content(self, kind: Kind, *, id: str = "one", track: str = "") -> bytes:  # noqa: A002
        """What is served as that file."""
        return self.source[f"{id}-{kind}{track}"].content.read()

    async def hear(self, *files: Artifact, **facts: Any) -> Recording:
        """A delivery that announces files of one recording or session."""
        is_session = files[0].kind in (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)
        told: dict[str, Any] = {"scope": Scope.SESSION, "status": "ENDED"} if is_session else {}
        known = Recording(
            **{"id": files[0].recording_id, "provider": Provider.DYTE, "status": "UPLOADED"} | told | facts
        )
        await self.ledger.hear(Event("delivery", known, files))
        return known

    async def work(self, *, rounds: int = 20) -> None:
        """Try what is due until nothing is, one after the other, soonest expiry first."""
        for _ in range(rounds):
            claims = await self.ledger.work().claim(1)
            if not claims:
                return
            await self.attempt(claims[0])

    async def attempt(self, claim: Claim) -> None:
        """One try of the worker's, settled in whatever way."""
        now = asyncio.get_running_loop().time()
        await self.worker._run_one(claim, now)
        assert self.archivist.mover.transfer.budget.used_bytes == 0

    async def due_now(self) -> None:
        """Let the time of every pause pass."""

        def pass_by(connection: sa.Connection) -> None:
            open_ones = artifacts.c.due_at.is_not(None)
            connection.execute(sa.update(artifacts).where(open_ones).values(due_at=0.0))
            connection.execute(sa.update(copies).values(due_at=0.0))

        await self.ledger.database.write(pass_by)
        for destination in self.archivist.destinations.values():
            destination._failures = 0

    async def states(self) -> dict[str, str]:
        """How far every artifact is, by its id."""
        return {row["id"]: row["state"] for row in await self.ledger.rows("artifacts")}

    async def keys(self, storage: str = ONLY) -> dict[str, str]:
        """What every copy is called, by its artifact's id."""
        rows = await self.ledger.rows("copies")
        return {row["artifact_id"]: row["key"] for row in rows if row["storage"] == storage}

    def asked_of(self, name: str) -> list[str]:
        """The ranges that were asked of a served file."""
        return [request.range for request in self.source[name].requests]

    async def opened(self, name: str) -> Destination | None:
        """The storage of that name: a folder, whatever its config says."""
        if self._routing.config(name) is None:
            return None
        if name not in self.folders:
            self.folders[name] = Watched(self.folder / name.replace("/", "_"))
        clock = asyncio.get_running_loop().time
        return Destination(
            name,
            await self._stores(name) if self._stores else cast("Storage", self.folders[name]),
            gate=Gate(8, clock=clock),
            clock=clock,
            sleep=_no_sleep,
            jitter=lambda: 0.0,
            metrics=self.metrics,
        )


def config_of(folder: Path, *names: str) -> Routing:
    """Folders as storages, everything into all of them."""
    storages = {name: LocalConfig(type="local", path=folder / name) for name in names or (ONLY,)}
    return Routing(storages, (Rule(tuple(storages)),))


@asynccontextmanager
async def workshop(
    ledger: Path,
    folder: Path,
    source: FaultySource,
    *,
    api: Offers | None = None,
    apis: Mapping[str, Offers] | None = None,
    routing: Routing | None = None,
    from_provider: bool = False,
    template: str = "{output_file_name}",
    stores: Stores | None = None,
    part_size: int = MIB,
    tracing: Tracing | None = None,
) -> AsyncIterator[Workshop]:
    """Everything, opened and closed; pauses take no time. `stores` are there instead of the folders."""
    metrics = Metrics()
    database = Database(f"sqlite:///{ledger}")
    routing = routing or config_of(folder)
    clock = asyncio.get_running_loop().time
    draining = asyncio.Event()
    try:
        async with reading(stall_s=5.0) as reader:
            known = Ledger(database)
            shop = Workshop(known, source, routing, folder, metrics, stores)
            destinations = Destinations(shop.opened)
            await destinations.open(routing.storages)
            links = Links(apis or ({ONLY: api} if api else {}))
            placing = Placing(known.progress, known.view, KeyTemplate.parse(template), metrics)
            transfer = Transfer(Budget(4 * part_size), 2, draining)
            mover = Mover(
                known.work(),
                known.progress,
                reader.source,
                destinations,
                placing,
                links,
                transfer,
                part_size,
                metrics,
                clock,
                tracing,
            )
            shop.archivist = Archivist(
                known.work(),
                known.view,
                mover,
                destinations,
                routing,
                links,
                from_provider,
                metrics,
                lambda: 0.0,
                tracing=tracing,
            )
            shop.worker = Worker(
                known.work(),
                shop.archivist,
                at_once=1,
                lease_s=60.0,
                draining=draining,
                metrics=metrics,
                clock=clock,
                jitter=lambda: 0.0,
                tracing=tracing,
            )
            yield shop
    finally:
        await database.close()


async def _no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)
