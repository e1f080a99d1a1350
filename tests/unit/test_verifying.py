"""Proves that what somebody asked to have verified is read back, and that its fault is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.choices import Order
from service.errors import StorageUnavailable
from service.ledger.orders import Orders
from service.ledger.verifications import Verifications
from service.model import Kind
from service.verifying import Verifier
from tests.doubles.source import FaultySource
from tests.unit.scene import MIB
from tests.unit.workshop import Workshop, workshop


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path) -> AsyncIterator[Workshop]:
    """With one archived recording of two files, of which somebody wants to know."""
    async with FaultySource() as source, workshop(ledger, tmp_path, source) as shop:
        await shop.hear(shop.file(Kind.VIDEO, size=2 * MIB + 5), shop.file(Kind.AUDIO))
        await shop.work()
        await Orders(shop.ledger.database).give(Order.VERIFY, "one", actor="somebody")
        yield shop


async def verified(shop: Workshop, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """What a verifier logs until that is enough."""
    verifier = Verifier(
        Verifications(shop.ledger.database),
        shop.archivist.destinations,
        lease_s=60.0,
        metrics=shop.metrics,
    )
    with capture_logs() as logs:
        running = asyncio.create_task(verifier.run())
        try:
            async with asyncio.timeout(30):
                while not enough(logs):  # noqa: ASYNC110 - a log sets no event
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    return list(logs)


def both(logs: list[Any]) -> bool:
    return len(logs) >= 2


async def rows(shop: Workshop) -> dict[str, dict[str, Any]]:
    return {row["artifact_id"]: row for row in await shop.ledger.rows("copies")}


def counted(shop: Workshop, outcome: str) -> float:
    return float(shop.metrics.verified.labels(outcome)._value.get())


async def test_what_is_whole_is_said_to_be(shop: Workshop) -> None:
    logs = await verified(shop, both)
    assert {line["event"] for line in logs} == {"copy_verified"}
    assert counted(shop, "whole") == 2
    for row in (await rows(shop)).values():
        assert (row["verify_at"], row["fault"]) == (None, None)
        assert row["verified_at"] > row["stored_at"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "its checksums are others"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes"),
        (lambda path: path.unlink(), "not in the storage"),
    ],
    ids=["changed", "cut", "gone"],
)
async def test_what_is_damaged_is_told_with_its_fault(
    shop: Workshop, damage: Callable[[Path], None], fault: str
) -> None:
    damage(next(shop.folder.rglob("call.mp4")))
    logs = await verified(shop, both)
    (faulty,) = (line for line in logs if line["event"] == "copy_faulty")
    assert (faulty["artifact"], faulty["log_level"]) == ("one/video", "error")
    assert fault in faulty["error"]
    found = await rows(shop)
    assert fault in found["one/video"]["fault"]
    assert (found["one/audio"]["fault"], found["one/video"]["verify_at"]) == (None, None)
    assert (counted(shop, "faulty"), counted(shop, "whole")) == (1, 1)


async def test_what_cannot_be_read_now_says_nothing_of_the_file_and_is_tried_again(shop: Workshop) -> None:
    shop.main.answers["read"] = [StorageUnavailable("it is away"), StorageUnavailable("it is away")]
    logs = await verified(shop, both)
    assert {line["event"] for line in logs} == {"copy_unread"}
    for row in (await rows(shop)).values():
        assert (row["verified_at"], row["fault"]) == (None, None)
        assert row["verify_at"] is not None
    assert counted(shop, "unread") == 2


async def test_a_copy_is_one_process_s_until_its_lease_runs_out(shop: Workshop) -> None:
    ledger = Verifications(shop.ledger.database)
    first, second = await ledger.take(lease_s=60.0), await ledger.take(lease_s=-1.0)
    assert first is not None
    assert second is not None
    assert {first[1].artifact_id, second[1].artifact_id} == {"one/video", "one/audio"}
    # The second died: its lease is over.
    again = await ledger.take(lease_s=60.0)
    assert again == second
    assert await ledger.take(lease_s=60.0) is None


async def test_what_was_found_is_not_undone_by_who_comes_late(shop: Workshop) -> None:
    ledger = Verifications(shop.ledger.database)
    taken = await ledger.take(lease_s=60.0)
    assert taken is not None
    await ledger.found(*taken, None)
    await ledger.put_off(*taken, delay_s=5.0)
    assert (await rows(shop))[taken[1].artifact_id]["verify_at"] is None
