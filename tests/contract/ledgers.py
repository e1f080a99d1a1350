"""Ledgers of both kinds, and the news that fills them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from service.ledger import Database, Intake, View, Work
from service.ledger.intake import Outcome
from service.ledger.tables import artifacts, deliveries, metadata, parts, recordings
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

    def work(self, owner: str = "worker", *, lease_s: float = 60.0) -> Work:
        """A worker's side; its leases are over at once if `lease_s` is not positive."""
        return Work(self.database, owner=owner, storage="local:/archive", lease_s=lease_s)

    async def hear(self, *events: Event) -> list[Outcome]:
        """Record deliveries, one after the other."""
        return [await Intake(self.database).record(DELIVERY, event) for event in events]

    async def claimed(self, work: Work, *kinds: Kind, id: str = "recording") -> list[Claim]:  # noqa: A002
        """News of a recording with `kinds`, and its claims in that order."""
        await self.hear(news(*kinds, id=id))
        claims = {claim.artifact.kind: claim for claim in await work.claim(len(kinds))}
        return [claims[kind] for kind in kinds]

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


async def store(work: Work, claim: Claim, *, checksum: Checksum = CHECKSUM) -> None:
    """Bring a claim to where only its manifest is missing."""
    assert await work.reserve(claim, claim.artifact.name)
    stored = Stored(claim.artifact.name, 10, '"whole"', checksum.crc64nvme, claim.id)
    await work.stored(claim, stored, checksum=checksum, part_size=5, content_type="video/mp4")


async def archive(work: Work, claims: Sequence[Claim], *, manifest_key: str = "manifest.json") -> None:
    """Bring all claims of one recording to their end."""
    for claim in claims:
        await store(work, claim)
        if not await work.await_siblings(claim):
            await work.archived(claim, manifest_key=manifest_key)


async def expire(work: Work, claim: Claim) -> None:
    """Give the only artifact of a recording up."""
    await work.archived(claim, manifest_key=None)


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
        for table in (parts, artifacts, recordings, deliveries):
            connection.execute(table.delete())

    await ledger.database.write(empty)


def as_of(claim: Claim, now: float) -> Claim:
    """The claim without the moment at which it was looked at."""
    return replace(claim, now=now)
