"""Proves that the work is shared out fairly, and all of it, on both databases."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import sqlalchemy as sa

from service.ledger import Intake, Trouble
from service.ledger.sharing import URGENT_S
from service.ledger.tables import artifacts
from service.model import Claim, Event, Kind
from tests.contract.ledgers import DELIVERY, FAR, LATER, NOW, Ledger, news, opened

CROWD = 500
OTHERS = [f"other{number}" for number in range(10)]
SLOTS = 4


def of(customer: str, number: int, *, expires_at: float = FAR) -> Event:
    """A customer's recording; its number is its place in the order of expiry."""
    return news(
        Kind.VIDEO,
        id=f"{customer}-{number:03}",
        expires_at=expires_at + number,
        organization_id=customer,
    )


def customer_of(claim: Claim) -> str:
    return claim.recording.organization_id or ""


def names(claims: Iterable[Claim]) -> list[str]:
    return [claim.recording.id for claim in claims]


async def announced(ledger: Ledger, told: Iterable[Event]) -> None:
    intake = Intake(ledger.database)
    await asyncio.gather(*(intake.record(DELIVERY, event) for event in told))


async def archived(ledger: Ledger, claim: Claim) -> None:
    """As if it had been archived: neither held nor due any more."""
    done = sa.update(artifacts).where(artifacts.c.id == claim.id)
    gone = done.values(state="archived", due_at=None, owner=None, lease_until=None, stored_at=1.0)
    await ledger.database.write(lambda connection: connection.execute(gone))


async def crowded(ledger: Ledger) -> None:
    """500 recordings of one customer, all of which expire first, and then three of each of ten others."""
    await announced(ledger, (of("crowd", number) for number in range(CROWD)))
    await announced(ledger, (of(other, 900 + number) for other in OTHERS for number in range(3)))


# ---- in turn


async def test_500_recordings_of_one_customer_keep_nobody_waiting(ledger: Ledger) -> None:
    await crowded(ledger)
    work = ledger.work()
    held = await work.claim(SLOTS)
    served = Counter(map(customer_of, held))
    # A slot is given back, and one claimed, again and again; the longest held is done first.
    for number in range(40):
        await archived(ledger, held.pop(0))
        (claim,) = await work.claim(1)
        held.append(claim)
        served[customer_of(claim)] += 1
        if number == 15:
            assert set(served) == {"crowd", *OTHERS}, "after twenty claims somebody had none"

    assert {served[other] for other in OTHERS} == {3}
    assert served["crowd"] == 4 + 40 - 30


async def test_all_slots_are_of_the_one_customer_who_is_alone_soonest_expiry_first(ledger: Ledger) -> None:
    await announced(ledger, (of("crowd", number) for number in range(20)))

    assert names(await ledger.work().claim(9)) == [f"crowd-{number:03}" for number in range(9)]
    assert names(await ledger.work().claim(99)) == [f"crowd-{number:03}" for number in range(9, 20)]


async def test_free_slots_are_shared_out_at_once(ledger: Ledger) -> None:
    await crowded(ledger)

    claims = await ledger.work().claim(25)

    # Two each, and what is over to those whose files expire first.
    assert sorted(Counter(map(customer_of, claims)).values()) == [2] * 8 + [3] * 3
    assert Counter(map(customer_of, claims))["crowd"] == 3


async def test_what_a_customer_leaves_of_his_share_is_the_others_at_once(ledger: Ledger) -> None:
    await announced(ledger, (of("crowd", number) for number in range(30)))
    await announced(ledger, [of("one", 900), of("two", 901), of("two", 902)])

    claims = await ledger.work().claim(12)

    assert Counter(map(customer_of, claims)) == {"crowd": 9, "one": 1, "two": 2}
    assert sorted(n for n in names(claims) if "crowd" in n) == [f"crowd-{number:03}" for number in range(9)]


async def test_what_other_pods_hold_counts(ledger: Ledger, ledger_url: str) -> None:
    await announced(ledger, (of("crowd", number) for number in range(8)))
    assert len(await ledger.work("first").claim(3)) == 3
    await announced(ledger, (of("other", 900 + number) for number in range(8)))

    async with opened(ledger_url) as pod:
        claims = await pod.work("second").claim(5)

    # Four each, all in all.
    assert Counter(map(customer_of, claims)) == {"other": 4, "crowd": 1}


async def test_what_a_dead_pod_held_does_not_count(ledger: Ledger) -> None:
    await announced(ledger, (of("crowd", number) for number in range(8)))
    assert len(await ledger.work("dead", lease_s=-1).claim(6)) == 6
    await announced(ledger, (of("other", 900 + number) for number in range(8)))

    claims = await ledger.work("living").claim(4)

    assert Counter(map(customer_of, claims)) == {"crowd": 2, "other": 2}
    assert [n for n in names(claims) if "crowd" in n] == ["crowd-000", "crowd-001"]


async def test_customers_of_different_apps_are_different_though_named_alike(ledger: Ledger) -> None:
    for app in ("here", "there"):
        await announced(
            ledger,
            (news(Kind.VIDEO, id=f"{app}-{number}", app=app, organization_id="o") for number in range(9)),
        )

    claims = await ledger.work().claim(6)

    assert Counter(claim.recording.app for claim in claims) == {"here": 3, "there": 3}


async def test_recordings_of_nobody_in_particular_have_their_turn(ledger: Ledger) -> None:
    await announced(ledger, (of("crowd", number) for number in range(9)))
    await announced(ledger, (news(Kind.VIDEO, id=f"none-{number}") for number in range(9)))

    claims = await ledger.work().claim(4)

    assert Counter(customer_of(claim) for claim in claims) == {"crowd": 2, "": 2}


# ---- urgent


async def test_what_has_less_than_a_day_left_goes_before_everything_soonest_first(ledger: Ledger) -> None:
    await crowded(ledger)
    soon = time.time() + URGENT_S - 3600
    await announced(ledger, (of("late", number, expires_at=soon) for number in range(6, 0, -1)))
    await announced(ledger, [of("crowd", 700, expires_at=soon - 10_000)])

    claims = await ledger.work().claim(5)
    rest = await ledger.work().claim(6)

    assert names(claims) == ["crowd-700", *(f"late-{number:03}" for number in range(1, 5))]
    assert names(rest)[:2] == ["late-005", "late-006"]
    # The others come after them: who holds urgent ones has had his turns.
    assert "late" not in {customer_of(claim) for claim in rest[2:]}


async def test_urgent_ones_count_as_his_turns(ledger: Ledger) -> None:
    soon = time.time() + 3600
    await announced(ledger, (of("late", number, expires_at=soon) for number in range(2)))
    await announced(ledger, (of("late", 500 + number) for number in range(5)))
    await announced(ledger, (of("other", 900 + number) for number in range(5)))

    claims = await ledger.work().claim(4)

    assert Counter(map(customer_of, claims)) == {"late": 2, "other": 2}


async def test_what_has_more_than_a_day_left_waits_for_its_turn(ledger: Ledger) -> None:
    later = time.time() + URGENT_S + 3600
    await announced(ledger, (of("crowd", number, expires_at=later) for number in range(9)))
    await announced(ledger, (of("other", number) for number in range(9)))

    claims = await ledger.work().claim(4)

    assert Counter(map(customer_of, claims)) == {"crowd": 2, "other": 2}


# ---- failures


async def test_a_customer_whose_files_fail_holds_no_slot_and_keeps_nobody_waiting(ledger: Ledger) -> None:
    work = ledger.work()
    await announced(ledger, (of("failing", number) for number in range(30)))
    for claim in await work.claim(30):
        await work.try_later(claim, LATER)
    await announced(ledger, (of("other", 900 + number) for number in range(9)))
    await announced(ledger, [of("failing", 800)])

    claims = await work.claim(6)

    assert Counter(map(customer_of, claims)) == {"failing": 1, "other": 5}
    assert "failing-800" in names(claims)


async def test_what_fails_again_and_again_takes_no_more_than_its_turns(ledger: Ledger) -> None:
    work = ledger.work()
    await announced(ledger, (of("failing", number) for number in range(5)))
    await announced(ledger, (of("other", 900 + number) for number in range(20)))
    done: list[str] = []
    for _ in range(40):
        for claim in await work.claim(2):
            if customer_of(claim) == "failing":
                await work.try_later(claim, NOW)
            else:
                await archived(ledger, claim)
                done.append(claim.recording.id)
        if len(done) == 20:
            return
    raise AssertionError(f"only {len(done)} of the other's recordings were archived")


async def test_urgent_ones_that_were_backed_off_hold_no_slot(ledger: Ledger) -> None:
    work, soon = ledger.work(), time.time() + 3600
    await announced(ledger, (of("failing", number, expires_at=soon) for number in range(9)))
    for claim in await work.claim(9):
        await work.try_later(claim, Trouble(600.0, "it is slow", "wait"))
    await announced(ledger, (of("other", number) for number in range(3)))

    assert names(await work.claim(9)) == [f"other-{number:03}" for number in range(3)]
