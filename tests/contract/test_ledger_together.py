"""Proves that a burst of deliveries ends as if they had come one after the other, on both databases."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from service.ledger import Intake
from service.ledger.intake import Outcome
from service.model import STATUS_RANK, Event, Kind
from tests.contract.ledgers import DELIVERY, FAR, Ledger, emptied, news, opened

BURST = 300

_BY_THE_CLOCK = {"seen_at", "announced_at", "due_at", "offered_at", "ask_at", "received_at"}

events = st.builds(
    lambda number, kinds, status, link, expires_at, title: news(
        *kinds,
        id=f"r{number}",
        status=status,
        link=f"https://provider.example/{link}",
        expires_at=expires_at,
        title=title,
    ),
    st.integers(0, 5),
    st.lists(st.sampled_from([Kind.VIDEO, Kind.AUDIO]), unique=True, max_size=2),
    st.sampled_from([*STATUS_RANK, "OF ANOTHER KIND"]),
    st.integers(0, 2),
    st.sampled_from([None, FAR, FAR + 1]),
    st.sampled_from([None, "Weekly", "Daily"]),
)


async def one_after_the_other(intake: Intake, told: Sequence[Event]) -> list[Outcome]:
    return [await intake.record(DELIVERY, event) for event in told]


async def at_once(intake: Intake, told: Sequence[Event]) -> list[Outcome]:
    return await asyncio.gather(*(intake.record(DELIVERY, event) for event in told))


async def kept(ledger: Ledger) -> dict[str, Any]:
    """All that the ledger holds, without what the clock says and what came before what."""
    tables = {
        name: [{column: row[column] for column in row if column not in _BY_THE_CLOCK} for row in rows]
        for name, rows in (await ledger.everything()).items()
    }
    for row in tables["artifacts"]:
        if row["expires_at"] < FAR:  # counted from its arrival
            row["expires_at"] = None
    due = await ledger.rows("recordings")
    return {
        **{name: rows for name, rows in tables.items() if name != "deliveries"},
        "deliveries": Counter(
            tuple((name, value) for name, value in row.items() if name != "number")
            for row in tables["deliveries"]
        ),
        "to be asked": [row["id"] for row in due if row["ask_at"] is not None],
        "offered": [row["id"] for row in due if row["offered_at"] is not None],
    }


async def assert_a_burst_is_as_good(ledger: Ledger, told: Sequence[Event]) -> None:
    await emptied(ledger)
    outcomes = await one_after_the_other(Intake(ledger.database), told)
    expected = await kept(ledger)
    await emptied(ledger)

    assert await at_once(Intake(ledger.database), told) == outcomes

    assert await kept(ledger) == expected


async def test_a_burst_with_replays_ends_as_one_after_the_other(ledger: Ledger) -> None:
    chance = random.Random(5)
    links = [f"https://provider.example/{number}" for number in range(3)]
    told = [
        news(
            *chance.sample([Kind.VIDEO, Kind.AUDIO], chance.randrange(3)),
            id=f"r{chance.randrange(80)}",
            status=chance.choice([*STATUS_RANK]),
            link=chance.choice(links),
            expires_at=chance.choice([None, FAR, FAR + 1]),
        )
        for _ in range(BURST * 2 // 3)
    ]
    told += chance.choices(told, k=BURST // 3)

    await assert_a_burst_is_as_good(ledger, told)

    assert sum((await kept(ledger))["deliveries"].values()) == BURST


@given(told=st.lists(events, min_size=1, max_size=15), times=st.integers(1, 4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_burst_ends_as_one_after_the_other(ledger: Ledger, told: list[Event], times: int) -> None:
    await assert_a_burst_is_as_good(ledger, told * times)


async def test_one_that_the_database_does_not_take_fails_alone(ledger: Ledger) -> None:
    intake = Intake(ledger.database)
    wrong = news(Kind.VIDEO, id="wrong", title=None)
    object.__setattr__(wrong.recording, "app", None)  # as no check let it through

    answers = await asyncio.gather(
        *(intake.record(DELIVERY, news(Kind.VIDEO, id=f"r{number}")) for number in range(3)),
        intake.record(DELIVERY, wrong),
        *(intake.record(DELIVERY, news(Kind.VIDEO, id=f"s{number}")) for number in range(3)),
        return_exceptions=True,
    )

    assert isinstance(answers.pop(3), IntegrityError)
    assert answers == [Outcome.ANNOUNCED] * 6
    assert {row["id"] for row in await ledger.rows("recordings")} == {"r0", "r1", "r2", "s0", "s1", "s2"}
    assert len(await ledger.rows("deliveries")) == 6


async def test_bursts_of_the_same_news_at_several_receivers_do_not_block_each_other(
    ledger: Ledger, ledger_url: str
) -> None:
    told = [news(Kind.VIDEO, Kind.AUDIO, id=f"r{number}") for number in range(60)]

    async with opened(ledger_url) as other:
        outcomes = await asyncio.gather(
            at_once(Intake(ledger.database), told),
            at_once(Intake(other.database), told[::-1]),
            Intake(ledger.database).learn(told[30:] + told[:30]),
            Intake(other.database).learn(told),
        )

    assert {row["state"] for row in await ledger.rows("artifacts")} == {"waiting"}
    assert len(await ledger.rows("artifacts")) == 120
    assert len(await ledger.rows("deliveries")) == 120
    announced = Counter(outcome for each in outcomes for outcome in each)[Outcome.ANNOUNCED]
    assert announced == 60


async def test_more_than_a_transaction_takes_are_all_kept(ledger: Ledger) -> None:
    many = 1000
    told = [news(Kind.VIDEO, id=f"r{number:04}") for number in range(many)]

    assert await at_once(Intake(ledger.database), told) == [Outcome.ANNOUNCED] * many

    assert [row["recording_id"] for row in await ledger.rows("artifacts")] == [
        f"r{n:04}" for n in range(many)
    ]
