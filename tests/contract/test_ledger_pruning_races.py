"""Proves that news and forgetting at the same moment end as one after the other, on both databases."""

import asyncio

import pytest

from service.ledger import Intake, Pruning
from service.ledger.intake import Outcome
from service.model import Kind
from tests.contract.ledgers import DELIVERY, Ledger, archive, news, opened
from tests.contract.test_ledger_pruning import KEEP_S, archived, long_ago, pruned
from tests.contract.test_ledger_races import halting

MORE = news(Kind.VIDEO, Kind.AUDIO, link="https://provider.example/more")


async def told(ledger: Ledger, way: str) -> Outcome:
    intake = Intake(ledger.database)
    if way == "delivery":
        return await intake.record(DELIVERY, MORE)
    (outcome,) = await intake.learn([MORE])
    return outcome


@pytest.mark.parametrize("way", ["delivery", "learn"])
async def test_news_that_comes_while_a_recording_is_forgotten_brings_nothing(
    ledger: Ledger, ledger_url: str, way: str
) -> None:
    await archived(ledger, Kind.VIDEO)

    async with halting(ledger_url) as (database, _):
        closed, outcome = await database.go_on(Pruning(database).files(keep_s=KEEP_S), told(ledger, way))

    assert (closed, outcome) == (1, Outcome.KNOWN)
    assert await ledger.rows("artifacts") == []


@pytest.mark.parametrize("way", ["delivery", "learn"])
async def test_a_recording_of_which_there_is_news_at_that_moment_is_not_forgotten(
    ledger: Ledger, ledger_url: str, way: str
) -> None:
    await archived(ledger, Kind.VIDEO)

    async with halting(ledger_url) as (database, other):
        outcome, closed = await database.go_on(told(other, way), pruned(ledger))

    assert (outcome, closed) == (Outcome.ANNOUNCED, 0)
    assert [row["kind"] for row in await ledger.rows("artifacts")] == ["audio", "video"]
    (claim,) = await ledger.work().claim(9)
    assert claim.artifact.kind is Kind.AUDIO
    await archive(ledger, [claim])
    await long_ago(ledger, "recording")
    assert await pruned(ledger) == 1


async def test_of_news_and_forgetting_at_random_moments_nothing_is_left_half(
    ledger: Ledger, ledger_url: str
) -> None:
    ids = [f"r{number:02}" for number in range(20)]
    for name in ids:
        await archived(ledger, Kind.VIDEO, id=name)
    more = [news(Kind.VIDEO, Kind.AUDIO, id=name) for name in ids]

    async with opened(ledger_url) as pod, opened(ledger_url) as third:
        outcomes, *_ = await asyncio.gather(
            asyncio.gather(*(Intake(pod.database).record(DELIVERY, event) for event in more)),
            pruned(ledger),
            pruned(third),
            Intake(third.database).learn(more[::-1]),
        )
        assert len(outcomes) == len(ids)

    closed = {row["id"] for row in await ledger.rows("recordings") if row["closed_at"] is not None}
    files: dict[str, set[str]] = {}
    for row in await ledger.rows("artifacts"):
        files.setdefault(row["recording_id"], set()).add(row["kind"])
    # Each is either forgotten altogether, or has its new file beside the old one.
    assert files == {name: {"video", "audio"} for name in ids if name not in closed}
    copies = {row["artifact_id"] for row in await ledger.rows("copies")}
    assert copies == {f"{name}/video" for name in files}
