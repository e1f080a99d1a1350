"""Proves on both databases that notices are put in with what they tell of, once, and are leased safely."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

import pytest
import sqlalchemy as sa

from service.choices import Order
from service.ledger import Notices, Outbox, Pruning, Trouble, Work
from service.ledger.orders import Orders
from service.ledger.tables import failures, notices
from service.model import Claim, Kind, Scope, Topic
from service.notice import Notice, Where
from tests.contract.ledgers import FAR, HERE, LATER, NOW, THERE, Ledger, emptied, news, opened, store

MINUTE = 60.0
EVERY = dict.fromkeys(Topic, 9)


class Told:
    """A ledger whose worker puts notices in, and what waits there to be sent."""

    def __init__(self, ledger: Ledger, topics: Collection[Topic] = tuple(Topic)) -> None:
        self.ledger = ledger
        self.notices = Notices(
            ledger.database,
            topics=topics,
            where=lambda name: Where(name, f"aws:{name}/calls", "aws", name, "calls"),
        )
        self.work = Work(ledger.database, owner="worker", lease_s=60.0, notices=self.notices)
        self.outbox = Outbox(ledger.database)

    async def store(self, claim: Claim, *storages: str) -> None:
        """A claim's file is whole, and what this completes has its manifest."""
        await store(self.ledger, claim, *storages)
        for storage in await self.work.settle(claim, {}):
            await self.write_manifest(claim, storage)
        await self.work.finish(claim)

    async def write_manifest(self, claim: Claim, storage: str) -> None:
        found = (await self.ledger.view.recording(claim.artifact.recording_id, storage)).archived
        ids = {each.artifact_id for each in found}
        key = f"{found[0].key}.json"
        assert await self.work.manifest_written(claim, storage, key=key, artifact_ids=ids)

    async def claimed(self, *kinds: Kind, id: str = "recording", **told: Any) -> list[Claim]:  # noqa: A002
        await self.ledger.hear(news(*kinds, id=id, **told))
        claims = {claim.artifact.kind: claim for claim in await self.work.claim(len(kinds))}
        return [claims[kind] for kind in kinds]

    async def expire(self, claim: Claim) -> None:
        await self.work.settle(claim, {}, expired=True)
        await self.work.finish(claim)

    async def look(self, *, failing_s: float = 15 * MINUTE, near_s: float = 0.0) -> int:
        return await self.notices.look(failing_s=failing_s, near_s=near_s)

    async def waiting(self) -> list[Notice]:
        """What would be sent now; it is not leased by that."""
        found = await self.outbox.take(EVERY, lease_s=60.0)
        await self.change(due_at=0.0)
        return found

    async def topics(self) -> list[str]:
        return [notice.topic.value for notice in await self.waiting()]

    async def change(self, **values: Any) -> None:
        """Set values on all notices that are due some day."""
        changed = sa.update(notices).where(notices.c.due_at.is_not(None)).values(**values)
        await self.ledger.database.write(lambda connection: connection.execute(changed))

    async def failed_ago(self, seconds: float, *, last_s: float = 0.0) -> None:
        """Let what failed have failed first so long ago, and last `last_s` ago."""
        moved = sa.update(failures).values(
            first_at=failures.c.first_at - seconds, last_at=failures.c.last_at - last_s
        )
        await self.ledger.database.write(lambda connection: connection.execute(moved))


@pytest.fixture
def told(ledger: Ledger) -> Told:
    return Told(ledger)


# ---- archived


async def test_an_archived_recording_is_told_with_where_every_file_lies(told: Told) -> None:
    video, audio = await told.claimed(Kind.VIDEO, Kind.AUDIO, title="Weekly", meeting_id="meeting")
    await told.store(video, HERE)
    assert await told.topics() == []
    await told.store(audio, HERE)

    (notice,) = await told.waiting()
    assert (notice.topic, notice.recording_id) == (Topic.ARCHIVED, "recording")
    facts = notice.facts
    assert (facts["recording_id"], facts["meeting_id"], facts["title"]) == ("recording", "meeting", "Weekly")
    assert facts["storage"] == {
        "name": HERE, "label": "aws:here/calls", "type": "aws", "bucket": "here", "folder": "calls",
    }  # fmt: skip
    assert facts["manifest"] == {"key": "recording.video.json", "full_key": "calls/recording.video.json"}
    assert [(file["kind"], file["full_key"], file["size_bytes"]) for file in facts["files"]] == [
        ("video", "calls/recording.video", 10),
        ("audio", "calls/recording.audio", 10),
    ]
    assert facts["files"][0]["checksums"]["crc32c"]["hex"] == "89abcdef"


async def test_each_storage_is_told_by_itself(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await told.store(video, HERE, THERE)

    assert sorted(notice.facts["storage"]["name"] for notice in await told.waiting()) == [HERE, THERE]


async def test_a_file_that_comes_later_is_another_notice_and_the_same_again_is_none(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await told.store(video)
    first = await told.waiting()
    (audio,) = await told.claimed(Kind.AUDIO)
    await store(told.ledger, audio)
    for _ in range(3):  # as after an answer that was lost
        for storage in await told.work.settle(audio, {}, again=True):
            await told.write_manifest(audio, storage)
    await told.work.finish(audio)

    every = await told.waiting()
    assert len({notice.id for notice in every}) == len(every) == 2
    assert first[0].id in {notice.id for notice in every}
    assert [len(notice.facts["files"]) for notice in every] == [1, 2]


async def test_another_ledger_tells_the_same_by_the_same_id(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await told.store(video)
    (before,) = await told.waiting()
    await emptied(told.ledger)

    (video,) = await told.claimed(Kind.VIDEO)
    await told.store(video)
    assert [notice.id for notice in await told.waiting()] == [before.id]


async def test_what_could_not_be_told_is_not_archived_either(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await store(told.ledger, video)
    await told.work.settle(video, {})

    def broken(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("service.ledger.notices.archived_facts", broken)
        with pytest.raises(RuntimeError):
            await told.write_manifest(video, HERE)
    assert await told.ledger.rows("manifests") == await told.ledger.rows("notices") == []

    await told.write_manifest(video, HERE)
    assert await told.topics() == ["archived"]


async def test_a_session_is_told_as_one(told: Told) -> None:
    (chat,) = await told.claimed(Kind.CHAT, id="session", scope=Scope.SESSION)
    await told.store(chat)

    (notice,) = await told.waiting()
    assert (notice.facts["scope"], notice.facts["session_id"]) == ("session", "session")
    assert notice.facts["recording_id"] is None


@pytest.mark.parametrize("topics", [(), (Topic.FAILING, Topic.ERRORED)], ids=["none", "others"])
async def test_what_nobody_asked_for_is_not_told(ledger: Ledger, topics: Collection[Topic]) -> None:
    told = Told(ledger, topics)
    (video,) = await told.claimed(Kind.VIDEO)
    await told.store(video)
    (gone,) = await told.claimed(Kind.VIDEO, id="gone")
    await told.expire(gone)
    await told.claimed(Kind.VIDEO, id="near", expires_at=time.time() + 60)
    await told.look(near_s=3600)

    assert await told.topics() == []


async def test_a_service_without_notices_keeps_none(ledger: Ledger) -> None:
    told = Told(ledger)
    (video,) = await told.claimed(Kind.VIDEO)
    await store(ledger, video)
    (storage,) = await ledger.work().settle(video, {})
    ids = {video.id}
    assert await ledger.work().manifest_written(video, storage, key="a.json", artifact_ids=ids)

    assert await told.topics() == []


# ---- expired


async def test_an_expired_file_is_told_once_however_often_it_is_settled(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO, expires_at=1.0)
    await told.work.settle(video, {}, expired=True)
    await told.expire(video)
    await Orders(told.ledger.database).give(Order.RETRY, "recording", actor="me")
    (again,) = await told.work.claim(1)
    await told.expire(again)

    (notice,) = await told.waiting()
    assert notice.topic is Topic.EXPIRED
    assert notice.facts["file"]["id"] == "recording/video"
    assert notice.facts["file"]["deleted_at"] == "1970-01-01T00:00:01.000Z"


async def test_a_file_that_gets_another_link_in_time_is_not_told_as_expired(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO, expires_at=1.0)
    await told.ledger.hear(news(Kind.VIDEO, link="https://provider.example/second"))
    await told.expire(video)

    assert await told.topics() == []


async def test_what_somebody_gave_up_is_not_told_as_expired(told: Told) -> None:
    await told.ledger.hear(news(Kind.VIDEO))
    await Orders(told.ledger.database).give(Order.CANCEL, "recording", actor="me")
    (video,) = await told.work.claim(1)
    assert video.is_cancelled
    await told.expire(video)

    assert await told.topics() == []


# ---- failing


async def test_a_file_that_has_failed_for_long_is_told_once_with_what_to_mend(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await told.work.try_later(video, LATER)
    await told.failed_ago(14 * MINUTE)
    assert await told.look() == 0
    await told.failed_ago(2 * MINUTE)

    assert await told.look() == 1
    assert await told.look() == 0
    (notice,) = await told.waiting()
    (failure,) = notice.facts["failures"]
    assert (failure["storage"], failure["error"], failure["mend"], failure["count"]) == (
        None, "it is full", "make room", 1,
    )  # fmt: skip


async def test_a_copy_that_fails_is_told_with_its_storage(told: Told) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await store(told.ledger, video, HERE)
    await told.work.route(video, [THERE])
    await told.work.settle(video, {THERE: LATER})
    await told.work.finish(video)
    await told.failed_ago(16 * MINUTE)

    assert await told.look() == 1
    (notice,) = [each for each in await told.waiting() if each.topic is Topic.FAILING]
    assert [each["storage"] for each in notice.facts["failures"]] == [THERE]


async def test_one_that_failed_long_ago_and_moves_since_is_not_told_and_one_that_keeps_failing_is(
    told: Told,
) -> None:
    (video,) = await told.claimed(Kind.VIDEO)
    await told.work.try_later(video, NOW)
    await told.work.claim(1)
    await told.failed_ago(60 * MINUTE, last_s=60 * MINUTE)
    assert await told.look() == 0

    await told.failed_ago(60 * MINUTE)
    assert await told.look() == 1


async def test_what_is_archived_given_up_or_paused_after_it_failed_is_not_told(told: Told) -> None:
    for name in ("archived", "cancelled", "paused"):
        (video,) = await told.claimed(Kind.VIDEO, id=name)
        await told.work.try_later(video, Trouble(3600.0, "it was busy", ""))
    orders = Orders(told.ledger.database)
    await orders.give(Order.CANCEL, "cancelled", actor="me")
    await orders.give(Order.PAUSE, "paused", actor="me")
    await orders.give(Order.RETRY, "archived", actor="me")
    claims = {claim.artifact.recording_id: claim for claim in await told.work.claim(9)}
    await told.store(claims["archived"])
    await told.failed_ago(60 * MINUTE, last_s=60 * MINUTE)

    assert await told.look() == 0


# ---- deadlines, and recordings that failed at the provider


async def test_a_file_stored_nowhere_is_told_before_its_deadline_and_a_stored_one_is_not(told: Told) -> None:
    for name, left_s in (("near", 3000.0), ("far", 5000.0), ("safe", 3000.0)):
        await told.ledger.hear(news(Kind.VIDEO, id=name, expires_at=time.time() + left_s))
    claims = {claim.artifact.recording_id: claim for claim in await told.work.claim(9)}
    await store(told.ledger, claims["safe"], HERE)
    await told.work.route(claims["safe"], [THERE])
    await told.work.settle(claims["safe"], {THERE: LATER})
    await told.work.finish(claims["safe"])

    assert await told.look(near_s=4000.0) == 1
    assert await told.look(near_s=4000.0) == 0
    near = [notice for notice in await told.waiting() if notice.topic is Topic.DEADLINE_NEAR]
    assert [notice.recording_id for notice in near] == ["near"]


async def test_a_recording_that_errored_is_told_once_with_its_reason(told: Told) -> None:
    await told.ledger.hear(news(status="ERRORED", stop_reason="no space"), news(Kind.VIDEO, id="fine"))

    assert await told.look() == 1
    assert await told.look() == 0
    (notice,) = await told.waiting()
    assert (notice.topic, notice.facts["reason"]) == (Topic.ERRORED, "no space")


async def test_more_than_one_look_takes_in_are_all_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.ledger.notices._AT_ONCE", 2)
    await told.ledger.hear(*(news(id=f"r{number}", status="ERRORED") for number in range(5)))

    assert await told.look() == 5


async def test_two_that_look_at_once_tell_it_once(told: Told, ledger_url: str) -> None:
    await told.ledger.hear(*(news(id=f"r{number}", status="ERRORED") for number in range(5)))
    async with opened(ledger_url) as other:
        await asyncio.gather(told.look(), Told(other).look())

    assert await told.outbox.waiting() == 5


# ---- sending


async def put(told: Told, *names: str) -> None:
    for name in names:
        (video,) = await told.claimed(Kind.VIDEO, id=name)
        await told.store(video)


async def test_what_is_leased_nobody_else_takes_until_the_lease_is_over(told: Told, ledger_url: str) -> None:
    await put(told, "a")
    (mine,) = await told.outbox.take(EVERY, lease_s=60.0)
    async with opened(ledger_url) as other:
        assert await Outbox(other.database).take(EVERY, lease_s=60.0) == []
        await told.change(due_at=0.0)  # a while later, and nobody has said what came of it
        (theirs,) = await Outbox(other.database).take(EVERY, lease_s=60.0)
    assert (mine.id, mine.attempts, theirs.attempts) == (theirs.id, 1, 2)


async def test_each_is_taken_by_one_of_many(told: Told, ledger_url: str) -> None:
    await put(told, *(f"r{number}" for number in range(12)))
    async with opened(ledger_url) as one, opened(ledger_url) as two:
        outboxes = [Outbox(each.database) for each in (one, two, told.ledger)]
        found = await asyncio.gather(
            *(outbox.take({Topic.ARCHIVED: 3}, lease_s=60.0) for outbox in outboxes for _ in range(4))
        )
    taken = [notice.id for each in found for notice in each]
    assert len(taken) == len(set(taken))
    rest = await told.outbox.take({Topic.ARCHIVED: 99}, lease_s=60.0)
    assert len({*taken, *(notice.id for notice in rest)}) == 12


async def test_a_topic_without_room_leaves_the_others_theirs(told: Told) -> None:
    await put(told, "a", "b", "c")
    await told.ledger.hear(news(id="bad", status="ERRORED"))
    await told.look()

    taken = await told.outbox.take({Topic.ARCHIVED: 2, Topic.ERRORED: 1}, lease_s=60.0)
    assert sorted(notice.topic for notice in taken) == [Topic.ARCHIVED, Topic.ARCHIVED, Topic.ERRORED]
    assert await told.outbox.take({Topic.ARCHIVED: 0, Topic.ERRORED: 1}, lease_s=60.0) == []


async def test_who_comes_too_late_changes_nothing_but_that_it_was_taken(told: Told) -> None:
    await put(told, "a")
    (late,) = await told.outbox.take(EVERY, lease_s=0.0)
    (current,) = await told.outbox.take(EVERY, lease_s=60.0)
    for late_word in (
        told.outbox.later(late, delay_s=0.0, error="x"),
        told.outbox.given_up(late, error="x"),
        told.outbox.release(late),
    ):
        await late_word
        assert await told.outbox.take(EVERY, lease_s=60.0) == []
        assert await told.outbox.waiting() == 1

    await told.outbox.taken(late)
    assert await told.outbox.waiting() == 0
    await told.outbox.later(current, delay_s=0.0, error="x")
    (row,) = await told.ledger.rows("notices")
    assert row["due_at"] is None
    assert row["taken_at"] is not None


async def test_old_notices_are_forgotten_and_others_are_not(told: Told) -> None:
    await put(told, "a", "b")
    old = sa.update(notices).where(notices.c.recording_id == "a").values(made_at=0.0)
    await told.ledger.database.write(lambda connection: connection.execute(old))

    assert await Pruning(told.ledger.database).notices(keep_s=3600.0) == 1
    assert [row["recording_id"] for row in await told.ledger.rows("notices")] == ["b"]


async def test_an_expiry_of_long_after_is_not_near(told: Told) -> None:
    await told.ledger.hear(news(Kind.VIDEO, expires_at=FAR))
    assert await told.look(near_s=24 * 3600.0) == 0
