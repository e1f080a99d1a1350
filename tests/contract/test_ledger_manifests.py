"""Proves that each storage has its manifest as soon as all that goes there is there, on both databases."""

from service.model import Kind, State
from tests.contract.ledgers import (
    HERE,
    LATER,
    NOW,
    THERE,
    Ledger,
    archive,
    conclude,
    store,
    write_manifest,
)


async def states(ledger: Ledger) -> dict[str, str]:
    """How far artifacts and copies are, by kind and by kind and storage."""
    found = {row["kind"]: row["state"] for row in await ledger.rows("artifacts")}
    for row in await ledger.rows("copies"):
        found[f"{row['artifact_id'].rpartition('/')[2]} {row['storage']}"] = row["state"]
    return found


async def test_one_storage_has_its_manifest_while_the_other_is_in_trouble(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.route(claim, [HERE, THERE])
    await store(ledger, claim, HERE)

    assert await conclude(ledger, claim, {THERE: LATER}) == [HERE]
    await work.finish(claim)

    assert await ledger.view.manifests() == [(HERE, "recording.video.json")]
    assert await states(ledger) == {"video": "waiting", "video here": "archived", "video there": "waiting"}


async def test_the_other_storage_has_its_own_manifest_when_it_has_all(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.route(claim, [HERE, THERE])
    await store(ledger, claim, HERE)
    await conclude(ledger, claim, {THERE: NOW})
    await work.finish(claim)
    (claim,) = await work.claim(1)
    await store(ledger, claim, THERE)

    assert await conclude(ledger, claim) == [THERE]
    await work.finish(claim)

    assert await ledger.view.manifests() == [(HERE, "recording.video.json"), (THERE, "recording.video.json")]
    assert await states(ledger) == {"video": "archived", "video here": "archived", "video there": "archived"}
    assert await work.claim(1) == []


async def test_both_manifests_are_told_where_both_storages_have_all(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await store(ledger, claim, THERE, HERE)

    assert await conclude(ledger, claim) == [HERE, THERE]


async def test_a_manifest_that_could_not_be_written_is_told_again_and_the_other_is_not(
    ledger: Ledger,
) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(ledger, claim, HERE, THERE)
    assert await work.settle(claim, {}) == [HERE, THERE]
    assert await write_manifest(ledger, claim, THERE)
    await work.try_later(claim, NOW)

    (claim,) = await work.claim(1)
    assert claim.state is State.STORED
    assert await conclude(ledger, claim) == [HERE]
    await work.finish(claim)

    assert await states(ledger) == {"video": "archived", "video here": "archived", "video there": "archived"}


async def test_a_sibling_that_goes_elsewhere_is_not_awaited(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.route(audio, [THERE])
    await store(ledger, video, HERE)

    assert await conclude(ledger, video) == [HERE]
    await work.finish(video)

    assert (await states(ledger))["video"] == "archived"
    await store(ledger, audio, THERE)
    assert await conclude(ledger, audio) == [THERE]
    there = (await ledger.view.recording("recording", THERE)).archived
    assert [found.kind for found in there] == [Kind.AUDIO]


async def test_a_sibling_left_unrouted_held_manifests_back_that_the_last_is_told(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video, HERE)
    assert await conclude(ledger, video) == []
    await work.finish(video)
    await work.route(audio, [THERE])

    # Nothing was stored in this try; what waited for its routing need wait no longer.
    assert await conclude(ledger, audio, {THERE: LATER}) == [HERE]
    await work.finish(audio)

    assert await states(ledger) == {
        "video": "archived",
        "video here": "archived",
        "audio": "waiting",
        "audio there": "waiting",
    }


async def test_a_manifest_that_misses_what_was_stored_meanwhile_is_refused(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video, HERE, THERE)
    await store(ledger, audio, HERE)
    before = await ledger.everything()

    for ids in (["recording/video"], ["recording/audio"], [], ["recording/video", "recording/audio", "x"]):
        assert not await work.manifest_written(video, HERE, key="manifest.json", artifact_ids=ids)

    after = await ledger.everything()
    for rows in (*before["artifacts"], *after["artifacts"]):
        rows["lease_until"] = None
    assert after == before
    both = ["recording/video", "recording/audio"]
    assert await work.manifest_written(video, HERE, key="manifest.json", artifact_ids=both)
    # What is only in the other storage is not this one's.
    assert await work.manifest_written(
        video, THERE, key="manifest.json", artifact_ids={"recording/video": None}
    )


async def test_a_manifest_may_be_written_again(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(ledger, claim)

    for key in ("former.json", "latter.json"):
        assert await work.manifest_written(claim, HERE, key=key, artifact_ids=[claim.id])

    assert await ledger.view.manifests() == [(HERE, "latter.json")]


async def test_what_waits_is_archived_only_when_its_last_manifest_is_written(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.route(audio, [HERE, THERE])
    await store(ledger, video, HERE, THERE)
    assert await conclude(ledger, video) == []
    await work.finish(video)
    assert (await states(ledger))["video"] == "stored"

    await store(ledger, audio, THERE)
    assert await conclude(ledger, audio, {HERE: NOW}) == [THERE]
    await work.finish(audio)
    found = await states(ledger)
    assert (found["video"], found["video here"], found["video there"]) == ("stored", "stored", "archived")
    assert found["audio"] == "waiting"

    (audio,) = await work.claim(2)
    await store(ledger, audio, HERE)
    assert await conclude(ledger, audio) == [HERE]
    assert (await states(ledger))["video"] == "archived"
    await work.finish(audio)
    assert set((await states(ledger)).values()) == {"archived"}


async def test_another_recordings_files_are_none_of_a_manifests(ledger: Ledger) -> None:
    work = ledger.work()
    (other,) = await ledger.claimed(work, Kind.VIDEO, id="other")
    await store(ledger, other)
    await work.finish(other)
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await archive(ledger, [claim])

    rows = {row["recording_id"]: row["state"] for row in await ledger.rows("artifacts")}
    assert rows == {"recording": "archived", "other": "stored"}
    assert [row["recording_id"] for row in await ledger.rows("manifests")] == ["recording"]
