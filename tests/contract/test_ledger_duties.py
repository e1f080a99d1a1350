"""Proves on both databases that a duty is one process's at a time, and who is to be asked about what."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from service.errors import LeaseLost
from service.ledger import Duties, Intake
from service.ledger.tables import duties, now, recordings
from service.model import Event, Kind, Provider, Recording, Scope
from tests.contract.ledgers import LATER, Ledger, archive, expire, news, opened

NAME = "reconcile default"
HOUR_S = 3600.0


def of(ledger: Ledger, owner: str = "here", *, lease_s: float = 60.0) -> Duties:
    """The duties as one process takes them; its lease is over at once if `lease_s` is not positive."""
    return Duties(ledger.database, owner=owner, lease_s=lease_s)


async def change(ledger: Ledger, table: sa.Table, **values: Any) -> None:
    """Let time pass, or something happen, for every row."""
    await ledger.database.write(lambda connection: connection.execute(table.update().values(**values)))


async def row(ledger: Ledger) -> dict[str, Any]:
    (found,) = await ledger.rows("duties")
    return found


async def told_now(ledger: Ledger) -> float:
    return await ledger.database.read(lambda connection: connection.execute(sa.select(now())).scalar_one())


# ---- one at a time


async def test_a_new_duty_is_due_at_once_and_is_one_process_s_alone(ledger: Ledger) -> None:
    assert await of(ledger).take(NAME)

    assert not await of(ledger, "there").take(NAME)
    assert not await of(ledger).take(NAME)
    assert (await row(ledger))["owner"] == "here"
    assert abs((await row(ledger))["lease_until"] - await told_now(ledger) - 60) < 5


async def test_another_duty_is_taken_by_itself(ledger: Ledger) -> None:
    assert await of(ledger).take("one")
    assert await of(ledger, "there").take("another")

    assert {found["name"]: found["owner"] for found in await ledger.rows("duties")} == {
        "one": "here",
        "another": "there",
    }


async def test_of_many_that_take_it_at_once_one_has_it_time_after_time(
    ledger: Ledger, ledger_url: str
) -> None:
    async with opened(ledger_url) as other:
        for name in map(str, range(10)):
            processes = [of(each, f"{n}") for n, each in enumerate((ledger, other) * 4)]

            taken = await asyncio.gather(*(process.take(name) for process in processes))

            assert taken.count(True) == 1
            (held,) = [found for found in await ledger.rows("duties") if found["name"] == name]
            assert held["owner"] == str(taken.index(True))


async def test_a_lease_that_ran_out_is_taken_by_one_of_many(ledger: Ledger, ledger_url: str) -> None:
    assert await of(ledger, "dead", lease_s=-1).take(NAME)
    async with opened(ledger_url) as other:
        taken = await asyncio.gather(*(of(each, f"{each}").take(NAME) for each in (ledger, other) * 4))

    assert taken.count(True) == 1


async def test_what_is_done_is_due_again_after_its_time(ledger: Ledger) -> None:
    await of(ledger).take(NAME)
    await of(ledger).done(NAME, again_in_s=HOUR_S)

    assert not await of(ledger, "there").take(NAME)
    done = await row(ledger)
    assert (done["owner"], done["lease_until"], done["error"]) == (None, None, None)
    assert abs(done["due_at"] - done["done_at"] - HOUR_S) < 1
    assert abs(done["done_at"] - await told_now(ledger)) < 5

    await change(ledger, duties, due_at=duties.c.due_at - HOUR_S)
    assert await of(ledger, "there").take(NAME)


async def test_what_was_not_done_keeps_its_reason_and_when_it_was_done_last(ledger: Ledger) -> None:
    await of(ledger).take(NAME)
    await of(ledger).done(NAME, again_in_s=0)
    done_at = (await row(ledger))["done_at"]

    assert await of(ledger).take(NAME)
    await of(ledger).done(NAME, again_in_s=0, error="it does not answer")

    assert ((await row(ledger))["error"], (await row(ledger))["done_at"]) == ("it does not answer", done_at)
    assert await of(ledger).take(NAME)
    await of(ledger).done(NAME, again_in_s=0)
    assert (await row(ledger))["error"] is None
    assert (await row(ledger))["done_at"] > done_at


async def test_a_process_that_lost_its_lease_gives_nothing_back(ledger: Ledger) -> None:
    await of(ledger, "slow", lease_s=-1).take(NAME)
    assert await of(ledger, "quick").take(NAME)
    before = await row(ledger)

    await of(ledger, "slow").done(NAME, again_in_s=HOUR_S, error="late")

    assert await row(ledger) == before


async def test_what_nobody_took_is_not_given_back(ledger: Ledger) -> None:
    await of(ledger).done(NAME, again_in_s=0)

    assert await ledger.rows("duties") == []


# ---- holding it


async def test_a_job_longer_than_the_lease_keeps_it(ledger: Ledger) -> None:
    process = of(ledger, lease_s=3.0)
    assert await process.take(NAME)
    takings = []

    async def job() -> None:
        for _ in range(5):
            await asyncio.sleep(0.8)
            takings.append(await of(ledger, "there").take(NAME))

    await process.holding(NAME, job)

    assert takings == [False] * 5


async def test_a_job_whose_duty_another_process_has_is_ended(ledger: Ledger) -> None:
    process = of(ledger, lease_s=0.03)
    await process.take(NAME)
    ended = asyncio.Event()

    async def job() -> None:
        await change(ledger, duties, owner="there")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(LeaseLost):
        async with asyncio.timeout(10):
            await process.holding(NAME, job)

    assert ended.is_set()
    assert (await row(ledger))["owner"] == "there"


async def test_a_job_that_fails_fails_as_itself_and_the_duty_is_still_held(ledger: Ledger) -> None:
    process = of(ledger)
    await process.take(NAME)

    async def job() -> None:
        raise KeyError("what went wrong")

    with pytest.raises(KeyError, match="what went wrong"):
        await process.holding(NAME, job)

    assert (await row(ledger))["owner"] == "here"


async def test_a_job_that_is_broken_off_has_ended_when_that_is_told(ledger: Ledger) -> None:
    process = of(ledger)
    await process.take(NAME)
    begun, ended = asyncio.Event(), asyncio.Event()
    before = asyncio.all_tasks()

    async def job() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    holding = asyncio.create_task(process.holding(NAME, job))
    await begun.wait()
    holding.cancel()
    await asyncio.wait([holding], timeout=10)

    assert holding.cancelled()
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == len(before)


# ---- what is to be asked for


def session(id: str = "session", **told: Any) -> Recording:  # noqa: A002 - the provider's own word
    return Recording(id, Provider.DYTE, "ENDED", Scope.SESSION, session_id=id, **told)


async def asked(ledger: Ledger, app: str = "default", *, limit: int = 9) -> list[str]:
    return [inquiry.recording.id for inquiry in await of(ledger).inquiries(app, limit=limit)]


async def test_recordings_are_asked_for_first_then_what_waits_the_longest(ledger: Ledger) -> None:
    await Intake(ledger.database).learn([Event("api", session("s1")), Event("api", session("s2"))])
    await ledger.hear(news(id="r1"), news(id="r2"), news(id="r3"))
    waiting_s = {"s1": 30.0, "s2": 40.0, "r1": 10.0, "r2": 20.0, "r3": -HOUR_S}
    waiting = sa.case(waiting_s, value=recordings.c.id)
    await change(ledger, recordings, ask_at=recordings.c.ask_at - waiting)

    assert await asked(ledger) == ["r2", "r1", "s2", "s1"]
    assert await asked(ledger, limit=3) == ["r2", "r1", "s2"]
    assert await asked(ledger, limit=1) == ["r2"]


async def test_what_is_complete_or_another_app_s_is_not_asked_for(ledger: Ledger) -> None:
    await ledger.hear(
        news(Kind.VIDEO, id="whole"),
        news(id="begun", status="RECORDING"),
        news(id="lost", status="ERRORED"),
        news(id="theirs", app="staging"),
    )

    assert await asked(ledger) == []
    assert await asked(ledger, "staging") == ["theirs"]


async def test_an_inquiry_has_all_that_is_known_of_it(ledger: Ledger) -> None:
    work = ledger.work()
    told = session(
        title="Weekly", stopped_at=await told_now(ledger) - HOUR_S, storage_config='{"type":"aws"}'
    )
    await Intake(ledger.database).learn([Event("api", told)])
    known = [Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY]
    await ledger.hear(news(*known, id="session", status="LIVE"))
    claims = {claim.artifact.kind: claim for claim in await work.claim(3)}
    await archive(ledger, [claims[Kind.CHAT]])
    await expire(ledger, claims[Kind.SUMMARY])
    await work.try_later(claims[Kind.TRANSCRIPT], LATER)

    (inquiry,) = await of(ledger).inquiries("default", limit=9)

    assert inquiry.recording == told
    assert inquiry.known == frozenset(known)
    assert HOUR_S <= inquiry.ended_s_ago < HOUR_S + 60


async def test_without_a_known_end_it_counts_from_the_first_news(ledger: Ledger) -> None:
    await Intake(ledger.database).learn([Event("api", session())])
    await change(ledger, recordings, seen_at=recordings.c.seen_at - HOUR_S)

    (inquiry,) = await of(ledger).inquiries("default", limit=9)

    assert inquiry.known == frozenset()
    assert HOUR_S <= inquiry.ended_s_ago < HOUR_S + 60


async def test_what_was_answered_is_asked_for_again_when_its_time_has_come(ledger: Ledger) -> None:
    await Intake(ledger.database).learn([Event("api", session("s1")), Event("api", session("s2"))])

    await of(ledger).answered("s1", again_in_s=HOUR_S)
    assert await asked(ledger) == ["s2"]

    await of(ledger).answered("s2", again_in_s=None)
    assert await asked(ledger) == []

    await change(ledger, recordings, ask_at=recordings.c.ask_at - HOUR_S)
    assert await asked(ledger) == ["s1"]
