"""Proves on both databases that each notice arrives at least once, signed, whatever its receiver does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from service.budget import Gate
from service.destination import Destination, Destinations
from service.errors import LedgerUnavailable, NoticeNotTaken, StorageUnavailable
from service.ledger import Duties, Notices, Outbox
from service.ledger.tables import duties, notices
from service.model import Topic
from service.notice import Where, notice_id
from service.notices import Lookout, Post, Sending, notice_session
from service.storage import Storage
from service.telemetry import Metrics, Redaction
from tests.contract.ledgers import HERE, Ledger, news, opened
from tests.contract.test_ledger_notices import Told
from tests.doubles.notice_receiver import OLD_SECRET, SECRET, Fault, NoticeReceiver

WAIT_S = 30.0
DAY_S = 24 * 3600.0


class Rig:
    """A worker's sender before a receiver; retries are hurried by :meth:`later`."""

    def __init__(self, ledger: Ledger, receiver: NoticeReceiver) -> None:
        self.ledger = ledger
        self.receiver = receiver
        self.metrics = Metrics()
        self.destinations = Destinations(self._opened)
        self.storage: Storage | None = None
        self.current: Sending
        self.link_s = 0.0

    async def _opened(self, name: str) -> Destination | None:
        if self.storage is None:
            return None
        return Destination(
            name, self.storage, gate=Gate(1, clock=time.monotonic), clock=time.monotonic,
            sleep=asyncio.sleep, jitter=lambda: 0.5,
        )  # fmt: skip

    async def put(self, topic: Topic, *names: str, **facts: Any) -> list[str]:
        """Notices of a topic, one a name; their ids."""
        given = {"app": "ours", "scope": "recording", "session_id": None, "title": None, **facts}
        source = Notices(self.ledger.database, topics=tuple(Topic), where=Where)

        def put(connection: sa.Connection) -> None:
            for name in names:
                source._put(connection, topic, name, None, {**given, "recording_id": name}, name)

        await self.ledger.database.write(put)
        return [notice_id(topic, name, name) for name in names]

    async def later(self) -> None:
        """So much later that every retry is due."""
        hurried = sa.update(notices).where(notices.c.due_at.is_not(None)).values(due_at=0.0)
        await self.ledger.database.write(lambda connection: connection.execute(hurried))

    async def waits_s(self) -> list[float]:
        """How long each is put off that waits for another try."""
        waiting = sa.select(notices.c.due_at - time.time()).where(notices.c.due_at.is_not(None))
        return await self.ledger.database.read(
            lambda connection: sorted(connection.execute(waiting).scalars())
        )

    @contextlib.asynccontextmanager
    async def sending(
        self,
        *secrets: str,
        timeout_s: float = WAIT_S,
        url: str = "",
        mask: Callable[[str], str] = str,
        poll_s: float = 0.02,
    ) -> AsyncIterator[None]:
        """A process that sends, and is stopped at the end."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            sending = Sending(
                Outbox(self.ledger.database),
                Post(session, url or self.receiver.url, secrets=secrets or (SECRET,), clock=time.time),
                self.destinations,
                topics=tuple(Topic),
                link_s=self.link_s,
                mask=mask,
                metrics=self.metrics,
                clock=time.monotonic,
                jitter=lambda: 0.5,
                poll_s=poll_s,
            )
            self.current = sending
            running = asyncio.create_task(sending.run())
            try:
                yield
                assert not running.done(), running.result()
            finally:
                running.cancel()
                await asyncio.wait([running])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - it looks at what other tasks did
                await asyncio.sleep(0.01)

    async def noted(self, topic: Topic, outcome: str, count: int) -> None:
        """Return when so many sendings ended so, and the ledger knows."""
        await self.until(lambda: self.counted(topic, outcome) == count and not self.current._running)

    def counted(self, topic: Topic, outcome: str) -> float:
        return float(self.metrics.notices.labels(topic, outcome)._value.get())

    async def settled(self) -> dict[str, Any]:
        """The one notice's row."""
        (row,) = await self.ledger.rows("notices")
        return row


@pytest.fixture
async def rig(ledger: Ledger) -> AsyncIterator[Rig]:
    async with NoticeReceiver() as receiver:
        yield Rig(ledger, receiver)


async def test_what_waits_is_sent_once_and_verified(rig: Rig) -> None:
    ids = await rig.put(Topic.ARCHIVED, *"abcdefghij", files=[], title="Größe 日本")
    async with rig.sending():
        await rig.noted(Topic.ARCHIVED, "taken", 10)

    assert sorted(each.headers["webhook-id"] for each in rig.receiver.taken) == sorted(ids)
    assert {each.headers["Content-Type"] for each in rig.receiver.taken} == {"application/cloudevents+json"}
    assert rig.receiver.events[ids[0]]["data"]["title"] == "Größe 日本"
    rows = await rig.ledger.rows("notices")
    assert all(row["due_at"] is None and row["taken_at"] and row["error"] is None for row in rows)


@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(503), Fault(404), Fault(400), Fault(301, {"Location": "/elsewhere"}),
     Fault(is_cut=True), Fault(204, is_cut=True)],
    ids=["500", "503", "404", "400", "redirect", "cut", "answer-lost"],
)  # fmt: skip
async def test_what_is_not_taken_is_sent_again_by_the_same_id(rig: Rig, fault: Fault) -> None:
    (id_,) = await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.extend([fault, fault])
    with capture_logs() as logs:
        async with rig.sending():
            for count in (1, 2):
                await rig.noted(Topic.ERRORED, "failed", count)
                assert (await rig.settled())["error"]
                await rig.later()
            await rig.noted(Topic.ERRORED, "taken", 1)

    delays = [line["next_in_seconds"] for line in logs if line["event"] == "notice_failed"]
    assert delays == [3.8, 7.5]
    assert len(rig.receiver.told) == 3  # a redirect was not followed
    assert set(rig.receiver.events) == {id_}
    assert (await rig.settled())["attempts"] == 3


async def test_a_receiver_that_was_away_gets_all_when_it_is_back(ledger: Ledger) -> None:
    receiver = NoticeReceiver()
    rig = Rig(ledger, receiver)
    async with receiver:
        pass  # its port is known by now, and closed
    ids = await rig.put(Topic.ERRORED, "a", "b", "c", "d", "e", "f")
    async with rig.sending():
        await rig.until(lambda: rig.counted(Topic.ERRORED, "failed") == 6)
        assert all("no answer" in (row["error"] or "no answer") for row in await ledger.rows("notices"))
        async with receiver:
            while len(receiver.events) < 6:
                await rig.later()
                await asyncio.sleep(0.1)
    assert set(receiver.events) == set(ids)


async def test_one_that_hangs_is_given_time_and_then_tried_again(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.append(Fault(hangs=True))
    async with rig.sending(timeout_s=0.5):
        await rig.noted(Topic.ERRORED, "failed", 1)
    assert "no answer within" in (await rig.settled())["error"]

    await rig.later()
    async with rig.sending():
        await rig.until(lambda: rig.counted(Topic.ERRORED, "taken") == 1)
    assert len(rig.receiver.events) == 1


async def test_a_topic_that_hangs_or_fails_holds_up_no_other(rig: Rig) -> None:
    rig.receiver.always = {"archived": Fault(hangs=True), "failing": Fault(500)}
    await rig.put(Topic.ARCHIVED, *(f"r{number}" for number in range(30)), files=[])
    await rig.put(Topic.FAILING, *(f"r{number}" for number in range(30)))
    async with rig.sending():
        await rig.until(lambda: rig.counted(Topic.FAILING, "failed") == 30)
        await rig.put(Topic.ERRORED, "a", "b")
        await rig.until(lambda: rig.counted(Topic.ERRORED, "taken") == 2)
        assert sum(told.event["type"] == "dyte_archiver.archived" for told in rig.receiver.told) == 4


async def test_what_waits_is_not_worn_out_on_one_that_is_away_but_there_when_it_is_back(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, *(f"r{number}" for number in range(40)))
    rig.receiver.always = {"errored": Fault(503)}
    async with rig.sending(poll_s=0.2):
        await rig.until(lambda: rig.counted(Topic.ERRORED, "failed") >= 6)
        rig.receiver.always = {}
        failed = len(rig.receiver.told)
        await rig.until(lambda: rig.counted(Topic.ERRORED, "taken") >= 40 - failed)
    assert failed < 20


async def test_slow_ones_are_waited_for_and_sent_once(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "a", "b")
    rig.receiver.faults.extend([Fault(200, delay_s=0.5), Fault(200, delay_s=0.5)])
    async with rig.sending():
        await rig.until(lambda: rig.counted(Topic.ERRORED, "taken") == 2)
    assert len(rig.receiver.told) == 2


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        ({"Retry-After": "600"}, 570, 600),
        ({"Retry-After": formatdate(time.time() + 1200, usegmt=True)}, 600, 1200),
        ({"Retry-After": "0"}, 0.0, 3.75),
        ({"Retry-After": "99999999999999999999"}, DAY_S - 60, DAY_S),
        ({"Retry-After": "-5"}, 0.0, 3.75),
        ({"Retry-After": "soon"}, 0.0, 3.75),
    ],
    ids=["seconds", "date", "zero", "absurd", "negative", "nonsense"],
)
async def test_a_receiver_that_asks_for_time_gets_it(
    rig: Rig, headers: dict[str, str], least_s: float, most_s: float
) -> None:
    await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.append(Fault(429, headers))
    async with rig.sending():
        await rig.noted(Topic.ERRORED, "failed", 1)
    (wait_s,) = await rig.waits_s()
    assert least_s - WAIT_S < wait_s <= most_s


async def test_what_is_gone_is_given_up_and_the_next_is_sent_all_the_same(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.append(Fault(410))
    async with rig.sending():
        await rig.noted(Topic.ERRORED, "given_up", 1)
        assert (await rig.settled())["due_at"] is None
        await rig.later()
        await rig.put(Topic.ERRORED, "b")
        await rig.noted(Topic.ERRORED, "taken", 1)
    assert [told.event["subject"] for told in rig.receiver.told] == ["a", "b"]


async def test_after_three_days_it_is_given_up_and_said_so(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "young", "old")
    for name, days in (("young", 2.9), ("old", 3.1)):
        made = sa.update(notices).where(notices.c.recording_id == name)
        made = made.values(made_at=time.time() - days * DAY_S, attempts=100)
        await rig.ledger.database.write(lambda connection, made=made: connection.execute(made))  # type: ignore[misc]
    rig.receiver.always = {"errored": Fault(503)}
    with capture_logs() as logs:
        async with rig.sending():
            await rig.until(lambda: rig.counted(Topic.ERRORED, "given_up") == 1)
            await rig.noted(Topic.ERRORED, "failed", 1)
    (line,) = [line for line in logs if line["event"] == "notice_given_up"]
    assert (line["log_level"], line["recording_id"], line["attempts"]) == ("error", "old", 101)
    assert len(await rig.waits_s()) == 1


async def test_who_stops_gives_back_what_was_under_way_and_the_next_one_sends_it(
    rig: Rig, ledger_url: str
) -> None:
    (id_,) = await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.append(Fault(hangs=True))
    async with rig.sending():
        await rig.until(lambda: len(rig.receiver.told) == 1)
    (wait_s,) = await rig.waits_s()
    assert wait_s <= 0

    async with opened(ledger_url) as other, Rig(other, rig.receiver).sending():
        await rig.until(lambda: set(rig.receiver.events) == {id_})


async def test_while_the_ledger_is_away_nothing_is_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.put(Topic.ERRORED, "a")
    monkeypatch.setattr("service.notices.sending._LEDGER_PAUSE_S", 0.05)
    taken = Outbox.taken
    away = [True]

    async def settle(outbox: Outbox, notice: Any) -> None:
        if away:
            away.clear()
            raise LedgerUnavailable("it is away")
        await taken(outbox, notice)

    monkeypatch.setattr(Outbox, "taken", settle)
    async with rig.sending():
        await rig.until(lambda: len(rig.receiver.told) == 1 and not away)
        await rig.later()
        await rig.until(lambda: len(rig.receiver.told) == 2)
        await rig.until(lambda: not rig.current._running)
    assert (await rig.settled())["taken_at"] is not None
    assert len(rig.receiver.events) == 1


# ---- signatures


async def test_while_the_secret_changes_the_receiver_may_have_the_old_or_the_new_one(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "a")
    async with rig.sending(SECRET, OLD_SECRET):
        await rig.until(lambda: len(rig.receiver.told) == 1)
    (told,) = rig.receiver.taken
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(told.body, dict(told.headers))
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(told.body.replace(b"errored", b"expired"), dict(told.headers))


async def test_each_try_is_signed_anew(rig: Rig) -> None:
    """Or receivers would refuse what is sent again after five minutes."""
    await rig.put(Topic.ERRORED, "a")
    (notice,) = await Outbox(rig.ledger.database).take({Topic.ERRORED: 1}, lease_s=60.0)
    notice = replace(notice, facts={**notice.facts, "reason": None})
    now = time.time()
    async with notice_session() as session:
        for late_s in (0.0, 200.0):
            post = Post(session, rig.receiver.url, secrets=[SECRET], clock=lambda at=now + late_s: at)  # type: ignore[misc]
            await post.send(notice)
        old = Post(session, rig.receiver.url, secrets=[SECRET], clock=lambda: now - 600)
        with pytest.raises(NoticeNotTaken, match="401"):
            await old.send(notice)
    first, second = (told.headers for told in rig.receiver.told)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 200
    assert first["webhook-signature"] != second["webhook-signature"]


# ---- links, and what must not be told


class Linking:
    """A storage that signs, or fails to."""

    label = "a storage"

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def link(self, key: str, *, valid_s: float) -> str | None:
        if self._failure:
            raise self._failure
        return f"https://store.example/{key}?for={valid_s:g}&sig=S1GN3D" if key != "unsigned" else None

    async def close(self) -> None:
        pass


async def test_links_are_made_when_it_is_sent_and_kept_nowhere(rig: Rig) -> None:
    rig.storage, rig.link_s = Linking(), 7200.0  # type: ignore[assignment]
    await rig.put(Topic.ARCHIVED, "a", storage={"name": HERE}, files=[{"key": "a.mp4"}, {"key": "unsigned"}])
    with capture_logs() as logs:
        async with rig.sending():
            await rig.until(lambda: rig.counted(Topic.ARCHIVED, "taken") == 1)
    (event,) = rig.receiver.events.values()
    first, second = event["data"]["files"]
    assert first["link"]["url"] == "https://store.example/a.mp4?for=7200&sig=S1GN3D"
    assert first["link"]["expires_at"] > event["time"]
    assert second["link"] is None
    assert "S1GN3D" not in repr([logs, await rig.ledger.everything()])


@pytest.mark.parametrize("storage", [None, Linking(StorageUnavailable("it is away"))], ids=["gone", "away"])
async def test_without_links_it_is_told_all_the_same(rig: Rig, storage: Any) -> None:
    rig.storage, rig.link_s = storage, 7200.0
    await rig.put(Topic.ARCHIVED, "a", storage={"name": HERE}, files=[{"key": "a.mp4"}])
    async with rig.sending():
        await rig.until(lambda: rig.counted(Topic.ARCHIVED, "taken") == 1)
    (event,) = rig.receiver.events.values()
    assert event["data"]["files"] == [{"key": "a.mp4", "link": None}]


async def test_what_others_said_is_told_without_a_secret(rig: Rig) -> None:
    wrong = {"error": "refused https://a.example/x?sig=S1GN3D with hunter2", "mend": None}
    await rig.put(Topic.FAILING, "hunter2", failures=[wrong], file={"name": "hunter2.mp4", **wrong})
    async with rig.sending(mask=Redaction(["hunter2"]).mask):
        await rig.until(lambda: len(rig.receiver.told) == 1)
    (event,) = rig.receiver.events.values()
    assert event["data"]["failures"][0]["error"] == "refused https://a.example/x?*** with ***"
    assert event["data"]["file"]["error"] == "refused https://a.example/x?*** with ***"
    assert event["data"]["file"]["name"] == "hunter2.mp4"  # a name that was masked would lead nowhere


async def test_a_failure_tells_nothing_of_the_receiver_s_address(rig: Rig) -> None:
    await rig.put(Topic.ERRORED, "a")
    rig.receiver.faults.append(Fault(is_cut=True))
    with capture_logs() as logs:
        async with rig.sending():
            await rig.noted(Topic.ERRORED, "failed", 1)
        await rig.later()
        async with rig.sending(url="http://name.invalid/T0K3Nofthereceiver"):
            await rig.until(lambda: rig.counted(Topic.ERRORED, "failed") == 2)
    assert "ofthereceiver" not in repr([logs, await rig.ledger.everything()])


# ---- looking


async def test_one_process_looks_and_each_counts_what_waits(ledger: Ledger) -> None:
    told = Told(ledger)
    await ledger.hear(news(id="bad", status="ERRORED"))
    metrics = [Metrics(), Metrics()]
    lookouts = [
        Lookout(
            told.notices, told.outbox, Duties(ledger.database, owner=f"{number}", lease_s=60.0), each,
            failing_s=900.0, near_s=0.0,
        )
        for number, each in enumerate(metrics)
    ]  # fmt: skip
    for lookout in lookouts:
        await lookout.look()
    assert [each.waiting_notices._value.get() for each in metrics] == [1, 1]

    await ledger.hear(news(id="worse", status="ERRORED"))
    await lookouts[1].look()
    assert metrics[1].waiting_notices._value.get() == 1  # it was looked just now
    passed = sa.update(duties).values(due_at=duties.c.due_at - 60)
    await ledger.database.write(lambda connection: connection.execute(passed))
    await lookouts[1].look()
    assert metrics[1].waiting_notices._value.get() == 2
