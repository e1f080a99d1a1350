"""Proves that a worker that lost its lease can change nothing on either database."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.errors import LeaseLost
from service.ledger import Progress, Work
from service.model import Claim, Kind, Stored
from tests.contract.ledgers import (
    CHECKSUM,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    begin,
    news,
    part,
)

WRITES: Mapping[str, Callable[[Ledger, Claim], Awaitable[Any]]] = {
    "renew": lambda ledger, claim: ledger.work().renew(claim),
    "current": lambda ledger, claim: ledger.work().current(claim),
    "route": lambda ledger, claim: ledger.work().route(claim, [HERE, "elsewhere"], drop=[THERE]),
    "settle": lambda ledger, claim: ledger.work().settle(claim, {HERE: LATER}),
    "manifest_written": lambda ledger, claim: ledger.work().manifest_written(
        claim, HERE, key="manifest.json", artifact_ids=[]
    ),
    "finish": lambda ledger, claim: ledger.work().finish(claim),
    "try_later": lambda ledger, claim: ledger.work().try_later(claim, LATER),
    "reserve": lambda ledger, claim: ledger.progress.reserve(claim, HERE, "another.mp4"),
    "begun": lambda ledger, claim: ledger.progress.begun(
        claim, HERE, upload_id="x", part_size=1, size=1, source_etag="x"
    ),
    "restart": lambda ledger, claim: ledger.progress.restart(claim, HERE, keep_key=False),
    "forget_source": lambda ledger, claim: ledger.progress.forget_source(claim),
    "part_stored": lambda ledger, claim: ledger.progress.part_stored(claim, HERE, part(2)),
    "renewed": lambda ledger, claim: ledger.progress.renewed(
        claim, replace(claim.artifact, url="https://x/y")
    ),
    "forget_parts": lambda ledger, claim: ledger.progress.forget_parts(claim, HERE, [1]),
    "stored": lambda ledger, claim: ledger.progress.stored(
        claim, HERE, Stored("x", 1, "x"), checksum=CHECKSUM, part_size=1, content_type="x"
    ),
}

READS_OR_ENDS = {"current", "finish", "try_later"}


def test_every_write_is_tried() -> None:
    methods = {name for side in (Work, Progress) for name in vars(side) if not name.startswith("_")}
    assert set(WRITES) | {"claim", "parts", "release"} == methods


@pytest.mark.parametrize("next_owner", ["other", "worker"])
@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_whose_artifact_another_claimed_changes_nothing(
    ledger: Ledger, write: str, next_owner: str
) -> None:
    lost, _ = await ledger.claimed(ledger.work("worker"), Kind.VIDEO, Kind.AUDIO)
    await begin(ledger, lost, HERE, THERE)
    await ledger.lapse()
    assert len(await ledger.work(next_owner).claim(2)) == 2
    before = await ledger.everything()

    with pytest.raises(LeaseLost):
        await WRITES[write](ledger, lost)

    assert await ledger.everything() == before


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_that_gave_its_claim_back_changes_nothing(ledger: Ledger, write: str) -> None:
    work = ledger.work()
    (lost,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, lost, HERE, THERE)
    await work.release([lost])
    before = await ledger.everything()

    with pytest.raises(LeaseLost):
        await WRITES[write](ledger, lost)

    assert await ledger.everything() == before


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_of_what_is_archived_changes_nothing(ledger: Ledger, write: str) -> None:
    (done,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await archive(ledger, [done])
    before = await ledger.everything()
    assert [row["state"] for row in before["artifacts"]] == ["archived"]

    with pytest.raises(LeaseLost):
        await WRITES[write](ledger, done)

    assert await ledger.everything() == before


async def test_releasing_what_another_claimed_leaves_it_alone(ledger: Ledger) -> None:
    work = ledger.work("worker", lease_s=-1)
    lost, _ = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await ledger.work("other").claim(2)
    before = await ledger.everything()

    await work.release([lost])

    assert await ledger.everything() == before


async def test_a_lease_that_lapsed_and_was_not_claimed_still_holds(ledger: Ledger) -> None:
    work = ledger.work("worker", lease_s=-1)
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await begin(ledger, claim)

    assert await ledger.progress.parts(claim, HERE) == [part(1)]


@pytest.mark.parametrize("write", [name for name in WRITES if name not in READS_OR_ENDS])
async def test_every_write_holds_the_claim_for_another_lease(ledger: Ledger, write: str) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)
    await ledger.lapse()

    await WRITES[write](ledger, claim)

    assert await ledger.work("other").claim(1) == []


@pytest.mark.parametrize("write", ["finish", "try_later"])
async def test_what_ends_a_claim_leaves_it_to_the_next(ledger: Ledger, write: str) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await begin(ledger, claim, HERE)

    await WRITES[write](ledger, claim)

    (row,) = await ledger.rows("artifacts")
    assert (row["owner"], row["lease_until"]) == (None, None)
    await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))
    assert len(await ledger.work("other").claim(1)) == 1
