"""Proves that the reading side tells the same, values and types, on both databases, and what is pruned."""

import pytest

from service.errors import LedgerUnfit
from service.ledger import Intake
from service.model import Archived, Checksum, Kind, Provider, Recording, State
from tests.contract.ledgers import CHECKSUM, FAR, Ledger, archive, expire, news, part, store


async def test_a_recording_is_told_with_all_its_facts(ledger: Ledger) -> None:
    told = Recording(
        "recording",
        Provider.REALTIMEKIT,
        "UPLOADED",
        "organization",
        "meeting",
        "session",
        "Weekly",
        "call.mp4",
        2**40,
        1_700_000_000.123456,
        1_700_003_600.654321,
        3600.5,
        "ALL_PEERS_LEFT",
    )
    event = news(Kind.VIDEO)
    await ledger.hear(type(event)(event.name, told, event.artifacts))

    assert await ledger.view.recording("recording") == (told, [], [])


async def test_a_recording_is_told_with_what_is_stored_and_what_expired(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.await_siblings(audio)
    await store(work, video)

    _, stored, expired = await ledger.view.recording("recording")

    assert expired == [Kind.AUDIO]
    (found,) = stored
    assert found == Archived(
        Kind.VIDEO, "recording.video", 10, 5, CHECKSUM, '"whole"', "video/mp4", found.stored_at
    )
    assert abs(found.stored_at - video.now) < 60


async def test_a_recording_that_is_not_there_is_told(ledger: Ledger) -> None:
    with pytest.raises(LedgerUnfit):
        await ledger.view.recording("never")


async def test_every_state_is_counted(ledger: Ledger) -> None:
    work = ledger.work()
    assert await ledger.view.counts() == dict.fromkeys(State, 0)
    await archive(work, await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="r1"))
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="r2")
    await expire(work, gone)
    (stored,) = await ledger.claimed(work, Kind.VIDEO, id="r3")
    await store(work, stored)
    await ledger.claimed(work, Kind.VIDEO, id="r4")
    await ledger.hear(news(Kind.VIDEO, id="r5"))

    assert await ledger.view.counts() == {
        State.WAITING: 1,
        State.MOVING: 1,
        State.STORED: 1,
        State.ARCHIVED: 2,
        State.EXPIRED: 1,
    }


async def test_an_open_artifact_is_shown_with_its_progress(ledger: Ledger) -> None:
    work = ledger.work()
    await ledger.hear(news(Kind.VIDEO, title="Weekly"))
    (claim,) = await work.claim(1)
    await work.reserve(claim, "call.mp4")
    await work.part_stored(claim, part(1, size=2**40))
    await work.part_stored(claim, part(2, size=5))

    (line,) = await ledger.view.lines(limit=5)

    assert (line.artifact_id, line.kind, line.state) == ("recording/video", Kind.VIDEO, State.MOVING)
    assert (line.name, line.title, line.key) == ("recording.video", "Weekly", "call.mp4")
    assert (line.size, line.moved, line.attempts) == (10, 2**40 + 5, 0)
    assert (line.error, line.mend) == (None, None)
    assert line.due_in_s is not None
    assert line.due_in_s <= 0
    assert abs(line.expires_in_s - (FAR - claim.now)) < 60
    assert [type(value) for value in (line.moved, line.due_in_s, line.expires_in_s)] == [int, float, float]


async def test_open_artifacts_are_shown_first_then_the_newest_finished(ledger: Ledger) -> None:
    work = ledger.work()
    for name in ("first", "second", "third"):
        await archive(work, await ledger.claimed(work, Kind.VIDEO, id=name))
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="gone")
    await expire(work, gone)
    await ledger.hear(news(Kind.VIDEO, id="later", expires_at=FAR + 1), news(Kind.VIDEO, id="sooner"))

    async def shown(limit: int) -> list[str]:
        return [line.artifact_id.partition("/")[0] for line in await ledger.view.lines(limit=limit)]

    assert await shown(9) == ["sooner", "later", "third", "second", "first", "gone"]
    assert await shown(1) == ["sooner", "third"]


async def test_manifests_are_listed_the_oldest_first(ledger: Ledger) -> None:
    work = ledger.work()
    for name in ("z", "a", "m"):
        await archive(work, await ledger.claimed(work, Kind.VIDEO, id=name), manifest_key=f"{name}.json")

    assert await ledger.view.manifest_keys() == ["z.json", "a.json", "m.json"]


async def test_old_deliveries_are_forgotten_and_what_they_announced_stays(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO), news(Kind.VIDEO))
    intake = Intake(ledger.database)

    assert await intake.prune(keep_s=3600) == 0
    assert await intake.prune(keep_s=-1) == 2

    assert await ledger.rows("deliveries") == []
    assert len(await ledger.rows("artifacts")) == 1


async def test_checksums_of_what_is_stored_come_back(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(work, claim, checksum=Checksum(2**64 - 1, 0))

    _, (found,), _ = await ledger.view.recording("recording")

    assert found.checksum == Checksum(2**64 - 1, 0)
