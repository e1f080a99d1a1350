"""Proves that a desk is the same on the ledger and at a running service."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from service.admin import Admin
from service.admin.asked import Asked
from service.choices import Order, Sort, Standing
from service.desk import Desk, pages, walk
from service.desk.api import ApiDesk, admin_session
from service.desk.ledger import LedgerDesk
from service.errors import NotInLedger, OrderRefused, ServiceRejected
from service.ledger.verifications import Verifications
from service.model import Kind, State
from service.telemetry import Metrics
from tests.contract.full_ledger import fill
from tests.contract.ledgers import HERE, LATER, THERE, Ledger, archive, begin, expire, news
from tests.unit.public_port import Stage

TOKEN = "s3cret-of-the-admin-port"


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().open() as stage:
        yield stage


@pytest.fixture(params=["ledger", "service"])
async def desk(request: pytest.FixtureRequest, ledger: Ledger, stage: Stage) -> AsyncIterator[Desk]:
    """A desk of each kind in turn, on a ledger of each kind."""
    if request.param == "ledger":
        yield LedgerDesk(ledger.database, actor="command somebody@somewhere")
        return
    admin = Admin(
        check=ledger.database.check,
        draining=lambda: False,
        metrics=Metrics(),
        database=ledger.database,
        token=TOKEN,
    )
    async with stage.serving(admin.app), admin_session(TOKEN) as session:
        yield ApiDesk(f"http://127.0.0.1:{stage.port}", session)


def asked(**given: Any) -> Asked:
    return Asked.model_validate(given)


async def filled(ledger: Ledger) -> None:
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="archived"), HERE, THERE)
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="expired")
    await expire(ledger, gone)
    (failed,) = await ledger.claimed(work, Kind.VIDEO, id="failing")
    await begin(ledger, failed)
    await work.try_later(failed, LATER)
    (moving,) = await ledger.claimed(work, Kind.VIDEO, id="moving")
    await begin(ledger, moving)
    await ledger.hear(
        news(id="errored", status="ERRORED", stop_reason="it broke"),
        news(Kind.VIDEO, id="a/b?c#d%20", title="Weekly 🎬", meeting_id="m", file_size=10, duration_s=0.5),
    )


async def ids(desk: Desk, **given: Any) -> list[str]:
    return [recording.id async for recording in walk(desk, asked(**given))]


async def test_the_overview_says_what_stands_where(desk: Desk, ledger: Ledger) -> None:
    await filled(ledger)

    seen = await desk.overview()

    assert seen.files == {
        State.WAITING: 2,
        State.MOVING: 1,
        State.STORED: 0,
        State.ARCHIVED: 2,
        State.EXPIRED: 1,
    }
    assert [line.file_id for line in seen.failing] == ["failing/video"]
    assert [line.file_id for line in seen.moving] == ["moving/video"]
    assert [line.file_id for line in seen.waiting] == ["a/b?c#d%20/video"]
    assert [line.title for line in seen.waiting] == ["Weekly 🎬"]
    assert {line.file_id for line in seen.finished} == {"archived/video", "archived/audio", "expired/video"}
    assert [lost.recording_id for lost in seen.errored] == ["errored"]


async def test_the_list_is_filtered_and_sorted(desk: Desk, ledger: Ledger) -> None:
    await filled(ledger)

    assert await ids(desk, sort=Sort.OLDEST) == [
        "archived", "expired", "failing", "moving", "errored", "a/b?c#d%20",
    ]  # fmt: skip
    assert await ids(desk, standing=Standing.FAILING) == ["failing"]
    assert await ids(desk, text="WEEKLY 🎬") == ["a/b?c#d%20"]
    assert await ids(desk, text="m") == ["a/b?c#d%20"]
    assert await ids(desk, app="other") == []
    (first,) = (await desk.recordings(asked(text="archived"))).recordings
    then = asked().model_copy(update={"since": first.received_at + 0.001, "sort": Sort.OLDEST})
    assert "archived" not in [recording.id async for recording in walk(desk, then)]
    before = asked().model_copy(update={"until": first.received_at + 0.001})
    assert "archived" in [recording.id async for recording in walk(desk, before)]


async def test_a_long_list_comes_in_pages_each_recording_once(desk: Desk, ledger: Ledger) -> None:
    await ledger.database.write(partial(fill, archived=410, waiting=0, customers=1))

    found = [page async for page in pages(desk, asked(sort=Sort.OLDEST))]

    assert [len(page.recordings) for page in found] == [200, 5]
    every = [recording.title for page in found for recording in page.recordings]
    assert every == [f"Weekly of {number}" for number in reversed(range(205))]
    few = [page async for page in pages(desk, asked(), most=3)]
    assert [recording.title for page in few for recording in page.recordings] == every[:-4:-1]


async def test_a_life_has_all_that_is_known(desk: Desk, ledger: Ledger) -> None:
    await filled(ledger)

    life = await desk.life("archived")
    odd = await desk.life("a/b?c#d%20")

    assert [file.id for file in life.files] == ["archived/video", "archived/audio"]
    (here, there) = life.files[0].copies
    assert (here.storage, there.storage, here.state) == (HERE, THERE, State.ARCHIVED)
    assert here.crc64nvme == "fedcba9876543210"
    assert here.stored_at is not None
    assert abs(life.now - here.stored_at) < 600
    assert odd.recording.title == "Weekly 🎬"
    assert odd.recording.duration_seconds == 0.5


async def test_what_a_verification_found_is_seen_in_lists_and_lives(desk: Desk, ledger: Ledger) -> None:
    await filled(ledger)
    verifications = Verifications(ledger.database)
    every = {
        (storage, entry.artifact_id): entry
        for storage, entry in await verifications.batch(None, before=None, storage=None, limit=9)
    }
    await verifications.found(HERE, every[HERE, "archived/video"], None)
    await verifications.found(THERE, every[THERE, "archived/video"], "its checksums are others")

    (recording,) = (await desk.recordings(asked(text="archived"))).recordings
    life = await desk.life("archived")

    seen = {(copy.file_id, copy.storage): (copy.verified_at, copy.fault) for copy in recording.copies}
    assert seen["archived/video", HERE][1] is None
    assert seen["archived/video", THERE][1] == "its checksums are others"
    assert seen["archived/audio", HERE] == (None, None)
    assert (seen["archived/video", HERE][0] or 0) > 0
    assert [copy.fault for copy in life.files[0].copies] == [None, "its checksums are others"]


@pytest.mark.parametrize(
    ("order", "target", "files"),
    [
        (Order.RETRY, "failing", ["failing/video"]),
        (Order.RETRY, "expired/video", ["expired/video"]),
        (Order.RENEW, "failing/video", ["failing/video"]),
        (Order.PAUSE, "a/b?c#d%20", ["a/b?c#d%20/video"]),
        (Order.CANCEL, "moving", ["moving/video"]),
        (Order.VERIFY, "archived", ["archived/audio", "archived/video"]),
    ],
)
async def test_an_order_is_given_and_kept(
    desk: Desk, ledger: Ledger, order: Order, target: str, files: list[str]
) -> None:
    await filled(ledger)

    done = await desk.order(order, target)

    assert (done.order, done.target, sorted(done.file_ids)) == (order, target, files)
    recording_id = target.removesuffix("/video")
    (line,) = (await desk.life(recording_id)).orders
    assert (line.order, line.file_id) == (order, target if target != recording_id else None)
    assert line.actor == ("api 127.0.0.1" if desk.is_service else "command somebody@somewhere")


async def test_what_was_paused_is_seen_to_be_and_goes_on_when_it_is_resumed(
    desk: Desk, ledger: Ledger
) -> None:
    await filled(ledger)

    await desk.order(Order.PAUSE, "failing")
    paused = (await desk.life("failing")).recording.standing
    await desk.order(Order.RESUME, "failing")

    assert paused is Standing.PAUSED
    assert (await desk.life("failing")).recording.standing is not Standing.PAUSED


@pytest.mark.parametrize("target", ["nothing", "archived/nothing", "..", "", "x" * 2000])
async def test_an_unknown_id_is_told(desk: Desk, ledger: Ledger, target: str) -> None:
    await filled(ledger)

    with pytest.raises(NotInLedger, match="nothing by that id") as lost:
        await desk.life(target)
    assert lost.value.detail == target
    with pytest.raises(NotInLedger):
        await desk.order(Order.RETRY, target)


async def test_an_order_that_makes_no_sense_is_refused_with_the_same_words(
    desk: Desk, ledger: Ledger
) -> None:
    await filled(ledger)

    with pytest.raises(OrderRefused) as refused:
        await desk.order(Order.CANCEL, "archived")

    told = "there is nothing to be given up: it is stored, or was given up before"
    assert str(refused.value) == f"That cannot be done with it now: {told}"


async def test_a_list_that_cannot_be_is_refused_with_the_same_words(desk: Desk) -> None:
    with pytest.raises(ServiceRejected) as cursor:
        await desk.recordings(asked(cursor="nonsense"))
    with pytest.raises(ServiceRejected) as sort:
        await desk.recordings(asked(sort=Sort.DEADLINE, standing=Standing.ARCHIVED))

    assert cursor.value.detail == "cursor: take the one that the page before gave"
    assert sort.value.detail == "sort: expires_at is of no use with standing archived"
