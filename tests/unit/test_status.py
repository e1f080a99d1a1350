"""Proves that `status` says what waits, moves, fails and is lost, in words for people."""

import time
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.commands.status import show
from service.desk import open_desk
from service.errors import LedgerUnavailable
from service.ledger import Database, Trouble
from service.model import Artifact, Event, Kind, Provider, Recording
from service.settings import load_settings
from tests.contract.ledgers import FAR, HERE, LATER, THERE, Ledger, archive, begin, conclude, expire, store

HOUR = 3600.0
DAY = 24 * HOUR


class Screen:
    """What the command shows of a ledger."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self.ledger = ledger

    async def hear(self, recording_id: str, *kinds: Kind, status: str = "UPLOADED", **told: Any) -> None:
        """News of a recording with files of these kinds, which the provider deletes in `left_s`."""
        left_s = told.pop("left_s", None)
        expires_at = FAR if left_s is None else time.time() + left_s
        files = tuple(
            Artifact(recording_id, kind, "https://a.example/a", f"{recording_id}.{kind}", 10, expires_at)
            for kind in kinds
        )
        known = Recording(recording_id, Provider.DYTE, status, **told)
        await self.ledger.hear(Event("delivery", known, files))

    async def text(self, *, limit: int = 50) -> str:
        """What is shown, its blanks and line ends made one."""
        console = Console(file=StringIO(), width=300)
        settings = load_settings({}, database_url=f"sqlite:///{self._path}")
        async with open_desk(settings) as desk:
            await show(desk, console, asked=None, most=limit, watch=False, as_json=False)
        return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


@pytest.fixture
async def screen(ledger: Path) -> AsyncIterator[Screen]:
    database = Database(f"sqlite:///{ledger}")
    try:
        yield Screen(ledger, Ledger(database))
    finally:
        await database.close()


async def test_an_empty_ledger_says_so(screen: Screen) -> None:
    text = await screen.text()

    assert text.startswith("0 waiting 0 moving 0 stored 0 archived in 24 h 0 expired")
    assert "Nothing is to be archived yet" in text
    for word in ("errored", "recordings without a file", "less than 24 h"):
        assert word not in text


async def test_without_a_ledger_none_is_made(screen: Screen, tmp_path: Path) -> None:
    missing = Screen(tmp_path / "none.db", screen.ledger)

    with pytest.raises(LedgerUnavailable):
        await missing.text()

    assert not (tmp_path / "none.db").exists()


async def test_every_state_is_counted_and_shown(screen: Screen) -> None:
    ledger, work = screen.ledger, screen.ledger.work()
    (done,) = await ledger.claimed(work, Kind.VIDEO, id="done")
    await archive(ledger, [done])
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="gone")
    await expire(ledger, gone)
    video, _ = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="half")
    await store(ledger, video)
    await conclude(ledger, video)
    await work.finish(video)
    (moving,) = await ledger.claimed(work, Kind.VIDEO, id="moving")
    await begin(ledger, moving)
    await screen.hear("fresh", Kind.VIDEO)

    text = await screen.text()

    assert text.startswith("1 waiting 2 moving 1 stored 1 archived in 24 h 1 expired")
    assert "gone.video gone/video is gone at the source and was not stored" in text
    assert "waits for the recording's other files, then for the manifest" in text
    for name in ("done.video", "half.video", "half.audio", "moving.video", "fresh.video"):
        assert name in text


async def test_a_recording_that_errored_is_told_with_its_title_and_reason(screen: Screen) -> None:
    await screen.hear("lost", status="ERRORED", title="Weekly", stop_reason="NO_MEDIA")
    await screen.hear("bare", status="ERRORED")

    text = await screen.text()

    assert "recordings without a file: 2 errored" in text
    assert "errored 0 s ago, there is no file: lost (Weekly): NO_MEDIA" in text
    assert "errored 0 s ago, there is no file: bare" in text


async def test_of_many_that_errored_the_newest_are_told_and_all_counted(screen: Screen) -> None:
    for number in range(8):
        await screen.hear(f"lost-{number}", status="ERRORED")

    text = await screen.text()

    assert "8 errored" in text
    assert text.count("there is no file") == 5
    assert "lost-7" in text


async def test_a_recording_that_is_not_offered_is_no_failure(screen: Screen) -> None:
    await screen.hear("theirs")

    text = await screen.text()

    assert "recordings without a file: 1 not offered" in text
    assert "errored" not in text


async def test_recordings_that_go_on_are_counted_by_their_status(screen: Screen) -> None:
    for name, status in (("a", "RECORDING"), ("b", "RECORDING"), ("c", "UPLOADING")):
        await screen.hear(name, status=status)
    await screen.hear("d", Kind.VIDEO)

    text = await screen.text()

    assert "recordings without a file: 2 recording 1 uploading" in text


async def test_the_alarm_counts_all_and_names_the_first(screen: Screen) -> None:
    for number in range(12):
        await screen.hear(f"near-{number}", Kind.VIDEO, left_s=5 * HOUR + number * 60 + 30)
    await screen.hear("far", Kind.VIDEO, left_s=3 * DAY)

    text = await screen.text(limit=3)

    assert "12 files are stored nowhere and have less than 24 h left, the first 5.0 h" in text
    assert "3.0 d" not in text, "of three lines it is none"


async def test_what_is_stored_somewhere_is_no_alarm(screen: Screen) -> None:
    await screen.hear("near", Kind.VIDEO, left_s=HOUR)
    (claim,) = await screen.ledger.work().claim(1)
    await screen.ledger.work().route(claim, [HERE, THERE])
    await store(screen.ledger, claim, HERE)
    await conclude(screen.ledger, claim, {THERE: LATER})
    await screen.ledger.work().finish(claim)

    text = await screen.text()

    assert "less than 24 h" not in text
    assert "it is full. To mend: make room" in text
    assert "in there" in text


async def test_a_failure_says_what_to_mend_and_when_it_is_tried_again(screen: Screen) -> None:
    await screen.hear("one", Kind.VIDEO)
    (claim,) = await screen.ledger.work().claim(1)
    await screen.ledger.work().try_later(claim, Trouble(7200.0, "the link is refused", "give credentials"))

    text = await screen.text()

    assert "the link is refused. To mend: give credentials. Try 2 in 2.0 h" in text


async def test_a_title_with_markup_is_shown_as_it_is(screen: Screen) -> None:
    await screen.hear("one", Kind.VIDEO, title="[bold]Weekly[/bold] [link=https://a.example]x")
    await screen.hear("lost", status="ERRORED", title="[red]Lost[/nothing]")

    text = await screen.text()

    assert "[bold]Weekly[/bold] [link=https://a.example]x" in text
    assert "[red]Lost[/nothing]" in text
