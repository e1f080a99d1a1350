"""Proves who gets which artifact, when, and that nobody else does, on both databases."""

import asyncio
from dataclasses import replace

from service.ledger import Trouble, Work
from service.model import Claim, Copy, Kind, State
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    NOW,
    THERE,
    Ledger,
    as_of,
    begin,
    conclude,
    news,
    opened,
    part,
    store,
)


async def test_the_soonest_expiry_is_claimed_first_and_no_more_than_asked(ledger: Ledger) -> None:
    for number, expires_at in enumerate([FAR + 3, FAR + 1, FAR + 4, FAR + 2]):
        await ledger.hear(news(Kind.VIDEO, id=f"r{number}", expires_at=expires_at))

    first = await ledger.work().claim(3)
    rest = await ledger.work().claim(3)

    assert [claim.artifact.recording_id for claim in first] == ["r1", "r3", "r0"]
    assert [claim.artifact.recording_id for claim in rest] == ["r2"]


async def test_a_claim_tells_what_is_known_of_the_artifact(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)

    assert claim.artifact == news(Kind.VIDEO).artifacts[0]
    assert (claim.id, claim.owner, claim.epoch, claim.attempts) == ("recording/video", "worker", 1, 0)
    assert (claim.state, claim.expires_at) == (State.MOVING, FAR)
    assert claim.recording == news(Kind.VIDEO).recording
    assert (claim.copies, claim.part_size, claim.size, claim.source_etag) == ((), None, None, None)


async def test_two_workers_at_once_never_get_the_same_artifact(ledger: Ledger, ledger_url: str) -> None:
    for number in range(24):
        await ledger.hear(news(Kind.VIDEO, id=f"r{number}"))

    async def all_that_it_gets(work: Work) -> list[Claim]:
        claims: list[Claim] = []
        while more := await work.claim(2):
            claims += more
        return claims

    async with opened(ledger_url) as other:
        shares = await asyncio.gather(
            *(
                all_that_it_gets(of.work(f"{name}{number}"))
                for name, of in {"a": ledger, "b": other}.items()
                for number in range(3)
            )
        )

    # One that found all the due rows locked at that moment stopped early; nobody got what another has.
    claims = [claim for share in shares for claim in share]
    claims += await all_that_it_gets(ledger.work("last"))
    assert sorted(claim.id for claim in claims) == sorted(f"r{number}/video" for number in range(24))


async def test_what_is_leased_cannot_be_claimed_and_what_was_leased_can(ledger: Ledger) -> None:
    held, lapsed = ledger.work("held"), ledger.work("lapsed", lease_s=-1)
    await ledger.claimed(held, Kind.VIDEO, id="r1")
    await ledger.claimed(lapsed, Kind.VIDEO, id="r2")

    (claim,) = await ledger.work("other").claim(10)

    assert (claim.id, claim.owner, claim.epoch) == ("r2/video", "other", 2)


async def test_a_renewed_lease_holds(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work("worker", lease_s=-1), Kind.VIDEO)

    await ledger.work("worker").renew(claim)

    assert await ledger.work("other").claim(1) == []


async def test_a_failed_artifact_is_due_again_only_later(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await work.try_later(claim, Trouble(3600, "it is slow", "wait"))

    assert await work.claim(1) == []
    (line,) = await ledger.view.lines(limit=1)
    assert (line.attempts, line.error, line.mend, line.state) == (1, "it is slow", "wait", State.WAITING)
    assert line.due_in_s is not None
    assert 3590 < line.due_in_s <= 3600


async def test_a_failed_artifact_without_a_pause_counts_its_attempts(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    for attempts in (1, 2, 3):
        await work.try_later(claim, NOW)
        (claim,) = await work.claim(1)
        assert (claim.attempts, claim.epoch) == (attempts, attempts + 1)


async def test_a_failed_artifact_is_due_at_once_if_its_link_changed_meanwhile(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))

    await work.try_later(claim, LATER)

    (again,) = await work.claim(1)
    assert again.artifact.url == "https://provider.example/fresh/video"


async def test_a_failure_of_the_source_is_none_of_a_copy(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)
    before = await ledger.rows("copies")

    await work.try_later(claim, NOW)

    assert await ledger.rows("copies") == before
    (again,) = await work.claim(1)
    assert (again.attempts, [copy.attempts for copy in again.copies]) == (1, [0, 0])


async def test_what_is_released_is_due_at_once_without_a_failure(ledger: Ledger) -> None:
    work = ledger.work()
    claims = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)

    await work.release(claims)

    again = await ledger.work("other").claim(5)
    assert {claim.id for claim in again} == {claim.id for claim in claims}
    assert {(claim.attempts, claim.epoch) for claim in again} == {(0, 2)}


async def test_the_next_claim_goes_on_with_all_that_was_settled(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)
    await work.release([claim])

    (again,) = await ledger.work("other").claim(1)

    copies = tuple(
        Copy(name, State.WAITING, key="recording.video", upload_id=f"upload {name}") for name in (HERE, THERE)
    )
    settled = replace(claim, copies=copies, part_size=5, size=12, source_etag='"etag"')
    assert as_of(again, 0) == as_of(replace(settled, owner="other", epoch=2), 0)
    assert await ledger.progress.parts(again, HERE) == [part(1)]
    assert await ledger.progress.parts(again, THERE) == [part(1)]


async def test_the_current_claim_tells_what_was_settled_since(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.route(claim, [HERE])
    await ledger.progress.reserve(claim, HERE, "call.mp4")

    current = await work.current(claim)

    assert as_of(current, 0) == as_of(replace(claim, copies=(Copy(HERE, State.WAITING, key="call.mp4"),)), 0)
    assert current.now >= claim.now


async def test_one_that_is_stored_stays_so_when_it_is_claimed_again(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work("killed"), Kind.VIDEO)
    await store(ledger, claim)
    await ledger.lapse()

    work = ledger.work()
    (again,) = await work.claim(1)
    stored = (Copy(HERE, State.STORED, key="recording.video", size=10),)
    assert again.copies == stored

    assert await work.settle(again, {}) == [HERE]
    await work.try_later(again, NOW)
    (third,) = await work.claim(1)
    assert (third.state, third.copies) == (State.STORED, stored)
    await work.release([third])
    (fourth,) = await work.claim(1)
    assert (fourth.state, fourth.copies) == (State.STORED, stored)


async def test_one_that_is_stored_in_one_of_its_storages_is_still_open(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.route(claim, [HERE, THERE])
    await store(ledger, claim, HERE)
    assert await conclude(ledger, claim) == [HERE]
    await work.release([claim])

    assert [row["state"] for row in await ledger.rows("artifacts")] == ["waiting"]
    (again,) = await work.claim(1)
    assert again.state is State.MOVING
    assert [copy.state for copy in again.copies] == [State.ARCHIVED, State.WAITING]
