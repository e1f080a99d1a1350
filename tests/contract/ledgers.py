"""Ledgers of both kinds, and the news that fills them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from service.ledger import Database, Intake, Progress, Trouble, View, Work
from service.ledger.intake import Outcome
from service.ledger.overview import Overview
from service.ledger.tables import artifacts, metadata
from service.model import (
    Artifact,
    Checksum,
    Claim,
    Delivery,
    Event,
    Kind,
    Part,
    Provider,
    Recording,
    Stored,
)

FAR = 4_000_000_000.0
"""A moment that does not come while a test runs."""

HERE, THERE = "here", "there"
"""Two storages."""

LATER = Trouble(3600.0, "it is full", "make room")
"""What goes wrong in one of them."""

NOW = Trouble(0.0, "it was busy", "")
"""The same, tried again at once."""

DELIVERY = Delivery(Provider.DYTE, "delivery", "webhook")
CHECKSUM = Checksum(0xFEDCBA9876543210, 0x89ABCDEF)


def news(
    *kinds: Kind,
    id: str = "recording",  # noqa: A002 - the provider's own word
    status: str = "UPLOADED",
    link: str = "https://provider.example/first",
    expires_at: float | None = FAR,
    **told: Any,
) -> Event:
    """What the provider tells of a recording, with an artifact for each of `kinds`."""
    return Event(
        "recording.statusUpdate",
        Recording(id, Provider.DYTE, status, **told),
        tuple(
            Artifact(id, kind, f"{link}/{kind}", f"{id}.{kind}", announced_size=10, expires_at=expires_at)
            for kind in kinds
        ),
    )


def part(number: int, *, size: int = 5, checksum: Checksum = CHECKSUM, receipt: str = '"etag"') -> Part:
    """The receipt of a part."""
    return Part(number, size, checksum, receipt)


@dataclass(frozen=True)
class Ledger:
    """One process's connection to a ledger."""

    database: Database

    @property
    def view(self) -> View:
        """Its reading side."""
        return View(self.database)

    async def overview(self, *, lost_limit: int = 9) -> Overview:
        """What `status` shows."""
        return await self.view.overview(limit=9, lost_limit=lost_limit, within_s=3600.0, near_limit=9)

    def work(self, owner: str = "worker", *, lease_s: float = 60.0) -> Work:
        """A worker's side; its leases are over at once if `lease_s` is not positive."""
        return Work(self.database, owner=owner, lease_s=lease_s)

    @property
    def progress(self) -> Progress:
        """What any worker settles of its copies; it holds the claim as long as `work` does."""
        return Progress(self.database, lease_s=60.0)

    async def hear(self, *events: Event) -> list[Outcome]:
        """Record deliveries, one after the other."""
        return [await Intake(self.database).record(DELIVERY, event) for event in events]

    async def claimed(self, work: Work, *kinds: Kind, id: str = "recording") -> list[Claim]:  # noqa: A002
        """News of a recording with `kinds`, and its claims in that order."""
        await self.hear(news(*kinds, id=id))
        claims = {claim.artifact.kind: claim for claim in await work.claim(len(kinds))}
        return [claims[kind] for kind in kinds]

    async def lapse(self) -> None:
        """Let every lease run out, as if all workers had been killed a while ago."""
        over = sa.update(artifacts).where(artifacts.c.owner.is_not(None)).values(lease_until=0.0)
        await self.database.write(lambda connection: connection.execute(over))

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table, by its primary key."""
        of = metadata.tables[table]
        everything = sa.select(of).order_by(*of.primary_key)
        return await self.database.read(
            lambda connection: [dict(row) for row in connection.execute(everything).mappings()]
        )

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that the ledger holds."""
        return {table: await self.rows(table) for table in metadata.tables}


async def begin(ledger: Ledger, claim: Claim, *storages: str) -> None:
    """Give a claim's copies, in `HERE` if no storage is named, something to lose: name, session, part."""
    await ledger.work().route(claim, storages or [HERE])
    for storage in storages or [HERE]:
        assert await ledger.progress.reserve(claim, storage, claim.artifact.name)
        await ledger.progress.begun(
            claim, storage, upload_id=f"upload {storage}", part_size=5, size=12, source_etag='"etag"'
        )
        await ledger.progress.part_stored(claim, storage, part(1))


async def store(ledger: Ledger, claim: Claim, *storages: str, checksum: Checksum = CHECKSUM) -> None:
    """Bring a claim's copies, in `HERE` if no storage is named, to where only their manifest is missing."""
    await ledger.work().route(claim, storages or [HERE])
    for storage in storages or [HERE]:
        assert await ledger.progress.reserve(claim, storage, claim.artifact.name)
        stored = Stored(claim.artifact.name, 10, '"whole"', checksum.crc64nvme, claim.id)
        await ledger.progress.stored(
            claim, storage, stored, checksum=checksum, part_size=5, content_type="video/mp4"
        )


async def conclude(
    ledger: Ledger, claim: Claim, troubles: Mapping[str, Trouble] | None = None, *, expired: bool = False
) -> list[str]:
    """Settle how a try went, and write the manifests that are left to it: returns in which storages."""
    ready = await ledger.work().settle(claim, troubles or {}, expired=expired)
    for storage in ready:
        await write_manifest_until_whole(ledger, claim, storage)
    return ready


async def write_manifest_until_whole(ledger: Ledger, claim: Claim, storage: str) -> None:
    """Write the manifest again while something has come to it; a few times, and it has to be whole."""
    for _ in range(9):
        if await write_manifest(ledger, claim, storage):
            return
    raise AssertionError("the manifest never names all that is there")


async def write_manifest(ledger: Ledger, claim: Claim, storage: str) -> bool:
    """Settle that the manifest names what is known now; False if that is not all any more."""
    archived = (await ledger.view.recording(claim.artifact.recording_id, storage)).archived
    return await ledger.work().manifest_written(
        claim,
        storage,
        key=f"{archived[0].key}.json",
        artifact_ids={found.artifact_id for found in archived},
    )


async def archive(ledger: Ledger, claims: Sequence[Claim], *storages: str) -> None:
    """Bring all claims of one recording to their end."""
    for claim in claims:
        await store(ledger, claim, *storages)
        await conclude(ledger, claim)
        await ledger.work().finish(claim)


async def expire(ledger: Ledger, claim: Claim) -> list[str]:
    """Give an artifact up: returns the storages whose manifests tell it."""
    ready = await conclude(ledger, claim, expired=True)
    await ledger.work().finish(claim)
    return ready


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Another connection of its own, as another process has it."""
    database = Database(url)
    try:
        yield Ledger(database)
    finally:
        await database.close()


async def emptied(ledger: Ledger) -> None:
    """Remove every row."""

    def empty(connection: sa.Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())

    await ledger.database.write(empty)


def as_of(claim: Claim, now: float) -> Claim:
    """The claim without the moment at which it was looked at."""
    return replace(claim, now=now)
