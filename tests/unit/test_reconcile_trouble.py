"""Proves that one process at a time asks the provider, and no trouble keeps it from asking again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from service.errors import ProviderRefused, ProviderUnavailable
from service.ledger import Database, Duties
from service.ledger.tables import duties
from service.model import ONLY
from tests.contract.ledgers import Ledger
from tests.unit.watch import Watch, ago, heard, video
from tests.unit.workshop import Offers


@pytest.fixture
def api() -> Offers:
    return Offers()


@pytest.fixture
async def watch(ledger: Path, api: Offers) -> AsyncIterator[Watch]:
    database = Database(f"sqlite:///{ledger}")
    try:
        yield Watch(Ledger(database), [(ONLY, api)])
    finally:
        await database.close()


# ---- what keeps it from being done


async def test_a_page_that_fails_costs_only_what_comes_after_it_and_is_tried_again(
    watch: Watch, api: Offers
) -> None:
    api.page = 2
    for number in range(6):
        api.offer(video(f"r{number}"), invoked_at=ago(number))
    api.broken_after, api.failures = 2, [ProviderUnavailable("down")]

    await watch.once()

    assert await watch.artifacts() == [f"r{number}/video" for number in range(4)]
    assert watch.metrics.reconciled_at.labels(ONLY)._value.get() == 0
    duty = await watch.duty("reconcile default")
    assert "down" in duty["error"]
    assert duty["owner"] is None
    assert 0 < duty["due_at"] <= 60

    api.broken_after = None
    await watch.later()
    assert len(await watch.artifacts()) == 6
    assert (await watch.duty("reconcile default"))["error"] is None


async def test_it_waits_for_as_long_as_the_api_says(watch: Watch, api: Offers) -> None:
    api.offer(video("one"))
    api.broken_after, api.failures = 0, [ProviderUnavailable("429", retry_after_s=300.0)]

    await watch.once()

    assert (await watch.duty("reconcile default"))["due_at"] == pytest.approx(300, abs=5)


async def test_refused_credentials_are_said_with_what_to_mend(watch: Watch, api: Offers) -> None:
    api.offer(video("one"))
    api.broken_after, api.failures = 0, [ProviderRefused("401", mend="check ARCHIVER_API_KEY")]

    with capture_logs() as logs:
        await watch.once()

    (line,) = [line for line in logs if line["event"] == "provider_not_asked"]
    assert (line["log_level"], line["app"], line["mend"]) == ("warning", ONLY, "check ARCHIVER_API_KEY")


async def test_one_app_whose_api_fails_keeps_nobody_from_the_other(watch: Watch, api: Offers) -> None:
    for broken in (ProviderUnavailable("down"), ZeroDivisionError("ours")):
        other = Offers()
        other.offer(video(f"fine-{type(broken).__name__}"), app="other")
        api.offer(video("one"))
        api.broken_after, api.failures = 0, [broken]
        watch.apis = [(ONLY, api), ("other", other)]

        with capture_logs() as logs:
            await watch.later()

        assert f"fine-{type(broken).__name__}/video" in await watch.artifacts()
        duty = await watch.duty("reconcile default")
        assert duty["due_at"] > 0
        assert duty["error"]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["duty_broke_off"]


async def test_a_fault_in_one_inquiry_keeps_nothing_from_the_others(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    for name in ("one", "two", "three"):
        await heard(watch, name)
        api.offer(video(name))
    api.failures = [ZeroDivisionError("ours")]

    with capture_logs():
        await watch.once()
    assert len(await watch.artifacts()) == 2

    await watch.later()
    assert len(await watch.artifacts()) == 3


# ---- several processes


async def test_of_two_processes_one_asks(watch: Watch, ledger: Path, api: Offers) -> None:
    api.offer(video("one"), invoked_at=ago(0))
    database = Database(f"sqlite:///{ledger}")
    try:
        another = Watch(Ledger(database), [(ONLY, api)], owner="another")
        await asyncio.gather(watch.once(), another.once())
    finally:
        await database.close()

    assert api.asked.count("recordings") == api.asked.count("sessions") == 1
    assert len(watch.told) + len(another.told) == 1


async def test_what_was_done_is_not_done_again_before_its_time(watch: Watch, api: Offers) -> None:
    await watch.once()
    await replace(watch, owner="after a restart").once()

    assert api.asked.count("recordings") == 1
    assert (await watch.duty("reconcile default"))["due_at"] == pytest.approx(900, abs=5)


async def test_what_a_dead_process_held_is_taken_over_when_its_lease_is_over(
    watch: Watch, api: Offers
) -> None:
    dead = Duties(watch.ledger.database, owner="dead", lease_s=60.0)
    assert await dead.take("reconcile default")
    await watch.once()
    assert api.asked == []

    lapsed = sa.update(duties).values(lease_until=0.0)
    await watch.ledger.database.write(lambda connection: connection.execute(lapsed))
    await watch.once()
    assert api.asked.count("recordings") == 1


async def test_without_a_schedule_only_what_is_missing_is_asked_for(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    api.offer(video("one"))
    await heard(watch, "one")

    await watch.once()

    assert api.asked == ["one"]
    assert await watch.artifacts() == ["one/video"]
