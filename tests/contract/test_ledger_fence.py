"""Proves that a worker that lost its lease can change nothing on either database."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from service.errors import LeaseLost
from service.ledger import Work
from service.model import Claim, Kind, Stored
from tests.contract.ledgers import CHECKSUM, Ledger, part, store

WRITES: Mapping[str, Callable[[Work, Claim], Awaitable[Any]]] = {
    "renew": lambda work, claim: work.renew(claim),
    "current": lambda work, claim: work.current(claim),
    "reserve": lambda work, claim: work.reserve(claim, "another.mp4"),
    "begun": lambda work, claim: work.begun(claim, upload_id="x", part_size=1, size=1, source_etag="x"),
    "restart": lambda work, claim: work.restart(claim, keep_key=False),
    "part_stored": lambda work, claim: work.part_stored(claim, part(2)),
    "forget_parts": lambda work, claim: work.forget_parts(claim, [1]),
    "stored": lambda work, claim: work.stored(
        claim, Stored("x", 1, "x"), checksum=CHECKSUM, part_size=1, content_type="x"
    ),
    "await_siblings": lambda work, claim: work.await_siblings(claim),
    "archived": lambda work, claim: work.archived(claim, manifest_key="manifest.json"),
    "try_later": lambda work, claim: work.try_later(claim, delay_s=1, error="x", mend="x"),
}


async def progress(work: Work, claim: Claim) -> None:
    """Something to lose: a name, a session, a part."""
    await work.reserve(claim, "call.mp4")
    await work.begun(claim, upload_id="upload", part_size=5, size=12, source_etag='"etag"')
    await work.part_stored(claim, part(1))


def test_every_write_is_tried() -> None:
    assert set(WRITES) | {"claim", "parts", "release"} == {
        name for name in vars(Work) if not name.startswith("_")
    }


@pytest.mark.parametrize("next_owner", ["other", "worker"])
@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_whose_artifact_another_claimed_changes_nothing(
    ledger: Ledger, write: str, next_owner: str
) -> None:
    work = ledger.work("worker", lease_s=-1)
    lost, _ = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await progress(work, lost)
    assert len(await ledger.work(next_owner).claim(2)) == 2
    before = await ledger.everything()

    with pytest.raises(LeaseLost):
        await WRITES[write](work, lost)

    assert await ledger.everything() == before


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_that_gave_its_claim_back_changes_nothing(ledger: Ledger, write: str) -> None:
    work = ledger.work()
    (lost,) = await ledger.claimed(work, Kind.VIDEO)
    await progress(work, lost)
    await work.release([lost])
    before = await ledger.everything()

    with pytest.raises(LeaseLost):
        await WRITES[write](work, lost)

    assert await ledger.everything() == before


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_of_what_is_archived_changes_nothing(ledger: Ledger, write: str) -> None:
    work = ledger.work()
    (done,) = await ledger.claimed(work, Kind.VIDEO)
    await store(work, done)
    await work.archived(done, manifest_key="manifest.json")
    before = await ledger.everything()

    with pytest.raises(LeaseLost):
        await WRITES[write](work, done)

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

    await progress(work, claim)

    assert await work.parts(claim) == [part(1)]
