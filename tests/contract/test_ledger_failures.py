"""Proves on both databases that what went wrong is kept: each thing once, counted, and not without end."""

from dataclasses import replace

from service.choices import Order
from service.ledger import Trouble
from service.ledger.orders import Orders
from service.model import Kind
from tests.contract.ledgers import HERE, LATER, NOW, THERE, Ledger, archive

SLOW = Trouble(0.0, "the source is slow", "")


async def failures(ledger: Ledger) -> dict[tuple[str, str], int]:
    """How often each thing went wrong, by storage and error."""
    return {(row["storage"], row["error"]): row["count"] for row in await ledger.rows("failures")}


async def test_what_the_source_and_each_storage_did_is_kept_apart_and_counted(ledger: Ledger) -> None:
    await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.lapse()
    for owner in ("first", "second"):
        work = ledger.work(owner)
        (claim,) = await work.claim(1)
        await work.route(claim, [HERE, THERE])
        await work.settle(claim, {HERE: NOW})
        await work.settle(claim, {HERE: NOW, THERE: replace(LATER, delay_s=0.0)})
        await work.try_later(claim, SLOW)

    assert await failures(ledger) == {
        ("", SLOW.error): 2,
        (HERE, NOW.error): 4,
        (THERE, LATER.error): 2,
    }
    rows = await ledger.rows("failures")
    assert {(row["storage"], row["mend"], row["owner"]) for row in rows} == {
        ("", None, "second"),
        (HERE, None, "second"),
        (THERE, LATER.mend, "second"),
    }
    assert all(row["first_at"] < row["last_at"] for row in rows)


async def test_what_was_put_off_with_its_storage_was_no_failure_of_its_own(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().route(claim, [HERE])

    await ledger.work().settle(claim, {HERE: replace(LATER, was_tried=False)})

    assert await ledger.rows("failures") == []


async def test_of_errors_that_are_others_each_time_the_last_are_kept(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().route(claim, [HERE, THERE])
    await ledger.work().settle(claim, {THERE: NOW})
    for number in range(30):
        await ledger.work().settle(claim, {HERE: Trouble(0.0, f"{number} bytes of 99", "")})
    await ledger.work().settle(claim, {HERE: Trouble(0.0, "long " * 1000, "")})

    kept = await failures(ledger)
    assert len(kept) == 21
    assert (THERE, NOW.error) in kept
    assert (HERE, "29 bytes of 99") in kept
    assert (HERE, "0 bytes of 99") not in kept
    assert max(len(error) for _, error in kept) == 500


async def test_they_stay_when_it_is_archived_and_after_a_retry(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().try_later(claim, LATER)
    await Orders(ledger.database).give(Order.RETRY, "recording", actor="ann")
    (claim,) = await ledger.work().claim(1)

    await archive(ledger, [claim])

    assert await failures(ledger) == {("", LATER.error): 1}
