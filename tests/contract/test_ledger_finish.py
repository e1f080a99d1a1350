"""Proves that of a recording's artifacts the last one, and at least one, is left to write the manifest."""

import asyncio

import pytest

from service.model import Claim, Kind, State
from tests.contract.ledgers import FAR, Ledger, expire, news, opened, store


async def states(ledger: Ledger) -> dict[str, str]:
    return {row["kind"]: row["state"] for row in await ledger.rows("artifacts")}


async def test_the_only_artifact_awaits_nobody_and_is_archived(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await store(work, claim)

    assert not await work.await_siblings(claim)
    await work.archived(claim, manifest_key="call.mp4.json")

    assert await states(ledger) == {"video": "archived"}
    assert await ledger.view.manifest_keys() == ["call.mp4.json"]
    assert await ledger.work("other").claim(1) == []


async def test_the_last_sibling_archives_all(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(work, video)
    assert await work.await_siblings(video)
    assert await states(ledger) == {"video": "stored", "audio": "moving"}

    await store(work, audio)
    assert not await work.await_siblings(audio)
    await work.archived(audio, manifest_key="manifest.json")

    assert await states(ledger) == {"video": "archived", "audio": "archived"}


async def test_a_sibling_of_another_recording_is_not_awaited(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await ledger.claimed(work, Kind.AUDIO, id="another")
    await store(work, claim)

    assert not await work.await_siblings(claim)


async def test_a_sibling_that_failed_for_now_is_awaited(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.try_later(audio, delay_s=3600, error="slow", mend="")
    await store(work, video)

    assert await work.await_siblings(video)


async def test_the_manifest_is_left_to_a_sibling_when_one_expires(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)

    assert await work.await_siblings(audio)
    assert await states(ledger) == {"video": "moving", "audio": "expired"}

    await store(work, video)
    assert not await work.await_siblings(video)
    await work.archived(video, manifest_key="manifest.json")
    assert await states(ledger) == {"video": "archived", "audio": "expired"}


async def test_the_last_to_expire_archives_what_was_stored(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await store(work, video)
    await work.await_siblings(video)

    assert not await work.await_siblings(audio)
    await work.archived(audio, manifest_key="manifest.json")

    assert await states(ledger) == {"video": "archived", "audio": "expired"}


async def test_nothing_stored_at_all_leaves_no_manifest(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await expire(work, claim)

    assert await states(ledger) == {"video": "expired"}
    assert await ledger.view.manifest_keys() == []


@pytest.mark.parametrize("round_", range(5))
async def test_of_siblings_that_end_at_once_one_at_least_writes_the_manifest(
    ledger: Ledger, ledger_url: str, round_: int
) -> None:
    claims = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)

    async def end(of: Ledger, claim: Claim) -> bool:
        await store(of.work(), claim)
        if waited := await of.work().await_siblings(claim):
            return waited
        await of.work().archived(claim, manifest_key="manifest.json")
        return False

    async with opened(ledger_url) as other:
        answers = await asyncio.gather(end(ledger, claims[0]), end(other, claims[1]))

    assert False in answers
    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    assert await ledger.work("other").claim(2) == []


@pytest.mark.parametrize("order", [(Kind.VIDEO, Kind.AUDIO), (Kind.AUDIO, Kind.VIDEO)])
async def test_siblings_that_both_write_the_manifest_are_both_archived(
    ledger: Ledger, order: tuple[Kind, Kind]
) -> None:
    work = ledger.work()
    claims = await ledger.claimed(work, *order)
    for claim in claims:
        await store(work, claim)
    assert [await work.await_siblings(claim) for claim in claims] == [False, False]

    for claim in claims:
        await work.archived(claim, manifest_key="manifest.json")

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    assert await ledger.work("other").claim(2) == []


async def test_one_that_stopped_before_its_manifest_is_claimed_again_and_archived(ledger: Ledger) -> None:
    work = ledger.work("killed", lease_s=-1)
    (killed,) = await ledger.claimed(work, Kind.VIDEO)
    await store(work, killed)
    assert not await work.await_siblings(killed)

    (claim,) = await ledger.work("other").claim(1)
    assert claim.state is State.STORED
    await ledger.work("other").archived(claim, manifest_key="manifest.json")

    assert await states(ledger) == {"video": "archived"}


async def test_a_revived_sibling_archives_the_recording_again(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    await work.await_siblings(audio)
    await store(work, video)
    await work.archived(video, manifest_key="manifest.json")
    await ledger.hear(news(Kind.AUDIO, link="https://provider.example/fresh", expires_at=FAR + 1))

    (again,) = await work.claim(1)
    await store(work, again)
    assert not await work.await_siblings(again)
    await work.archived(again, manifest_key="manifest.json")

    assert await states(ledger) == {"video": "archived", "audio": "archived"}
    _, archived, expired = await ledger.view.recording("recording")
    assert [found.kind for found in archived] == [Kind.VIDEO, Kind.AUDIO]
    assert expired == []


async def test_news_and_the_end_of_a_recording_at_once_do_not_block_each_other(
    ledger: Ledger, ledger_url: str
) -> None:
    async with opened(ledger_url) as other:
        for number in range(10):
            work = ledger.work()
            claims = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id=f"r{number}")
            for claim in claims:
                await store(work, claim)
            await asyncio.gather(
                *(work.archived(claim, manifest_key="manifest.json") for claim in claims),
                *(other.hear(news(Kind.VIDEO, Kind.AUDIO, id=f"r{number}")) for _ in range(3)),
            )

    assert {row["state"] for row in await ledger.rows("artifacts")} == {"archived"}
