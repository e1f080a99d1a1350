"""Proves that a link which no longer works is renewed, and that the transfer goes on where it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import (
    ProviderMissing,
    ProviderRefused,
    ProviderRejected,
    ProviderUnavailable,
    SourceGone,
    SourceRefused,
    StorageRefused,
)
from service.links import NO_CREDENTIALS, Links
from service.model import ONLY, Artifact, Kind
from tests.contract.ledgers import FAR
from tests.unit.scene import HERE, MIB, NAME, THERE, Scene, scene
from tests.unit.workshop import Offers

REFUSALS = pytest.mark.parametrize(
    ("status", "family"), [(403, SourceRefused), (400, SourceRefused), (404, SourceGone), (410, SourceGone)]
)
FULL = StorageRefused("full", mend="make room")
WAYS = pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "stream"])


class Renewing:
    """A scene whose API offers other links to the same file, one after the other."""

    def __init__(self, set_up: Scene, api: Offers) -> None:
        self.scene = set_up
        self.api = api
        self.names: list[str] = ["recording"]

    def offer(self, **faults: object) -> None:
        """Offer one more link, with these faults, from now on."""
        name = f"renewed-{len(self.names)}"
        link = self.scene.source.add(name, self.scene.served.content.size, **faults)  # type: ignore[arg-type]
        self.names.append(name)
        self.api.offer(Artifact("recording", Kind.VIDEO, link, NAME, expires_at=FAR + 60))

    def given(self) -> list[str]:
        """The ranges that any link gave, in their order."""
        every = [request for name in self.names for request in self.scene.source[name].requests]
        return [request.range for request in every if request.status == 206]

    def count(self, name: str) -> int:
        """How many requests a link got."""
        return len(self.scene.source[name].requests)


@asynccontextmanager
async def renewing(ledger: Path, folder: Path) -> AsyncIterator[Renewing]:
    api = Offers()
    async with scene(ledger, folder, api=api) as set_up:
        yield Renewing(set_up, api)


@pytest.fixture
async def world(ledger: Path, tmp_path: Path) -> AsyncIterator[Renewing]:
    async with renewing(ledger, tmp_path) as found:
        yield found


# ---- a fresh link, and on it goes


@WAYS
@REFUSALS
async def test_a_link_that_is_refused_at_the_first_request_is_renewed(
    world: Renewing, status: int, family: type[Exception], *, ranges: bool
) -> None:
    claim = await world.scene.announce(status=status)
    world.offer(ranges=ranges)

    await world.scene.store(claim)

    await world.scene.assert_whole(world.scene.here, world.scene.there)
    assert world.api.asked == ["recording"]
    assert world.count("recording") == 1
    assert world.scene.renewed == 1


@REFUSALS
async def test_a_link_that_is_refused_in_the_midst_is_renewed_and_no_part_is_read_twice(
    world: Renewing, status: int, family: type[Exception]
) -> None:
    claim = await world.scene.announce(8 * MIB + 5, status=status, status_after=5)
    world.offer()

    await world.scene.store(claim)

    await world.scene.assert_whole(world.scene.here, world.scene.there)
    given = world.given()
    # The opening request is the first part's own.
    assert len(given) == len(set(given)) == 9
    assert world.count("renewed-1") == 4
    for storage in (world.scene.here, world.scene.there):
        assert storage.requests.count("begin") == 1
        assert storage.requests.count("put_part") == 9
    assert world.api.asked == ["recording"]


async def test_what_another_process_moved_by_the_old_link_is_not_read_by_the_new_one(world: Renewing) -> None:
    claim = await world.scene.announce(status=403, status_after=2)
    world.api.failures = [ProviderUnavailable("down")]
    with pytest.raises(ProviderUnavailable):
        await world.scene.store(claim)
    moved = await world.scene.parts()
    assert moved == {HERE: [1, 2], THERE: [1, 2]}
    world.offer()

    await world.scene.store(await world.scene.again(claim))

    await world.scene.assert_whole(world.scene.here, world.scene.there)
    assert sorted(world.given()) == sorted(set(world.given()))
    assert world.count("renewed-1") == 2


async def test_a_second_link_that_brought_parts_is_renewed_too(world: Renewing) -> None:
    claim = await world.scene.announce(8 * MIB, status=403, status_after=2)
    world.offer(status=403, status_after=2)
    first = world.api.told["recording"]
    world.offer(status=400, status_after=2)
    second = world.api.told["recording"]
    world.offer()
    third = world.api.told["recording"]
    world.api.next_told = [first, second, third]

    await world.scene.store(claim)

    await world.scene.assert_whole(world.scene.here, world.scene.there)
    assert world.api.next_told == []
    assert sorted(world.given()) == sorted(set(world.given()))
    assert len(world.given()) == 8


async def test_a_fresh_link_that_brings_nothing_is_not_renewed_again(world: Renewing) -> None:
    claim = await world.scene.announce(status=403, status_after=2)
    world.offer(status=403)

    with pytest.raises(SourceRefused):
        await world.scene.store(claim)

    assert world.api.asked == ["recording"]
    assert world.count("renewed-1") == 1
    assert await world.scene.parts() == {HERE: [1, 2], THERE: [1, 2]}


@WAYS
async def test_a_fresh_link_leads_to_another_file_which_comes_whole(world: Renewing, *, ranges: bool) -> None:
    claim = await world.scene.announce(status=403, status_after=2)
    world.offer(ranges=ranges)
    world.scene.source["renewed-1"].replace(seed=7)

    await world.scene.store(claim)

    other = world.scene.source["renewed-1"].content.read()
    await world.scene.assert_whole(world.scene.here, content=other)
    await world.scene.assert_whole(world.scene.there, content=other)


async def test_a_small_file_comes_by_the_fresh_link(world: Renewing) -> None:
    claim = await world.scene.announce(1000, status=404)
    world.offer()

    await world.scene.store(claim)

    await world.scene.assert_whole(world.scene.here, world.scene.there)


async def test_the_fresh_link_and_its_time_are_settled_in_the_ledger(world: Renewing) -> None:
    claim = await world.scene.announce(status=403)
    world.offer()

    await world.scene.store(claim)

    (row,) = await world.scene.ledger.rows("artifacts")
    assert (row["url"], row["expires_at"]) == (world.scene.source["renewed-1"].url, FAR + 60)


@pytest.mark.parametrize("told", [None, FAR - 60])
async def test_a_fresh_link_never_takes_time_away(world: Renewing, told: float | None) -> None:
    claim = await world.scene.announce(status=403)
    world.offer()
    event = world.api.told["recording"]
    world.api.offer(replace(event.artifacts[0], expires_at=told))

    await world.scene.store(claim)

    (row,) = await world.scene.ledger.rows("artifacts")
    assert row["expires_at"] == FAR


async def test_a_copy_that_is_stored_is_read_before_a_link_is_asked_for(world: Renewing) -> None:
    world.scene.there.answers["begin"] = [FULL]
    claim = await world.scene.announce()
    await world.scene.store(claim)
    world.scene.served.fail(status=403)
    world.offer()

    await world.scene.store(await world.scene.again(claim))

    await world.scene.assert_whole(world.scene.here, world.scene.there)
    assert world.api.asked == []


async def test_a_storage_that_refuses_stays_refused_when_the_link_is_renewed(world: Renewing) -> None:
    world.scene.here.answers["put_part"] = [FULL] * 9
    claim = await world.scene.announce(status=403, status_after=2)
    world.offer()

    here, there = await world.scene.store(claim)

    assert (here.failure, there.failure) == (FULL, None)
    await world.scene.assert_whole(world.scene.there)


# ---- no fresh link


async def test_without_credentials_it_is_said_what_to_give(ledger: Path, tmp_path: Path) -> None:
    async with scene(ledger, tmp_path) as set_up:
        claim = await set_up.announce(status=403)

        with pytest.raises(SourceRefused) as failure:
            await set_up.store(claim)

    assert failure.value.mend == NO_CREDENTIALS


async def test_credentials_of_another_app_are_not_asked(world: Renewing) -> None:
    claim = await world.scene.announce(status=403)
    claim = replace(claim, recording=replace(claim.recording, app="another"))

    with pytest.raises(SourceRefused) as failure:
        await Links({ONLY: world.api}).fresh(claim, SourceRefused("403"))

    assert failure.value.mend == NO_CREDENTIALS
    assert world.api.asked == []


async def test_an_api_that_is_down_is_not_the_sources_refusal(world: Renewing) -> None:
    claim = await world.scene.announce(status=403, status_after=2)
    down = ProviderUnavailable("down", retry_after_s=7.0)
    world.api.failures = [down]

    with pytest.raises(ProviderUnavailable) as failure:
        await world.scene.store(claim)

    assert failure.value is down
    assert await world.scene.parts() == {HERE: [1, 2], THERE: [1, 2]}


async def test_refused_credentials_are_what_is_to_be_mended(world: Renewing) -> None:
    claim = await world.scene.announce(status=403)
    world.api.failures = [ProviderRefused("401", mend="check ARCHIVER_API_KEY")]

    with pytest.raises(SourceRefused) as failure:
        await world.scene.store(claim)

    assert failure.value.mend == "check ARCHIVER_API_KEY"


@pytest.mark.parametrize("answer", [ProviderMissing("404"), ProviderRejected("422")])
async def test_what_the_provider_no_longer_has_is_the_sources_refusal(
    world: Renewing, answer: Exception
) -> None:
    claim = await world.scene.announce(status=404)
    world.api.failures = [answer]

    with pytest.raises(SourceGone) as failure:
        await world.scene.store(claim)

    assert not failure.value.mend


async def test_the_same_link_again_is_not_tried_again(world: Renewing) -> None:
    claim = await world.scene.announce(status=403)
    world.api.offer(claim.artifact)

    with pytest.raises(SourceRefused):
        await world.scene.store(claim)

    assert world.count("recording") == 1
    assert world.scene.renewed == 0


async def test_an_artifact_that_is_no_longer_offered_is_the_sources_refusal(world: Renewing) -> None:
    claim = await world.scene.announce(status=403)
    world.api.offer(Artifact("recording", Kind.AUDIO, "https://provider.example/audio", "call.mp3"))

    with pytest.raises(SourceRefused):
        await world.scene.store(claim)
