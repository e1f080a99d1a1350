"""Proves that a file which the provider deletes soon is told in time, and for as long as it is nowhere."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from service.deadlines import ALARM_S, Deadlines
from service.errors import LedgerUnavailable
from service.ledger import Database, Duties, Trouble, View
from service.ledger.overview import Deadline
from service.ledger.tables import duties
from service.model import Artifact, Event, Kind, Provider, Recording
from service.telemetry import Metrics
from tests.contract.ledgers import HERE, LATER, THERE, Ledger, conclude, expire, store

HOUR = 3600.0


class Watch:
    """The alarm of one process."""

    def __init__(self, ledger: Ledger, owner: str = "one") -> None:
        self.ledger = ledger
        self.metrics = Metrics()
        self.deadlines = Deadlines(
            ledger.view, Duties(ledger.database, owner=owner, lease_s=60.0), self.metrics
        )

    async def hear(self, recording_id: str, *, left_s: float, app: str = "ours") -> None:
        """News of a video that the provider deletes in so many seconds."""
        link = f"https://provider.example/{recording_id}"
        video = Artifact(recording_id, Kind.VIDEO, link, "a.mp4", expires_at=time.time() + left_s)
        known = Recording(recording_id, Provider.DYTE, "UPLOADED", app=app)
        await self.ledger.hear(Event("delivery", known, (video,)))

    async def look(self) -> list[dict[str, Any]]:
        """Look once; returns what the log is told."""
        with capture_logs() as logs:
            await self.deadlines.look()
        return [dict(line) for line in logs]

    async def an_hour_later(self) -> None:
        """Let an hour pass for what is told every hour."""
        due = sa.update(duties).values(due_at=duties.c.due_at - HOUR)
        await self.ledger.database.write(lambda connection: connection.execute(due))

    @property
    def nearest_s(self) -> float:
        return float(self.metrics.nearest_deadline._value.get())

    def near(self, app: str = "ours") -> float:
        return float(self.metrics.near_deadline.labels(app)._value.get())


@pytest.fixture
async def watch(ledger: Path) -> AsyncIterator[Watch]:
    database = Database(f"sqlite:///{ledger}")
    try:
        yield Watch(Ledger(database))
    finally:
        await database.close()


async def test_what_is_to_be_moved_now_is_counted_and_what_waits_for_another_try_is_not(watch: Watch) -> None:
    for name in ("waiting", "moving", "failed"):
        await watch.hear(name, left_s=7 * 24 * HOUR)
    work = watch.ledger.work()
    first, second = await work.claim(2)
    await work.try_later(first, LATER)

    await watch.look()
    assert watch.metrics.due._value.get() == 2

    await store(watch.ledger, second)
    await conclude(watch.ledger, second)
    await work.finish(second)
    await watch.look()
    assert watch.metrics.due._value.get() == 1


async def test_a_file_with_less_than_a_day_left_is_an_alarm(watch: Watch) -> None:
    await watch.hear("near", left_s=ALARM_S - 60)
    await watch.hear("far", left_s=ALARM_S + 60)
    (claim,) = await watch.ledger.work().claim(1)
    await watch.ledger.work().try_later(claim, Trouble(60.0, "the link is refused", ""))

    (line,) = await watch.look()

    assert (line["event"], line["log_level"]) == ("deadline_near", "error")
    assert (line["artifact"], line["app"], line["error"]) == ("near/video", "ours", "the link is refused")
    assert line["seconds_left"] == pytest.approx(ALARM_S - 60, abs=5)
    assert watch.near() == 1
    assert watch.nearest_s == pytest.approx(ALARM_S - 60, abs=5)


async def test_without_a_near_one_nothing_is_said_but_the_next_is_known(watch: Watch) -> None:
    await watch.hear("far", left_s=3 * ALARM_S)

    assert await watch.look() == []
    assert watch.nearest_s == pytest.approx(3 * ALARM_S, abs=5)
    assert watch.near() == 0


async def test_where_nothing_is_open_there_is_no_deadline(watch: Watch) -> None:
    assert await watch.look() == []
    assert watch.nearest_s == math.inf


async def test_it_is_told_every_hour_and_counted_every_time(watch: Watch) -> None:
    await watch.hear("near", left_s=HOUR)
    assert len(await watch.look()) == 1
    await watch.hear("nearer", left_s=60)

    assert await watch.look() == []
    assert watch.near() == 2
    assert watch.nearest_s == pytest.approx(60, abs=5)

    await watch.an_hour_later()
    assert [line["artifact"] for line in await watch.look()] == ["nearer/video", "near/video"]


async def test_one_process_tells_it_and_every_one_counts_it(watch: Watch) -> None:
    await watch.hear("near", left_s=HOUR)
    other = Watch(watch.ledger, "two")

    assert len(await watch.look()) == 1
    assert await other.look() == []
    assert (watch.near(), other.near()) == (1, 1)


async def test_what_passed_its_time_is_still_an_alarm_until_it_is_given_up(watch: Watch) -> None:
    await watch.hear("late", left_s=-HOUR)
    assert [line["seconds_left"] < 0 for line in await watch.look()] == [True]

    (claim,) = await watch.ledger.work().claim(1)
    await expire(watch.ledger, claim)
    await watch.an_hour_later()
    assert await watch.look() == []
    assert (watch.near(), watch.nearest_s) == (0, math.inf)


async def test_what_is_stored_somewhere_is_no_alarm_and_the_count_goes_back(watch: Watch) -> None:
    await watch.hear("near", left_s=HOUR)
    await watch.look()
    assert watch.near() == 1
    (claim,) = await watch.ledger.work().claim(1)
    await watch.ledger.work().route(claim, [HERE, THERE])
    await store(watch.ledger, claim, HERE)
    await conclude(watch.ledger, claim, {THERE: LATER})
    await watch.ledger.work().finish(claim)

    await watch.an_hour_later()
    assert await watch.look() == []
    assert (watch.near(), watch.nearest_s) == (0, math.inf)


async def test_apps_are_counted_apart(watch: Watch) -> None:
    for number, app in enumerate(("a", "a", "b")):
        await watch.hear(f"r{number}", left_s=HOUR + number, app=app)

    await watch.look()

    assert (watch.near("a"), watch.near("b")) == (2, 1)


async def test_a_ledger_that_is_away_is_looked_at_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch.hear("near", left_s=HOUR)
    answers: list[Exception | None] = [LedgerUnavailable("away"), None, None]
    looked = asyncio.Event()
    look = View.deadlines

    async def deadlines(view: View, **options: Any) -> list[Deadline]:
        if not answers:
            looked.set()  # the look before is over, with what it told
        elif (answer := answers.pop(0)) is not None:
            raise answer
        return await look(view, **options)

    monkeypatch.setattr(View, "deadlines", deadlines)
    monkeypatch.setattr("service.deadlines._EVERY_S", 0.05)
    with capture_logs() as logs:
        running = asyncio.create_task(watch.deadlines.run())
        await asyncio.wait_for(looked.wait(), 30)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    assert [line["event"] for line in logs] == ["deadlines_not_read", "deadline_near"]
