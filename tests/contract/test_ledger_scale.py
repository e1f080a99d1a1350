"""Proves on both databases that no statement of the service costs more with all that was ever archived."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from service.choices import Order, Sort, Standing
from service.ledger import Duties, Intake, Progress, Pruning, View, Work
from service.ledger.board import board
from service.ledger.browse import Search, browse
from service.ledger.life import life
from service.ledger.orders import Orders
from service.ledger.tables import artifacts
from service.ledger.verifications import Verifications
from service.model import Kind
from tests.contract.full_ledger import STORAGE, analyze, fill
from tests.contract.ledgers import (
    DELIVERY,
    FAR,
    HERE,
    LATER,
    Ledger,
    archive,
    begin,
    conclude,
    news,
    opened,
    store,
)
from tests.contract.plans import caught

ARCHIVED, WAITING, CUSTOMERS, PER_DAY = 20_000, 1000, 40, 1000
DAY_S = 24 * 3600.0
YEAR_S = 365 * DAY_S

_NOT_OF_SERVICE = {"manifests", "holding"}
"""`verify` alone reads every manifest that there is; a duty that is held has a row to itself."""


async def takes_news_in(ledger: Ledger) -> None:
    intake = Intake(ledger.database)
    ids = [f"new{number}" for number in range(8)]
    await asyncio.gather(
        *(intake.record(DELIVERY, news(Kind.VIDEO, Kind.AUDIO, id=name)) for name in ids),
        intake.record(DELIVERY, news(id="lacking")),
        intake.record(DELIVERY, news(Kind.VIDEO, id="counted", expires_at=None)),
        intake.record(DELIVERY, replace(news(), recording=None)),
    )
    told = [news(Kind.VIDEO, Kind.TRACK, id=name, expires_at=FAR + 1) for name in ids]
    await intake.learn([*told, *told, news(Kind.VIDEO, id="untold", expires_at=None)])


async def archives(ledger: Ledger) -> None:
    work = ledger.work()
    done, failed, lost, left = await work.claim(4)
    await work.renew(done)
    await work.current(done)
    await begin(ledger, done, HERE, STORAGE)
    await ledger.progress.parts(done, HERE)
    await ledger.progress.forget_parts(done, HERE, [1])
    await ledger.progress.restart(done, HERE, keep_key=True)
    await ledger.progress.forget_source(done)
    await ledger.progress.renewed(done, replace(done.artifact, url="https://h/1"))
    await work.route(done, [HERE], drop=[STORAGE])
    await archive(ledger, [done], HERE)
    await begin(ledger, failed, HERE)
    await conclude(ledger, failed, {HERE: LATER})
    await work.try_later(failed, LATER)
    await work.settle(lost, {}, expired=True)
    await work.finish(lost)
    await store(ledger, left, HERE)
    await work.release([left])
    await work.release(await work.claim(CUSTOMERS * 3))
    await work.release(await work.claim(CUSTOMERS * 3, avoided=[STORAGE], doubted=[HERE]))


async def is_looked_at(ledger: Ledger) -> None:
    view = ledger.view
    await view.overview(limit=50, lost_limit=5, within_s=DAY_S, near_limit=10_000)
    await view.lines(limit=50)
    await view.lines(limit=WAITING * 100)
    await view.deadlines(within_s=DAY_S, limit=10_000)
    await view.deadlines(within_s=math.inf, limit=1)
    await view.backlog()
    await view.waiting()
    (line, *_) = await view.lines(limit=1)
    recording_id = line.artifact_id.partition("/")[0]
    await view.recording(recording_id, STORAGE)
    await view.names(recording_id)
    await view.known([f"{recording_id}/{kind}" for kind in Kind])
    await board(ledger.database, limit=10, moving_limit=50)


async def verifies(ledger: Ledger) -> None:
    (archived, *_) = (await browse(ledger.database, Search(standing=Standing.ARCHIVED, limit=3))).found
    await Orders(ledger.database).give(Order.VERIFY, archived.recording.id, actor="me")
    verifications = Verifications(ledger.database)
    while (taken := await verifications.take(lease_s=60.0)) is not None:
        await verifications.put_off(*taken, delay_s=60.0)
        await verifications.found(*taken, None)


async def asks_the_provider(ledger: Ledger) -> None:
    duties = Duties(ledger.database, owner="me", lease_s=60.0)
    (inquiry, *_) = await duties.inquiries("default", limit=50)
    await duties.answered(inquiry.recording.id, again_in_s=60.0)
    assert await duties.take("reconcile")
    await duties.done("reconcile", again_in_s=60.0)


async def finds_nothing_to_prune(ledger: Ledger) -> None:
    assert await Pruning(ledger.database).deliveries(keep_s=YEAR_S) == 0
    assert await Pruning(ledger.database).files(keep_s=YEAR_S) == 0
    assert await Pruning(ledger.database).notices(keep_s=YEAR_S) == 0


async def prunes(ledger: Ledger) -> None:
    # The oldest are 21 days old. Of fewer rows a greater part is best found by reading all.
    assert await Pruning(ledger.database).files(keep_s=20.98 * DAY_S) > 0
    assert await Pruning(ledger.database).deliveries(keep_s=20.9 * DAY_S) > 0


async def lists(ledger: Ledger) -> None:
    (newest,) = (await browse(ledger.database, Search(limit=1))).found
    day = {"since": newest.received_at - DAY_S, "until": newest.received_at}
    sought: list[dict[str, Any]] = [
        {},
        {"app": "default"},
        day,
        *({"text": text} for text in ("weekly of 1", "nothing is called so", newest.recording.id)),
        *({"text": newest.recording.meeting_id, "standing": standing} for standing in (None, *Standing)),
        *({"standing": standing} for standing in Standing),
        {"standing": Standing.FAILING, "text": "weekly", "app": "default", **day},
    ]
    for sort in Sort:
        for search in sought:
            page = await browse(ledger.database, Search(**search, sort=sort, limit=20))
            if page.cursor:
                await browse(ledger.database, Search(**search, sort=sort, limit=20, cursor=page.cursor))


async def shows_one(ledger: Ledger) -> None:
    for standing in (Standing.ARCHIVED, Standing.WAITING):
        (found,) = (await browse(ledger.database, Search(standing=standing, limit=1))).found
        await life(ledger.database, found.recording.id)


async def does_as_it_is_told(ledger: Ledger) -> None:
    orders = Orders(ledger.database)
    page = await browse(ledger.database, Search(standing=Standing.WAITING, limit=1))
    waiting = page.found[0].recording.id
    for order in (Order.PAUSE, Order.RESUME, Order.RENEW, Order.CANCEL, Order.RETRY):
        await orders.give(order, waiting, actor="test")
        await orders.give(order, f"{waiting}/video", actor="test") if order is Order.RETRY else None
    page = await browse(ledger.database, Search(standing=Standing.ARCHIVED, limit=1))
    await orders.give(Order.VERIFY, page.found[0].recording.id, actor="test")


WHAT_IT_DOES: Mapping[str, Callable[[Ledger], Awaitable[None]]] = {
    what.__name__: what
    for what in (
        takes_news_in,
        archives,
        is_looked_at,
        lists,
        shows_one,
        does_as_it_is_told,
        verifies,
        asks_the_provider,
        finds_nothing_to_prune,
        prunes,
    )
}


@pytest.fixture(scope="module", params=["sqlite", "sqlite analyzed", "postgresql"])
def full_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger of each kind with `ARCHIVED` and `WAITING` in it, shared by these tests.

    SQLite's also as the service leaves it: nobody has counted its rows for the planner.
    """
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create_database()
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('full') / 'archiver.db'}"
    asyncio.run(_fill(url, is_analyzed=request.param != "sqlite"))
    return str(url)


@pytest.fixture
async def full(full_url: str) -> AsyncIterator[Ledger]:
    """A connection to it."""
    async with opened(full_url) as ledger:
        yield ledger


@pytest.mark.parametrize("what", WHAT_IT_DOES)
async def test_no_statement_reads_or_sorts_all_that_was_archived(full: Ledger, what: str) -> None:
    with caught(full) as plans:
        await WHAT_IT_DOES[what](full)

    assert plans
    slow = [plan for plan in plans.values() if plan.faults]
    assert not slow, "\n\n".join(map(str, slow))


async def test_what_is_claimed_is_read_in_its_order_and_not_sorted(full: Ledger) -> None:
    with caught(full) as plans:
        await full.work().release(await full.work().claim(CUSTOMERS * 3))

    choosing = [plan for text, plan in plans.items() if "ORDER BY artifacts.expires_at" in text]
    assert len(choosing) >= 3, "what is urgent, the customers, and what is theirs"
    for plan in choosing:
        assert "Sort" not in plan.told, plan
        assert "TEMP B-TREE" not in plan.told, plan


@pytest.mark.parametrize("side", [View, Work, Progress, Intake, Duties, Pruning])
def test_all_that_the_ledger_does_is_looked_at(side: type) -> None:
    methods = {name for name in vars(side) if not name.startswith("_")}
    done = Path(__file__).read_text("utf-8") + Path(__file__).with_name("ledgers.py").read_text("utf-8")
    unseen = {name for name in methods if f".{name}(" not in done}
    assert unseen <= _NOT_OF_SERVICE


async def test_a_statement_that_reads_all_is_seen(full: Ledger) -> None:
    def slow(connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.count()).where(artifacts.c.error == "none"))
        connection.execute(sa.select(artifacts).order_by(artifacts.c.name).limit(5))
        connection.execute(sa.update(artifacts).where(artifacts.c.name == "none").values(mend=None))

    with caught(full) as plans:
        await full.database.write(slow)

    assert len(plans) == 3
    assert all(plan.faults for plan in plans.values())


async def _fill(url: str, *, is_analyzed: bool) -> None:
    def made(connection: sa.Connection) -> None:
        fill(connection, archived=ARCHIVED, waiting=WAITING, customers=CUSTOMERS, per_day=PER_DAY)
        if is_analyzed:
            analyze(connection)

    async with opened(url) as ledger:
        await ledger.database.migrate()
        await ledger.database.write(made, within_s=None)
