"""Proves that what is done at one moment ends as if it were done in turn, on both databases."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from service.ledger import Database
from service.model import Claim, Kind
from tests.contract.ledgers import (
    HERE,
    LATER,
    THERE,
    Ledger,
    conclude,
    expire,
    news,
    opened,
    store,
    write_manifest,
    write_manifest_until_whole,
)

ROUNDS = 20
_T = TypeVar("_T")


class Halting(Database):
    """A database on which every transaction halts before its commit, until `going_on` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.halted = threading.Event()
        self.going_on = threading.Event()

    async def write(self, work: Callable[[sa.Connection], _T], *, within_s: float | None = 60) -> _T:
        def halt(connection: sa.Connection) -> _T:
            answer = work(connection)
            self.halted.set()
            assert self.going_on.wait(30)
            return answer

        return await super().write(halt, within_s=within_s)

    async def go_on(self, first: Awaitable[Any], second: Awaitable[Any]) -> tuple[Any, Any]:
        """What both answer, if `second` is begun when `first`, on this database, is all but committed."""
        begun = asyncio.ensure_future(first)
        assert await asyncio.to_thread(self.halted.wait, 30)
        another = asyncio.ensure_future(second)
        # It should wait for the first. If it does not, it is to come to its end before the first does.
        await asyncio.wait([another], timeout=0.2)
        self.going_on.set()
        return await begun, await another


@asynccontextmanager
async def halting(url: str) -> AsyncIterator[tuple[Halting, Ledger]]:
    """Another connection, whose transactions halt."""
    database = Halting(url)
    try:
        yield database, Ledger(database)
    finally:
        database.going_on.set()
        await database.close()


async def end(of: Ledger, claim: Claim, *storages: str) -> list[str]:
    """Store a claim's copies and bring it to its end; returns where its manifests were written."""
    await store(of, claim, *storages)
    ready = await conclude(of, claim)
    await of.work().finish(claim)
    return ready


async def states(ledger: Ledger) -> dict[str, str]:
    return {row["kind"]: row["state"] for row in await ledger.rows("artifacts")}


async def test_of_siblings_that_end_at_once_one_at_least_writes_the_manifests(
    ledger: Ledger, ledger_url: str
) -> None:
    async with opened(ledger_url) as other:
        for number in range(ROUNDS):
            video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO, id=f"r{number}")
            told = await asyncio.gather(end(ledger, video, HERE, THERE), end(other, audio, HERE, THERE))
            assert {storage for ready in told for storage in ready} == {HERE, THERE}

    rows = await ledger.rows("artifacts")
    assert [row["state"] for row in rows] == ["archived"] * 2 * ROUNDS
    assert len(await ledger.rows("manifests")) == 2 * ROUNDS
    assert await ledger.work("other").claim(1) == []


async def test_of_siblings_that_fail_elsewhere_at_once_one_at_least_writes_the_manifest(
    ledger: Ledger, ledger_url: str
) -> None:
    async def fail(of: Ledger, claim: Claim) -> list[str]:
        await of.work().route(claim, [HERE, THERE])
        await store(of, claim, HERE)
        ready = await conclude(of, claim, {THERE: LATER})
        await of.work().finish(claim)
        return ready

    async with opened(ledger_url) as other:
        for number in range(ROUNDS):
            video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO, id=f"r{number}")
            assert [HERE] in await asyncio.gather(fail(ledger, video), fail(other, audio))

    copies = await ledger.rows("copies")
    assert {(row["storage"], row["state"]) for row in copies} == {(HERE, "archived"), (THERE, "waiting")}


async def test_one_that_expires_while_its_sibling_is_stored_leaves_the_manifest_to_one_of_them(
    ledger: Ledger, ledger_url: str
) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await ledger.work().route(claim, [HERE])

    async def settle() -> list[str]:
        await store(ledger, video)
        return await ledger.work().settle(video, {})

    async with halting(ledger_url) as (database, other):
        told = await database.go_on(other.work().settle(audio, {}, expired=True), settle())

    assert [HERE] in told


async def test_one_that_ends_while_a_sibling_settles_the_manifest_is_archived(
    ledger: Ledger, ledger_url: str
) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await store(ledger, claim)

    async with halting(ledger_url) as (database, other):
        await database.go_on(write_manifest(other, audio, HERE), ledger.work().finish(video))
    await ledger.work().finish(audio)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}


async def test_a_manifest_that_is_settled_while_a_sibling_ends_archives_it(
    ledger: Ledger, ledger_url: str
) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await store(ledger, claim)

    async with halting(ledger_url) as (database, other):
        await database.go_on(other.work().finish(video), write_manifest(ledger, audio, HERE))
    await ledger.work().finish(audio)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}


async def test_of_two_that_write_one_manifest_the_one_that_knew_less_writes_it_again(
    ledger: Ledger, ledger_url: str
) -> None:
    async def write(claim: Claim) -> None:
        await write_manifest_until_whole(ledger, claim, HERE)
        await ledger.work().finish(claim)

    async with opened(ledger_url) as other:
        for number in range(ROUNDS // 2):
            # The second is announced when the first was told already to write.
            (video,) = await ledger.claimed(ledger.work(), Kind.VIDEO, id=f"r{number}")
            await store(ledger, video)
            assert await ledger.work().settle(video, {}) == [HERE]
            (audio,) = await ledger.claimed(ledger.work(), Kind.AUDIO, id=f"r{number}")
            await asyncio.gather(write(video), end(other, audio))

    for table in ("artifacts", "copies"):
        assert {row["state"] for row in await ledger.rows(table)} == {"archived"}


async def test_a_fresher_link_that_is_heard_while_an_artifact_expires_revives_it(
    ledger: Ledger, ledger_url: str
) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().route(claim, [HERE])
    fresh = news(Kind.VIDEO, link="https://provider.example/fresh")

    async with halting(ledger_url) as (database, other):
        await database.go_on(other.work().settle(claim, {}, expired=True), ledger.hear(fresh))
    await ledger.work().finish(claim)

    (again,) = await ledger.work().claim(1)
    assert again.artifact.url == "https://provider.example/fresh/video"


async def test_an_artifact_that_expires_while_a_fresher_link_is_heard_does_not(
    ledger: Ledger, ledger_url: str
) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().route(claim, [HERE])
    fresh = news(Kind.VIDEO, link="https://provider.example/fresh")

    async with halting(ledger_url) as (database, other):
        await database.go_on(other.hear(fresh), expire(ledger, claim))

    (again,) = await ledger.work().claim(1)
    assert again.artifact.url == "https://provider.example/fresh/video"


async def test_news_and_the_end_of_a_recording_at_once_do_not_block_each_other(
    ledger: Ledger, ledger_url: str
) -> None:
    async with opened(ledger_url) as other:
        for number in range(ROUNDS // 2):
            claims = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO, id=f"r{number}")
            both = news(Kind.VIDEO, Kind.AUDIO, id=f"r{number}")
            await asyncio.gather(
                *(end(ledger, claim) for claim in claims), *(other.hear(both) for _ in range(3))
            )

    assert {row["state"] for row in await ledger.rows("artifacts")} == {"archived"}
