"""Proves that the reading side tells the same, values and types, on both databases, and what is pruned."""

from service.ledger import Pruning, Trouble
from service.ledger.view import Holding
from service.model import Archived, Checksum, Kind, Provider, Recording, Scope, State
from tests.contract.ledgers import (
    CHECKSUM,
    FAR,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    begin,
    conclude,
    expire,
    news,
    part,
    store,
)


async def test_a_recording_is_told_with_all_its_facts(ledger: Ledger) -> None:
    told = Recording(
        "recording",
        Provider.REALTIMEKIT,
        "UPLOADED",
        Scope.RECORDING,
        "staging",
        "organization",
        "meeting",
        "session",
        "Weekly",
        "call.mp4",
        2**40,
        1_699_999_999.9,
        1_700_000_000.123456,
        1_700_003_600.654321,
        3600.5,
        "ALL_PEERS_LEFT",
        '{"type":"aws"}',
    )
    event = news(Kind.VIDEO)
    await ledger.hear(type(event)(event.name, told, event.artifacts))

    assert await ledger.view.recording("recording", HERE) == Holding(told, (), (), None)


async def test_a_recording_is_told_with_what_is_stored_and_what_expired(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await expire(ledger, audio)
    await store(ledger, video)

    holding = await ledger.view.recording("recording", HERE)
    stored, expired = holding.archived, holding.expired

    assert expired == ("audio",)
    (found,) = stored
    assert found == Archived(
        "recording/video",
        Kind.VIDEO,
        "recording.video",
        10,
        5,
        CHECKSUM,
        '"whole"',
        "video/mp4",
        found.stored_at,
    )
    assert abs(found.stored_at - video.now) < 60


async def test_a_recording_is_told_for_each_storage_with_what_is_there(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await begin(ledger, audio, HERE)
    await store(ledger, audio, THERE)
    await archive(ledger, [video], HERE, THERE)

    told = {
        storage: (await ledger.view.recording("recording", storage)).archived
        for storage in (HERE, THERE, "x")
    }

    kinds = {storage: [found.kind for found in stored] for storage, stored in told.items()}
    assert kinds == {HERE: [Kind.VIDEO], THERE: [Kind.VIDEO, Kind.AUDIO], "x": []}


async def test_every_state_is_counted(ledger: Ledger) -> None:
    work = ledger.work()
    assert (await ledger.overview()).counts == dict.fromkeys(State, 0)
    both = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="r1")
    await archive(ledger, both, HERE, THERE)
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="r2")
    await expire(ledger, gone)
    (stored,) = await ledger.claimed(work, Kind.VIDEO, id="r3")
    await store(ledger, stored)
    await work.finish(stored)
    (half,) = await ledger.claimed(work, Kind.VIDEO, id="r4")
    await work.route(half, [HERE, THERE])
    await store(ledger, half, HERE)
    await conclude(ledger, half)
    await ledger.hear(news(Kind.VIDEO, id="r5"))

    assert (await ledger.overview()).counts == {
        State.WAITING: 1,
        State.MOVING: 1,
        State.STORED: 1,
        State.ARCHIVED: 2,
        State.EXPIRED: 1,
    }


async def test_what_is_due_is_counted_also_while_it_is_moved(ledger: Ledger) -> None:
    assert await ledger.view.backlog() == 0
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    assert await ledger.view.backlog() == 2

    await ledger.work().try_later(audio, Trouble(3600.0, "it is full", "make room"))
    assert await ledger.view.backlog() == 1
    await store(ledger, video)
    await ledger.work().finish(video)
    assert await ledger.view.backlog() == 0


async def test_an_open_artifact_is_shown_with_its_progress(ledger: Ledger) -> None:
    work = ledger.work()
    await ledger.hear(news(Kind.VIDEO, title="Weekly"))
    (claim,) = await work.claim(1)
    await work.route(claim, [HERE])
    await ledger.progress.reserve(claim, HERE, "call.mp4")
    await ledger.progress.part_stored(claim, HERE, part(1, size=2**40))
    await ledger.progress.part_stored(claim, HERE, part(2, size=5))

    (line,) = await ledger.view.lines(limit=5)

    assert (line.artifact_id, line.kind, line.state) == ("recording/video", Kind.VIDEO, State.MOVING)
    assert (line.storage, line.name, line.title, line.key) == (HERE, "recording.video", "Weekly", "call.mp4")
    assert (line.size, line.moved, line.attempts) == (10, 2**40 + 5, 0)
    assert (line.error, line.mend) == (None, None)
    assert line.due_in_s is not None
    assert line.due_in_s <= 0
    assert abs(line.expires_in_s - (FAR - claim.now)) < 60
    assert [type(value) for value in (line.moved, line.due_in_s, line.expires_in_s)] == [int, float, float]


async def test_an_artifact_that_is_not_routed_yet_is_one_line(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))

    (line,) = await ledger.view.lines(limit=5)

    assert (line.artifact_id, line.storage, line.key) == ("recording/video", None, None)
    assert (line.state, line.size, line.moved, line.attempts) == (State.WAITING, 10, 0, 0)
    assert line.due_in_s is not None


async def test_every_copy_is_a_line_of_its_own(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE, "elsewhere")
    await store(ledger, claim, "elsewhere")
    await conclude(ledger, claim, {THERE: LATER})

    lines = {line.storage: line for line in await ledger.view.lines(limit=5)}

    assert list(lines) == ["elsewhere", HERE, THERE]
    assert [line.artifact_id for line in lines.values()] == ["recording/video"] * 3
    states = {storage: line.state for storage, line in lines.items()}
    assert states == {"elsewhere": State.ARCHIVED, HERE: State.MOVING, THERE: State.WAITING}
    assert [(line.size, line.moved) for line in lines.values()] == [(10, 0), (12, 5), (12, 5)]
    troubles = {storage: (line.attempts, line.error, line.mend) for storage, line in lines.items()}
    fine = (0, None, None)
    assert troubles == {"elsewhere": fine, HERE: fine, THERE: (1, "it is full", "make room")}
    due_in_s = lines[THERE].due_in_s
    assert due_in_s is not None
    assert 3540 < due_in_s <= 3600
    due_in_s = lines[HERE].due_in_s
    assert due_in_s is not None
    assert due_in_s <= 0


async def test_a_failure_of_the_source_is_shown_with_every_copy_that_has_none_of_its_own(
    ledger: Ledger,
) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.route(claim, [HERE, THERE])
    await conclude(ledger, claim, {THERE: LATER})
    for _ in range(2):
        await work.try_later(claim, Trouble(0, "it is slow", "wait"))
        (claim,) = await work.claim(1)

    here, there = await ledger.view.lines(limit=5)

    assert (here.attempts, here.error, here.mend) == (2, "it is slow", "wait")
    assert (there.attempts, there.error, there.mend) == (1, "it is full", "make room")


async def test_an_expired_artifact_is_shown_as_such_wherever_it_should_have_gone(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)
    await expire(ledger, claim)

    lines = await ledger.view.lines(limit=5)

    assert [(line.storage, line.state) for line in lines] == [(HERE, State.EXPIRED), (THERE, State.EXPIRED)]
    assert [line.due_in_s for line in lines] == [None, None]


async def test_open_artifacts_are_shown_first_then_the_newest_finished(ledger: Ledger) -> None:
    work = ledger.work()
    for name in ("first", "second", "third"):
        await archive(ledger, await ledger.claimed(work, Kind.VIDEO, id=name))
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="gone")
    await expire(ledger, gone)
    await ledger.hear(news(Kind.VIDEO, id="later", expires_at=FAR + 1), news(Kind.VIDEO, id="sooner"))

    async def shown(limit: int) -> list[str]:
        return [line.artifact_id.partition("/")[0] for line in await ledger.view.lines(limit=limit)]

    assert await shown(9) == ["sooner", "later", "third", "second", "first", "gone"]
    assert await shown(1) == ["sooner", "third"]


async def test_manifests_are_listed_the_oldest_first(ledger: Ledger) -> None:
    work = ledger.work()
    for name, storage in (("z", HERE), ("a", THERE), ("m", HERE)):
        await archive(ledger, await ledger.claimed(work, Kind.VIDEO, id=name), storage)

    assert await ledger.view.manifests() == [
        (HERE, "z.video.json"),
        (THERE, "a.video.json"),
        (HERE, "m.video.json"),
    ]


async def test_old_deliveries_are_forgotten_and_what_they_announced_stays(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO), news(Kind.VIDEO))

    assert await Pruning(ledger.database).deliveries(keep_s=3600) == 0
    assert await Pruning(ledger.database).deliveries(keep_s=-1) == 2

    assert await ledger.rows("deliveries") == []
    assert len(await ledger.rows("artifacts")) == 1


async def test_checksums_of_what_is_stored_come_back(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(ledger, claim, checksum=Checksum(2**64 - 1, 0))

    (found,) = (await ledger.view.recording("recording", HERE)).archived

    assert found.checksum == Checksum(2**64 - 1, 0)
