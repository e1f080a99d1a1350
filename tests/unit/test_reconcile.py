"""Proves that what the provider lists comes into the ledger, whether or not a delivery told of it."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.artifacts import RETENTION_S
from service.ledger import Database, Intake
from service.model import ONLY, Event, Kind, Provider, Recording
from service.reconcile import WINDOW_S, Span, by_expiry, listed
from tests.contract.ledgers import DELIVERY, Ledger
from tests.unit.watch import DAY, HOUR, Watch, ago, video
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


# ---- recordings


async def test_nothing_is_missed_over_pages_that_repeat_some(watch: Watch, api: Offers) -> None:
    names = [f"r{number:03}" for number in range(130)]
    for number, name in enumerate(names):
        api.offer(video(name, left_s=DAY + number), invoked_at=ago(number))
    api.page, api.repeats = 40, 7

    await watch.once()

    assert await watch.artifacts() == [f"{name}/video" for name in names]
    assert sorted(event.recording.id for event in watch.told if event.recording) == names
    assert watch.metrics.found.labels(ONLY)._value.get() == 130
    assert watch.metrics.reconciled_at.labels(ONLY)._value.get() == pytest.approx(time.time(), abs=60)


async def test_what_is_known_by_a_delivery_is_no_news_and_keeps_its_link(watch: Watch, api: Offers) -> None:
    api.offer(video("one"), invoked_at=ago(0))
    delivered = replace(video("one"), url="https://provider.example/delivered")
    await Intake(watch.ledger.database).record(
        DELIVERY, Event("delivery", Recording("one", Provider.DYTE, "UPLOADED"), (delivered,))
    )

    await watch.once()

    assert watch.told == []
    (row,) = await watch.ledger.rows("artifacts")
    assert row["url"] == delivered.url


async def test_the_soonest_expiry_is_the_first_to_be_claimed(watch: Watch, api: Offers) -> None:
    order = [7, 2, 9, 4, 1, 8, 3, 6, 5]
    for number, left in enumerate(order):
        api.offer(video(f"r{left}", left_s=left * HOUR), invoked_at=ago(number))

    await watch.once()

    claims = await watch.ledger.work().claim(9)
    assert [claim.artifact.recording_id for claim in claims] == [f"r{left}" for left in sorted(order)]


def test_events_are_ordered_by_their_files_soonest_expiry() -> None:
    def event(*lefts: float | None) -> Event:
        return Event("api", None, tuple(video("one", left_s=left) for left in lefts))

    first, second, third, never = event(9, 1), event(2), event(None, 3), event(None)
    assert by_expiry([never, third, second, first]) == [first, second, third, never]
    assert by_expiry([event(), second])[0] is second


async def test_what_began_before_the_window_is_left_out_and_no_page_beyond_it_is_read(
    watch: Watch, api: Offers
) -> None:
    api.page = 2
    for number, age in enumerate(
        [0, WINDOW_S - HOUR, WINDOW_S + 1, WINDOW_S + 2, WINDOW_S + 3, WINDOW_S + 4]
    ):
        api.offer(video(f"r{number}"), invoked_at=ago(age))

    await watch.once()

    assert await watch.artifacts() == ["r0/video", "r1/video"]
    assert api.pages_read == 2


async def test_a_recording_that_tells_no_time_is_not_left_out(watch: Watch, api: Offers) -> None:
    api.page = 1
    api.offer(video("undated"))
    api.offer(video("dated"), invoked_at=ago(0))
    api.offer(video("old"), invoked_at=ago(WINDOW_S + 1))

    await watch.once()

    assert await watch.artifacts() == ["dated/video", "undated/video"]


async def test_what_the_provider_has_deleted_is_left_out(watch: Watch, api: Offers) -> None:
    api.offer(video("gone", left_s=-1), video("gone", kind=Kind.AUDIO, left_s=-1), invoked_at=ago(8 * DAY))
    api.offer(video("half", left_s=-1), video("half", kind=Kind.AUDIO, left_s=60), invoked_at=ago(7 * DAY))
    api.state("linkless", "UPLOADED", invoked_at=ago(9 * DAY), stopped_at=ago(RETENTION_S + 1))
    api.offer(video("untold", left_s=None), invoked_at=ago(HOUR))

    await watch.once()

    assert await watch.artifacts() == ["half/audio", "untold/video"]
    assert [row["id"] for row in await watch.ledger.rows("recordings")] == ["half", "untold"]


async def test_a_span_holds_what_began_in_it(api: Offers) -> None:
    for number in range(5):
        api.offer(video(f"r{number}"), invoked_at=ago(number * DAY))
    span = Span(since=ago(3.5 * DAY), until=ago(0.5 * DAY), meeting_id="m1")

    pages = [page async for page in listed(api, span, now=time.time())]

    assert [event.recording.id for page in pages for event in page if event.recording] == ["r1", "r2", "r3"]


async def test_errored_recordings_are_told_once(watch: Watch, api: Offers) -> None:
    api.state("lost", "ERRORED", invoked_at=ago(HOUR), title="Weekly", stop_reason="NO_MEDIA")

    with capture_logs() as logs:
        for _ in range(3):
            await watch.later()

    told = [line for line in logs if line["event"] == "recording_errored"]
    assert [(line["recording_id"], line["reason"]) for line in told] == [("lost", "NO_MEDIA")]
    assert watch.metrics.recordings.labels(ONLY, "ERRORED")._value.get() == 1
    (lost,) = (await watch.ledger.overview()).lost
    assert (lost.recording_id, lost.title) == ("lost", "Weekly")
    assert (await watch.ledger.overview()).statuses == {"ERRORED": 1}


async def test_the_life_of_a_recording_is_kept_step_by_step(watch: Watch, api: Offers) -> None:
    for status in ("INVOKED", "RECORDING", "PAUSED", "RECORDING", "UPLOADING"):
        api.state("one", status, invoked_at=ago(0))
        await watch.later()
    api.offer(video("one"), invoked_at=ago(0))
    await watch.later()

    rows = await watch.ledger.rows("statuses")
    assert {row["status"] for row in rows} == {"INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED"}
    assert await watch.artifacts() == ["one/video"]
