"""Verifying through a service: what is ordered, what is waited for, and what is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.admin.documents import OrderDone
from service.choices import Order
from service.commands.verification import order_verification
from service.desk.ledger import LedgerDesk
from service.errors import LedgerUnavailable, ServiceRefused
from service.ledger.tables import copies
from service.ledger.verifications import Verifications
from service.model import Kind
from tests.contract.ledgers import HERE, THERE, Ledger, archive, opened
from tests.unit.at_the_desk import lines_of, screen


class Workers(LedgerDesk):
    """A desk, and workers behind it that verify what is ordered when time passes."""

    def __init__(self, ledger: Ledger, *, faults: dict[str, str] | None = None, idle: bool = False) -> None:
        super().__init__(ledger.database, actor="command tester@here")
        self._ledger = ledger
        self._faults = faults or {}
        self._idle = idle
        self.ordered: list[str] = []
        self.most = 0
        self.now = 0.0

    async def order(self, order: Order, target: str) -> OrderDone:
        assert order is Order.VERIFY
        self.ordered.append(target)
        return await super().order(order, target)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = sa.select(copies.c.artifact_id, copies.c.storage).where(copies.c.verify_at.is_not(None))
        asked = await self._ledger.database.read(
            lambda connection: {tuple(row) for row in connection.execute(due)}
        )
        self.most = max(self.most, len(asked))
        if self._idle and self.now < 150:
            return
        verifications = Verifications(self._ledger.database)
        every = await verifications.batch(None, before=None, storage=None, limit=999)
        for storage, entry in every:
            if (entry.artifact_id, storage) in asked:
                await verifications.found(storage, entry, self._faults.get(entry.artifact_id))


@pytest.fixture
async def known(ledger: Path) -> AsyncIterator[Ledger]:
    async with opened(f"sqlite:///{ledger}") as known:
        work = known.work()
        await archive(known, await known.claimed(work, Kind.VIDEO, Kind.AUDIO, id="one"), HERE, THERE)
        await archive(known, await known.claimed(work, Kind.VIDEO, id="two"), HERE)
        await known.claimed(work, Kind.VIDEO, id="moving")
        yield known


async def verified(
    desk: Workers, *, sample: int | None = None, before: float | None = None
) -> tuple[int, list[str]]:
    console = screen()
    faults = await order_verification(
        desk, console, sample=sample, before=before, sleep=desk.sleep, clock=lambda: desk.now
    )
    return faults, lines_of(console)


async def test_every_stored_file_is_ordered_and_each_copy_told(known: Ledger) -> None:
    desk = Workers(known, faults={"two/video": "its checksums are others"})

    faults, lines = await verified(desk)

    assert faults == 1
    assert sorted(desk.ordered) == ["one/audio", "one/video", "two/video"]
    assert sorted(lines) == [
        "4 of 5 files are whole.",
        "whole one.audio",
        "whole one.audio",
        "whole one.video",
        "whole one.video",
        "wrong two.video: its checksums are others",
    ]


async def test_what_was_verified_since_is_left_out(known: Ledger) -> None:
    await verified(Workers(known))
    again, later = Workers(known), Workers(known)

    assert (await verified(again, before=1.0))[1] == ["0 of 0 files are whole."]
    assert again.ordered == []
    await verified(later, before=4e9)
    assert len(later.ordered) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 9])
async def test_a_sample_is_as_large_as_asked_for(known: Ledger, count: int) -> None:
    desk = Workers(known)
    await verified(desk, sample=count)
    assert len(set(desk.ordered)) == len(desk.ordered) == min(count, 3)


async def test_every_file_may_be_in_a_sample(known: Ledger) -> None:
    seen: set[str] = set()
    for _ in range(30):
        desk = Workers(known)
        await verified(desk, sample=1)
        seen.update(desk.ordered)
    assert seen == {"one/audio", "one/video", "two/video"}


async def test_the_workers_are_given_a_few_at_a_time(known: Ledger) -> None:
    for number in range(35):
        await archive(known, await known.claimed(known.work(), Kind.VIDEO, id=f"more-{number:02}"), HERE)
    desk = Workers(known)
    await verified(desk)
    assert len(desk.ordered) == 38
    assert 30 <= desk.most <= 36


async def test_it_is_said_when_nobody_verifies(known: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    faults, lines = await verified(Workers(known, idle=True))
    assert faults == 0
    assert lines[-1] == "5 of 5 files are whole."
    assert capsys.readouterr().err.count("nothing was verified for a minute: does a worker run?") == 2


async def test_a_service_that_takes_no_orders_ends_it(known: Ledger) -> None:
    class Closed(Workers):
        async def order(self, order: Order, target: str) -> OrderDone:
            raise ServiceRefused("Set ARCHIVER_ADMIN_TOKEN")

    with pytest.raises(ServiceRefused):
        await verified(Closed(known))


async def test_a_file_that_went_meanwhile_is_left_out(known: Ledger) -> None:
    class Forgetful(Workers):
        async def order(self, order: Order, target: str) -> OrderDone:
            await known.database.write(
                lambda connection: connection.execute(
                    copies.delete().where(copies.c.artifact_id == "two/video")
                )
            )
            return await super().order(order, target)

    faults, lines = await verified(Forgetful(known))
    assert (faults, lines[-1]) == (0, "4 of 4 files are whole.")


async def test_a_ledger_that_is_away_for_a_moment_does_not_end_it(known: Ledger) -> None:
    away: list[bool] = [True, False, True, False]

    class Flaky(Workers):
        async def order(self, order: Order, target: str) -> OrderDone:
            if away and away.pop(0):
                raise LedgerUnavailable("it is away")
            return await super().order(order, target)

    desk = Flaky(known)
    faults, lines = await verified(desk)
    assert (faults, lines[-1], away) == (0, "5 of 5 files are whole.", [])
