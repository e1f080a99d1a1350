"""Proves that each copy of an artifact goes on, fails and waits for itself, on both databases."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from service.ledger import Trouble
from service.ledger.intake import Outcome
from service.ledger.sharing import AFTER_OTHERS_S
from service.ledger.tables import copies
from service.model import Claim, Copy, Kind, State
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    NOW,
    THERE,
    Ledger,
    begin,
    conclude,
    news,
    part,
    store,
)


async def routed(ledger: Ledger, *storages: str) -> Claim:
    """A claimed video that goes to `storages`."""
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().route(claim, storages)
    return await ledger.work().current(claim)


async def end(ledger: Ledger, claim: Claim, troubles: dict[str, Trouble]) -> None:
    """A try in which only some storages fail."""
    await conclude(ledger, claim, troubles)
    await ledger.work().finish(claim)


async def due(ledger: Ledger) -> tuple[float | None, dict[str, float]]:
    """When the artifact is due, and when its copies are."""
    (artifact,) = await ledger.rows("artifacts")
    return artifact["due_at"], {row["storage"]: row["due_at"] for row in await ledger.rows("copies")}


async def test_what_is_routed_has_an_open_copy_in_each_storage(ledger: Ledger) -> None:
    claim = await routed(ledger, THERE, HERE)

    assert claim.copies == (Copy(HERE, State.WAITING), Copy(THERE, State.WAITING))


async def test_routing_again_leaves_what_is_there_and_adds_what_is_not(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE)
    await begin(ledger, claim, HERE)
    await conclude(ledger, claim, {HERE: LATER})
    before = await ledger.everything()

    await ledger.work().route(claim, [HERE])
    after = await ledger.everything()
    assert after["copies"] == before["copies"]
    assert after["parts"] == before["parts"]

    await ledger.work().route(claim, [HERE, THERE, THERE])
    here, there = await ledger.rows("copies")
    assert [here] == before["copies"]
    assert (there["storage"], there["state"], there["attempts"]) == (THERE, "waiting", 0)


async def test_a_storage_that_was_stored_in_is_not_opened_by_routing_again(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE)
    await store(ledger, claim, HERE)

    await ledger.work().route(claim, [HERE])

    assert [copy.state for copy in (await ledger.work().current(claim)).copies] == [State.STORED]


async def test_a_dropped_copy_goes_with_its_parts_and_its_name(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await begin(ledger, claim, HERE, THERE)

    await ledger.work().route(video, ["elsewhere", HERE], drop=[THERE, "never"])

    assert [copy.storage for copy in (await ledger.work().current(video)).copies] == ["elsewhere", HERE]
    assert await ledger.progress.parts(video, THERE) == []
    assert await ledger.progress.parts(video, HERE) == [part(1)]
    assert [copy.storage for copy in (await ledger.work().current(audio)).copies] == [HERE, THERE]
    assert await ledger.progress.parts(audio, THERE) == [part(1)]
    assert await ledger.progress.reserve(audio, THERE, "recording.video")


async def test_a_claim_tells_which_copies_are_due(ledger: Ledger) -> None:
    await end(ledger, await routed(ledger, HERE, THERE), {THERE: LATER})

    (again,) = await ledger.work().claim(1)

    assert [(copy.storage, copy.is_due) for copy in again.copies] == [(HERE, True), (THERE, False)]
    assert [copy.is_due for copy in (await ledger.work().current(again)).copies] == [True, False]


async def test_a_copy_in_trouble_is_put_off_and_the_others_are_not(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE)
    here, _ = await ledger.rows("copies")

    await conclude(ledger, claim, {THERE: LATER})

    same, there = await ledger.rows("copies")
    assert same == here
    assert (there["state"], there["attempts"]) == ("waiting", 1)
    assert (there["error"], there["mend"]) == ("it is full", "make room")
    assert 3590 < there["due_at"] - claim.now < 3660


async def test_trouble_in_one_artifacts_copy_is_not_anothers(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await ledger.work().route(claim, [HERE])

    await conclude(ledger, video, {HERE: LATER})

    (copy,) = (await ledger.work().current(audio)).copies
    assert copy == Copy(HERE, State.WAITING)


async def test_tries_are_counted_and_a_copy_that_was_not_tried_is_only_put_off(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE)

    for _ in range(3):
        await end(ledger, claim, {HERE: NOW, THERE: replace(NOW, was_tried=False)})
        (claim,) = await ledger.work().claim(1)

    assert [copy.attempts for copy in claim.copies] == [3, 0]
    assert [row["error"] for row in await ledger.rows("copies")] == ["it was busy"] * 2
    assert [row["mend"] for row in await ledger.rows("copies")] == [None, None]


async def test_an_artifact_is_due_when_the_next_of_its_open_copies_is(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE, "elsewhere")
    await store(ledger, claim, "elsewhere")

    await end(ledger, claim, {HERE: replace(LATER, delay_s=7200), THERE: LATER})

    assert await ledger.work().claim(1) == []
    at, of_copies = await due(ledger)
    assert at == of_copies[THERE]
    assert of_copies[THERE] < of_copies[HERE]


async def test_an_artifact_is_due_at_once_if_a_copy_was_not_looked_at(ledger: Ledger) -> None:
    await end(ledger, await routed(ledger, HERE, THERE), {THERE: LATER})

    assert len(await ledger.work().claim(1)) == 1


async def test_an_artifact_that_is_not_routed_yet_stays_due(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)

    await end(ledger, claim, {})

    (again,) = await ledger.work().claim(1)
    assert (again.state, again.copies) == (State.MOVING, ())


async def test_a_copy_in_trouble_does_not_count_against_the_source(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE)
    await ledger.work().try_later(claim, NOW)
    (claim,) = await ledger.work().claim(1)
    assert claim.attempts == 1

    await end(ledger, claim, {HERE: NOW})

    (again,) = await ledger.work().claim(1)
    assert (again.attempts, [copy.attempts for copy in again.copies]) == (0, [1])
    assert [row["error"] for row in await ledger.rows("artifacts")] == [None]


async def test_a_stored_copy_has_its_troubles_behind_it(ledger: Ledger) -> None:
    await end(ledger, await routed(ledger, HERE), {HERE: NOW})
    (claim,) = await ledger.work().claim(1)

    await store(ledger, claim, HERE)

    (row,) = await ledger.rows("copies")
    assert (row["attempts"], row["error"], row["mend"]) == (0, None, None)


async def test_an_artifact_is_as_far_as_the_last_of_its_copies(ledger: Ledger) -> None:
    async def state() -> str:
        (row,) = await ledger.rows("artifacts")
        return str(row["state"])

    claim = await routed(ledger, HERE, THERE)
    await store(ledger, claim, HERE)
    await ledger.work().settle(claim, {THERE: NOW})
    assert await state() == "moving"
    await ledger.work().finish(claim)
    assert await state() == "waiting"

    (claim,) = await ledger.work().claim(1)
    await store(ledger, claim, THERE)
    assert await ledger.work().settle(claim, {}) == [HERE, THERE]
    assert await state() == "stored"
    for storage in (HERE, THERE):
        await ledger.work().manifest_written(
            claim, storage, key="manifest.json", artifact_ids=["recording/video"]
        )
    await ledger.work().finish(claim)
    assert await state() == "archived"
    assert await ledger.work().claim(1) == []


async def test_a_fresher_link_is_taken_while_any_copy_is_open(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE)
    await store(ledger, claim, HERE)
    await end(ledger, claim, {THERE: NOW})

    outcomes = await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))

    assert outcomes == [Outcome.ANNOUNCED]
    (again,) = await ledger.work().claim(1)
    assert again.artifact.url == "https://provider.example/fresh/video"
    assert [copy.state for copy in again.copies] == [State.ARCHIVED, State.WAITING]


async def test_a_fresher_link_brings_no_storage_out_of_its_trouble(ledger: Ledger) -> None:
    await end(ledger, await routed(ledger, HERE), {HERE: LATER})
    before = await ledger.rows("copies")

    await ledger.hear(news(Kind.VIDEO, link="https://provider.example/fresh"))

    (claim,) = await ledger.work().claim(1)
    assert [copy.is_due for copy in claim.copies] == [False]
    await ledger.work().finish(claim)
    assert await ledger.rows("copies") == before
    assert await ledger.work().claim(1) == []


async def test_another_source_means_another_upload_to_every_storage_that_lacks_it(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE, "elsewhere")
    await begin(ledger, claim, HERE, THERE)
    await store(ledger, claim, "elsewhere")

    await ledger.progress.forget_source(claim)

    claim = await ledger.work().current(claim)
    assert (claim.part_size, claim.size, claim.source_etag) == (None, None, None)
    assert claim.copies == (
        Copy("elsewhere", State.STORED, key="recording.video", size=10),
        Copy(HERE, State.WAITING, key="recording.video"),
        Copy(THERE, State.WAITING, key="recording.video"),
    )
    assert await ledger.rows("parts") == []


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_revived_artifact_goes_on_with_its_copies(ledger: Ledger, *, fresh: bool) -> None:
    claim = await routed(ledger, HERE, THERE)
    await begin(ledger, claim, HERE, THERE)
    await ledger.progress.restart(claim, HERE, keep_key=True)
    await conclude(ledger, claim, {THERE: LATER}, expired=True)
    await ledger.work().finish(claim)
    before = await ledger.rows("copies")

    link = "fresh" if fresh else "first"
    await ledger.hear(news(Kind.VIDEO, link=f"https://provider.example/{link}", expires_at=FAR + fresh))

    assert await ledger.rows("copies") == before
    claims = await ledger.work().claim(1)
    if not fresh:
        assert claims == []
        return
    (again,) = claims
    assert again.copies == (
        Copy(HERE, State.WAITING, key="recording.video"),
        Copy(THERE, State.WAITING, 1, is_due=False, key="recording.video", upload_id="upload there"),
    )
    await store(ledger, again, HERE)
    await end(ledger, again, {})
    assert [row["state"] for row in await ledger.rows("artifacts")] == ["waiting"]
    at, of_copies = await due(ledger)
    assert at == of_copies[THERE]


# ---- claimed by one who cannot store everywhere


async def test_what_could_only_be_put_off_is_left_to_others(ledger: Ledger) -> None:
    await routed(ledger, HERE)
    await ledger.lapse()

    assert await ledger.work().claim(9, avoided=[THERE, HERE]) == []
    (claim,) = await ledger.work().claim(9, avoided=[THERE])
    assert claim.copies == (Copy(HERE, State.WAITING),)


async def test_what_goes_to_a_doubted_storage_is_left_to_others_for_a_while(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE)
    await end(ledger, claim, {HERE: NOW})
    doubting = ledger.work("doubting")
    assert await doubting.claim(9, doubted=[HERE]) == []

    long_since = sa.update(copies).values(due_at=copies.c.due_at - AFTER_OTHERS_S)
    await ledger.database.write(lambda connection: connection.execute(long_since))

    assert await doubting.claim(9, doubted=[HERE], avoided=[HERE]) == []
    assert len(await doubting.claim(9, doubted=[HERE], avoided=[THERE])) == 1


async def test_one_storage_that_takes_it_is_enough(ledger: Ledger) -> None:
    await routed(ledger, HERE, THERE)
    await ledger.lapse()

    assert len(await ledger.work().claim(9, avoided=[HERE])) == 1


async def test_a_copy_that_waits_longer_is_no_reason_to_claim(ledger: Ledger) -> None:
    claim = await routed(ledger, HERE, THERE)
    await end(ledger, claim, {HERE: LATER})

    assert await ledger.work().claim(9, avoided=[THERE]) == []
    assert len(await ledger.work().claim(9, avoided=[HERE])) == 1


async def test_what_has_no_storage_yet_is_claimed_and_so_is_what_is_stored_but_for_its_manifest(
    ledger: Ledger,
) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.lapse()
    (claim,) = await ledger.work().claim(9, avoided=[HERE])
    await store(ledger, claim, HERE)
    await ledger.lapse()

    assert len(await ledger.work().claim(9, avoided=[HERE])) == 1
