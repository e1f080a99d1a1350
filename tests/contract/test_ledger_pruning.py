"""Proves what the ledger forgets, and never that something was archived, on both databases."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from service.ledger import Intake, Pruning
from service.ledger.intake import Outcome
from service.ledger.tables import artifacts, deliveries, recordings
from service.model import Kind, Scope, State
from tests.contract.ledgers import (
    DELIVERY,
    FAR,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    conclude,
    expire,
    news,
    store,
)

LONG_AGO = 1_000_000.0
KEEP_S = 3600.0


async def long_ago(ledger: Ledger, *ids: str) -> None:
    """Whatever was stored of these recordings was stored long ago."""
    theirs = artifacts.c.recording_id.in_(ids), artifacts.c.stored_at.is_not(None)
    aged = sa.update(artifacts).where(*theirs).values(stored_at=LONG_AGO)
    await ledger.database.write(lambda connection: connection.execute(aged))


async def archived(ledger: Ledger, *kinds: Kind, id: str = "recording") -> None:  # noqa: A002
    """A recording all of which was archived long ago, in two storages."""
    claims = await ledger.claimed(ledger.work(), *kinds, id=id)
    await archive(ledger, claims, HERE, THERE)
    await long_ago(ledger, id)


async def pruned(ledger: Ledger) -> int:
    return await Pruning(ledger.database).files(keep_s=KEEP_S)


def statements_of(ledger: Ledger) -> list[str]:
    """Every statement from now on but those that begin a transaction."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    sa.event.listen(ledger.database._engine, "before_cursor_execute", note)
    return seen


# ---- deliveries


async def test_deliveries_are_forgotten_in_batches_the_old_ones_alone(ledger: Ledger) -> None:
    row = {"provider": "dyte", "event_name": "x", "outcome": "ignored"}
    old = [{**row, "received_at": LONG_AGO + number} for number in range(2500)]
    await ledger.database.write(lambda connection: connection.execute(deliveries.insert(), old))
    await ledger.hear(news(Kind.VIDEO))
    seen = statements_of(ledger)

    assert await Pruning(ledger.database).deliveries(keep_s=KEEP_S) == 2500

    assert [row["recording_id"] for row in await ledger.rows("deliveries")] == ["recording"]
    assert len([statement for statement in seen if statement.startswith("DELETE")]) == 4
    assert len(await ledger.rows("artifacts")) == 1


async def test_nothing_to_forget_costs_one_statement(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    seen = statements_of(ledger)

    assert await Pruning(ledger.database).deliveries(keep_s=KEEP_S) == 0
    assert len(seen) == 1

    assert await pruned(ledger) == 0
    assert len(seen) == 2


# ---- files


async def test_of_an_old_recording_only_that_it_was_archived_is_kept(ledger: Ledger) -> None:
    await archived(ledger, Kind.VIDEO, Kind.AUDIO)
    manifests = await ledger.view.manifests()

    assert await pruned(ledger) == 1

    everything = await ledger.everything()
    for table in ("artifacts", "copies", "parts", "statuses"):
        assert everything[table] == []
    assert everything["recordings"][0]["closed_at"] is not None
    # What is verified is found by its manifests.
    assert await ledger.view.manifests() == manifests
    assert sorted(manifests) == [(HERE, "recording.video.json"), (THERE, "recording.video.json")]
    assert (await ledger.view.recording("recording", HERE)).manifest_key == "recording.video.json"
    assert await pruned(ledger) == 0


async def test_a_younger_recording_is_kept_whole(ledger: Ledger) -> None:
    claims = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await archive(ledger, claims)
    before = await ledger.everything()

    assert await pruned(ledger) == 0

    assert await ledger.everything() == before


async def still_waiting(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.AUDIO))


async def held(ledger: Ledger) -> None:
    await ledger.claimed(ledger.work(), Kind.AUDIO)


async def backed_off(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.AUDIO)
    await ledger.work().try_later(claim, LATER)


async def stored_without_its_manifest(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.AUDIO)
    await store(ledger, claim)


async def stored_in_one_of_its_storages(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.AUDIO)
    await ledger.work().route(claim, [HERE, THERE])
    await store(ledger, claim, HERE)
    await conclude(ledger, claim, {THERE: LATER})
    await ledger.work().finish(claim)


async def archived_lately(ledger: Ledger) -> None:
    await archive(ledger, await ledger.claimed(ledger.work(), Kind.AUDIO))


@pytest.mark.parametrize(
    "sibling",
    [
        still_waiting,
        held,
        backed_off,
        stored_without_its_manifest,
        stored_in_one_of_its_storages,
        archived_lately,
    ],
)
async def test_a_recording_is_kept_whole_while_one_of_its_files_is(
    ledger: Ledger, sibling: Callable[[Ledger], Awaitable[None]]
) -> None:
    await archived(ledger, Kind.VIDEO)
    await sibling(ledger)
    before = await ledger.everything()

    assert await pruned(ledger) == 0

    assert await ledger.everything() == before


async def test_one_that_expired_does_not_keep_the_others(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await archive(ledger, [video])
    await expire(ledger, audio)
    await long_ago(ledger, "recording")

    assert await pruned(ledger) == 1

    assert await ledger.rows("artifacts") == []


async def test_what_was_lost_altogether_is_not_forgotten(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await expire(ledger, claim)
    await long_ago(ledger, "recording")

    assert await pruned(ledger) == 0

    assert (await ledger.overview()).counts[State.EXPIRED] == 1


async def test_more_than_a_transaction_forgets_are_all_forgotten_and_the_others_are_not(
    ledger: Ledger,
) -> None:
    ids = [f"r{number:04}" for number in range(1600)]
    intake = Intake(ledger.database)
    await intake.learn([news(Kind.VIDEO, Kind.AUDIO, id=name) for name in ids])
    done = sa.update(artifacts).values(state="archived", due_at=None, stored_at=LONG_AGO)
    await ledger.database.write(lambda connection: connection.execute(done))
    await intake.learn([news(Kind.TRACK, id=name) for name in ids[::16]])

    assert await pruned(ledger) == 1500

    left = {row["recording_id"] for row in await ledger.rows("artifacts")}
    assert left == set(ids[::16])
    assert len(await ledger.rows("artifacts")) == 300
    assert len(await ledger.rows("recordings")) == 1600


# ---- news of what was forgotten


async def test_news_of_what_was_forgotten_brings_nothing(ledger: Ledger) -> None:
    await archived(ledger, Kind.VIDEO)
    await pruned(ledger)
    again = [
        news(Kind.VIDEO),
        news(Kind.VIDEO, link="https://provider.example/fresh", expires_at=FAR + 9),
        news(Kind.VIDEO, Kind.AUDIO, link="https://provider.example/more"),
        news(Kind.VIDEO, expires_at=None),
        news(status="RECORDING"),
    ]

    outcomes = await ledger.hear(*again)
    learned = await Intake(ledger.database).learn(again)

    assert {*outcomes, *learned} == {Outcome.KNOWN}
    assert await ledger.rows("artifacts") == []
    assert await ledger.work().claim(9) == []
    assert len(await ledger.rows("deliveries")) == 1 + len(again)


async def test_nothing_is_asked_for_what_was_forgotten(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, status="RECORDING"))
    await archive(ledger, await ledger.work().claim(1))
    await long_ago(ledger, "recording")
    await pruned(ledger)

    assert await ledger.hear(news()) == [Outcome.NOTED]

    assert [row["ask_at"] for row in await ledger.rows("recordings")] == [None]


async def test_a_session_that_was_forgotten_is_asked_for_no_more(ledger: Ledger) -> None:
    session: dict[str, Any] = {"scope": Scope.SESSION, "status": "ENDED"}
    await ledger.hear(news(Kind.CHAT, id="session", **session))
    assert [row["ask_at"] for row in await ledger.rows("recordings")] != [None]
    await archive(ledger, await ledger.work().claim(1))
    await long_ago(ledger, "session")

    assert await pruned(ledger) == 1
    await ledger.hear(news(Kind.CHAT, Kind.SUMMARY, id="session", **session))

    assert await ledger.rows("artifacts") == []
    assert [row["ask_at"] for row in await ledger.rows("recordings")] == [None]


async def test_what_is_forgotten_is_said_of_each_recording_apart(ledger: Ledger) -> None:
    await archived(ledger, Kind.VIDEO, id="old")
    await pruned(ledger)
    intake = Intake(ledger.database)

    outcomes = await intake.learn([news(Kind.VIDEO, id="old"), news(Kind.VIDEO, id="new")])

    assert outcomes == [Outcome.KNOWN, Outcome.ANNOUNCED]
    assert await intake.record(DELIVERY, news(Kind.AUDIO, id="new")) is Outcome.ANNOUNCED
    kept = await ledger.rows("artifacts")
    assert [row["id"] for row in kept] == ["new/audio", "new/video"]
    everything = sa.select(recordings.c.id).where(recordings.c.closed_at.is_not(None))
    closed = await ledger.database.read(lambda connection: connection.execute(everything).scalars().all())
    assert closed == ["old"]
