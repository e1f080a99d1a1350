"""Proves that a try which fails is settled: when it is tried again, and nothing given up too early."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import ProviderRefused, ProviderUnavailable, StorageRefused
from service.links import NO_CREDENTIALS
from service.model import ONLY, Artifact, Claim, Kind
from tests.contract.ledgers import FAR
from tests.doubles.source import FaultySource
from tests.unit.scene import MIB
from tests.unit.workshop import Offers, Workshop, config_of, workshop

PAST = time.time() - 60


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
async def api() -> Offers:
    return Offers()


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path, source: FaultySource, api: Offers) -> AsyncIterator[Workshop]:
    async with workshop(ledger, tmp_path, source, api=api) as shop:
        yield shop


async def claimed(shop: Workshop, *, expires_at: float = FAR) -> Claim:
    """A video whose link is refused, claimed."""
    await shop.hear(shop.file(Kind.VIDEO, expires_at=expires_at))
    shop.source["one-video"].fail(status=403)
    (claim,) = await shop.ledger.work().claim(1)
    return claim


async def the_artifact(shop: Workshop) -> tuple[str, int, str | None, str | None, float | None]:
    """State, attempts, error, mend, and in how many seconds it is due."""
    (row,) = await shop.ledger.rows("artifacts")
    due_in_s = None if row["due_at"] is None else row["due_at"] - time.time()
    return row["state"], row["attempts"], row["error"], row["mend"], due_in_s


def renewed(shop: Workshop, *, expires_at: float, **faults: object) -> Artifact:
    """Another link to the same file."""
    link = shop.source.add("renewed", 1000, seed=0, **faults)  # type: ignore[arg-type]
    return Artifact("one", Kind.VIDEO, link, "call.mp4", expires_at=expires_at)


@pytest.mark.parametrize("expires_at", [FAR, PAST], ids=["in time", "past its time"])
async def test_while_the_api_is_down_nothing_is_given_up(
    shop: Workshop, api: Offers, expires_at: float
) -> None:
    claim = await claimed(shop, expires_at=expires_at)
    api.failures = [ProviderUnavailable("down", retry_after_s=77.0)]

    await shop.attempt(claim)

    state, attempts, error, _, due_in_s = await the_artifact(shop)
    assert (state, attempts) == ("waiting", 1)
    assert "down" in (error or "")
    assert due_in_s == pytest.approx(77, abs=5)


async def test_what_was_waited_for_is_archived_when_the_api_is_back(shop: Workshop, api: Offers) -> None:
    claim = await claimed(shop, expires_at=PAST)
    api.failures = [ProviderUnavailable("down")]
    await shop.attempt(claim)
    api.offer(renewed(shop, expires_at=FAR))
    await shop.due_now()

    await shop.work()

    assert await shop.states() == {"one/video": "archived"}
    assert shop.main.files["call.mp4"] == shop.content(Kind.VIDEO)


async def test_in_time_a_refused_link_waits_for_another_delivery(
    ledger: Path, tmp_path: Path, source: FaultySource
) -> None:
    async with workshop(ledger, tmp_path, source) as shop:
        await shop.attempt(await claimed(shop))

        state, attempts, _, mend, due_in_s = await the_artifact(shop)
        assert (state, attempts, mend) == ("waiting", 1, NO_CREDENTIALS)
        assert (due_in_s or 0) > 0

        shop.source["one-video"].recover()
        await shop.hear(renewed(shop, expires_at=FAR + 60))
        await shop.work()
        assert await shop.states() == {"one/video": "archived"}


async def test_refused_credentials_are_told_as_what_to_mend(shop: Workshop, api: Offers) -> None:
    claim = await claimed(shop)
    api.failures = [ProviderRefused("401", mend="check ARCHIVER_API_KEY")]

    await shop.attempt(claim)

    state, _, _, mend, _ = await the_artifact(shop)
    assert (state, mend) == ("waiting", "check ARCHIVER_API_KEY")


async def test_what_is_gone_past_its_time_is_expired(shop: Workshop) -> None:
    await shop.attempt(await claimed(shop, expires_at=PAST))

    state, _, _, _, due_in_s = await the_artifact(shop)
    assert (state, due_in_s) == ("expired", None)


async def test_a_fresh_link_with_more_time_is_not_given_up_with_the_old_one(
    shop: Workshop, api: Offers
) -> None:
    claim = await claimed(shop, expires_at=PAST)
    api.offer(renewed(shop, expires_at=FAR, status=403))

    await shop.attempt(claim)

    state, attempts, _, _, due_in_s = await the_artifact(shop)
    assert (state, attempts) == ("waiting", 1)
    assert (due_in_s or 0) > 0, "a link that was renewed is no reason to try at once"


async def test_a_fresh_link_without_more_time_is_the_last_one(shop: Workshop, api: Offers) -> None:
    claim = await claimed(shop, expires_at=PAST)
    api.offer(renewed(shop, expires_at=PAST, status=404))

    await shop.attempt(claim)

    assert await shop.states() == {"one/video": "expired"}


async def test_a_delivery_that_comes_during_the_try_is_tried_before_anything_is_given_up(
    ledger: Path, tmp_path: Path, source: FaultySource
) -> None:
    async with workshop(ledger, tmp_path, source) as shop:
        claim = await claimed(shop, expires_at=PAST)
        await shop.ledger.work().route(claim, [ONLY])
        claim = await shop.ledger.work().current(claim)
        await shop.hear(renewed(shop, expires_at=FAR))

        await shop.attempt(claim)
        assert await shop.states() == {"one/video": "waiting"}

        await shop.work()
        assert await shop.states() == {"one/video": "archived"}


async def test_what_one_storage_has_gets_its_manifest_though_the_api_is_down(
    ledger: Path, tmp_path: Path, source: FaultySource, api: Offers
) -> None:
    async with workshop(
        ledger, tmp_path, source, api=api, routing=config_of(tmp_path, "here", "there")
    ) as shop:
        await shop.hear(shop.file(Kind.VIDEO, size=4 * MIB))
        # One has it all but for the end; of the other a part is missing when the link is refused.
        shop["here"].answers["complete"] = [StorageRefused("full", mend="make room")]
        shop["there"].answers["put_part"] = [None, None, None, StorageRefused("full", mend="make room")]
        await shop.work()
        assert "call.mp4" not in shop["here"].files
        await shop.due_now()
        shop.source["one-video"].fail(status=403)
        api.failures = [ProviderUnavailable("down")]

        (claim,) = await shop.ledger.work().claim(1)
        await shop.attempt(claim)

        assert shop["here"].files.keys() == {"call.mp4", "call.mp4.json"}
        state, *_ = await the_artifact(shop)
        assert state == "waiting"


async def test_a_fault_of_ours_is_tried_later_and_told(shop: Workshop, api: Offers) -> None:
    claim = await claimed(shop)
    api.failures = [ZeroDivisionError("odd: https://me:pw@host/file?signed=s3cr3t")]

    await shop.attempt(claim)

    state, _, error, _, due_in_s = await the_artifact(shop)
    assert (state, error) == ("waiting", "ZeroDivisionError: odd: https://***@host/file?***")
    assert (due_in_s or 0) > 0
