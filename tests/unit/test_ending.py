"""Proves that each file has one line at its end, with all that the README says is in it."""

import io
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from service.choices import Order
from service.errors import StorageRefused, StorageUnavailable
from service.ledger.orders import Orders
from service.logs import configure_logging
from service.manifest import parse
from service.model import ONLY, Artifact, Kind
from service.tracing import Tracing
from tests.doubles.source import FaultySource
from tests.test_house import ROOT
from tests.unit.scene import MIB
from tests.unit.workshop import Offers, Workshop, config_of, workshop

ENDS = ("artifact_archived", "artifact_expired", "artifact_cancelled")
FACTS = {"meeting_id": "meeting", "session_id": "session", "app": "ours"}

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines about a file's end that were logged since."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging(level="info", form="json")

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in written.getvalue().splitlines()]
        return [line for line in found if line["event"] in ENDS]

    return read


@pytest.fixture
def api() -> Offers:
    return Offers()


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path, api: Offers) -> AsyncIterator[Workshop]:
    async with FaultySource() as source, workshop(ledger, tmp_path, source, apis={"ours": api}) as shop:
        yield shop


async def test_a_file_that_is_archived_has_one_line_with_everything(shop: Workshop, lines: Lines) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=2 * MIB + 5), **FACTS)
    await shop.work()

    (line,) = lines()
    entry = parse(shop.main.files["call.mp4.json"]).entries[0]
    took = {name: line.pop(name) for name in ("seconds_waiting", "seconds_moving", "timestamp")}
    assert 0 <= took["seconds_waiting"] < 600
    assert 0 < took["seconds_moving"] < 600
    assert line == {
        "event": "artifact_archived",
        "level": "info",
        "artifact": "one/video",
        "recording_id": "one",
        **FACTS,
        "kind": "video",
        "outcome": "archived",
        "storages": [ONLY],
        "keys": ["call.mp4"],
        "size_bytes": 2 * MIB + 5,
        "tries": 1,
        "epoch": 1,
        "parts": 3,
        "source_bytes": 2 * MIB + 5,
        "renewals": 0,
        "crc64nvme": f"{entry.checksum.crc64nvme:016x}",
        "crc32c": f"{entry.checksum.crc32c:08x}",
        "error": None,
    }


async def test_the_readme_has_every_field(ledger: Path, tmp_path: Path, lines: Lines) -> None:
    class Traced:
        """Tracing of which only the id matters."""

        def __getattr__(self, name: str) -> Any:
            import contextlib

            if name == "trace_id":
                return lambda _: "00ff"
            return lambda *_, **__: (
                contextlib.nullcontext() if name in ("job", "step") else lambda *_, **__: None
            )

    tracing: Tracing = Traced()
    async with FaultySource() as source, workshop(ledger, tmp_path, source, tracing=tracing) as shop:
        await shop.hear(shop.file(Kind.VIDEO), **FACTS)
        await shop.work()
    section = (ROOT / "README.md").read_text("utf-8").partition("### Logs")[2].partition("### Traces")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    (line,) = lines()
    assert line["trace_id"] == "00ff"
    assert sorted(listed) == sorted(line)
    assert all(f"`{event}`" in section for event in ENDS)


async def test_of_two_files_the_first_waits_for_the_manifest_of_both(shop: Workshop, lines: Lines) -> None:
    await shop.hear(shop.file(Kind.VIDEO), shop.file(Kind.AUDIO))
    await shop.work()
    assert sorted(line["outcome"] for line in lines()) == ["archived", "stored"]
    assert {line["artifact"] for line in lines()} == {"one/video", "one/audio"}


async def test_a_file_is_told_when_its_last_copy_is_there_and_not_before(
    ledger: Path, tmp_path: Path, lines: Lines
) -> None:
    both = config_of(tmp_path, "main", "legal")
    async with FaultySource() as source, workshop(ledger, tmp_path, source, routing=both) as shop:
        shop["legal"].answers["put"] = [StorageRefused("no such bucket")]
        await shop.hear(shop.file(Kind.VIDEO))
        await shop.work()
        assert lines() == []
        await shop.due_now()
        await shop.work()
    (line,) = lines()
    assert (line["storages"], line["keys"], line["outcome"]) == (
        ["legal", "main"],
        ["call.mp4", "call.mp4"],
        "archived",
    )
    assert (line["tries"], line["source_bytes"]) == (2, 1000)


async def test_a_manifest_that_came_later_than_its_file_is_waited_for(shop: Workshop, lines: Lines) -> None:
    shop.main.answers["put"] = [None, *[StorageUnavailable()] * 9]
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()
    assert lines() == []
    shop.main.answers["put"] = []
    await shop.due_now()
    await shop.work()
    (line,) = lines()
    assert (line["outcome"], line["keys"], line["crc32c"]) == ("archived", ["call.mp4"], None)


async def test_links_that_were_renewed_and_bytes_that_were_read_twice_are_counted(
    shop: Workshop, api: Offers, lines: Lines
) -> None:
    video = shop.file(Kind.VIDEO, size=2 * MIB)
    shop.source["one-video"].fail(status=403, status_after=1)
    fresh = shop.source.add("fresh", 2 * MIB, seed=list(Kind).index(Kind.VIDEO), cut_after=1000, cut_first=1)
    api.offer(Artifact("one", Kind.VIDEO, fresh, "call.mp4", expires_at=video.expires_at))
    await shop.hear(video, **FACTS)
    await shop.work()
    (line,) = lines()
    assert (line["renewals"], line["outcome"]) == (1, "archived")
    assert line["source_bytes"] >= 2 * MIB


async def test_a_file_that_expired_is_an_error_with_the_reason(shop: Workshop, lines: Lines) -> None:
    video = shop.file(Kind.VIDEO, expires_at=time.time() - 60)
    shop.source["one-video"].fail(status=404)
    await shop.hear(video, **FACTS)
    await shop.work()
    (line,) = lines()
    assert (line["event"], line["level"], line["outcome"]) == ("artifact_expired", "error", "expired")
    assert "404" in line["error"]
    assert (line["app"], line["storages"], line["size_bytes"]) == ("ours", [], None)


async def test_a_file_that_a_fresh_link_saved_at_the_last_moment_did_not_expire(
    shop: Workshop, lines: Lines
) -> None:
    video = shop.file(Kind.VIDEO, expires_at=time.time() - 60)
    await shop.hear(video)
    (claim,) = await shop.ledger.work().claim(1)
    again = shop.source.add("again", 1000)
    await shop.hear(Artifact("one", Kind.VIDEO, again, "call.mp4", expires_at=time.time() + 600))
    await shop.archivist.give_up(claim, StorageRefused("gone"))
    assert lines() == []
    await shop.work()
    assert [line["outcome"] for line in lines()] == ["archived"]


async def test_a_file_that_somebody_gave_up_is_told_once(shop: Workshop, lines: Lines) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    await Orders(shop.ledger.database).give(Order.CANCEL, "one/video", actor="me")
    await shop.work()
    (line,) = lines()
    assert (line["event"], line["level"], line["outcome"]) == ("artifact_cancelled", "warning", "cancelled")
