"""Proves that of a recording's artifacts the last one, and at least one, is left to write the manifest."""

import pytest

from service.model import Kind, State
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    NOW,
    THERE,
    Ledger,
    archive,
    begin,
    conclude,
    expire,
    news,
    store,
    write_manifest,
)


async def states(ledger: Ledger) -> dict[str, str]:
    return {row["kind"]: row["state"] for row in await ledger.rows("artifacts")}


async def manifests(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row["recording_id"], row["storage"]) for row in await ledger.rows("manifests")]


async def test_the_only_artifact_awaits_nobody_and_is_archived(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(ledger, claim)

    assert await work.settle(claim, {}) == [HERE]
    assert await work.manifest_written(claim, HERE, key="call.mp4.json", artifact_ids=[claim.id])
    await work.finish(claim)

    assert await states(ledger) == {"video": "archived"}
    assert await ledger.view.manifests() == [(HERE, "call.mp4.json")]
    assert await ledger.work("other").claim(1) == []


async def test_the_last_sibling_archives_all(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await ledger.work().route(audio, [HERE])
    await store(ledger, video)
    assert await conclude(ledger, video) == []
    await ledger.work().finish(video)
    assert await states(ledger) == {"video": "stored", "audio": "moving"}
    assert await ledger.work("other").claim(1) == []

    await store(ledger, audio)
    assert await conclude(ledger, audio) == [HERE]
    assert await states(ledger) == {"video": "archived", "audio": "stored"}
    await ledger.work().finish(audio)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    assert await ledger.work("other").claim(2) == []


async def test_a_sibling_of_another_recording_is_not_awaited(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    (other,) = await ledger.claimed(ledger.work(), Kind.AUDIO, id="another")
    await begin(ledger, other)
    await store(ledger, claim)

    assert await ledger.work().settle(claim, {}) == [HERE]


async def test_a_sibling_that_failed_for_now_is_awaited(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.route(audio, [HERE])
    await work.try_later(audio, LATER)
    await store(ledger, video)

    assert await work.settle(video, {}) == []


async def test_a_sibling_that_is_not_routed_yet_is_awaited_by_every_storage(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video, HERE, THERE)
    assert await work.settle(video, {}) == []
    await work.release([audio])
    assert await work.settle(video, {}) == []

    (audio,) = await work.claim(1)
    await work.route(audio, [THERE])

    assert await work.settle(video, {}) == [HERE]


async def test_the_manifest_is_left_to_a_sibling_when_one_expires(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await ledger.work().route(video, [HERE])

    assert await expire(ledger, audio) == []
    assert await states(ledger) == {"video": "moving", "audio": "expired"}

    await store(ledger, video)
    assert await conclude(ledger, video) == [HERE]
    await ledger.work().finish(video)
    assert await states(ledger) == {"video": "archived", "audio": "expired"}


async def test_an_expired_sibling_is_not_awaited_however_far_it_came(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await begin(ledger, audio, HERE, THERE)
    await expire(ledger, audio)
    await store(ledger, video, HERE, THERE)

    assert await conclude(ledger, video) == [HERE, THERE]


async def test_the_last_to_expire_archives_what_was_stored(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video)
    await conclude(ledger, video)
    await ledger.work().finish(video)

    assert await expire(ledger, audio) == [HERE]

    assert await states(ledger) == {"video": "archived", "audio": "expired"}
    assert await ledger.work().claim(2) == []


async def test_one_that_expires_is_told_also_where_all_else_was_archived_before(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await ledger.work().route(audio, [THERE])
    await archive(ledger, [video], HERE)
    assert await manifests(ledger) == [("recording", HERE)]

    assert await expire(ledger, audio) == [HERE]

    expired = (await ledger.view.recording("recording", HERE)).expired
    assert expired == ("audio",)


async def test_nothing_stored_at_all_leaves_no_manifest(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)

    assert await expire(ledger, claim) == []

    assert await states(ledger) == {"video": "expired"}
    assert await ledger.view.manifests() == []
    assert await ledger.work().claim(1) == []


@pytest.mark.parametrize("order", [(Kind.VIDEO, Kind.AUDIO), (Kind.AUDIO, Kind.VIDEO)])
async def test_siblings_that_both_write_the_manifest_are_both_archived(
    ledger: Ledger, order: tuple[Kind, Kind]
) -> None:
    work = ledger.work()
    claims = await ledger.claimed(work, *order)
    for claim in claims:
        await store(ledger, claim)
    assert [await work.settle(claim, {}) for claim in claims] == [[HERE], [HERE]]

    for claim in claims:
        assert await write_manifest(ledger, claim, HERE)
    for claim in claims:
        await work.finish(claim)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    assert len(await manifests(ledger)) == 1
    assert await ledger.work("other").claim(2) == []


async def test_one_that_is_held_while_its_sibling_writes_the_manifest_ends_by_itself(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video)
    await store(ledger, audio)

    assert await conclude(ledger, audio) == [HERE]
    await work.finish(audio)
    assert await states(ledger) == {"video": "moving", "audio": "archived"}
    await work.renew(video)
    assert await conclude(ledger, video) == []
    await work.finish(video)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    assert await work.claim(1) == []


async def test_one_that_stopped_before_its_manifest_is_claimed_again_and_told_again(ledger: Ledger) -> None:
    (killed,) = await ledger.claimed(ledger.work("killed"), Kind.VIDEO)
    await store(ledger, killed)
    assert await ledger.work().settle(killed, {}) == [HERE]
    await ledger.lapse()

    (claim,) = await ledger.work("other").claim(1)
    assert claim.state is State.STORED
    assert await conclude(ledger, claim) == [HERE]
    await ledger.work("other").finish(claim)

    assert await states(ledger) == {"video": "archived"}


async def test_one_that_stopped_after_its_manifest_is_claimed_again_and_told_nothing(ledger: Ledger) -> None:
    (killed,) = await ledger.claimed(ledger.work("killed"), Kind.VIDEO)
    await store(ledger, killed)
    assert await conclude(ledger, killed) == [HERE]
    await ledger.lapse()

    (claim,) = await ledger.work("other").claim(1)
    assert await conclude(ledger, claim) == []
    await ledger.work("other").finish(claim)

    assert await states(ledger) == {"video": "archived"}
    assert await ledger.work("other").claim(1) == []


async def test_an_expired_artifact_that_is_claimed_again_stays_expired(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await begin(ledger, audio)
    await store(ledger, video)
    assert await work.settle(audio, {}, expired=True) == [HERE]
    await ledger.lapse()

    again = {claim.artifact.kind: claim for claim in await work.claim(2)}
    assert again[Kind.AUDIO].state is State.EXPIRED
    await work.release([again[Kind.AUDIO]])
    (third,) = await work.claim(1)
    assert third.state is State.EXPIRED
    await work.try_later(third, NOW)
    (fourth,) = await work.claim(1)
    assert fourth.state is State.EXPIRED

    assert await expire(ledger, fourth) == [HERE]
    assert (await states(ledger))["audio"] == "expired"
    assert await work.claim(1) == []


async def test_a_fresher_link_that_came_meanwhile_keeps_an_artifact_from_expiring(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim)
    await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))

    assert await expire(ledger, claim) == []

    assert await states(ledger) == {"video": "waiting"}
    (again,) = await work.claim(1)
    assert (again.state, again.artifact.url) == (State.MOVING, "https://provider.example/fresh/video")


async def test_a_fresher_link_that_comes_before_an_expired_artifact_is_given_back_revives_it(
    ledger: Ledger,
) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await begin(ledger, claim)
    assert await work.settle(claim, {}, expired=True) == []
    await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))
    assert await ledger.work("other").claim(1) == []  # it is still held

    await work.finish(claim)

    (again,) = await work.claim(1)
    assert (again.state, again.artifact.url) == (State.MOVING, "https://provider.example/fresh/video")


async def test_a_revived_sibling_archives_the_recording_again(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await expire(ledger, audio)
    await archive(ledger, [video])
    await ledger.hear(news(Kind.AUDIO, link="https://provider.example/fresh", expires_at=FAR + 1))

    (again,) = await work.claim(1)
    await store(ledger, again)
    assert await conclude(ledger, again) == [HERE]
    await work.finish(again)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    holding = await ledger.view.recording("recording", HERE)
    archived, expired = holding.archived, holding.expired
    assert [found.kind for found in archived] == [Kind.VIDEO, Kind.AUDIO]
    assert expired == ()
    assert len(await manifests(ledger)) == 1


async def test_a_sibling_that_is_announced_late_archives_the_recording_again(ledger: Ledger) -> None:
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO))
    (late,) = await ledger.claimed(work, Kind.AUDIO)
    await store(ledger, late)

    assert await conclude(ledger, late) == [HERE]
    await work.finish(late)

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
