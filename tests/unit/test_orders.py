"""Proves what a worker makes of an order: it frees what was given up, keeps what is stored, renews links."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.choices import Order
from service.errors import ProviderUnavailable, StorageRefused, StorageUnavailable
from service.ledger.orders import Orders
from service.model import Kind
from tests.contract.ledgers import HERE, THERE
from tests.doubles.source import FaultySource
from tests.unit.scene import MIB, Watched
from tests.unit.workshop import Offers, Workshop, config_of, workshop

FULL = StorageRefused("full")


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


@pytest.fixture
def api() -> Offers:
    return Offers()


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path, source: FaultySource, api: Offers) -> AsyncIterator[Workshop]:
    async with workshop(ledger, tmp_path, source, api=api) as shop:
        yield shop


@pytest.fixture
async def both(ledger: Path, tmp_path: Path, source: FaultySource) -> AsyncIterator[Workshop]:
    """One with two storages, `HERE` and `THERE`."""
    async with workshop(ledger, tmp_path, source, routing=config_of(tmp_path, HERE, THERE)) as shop:
        yield shop


async def give(shop: Workshop, order: Order, target: str = "one") -> None:
    await Orders(shop.ledger.database).give(order, target, actor="ann")


def named(storage: Watched, key: str = "call.mp4.json") -> dict[str, list[str]]:
    """What a manifest says that there is, and what there is not."""
    manifest = json.loads(storage.files[key])
    return {"there": [each["key"] for each in manifest["artifacts"]], "expired": manifest["expired"]}


# ---- cancel


async def test_what_was_moved_of_it_is_freed_and_nothing_is_left(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=3 * MIB))
    shop.main.answers["put_part"] = [None, FULL]
    await shop.work(rounds=1)
    assert [name for name in shop.main.files if name.endswith(".part")], "it was to be cut short"

    await give(shop, Order.CANCEL)
    with capture_logs() as logs:
        await shop.work()

    assert shop.main.files == {}
    assert await shop.states() == {"one/video": "expired"}
    assert [line["kind"] for line in logs if line["event"] == "artifact_cancelled"] == ["video"]
    assert await shop.ledger.rows("parts") == []
    counted = shop.metrics.registry.get_sample_value(
        "dyte_archiver_artifacts_total", {"app": "default", "kind": "video", "outcome": "cancelled"}
    )
    assert counted == 1


async def test_what_was_never_begun_is_asked_of_nobody(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    await give(shop, Order.CANCEL)

    await shop.work()

    assert shop.asked_of("one-video") == []
    assert shop.main.requests == []
    assert await shop.states() == {"one/video": "expired"}


async def test_a_retry_begins_it_anew_and_archives_it(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=3 * MIB))
    shop.main.answers["put_part"] = [None, FULL]
    await shop.work(rounds=1)
    await give(shop, Order.CANCEL)
    await shop.work()

    await give(shop, Order.RETRY)
    await shop.work()

    assert await shop.states() == {"one/video": "archived"}
    assert shop.main.files["call.mp4"] == shop.content(Kind.VIDEO)


async def test_the_copy_that_is_stored_stays_and_gets_its_manifest(both: Workshop) -> None:
    await both.hear(both.file(Kind.VIDEO, size=3 * MIB))
    both[THERE].answers["put_part"] = [None, FULL]
    await both.work(rounds=1)
    assert "call.mp4.json" in both[HERE].files

    await give(both, Order.CANCEL)
    await both.work()

    assert both[THERE].files == {}
    assert both[HERE].files.keys() == {"call.mp4", "call.mp4.json"}
    assert await both.states() == {"one/video": "archived"}
    assert [row["storage"] for row in await both.ledger.rows("copies")] == [HERE]


async def test_the_siblings_manifest_says_that_it_is_not_there(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO), shop.file(Kind.AUDIO))
    await give(shop, Order.CANCEL, "one/audio")

    await shop.work()

    assert await shop.states() == {"one/audio": "expired", "one/video": "archived"}
    assert named(shop.main) == {"there": ["call.mp4"], "expired": ["audio"]}

    await give(shop, Order.RETRY, "one/audio")
    await shop.work()
    assert named(shop.main) == {"there": ["call.mp4", "one-audio.audio"], "expired": []}


async def test_it_ends_also_where_the_storage_does_not_free_it(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=3 * MIB))
    shop.main.answers["put_part"] = [None, FULL]
    await shop.work(rounds=1)
    await give(shop, Order.CANCEL)
    shop.main.answers["abort"] = [StorageUnavailable("away")] * 9

    with capture_logs() as logs:
        await shop.work()

    assert [line["storage"] for line in logs if line["event"] == "upload_left"] == ["default"]
    assert await shop.states() == {"one/video": "expired"}


# ---- renew


async def test_the_api_is_asked_for_another_link_at_the_next_try(shop: Workshop, api: Offers) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=1000))
    other = shop.file(Kind.VIDEO, id="fresh")
    api.offer(type(other)("one", Kind.VIDEO, other.url, "call.mp4"))
    await give(shop, Order.RENEW)

    await shop.work()

    assert api.asked == ["one"]
    assert shop.asked_of("one-video") == []
    assert shop.main.files["call.mp4"] == shop.content(Kind.VIDEO, id="fresh")
    (row,) = await shop.ledger.rows("artifacts")
    assert (row["state"], row["renew_at"], row["url"]) == ("archived", None, other.url)


@pytest.mark.parametrize("failure", [None, ProviderUnavailable("away")])
async def test_where_there_is_no_other_link_the_one_that_there_is_serves(
    shop: Workshop, api: Offers, failure: Exception | None
) -> None:
    video = shop.file(Kind.VIDEO)
    await shop.hear(video)
    api.offer(video)
    api.failures = [failure] if failure else []
    await give(shop, Order.RENEW)

    with capture_logs() as logs:
        await shop.work()

    assert [line["event"] for line in logs if line["event"] == "link_not_renewed"] == ["link_not_renewed"]
    assert await shop.states() == {"one/video": "archived"}
    assert api.asked == ["one"]


async def test_no_link_is_asked_for_when_there_is_nothing_to_move(shop: Workshop, api: Offers) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    shop.main.answers["put"] = [None, FULL]  # the file goes there, its manifest does not
    await shop.work(rounds=1)
    assert await shop.states() == {"one/video": "stored"}
    await give(shop, Order.RENEW)
    await shop.due_now()

    await shop.work()

    assert api.asked == []
    assert await shop.states() == {"one/video": "archived"}
