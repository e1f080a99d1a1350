"""Proves on both databases what each order does, to whom, and that none is given without a trace."""

import math
from collections.abc import Collection
from dataclasses import replace

import pytest

from service.choices import Order, Standing
from service.errors import LeaseLost, NotInLedger, OrderRefused
from service.ledger import Intake
from service.ledger.browse import Search, browse
from service.ledger.life import Life, life
from service.ledger.orders import Orders
from service.model import Kind, State
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    begin,
    conclude,
    expire,
    news,
    part,
    store,
)

FRESH = "https://provider.example/fresh"


async def give(ledger: Ledger, order: Order, target: str = "recording") -> list[str]:
    return await Orders(ledger.database).give(order, target, actor="somebody")


async def standing(ledger: Ledger, recording_id: str = "recording") -> Standing:
    (found,) = (await browse(ledger.database, Search(text=recording_id))).found
    return found.standing


async def claimable(ledger: Ledger) -> set[str]:
    work = ledger.work("looks")
    claims = await work.claim(99)
    await work.release(claims)
    return {claim.id for claim in claims}


# ---- pause and resume


async def test_what_is_paused_is_claimed_by_nobody_until_it_is_resumed(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, Kind.AUDIO))

    assert await give(ledger, Order.PAUSE) == ["recording/audio", "recording/video"]
    assert await claimable(ledger) == set()
    assert await standing(ledger) is Standing.PAUSED

    assert await give(ledger, Order.RESUME, "recording/audio") == ["recording/audio"]
    assert await claimable(ledger) == {"recording/audio"}


async def test_one_file_is_paused_and_the_other_goes_on(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, Kind.AUDIO))
    assert await give(ledger, Order.PAUSE, "recording/video") == ["recording/video"]
    assert await claimable(ledger) == {"recording/audio"}


async def test_who_moves_what_is_paused_loses_it_and_the_parts_are_kept(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim)

    await give(ledger, Order.PAUSE)

    for late in (work.renew(claim), work.finish(claim), work.try_later(claim, LATER)):
        with pytest.raises(LeaseLost):
            await late
    with pytest.raises(LeaseLost):
        await ledger.progress.part_stored(claim, HERE, part(2))

    await give(ledger, Order.RESUME)
    (claim,) = await work.claim(9)
    assert claim.copy(HERE).upload_id == f"upload {HERE}"
    assert [each.number for each in await ledger.progress.parts(claim, HERE)] == [1]


async def test_a_fresh_link_does_not_resume_what_is_paused_but_is_there_then(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    await give(ledger, Order.PAUSE)
    await ledger.hear(news(Kind.VIDEO, link=FRESH, expires_at=FAR + 1))
    assert await claimable(ledger) == set()

    await give(ledger, Order.RESUME)
    (claim,) = await ledger.work().claim(9)
    assert claim.artifact.url == f"{FRESH}/video"


async def test_the_deadline_of_what_is_paused_stays_an_alarm(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    await give(ledger, Order.PAUSE)
    assert [near.artifact_id for near in await ledger.view.deadlines(within_s=math.inf, limit=9)] == [
        "recording/video"
    ]
    assert await ledger.view.backlog() == 0


# ---- retry and renew


async def test_what_failed_is_due_at_once_in_every_storage(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)
    await conclude(ledger, claim, {HERE: LATER, THERE: LATER})
    await work.finish(claim)
    assert await claimable(ledger) == set()

    assert await give(ledger, Order.RETRY) == ["recording/video"]
    (claim,) = await work.claim(9)
    assert [copy.is_due for copy in claim.copies] == [True, True]


async def test_what_expired_is_tried_again(ledger: Ledger) -> None:
    (gone,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await expire(ledger, gone)
    assert await standing(ledger) is Standing.EXPIRED

    await give(ledger, Order.RETRY)
    assert await standing(ledger) is Standing.WAITING
    assert await claimable(ledger) == {"recording/video"}


async def test_who_moves_a_file_is_left_alone_by_a_retry(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    with pytest.raises(OrderRefused, match="moved now"):
        await give(ledger, Order.RETRY)
    await work.renew(claim)


async def test_another_link_is_asked_for_until_there_is_one(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    assert await give(ledger, Order.RENEW) == ["recording/video"]
    work = ledger.work()
    (claim,) = await work.claim(9)
    assert claim.is_link_doubted
    (offered,) = news(Kind.VIDEO, link=FRESH).artifacts
    await ledger.progress.renewed(claim, offered)
    claim = await work.current(claim)
    assert (claim.is_link_doubted, claim.artifact.url) == (False, f"{FRESH}/video")


# ---- cancel


async def test_who_claims_what_is_cancelled_is_told(ledger: Ledger) -> None:
    work = ledger.work()
    (moving,) = await ledger.claimed(work, Kind.VIDEO)
    assert await give(ledger, Order.CANCEL) == ["recording/video"]

    with pytest.raises(LeaseLost):
        await work.renew(moving)
    assert await standing(ledger) is Standing.CANCELLED
    (claim,) = await work.claim(9)
    assert claim.is_cancelled
    await expire(ledger, claim)
    assert await standing(ledger) is Standing.CANCELLED
    assert await claimable(ledger) == set()


async def test_no_news_brings_back_what_is_cancelled_and_a_retry_does(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    await give(ledger, Order.CANCEL)
    (claim,) = await ledger.work().claim(9)
    await expire(ledger, claim)
    fresh = news(Kind.VIDEO, link=FRESH, expires_at=FAR + 1)
    await ledger.hear(fresh)
    await Intake(ledger.database).learn([fresh])
    assert await claimable(ledger) == set()

    await give(ledger, Order.RETRY)
    (claim,) = await ledger.work().claim(9)
    assert not claim.is_cancelled
    await store(ledger, claim)
    await conclude(ledger, claim)
    await ledger.work().finish(claim)
    assert await standing(ledger) is Standing.ARCHIVED


async def test_what_of_a_recording_is_stored_stays_when_the_rest_is_cancelled(ledger: Ledger) -> None:
    work = ledger.work()
    video, _audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video)
    assert await conclude(ledger, video) == []
    await work.finish(video)

    assert await give(ledger, Order.CANCEL) == ["recording/audio"]
    (claim,) = await work.claim(9)
    assert await expire(ledger, claim) == [HERE]
    states = {row["id"]: row["state"] for row in await ledger.rows("artifacts")}
    assert states == {"recording/video": State.ARCHIVED, "recording/audio": State.EXPIRED}


# ---- verify


async def test_every_stored_copy_is_verified(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await archive(ledger, [claim], HERE, THERE)
    await ledger.hear(news(Kind.VIDEO, id="other"))
    assert await give(ledger, Order.VERIFY) == ["recording/video"]
    assert [row["verify_at"] is not None for row in await ledger.rows("copies")] == [True, True]


# ---- all of them


async def kept(ledger: Ledger) -> list[tuple[str, str, str | None, str]]:
    rows = await ledger.rows("audit")
    return [(row["action"], row["recording_id"], row["artifact_id"], row["actor"]) for row in rows]


async def test_every_order_leaves_one_line_in_the_audit_trail(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, Kind.AUDIO))
    await give(ledger, Order.PAUSE)
    await give(ledger, Order.RESUME, "recording/audio")
    await give(ledger, Order.CANCEL)
    assert await kept(ledger) == [
        ("pause", "recording", None, "somebody"),
        ("resume", "recording", "recording/audio", "somebody"),
        ("cancel", "recording", None, "somebody"),
    ]
    told = (await life(ledger.database, "recording")).orders
    assert [(order.action, order.artifact_id) for order in told] == [
        ("pause", None),
        ("resume", "recording/audio"),
        ("cancel", None),
    ]


REFUSED: dict[str, tuple[Collection[Order], str]] = {
    "archived": ((Order.RETRY, Order.RENEW, Order.PAUSE, Order.RESUME, Order.CANCEL), "stored|paused"),
    "waiting": ((Order.RESUME, Order.VERIFY), "nothing"),
    "paused": ((Order.PAUSE, Order.VERIFY), "nothing"),
    "cancelled": ((Order.PAUSE, Order.CANCEL, Order.RESUME), "given up|paused"),
}


@pytest.mark.parametrize("named", REFUSED)
async def test_an_order_that_does_nothing_is_refused_and_leaves_no_line(ledger: Ledger, named: str) -> None:
    await archive(ledger, await ledger.claimed(ledger.work(), Kind.VIDEO, id="archived"), HERE)
    for recording_id in ("waiting", "paused", "cancelled"):
        await ledger.hear(news(Kind.VIDEO, id=recording_id))
    await give(ledger, Order.PAUSE, "paused")
    await give(ledger, Order.CANCEL, "cancelled")
    before = await ledger.everything()

    orders, why = REFUSED[named]
    for order in orders:
        for target in (named, f"{named}/video"):
            with pytest.raises(OrderRefused, match=why):
                await give(ledger, order, target)
    assert await ledger.everything() == before


@pytest.mark.parametrize("order", Order)
async def test_what_is_not_in_the_ledger_takes_no_order(ledger: Ledger, order: Order) -> None:
    await ledger.hear(news(Kind.VIDEO))
    for target in ("nobody", "recording/audio", "recordin", "%"):
        with pytest.raises(NotInLedger, match=target):
            await give(ledger, order, target)
    assert await kept(ledger) == []


# ---- what went wrong


async def failures_of(ledger: Ledger) -> list[tuple[str | None, str, int]]:
    (file,) = (await whole(ledger)).files
    return [(failure.storage, failure.error, failure.count) for failure in file.failures]


async def whole(ledger: Ledger) -> Life:
    return await life(ledger.database, "recording")


async def test_what_went_wrong_is_kept_and_the_same_again_is_counted(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim)
    await conclude(ledger, claim, {HERE: LATER})
    await work.finish(claim)
    await give(ledger, Order.RETRY)
    (claim,) = await work.claim(9)
    await conclude(ledger, claim, {HERE: LATER})
    await work.try_later(claim, LATER)
    assert sorted(await failures_of(ledger), key=str) == [(HERE, LATER.error, 2), (None, LATER.error, 1)]

    await give(ledger, Order.RETRY)
    (claim,) = await work.claim(9)
    await store(ledger, claim)
    await conclude(ledger, claim)
    await work.finish(claim)
    assert len(await failures_of(ledger)) == 2, "also once it is archived"


async def test_what_was_not_tried_did_not_go_wrong(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await begin(ledger, claim)
    await conclude(ledger, claim, {HERE: replace(LATER, was_tried=False)})
    assert await failures_of(ledger) == []


async def test_a_long_story_is_cut(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.try_later(claim, replace(LATER, error="ü" * 5000))
    ((_, error, _),) = await failures_of(ledger)
    assert error == "ü" * 500
