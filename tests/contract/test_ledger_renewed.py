"""Proves on both databases what a worker settles of a link that it renewed, and of a file that it found."""

import pytest

from service.errors import LeaseLost
from service.model import Artifact, Claim, Event, Kind, State, Stored
from tests.contract.ledgers import CHECKSUM, FAR, HERE, LATER, THERE, Ledger, begin, news


async def claimed_now(ledger: Ledger, *events: Event) -> dict[str, Claim]:
    """News, and all claims by their ids."""
    await ledger.hear(*events)
    return {claim.id: claim for claim in await ledger.work().claim(99)}


async def test_a_renewed_link_leaves_all_else_and_never_less_time(ledger: Ledger) -> None:
    (claim,) = (await claimed_now(ledger, news(Kind.VIDEO))).values()
    await begin(ledger, claim)
    (before,) = await ledger.rows("artifacts")

    for url, told, expires_at in (
        ("https://h/1", FAR + 5, FAR + 5),
        ("https://h/2", FAR - 5, FAR + 5),
        ("https://h/3", None, FAR + 5),
    ):
        fresh = Artifact("recording", Kind.VIDEO, url, "another name", 99, told)
        await ledger.progress.renewed(claim, fresh)
        (after,) = await ledger.rows("artifacts")
        expected = {"url": url, "expires_at": expires_at, "lease_until": after["lease_until"]}
        assert after == before | expected

    assert len(await ledger.rows("parts")) == 1
    assert (await ledger.work().current(claim)).artifact.url == "https://h/3"


async def test_a_link_that_the_worker_renewed_itself_is_no_announcement(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = (await claimed_now(ledger, news(Kind.VIDEO))).values()
    await ledger.progress.renewed(claim, Artifact("recording", Kind.VIDEO, "https://h/1", "x", None, FAR + 5))

    await work.try_later(claim, LATER)

    assert await work.claim(1) == []


async def test_a_worker_that_lost_its_lease_renews_no_link(ledger: Ledger) -> None:
    (claim,) = (await claimed_now(ledger, news(Kind.VIDEO))).values()
    await ledger.lapse()
    await ledger.work("another").claim(1)
    before = await ledger.rows("artifacts")

    with pytest.raises(LeaseLost):
        await ledger.progress.renewed(claim, Artifact("recording", Kind.VIDEO, "https://h/1", "x"))

    assert await ledger.rows("artifacts") == before


async def test_what_was_found_in_the_storage_keeps_its_time_and_its_key(ledger: Ledger) -> None:
    (claim,) = (await claimed_now(ledger, news(Kind.VIDEO))).values()
    await ledger.work().route(claim, [HERE, THERE])
    for storage, stored_at in ((HERE, 1_700_000_000.5), (THERE, None)):
        assert await ledger.progress.reserve(claim, storage, "reserved.mp4")
        await ledger.progress.stored(
            claim,
            storage,
            Stored("found.mp4", 10, '"whole"', CHECKSUM.crc64nvme, claim.id),
            checksum=CHECKSUM,
            part_size=5,
            content_type="video/mp4",
            stored_at=stored_at,
        )

    (here,) = (await ledger.view.recording("recording", HERE)).archived
    (there,) = (await ledger.view.recording("recording", THERE)).archived

    assert (here.key, here.stored_at) == ("found.mp4", 1_700_000_000.5)
    assert there.key == "found.mp4"
    assert abs(there.stored_at - claim.now) < 60
    assert {row["state"] for row in await ledger.rows("copies")} == {State.STORED}
