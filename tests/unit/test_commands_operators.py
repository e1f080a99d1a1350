"""What the commands of whoever is on call print, ask and refuse."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from service.admin.asked import Asked
from service.admin.documents import RecordingLife, RecordingList, Summary
from service.choices import Format, Order, Standing
from service.commands import life, orders, status
from service.commands.export import COLUMNS, export
from service.desk.ledger import LedgerDesk
from service.errors import LedgerUnavailable, NotConfirmed, NotInLedger, OutputUnwritable
from service.ledger.tables import artifacts, recordings
from service.ledger.verifications import Verifications
from tests.contract.ledgers import HERE, Ledger, opened
from tests.unit.at_the_desk import filled, lines_of, screen, text_of


@pytest.fixture
async def known(ledger: Path) -> AsyncIterator[Ledger]:
    async with opened(f"sqlite:///{ledger}") as known:
        yield known


@pytest.fixture
async def desk(known: Ledger) -> LedgerDesk:
    return await filled(known)


def asked(**given: Any) -> Asked:
    return Asked.model_validate(given)


async def listed(desk: LedgerDesk, width: int = 200, *, most: int = 30, **given: Any) -> list[str]:
    console = screen(width)
    await status.show(desk, console, asked=asked(**given), most=most, watch=False, as_json=False)
    return lines_of(console)


# ---- status


async def test_a_filtered_status_shows_the_recordings_with_what_to_mend(desk: LedgerDesk) -> None:
    text = " ".join(await listed(desk, standing="failing"))

    assert "failing" in text
    assert (
        "video in here: PutObject was answered AccessDenied. To mend: let this key do s3:PutObject. Try 2 in"
        in text
    )
    assert "archived" not in text


async def test_a_filter_that_finds_nothing_says_so_and_a_cut_list_too(desk: LedgerDesk) -> None:
    assert await listed(desk, app="nobody") == ["There is no such recording."]
    assert (await listed(desk, most=2))[-1] == "There are more: see --limit."
    assert "There are more: see --limit." not in await listed(desk)


async def test_a_recording_without_a_file_says_why(desk: LedgerDesk) -> None:
    assert "there is no file: it broke" in " ".join(await listed(desk, standing="errored"))


async def test_a_narrow_screen_has_blocks_that_name_what_they_tell(desk: LedgerDesk) -> None:
    console = screen(40)
    await status.show(desk, console, asked=None, most=30, watch=False, as_json=False)
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]

    assert max(len(line) for line in shown.splitlines()) <= 40
    assert "moving size 12 B moved 42 % link ends in" in text_of(console)
    assert "state size" not in text_of(console), "there is no table"


async def test_json_is_the_document_of_the_api(desk: LedgerDesk, capsys: pytest.CaptureFixture[str]) -> None:
    await status.show(desk, screen(), asked=None, most=1, watch=False, as_json=True)
    overview = Summary.model_validate_json(capsys.readouterr().out)
    await status.show(desk, screen(), asked=asked(), most=4, watch=False, as_json=True)
    found = RecordingList.model_validate_json(capsys.readouterr().out)

    assert [line.file_id for line in overview.failing] == ["failing/video"]
    assert len(found.recordings) == 4
    assert found.next_cursor is not None


async def test_what_is_watched_stays_on_the_screen_while_the_ledger_is_away(desk: LedgerDesk) -> None:
    class Flaky(LedgerDesk):
        turns = 0

        async def overview(self) -> Summary:
            self.turns += 1
            if self.turns == 2:
                raise LedgerUnavailable("it is away")
            if self.turns == 3:
                raise NotInLedger("the end")
            return await desk.overview()

    async def no_time(_seconds: float) -> None:
        pass

    console = screen()
    with pytest.raises(NotInLedger):
        await status.show(
            Flaky(desk._database, actor=""),
            console,
            asked=None,
            most=9,
            watch=True,
            as_json=False,
            sleep=no_time,
        )

    text = text_of(console)
    assert "written now: it is away. This is what there was before: 2 waiting" in text
    assert text.count("failing/video") == 2


# ---- show


async def test_a_life_shows_where_each_file_lies_and_what_failed(desk: LedgerDesk, known: Ledger) -> None:
    verifications = Verifications(known.database)
    for storage, entry in await verifications.batch(None, before=None, storage=HERE, limit=9):
        fault = "its checksums are others" if entry.kind == "audio" else None
        await verifications.found(storage, entry, fault)
    await desk.order(Order.VERIFY, "archived/audio")
    console = screen()

    await life.show(desk, console, target="archived", as_json=False)

    text = text_of(console)
    assert text.startswith("recording archived stands archived")
    assert "in here archived archived.video stored" in text
    assert "crc64nvme fedcba9876543210 crc32c 89abcdef" in text
    assert "whole" in text
    assert "is not whole any more: its checksums are others is to be verified" in text
    assert "manifest in here: archived." in text
    assert "order verify of archived/audio, by command tester@here" in text


async def test_a_failing_life_says_what_to_mend_and_when_it_is_tried_again(desk: LedgerDesk) -> None:
    console = screen()
    await life.show(desk, console, target="failing/video", as_json=False)
    text = text_of(console)
    assert "in here waiting failing.video 5 B of 12 B moved, in 1 part PutObject was answered" in text
    assert "To mend: let this key do s3:PutObject (1 try). Next try in" in text
    assert "failed before once in here" in text
    assert "provider deletes in" in text


async def test_what_happened_is_in_its_order(desk: LedgerDesk) -> None:
    console = screen()
    await life.show(desk, console, target="archived", as_json=False)
    lines = lines_of(console)
    told = lines[lines.index("what happened (UTC)") + 1 :]
    assert told == sorted(told, key=lambda line: line[:19])
    assert "the provider says UPLOADED" in told[0]


async def test_the_life_as_json_is_the_document_of_the_api(
    desk: LedgerDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    await life.show(desk, screen(), target="expired/video", as_json=True)
    assert RecordingLife.model_validate_json(capsys.readouterr().out).recording.id == "expired"


async def test_an_id_that_is_nowhere_is_told_as_it_was_given(desk: LedgerDesk) -> None:
    with pytest.raises(NotInLedger) as lost:
        await life.show(desk, screen(), target="no/such/file", as_json=False)
    assert lost.value.detail == "no/such/file"


# ---- orders


async def test_each_id_is_an_order_and_those_that_fail_are_counted(
    desk: LedgerDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = await orders.give(
        desk, Order.PAUSE, ["waiting", "archived", "none", "moving"], find="look there"
    )

    told = capsys.readouterr()
    assert failed == 2
    assert told.out.splitlines() == ["waiting/video is paused", "moving/video is paused"]
    assert "archived: That cannot be done with it now: there is nothing to be paused" in told.err
    assert "none: The ledger has nothing by that id: none\n  to mend: look there" in told.err


def test_without_a_terminal_nothing_is_done_unless_it_is_said() -> None:
    with pytest.raises(NotConfirmed) as told:
        orders.confirm(Order.CANCEL, ["a"], ask=None)
    assert "--yes" in told.value.mend


def test_it_is_asked_what_an_order_comes_to() -> None:
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return len(questions) > 1

    with pytest.raises(NotConfirmed):
        orders.confirm(Order.CANCEL, ["a", "b"], ask=ask)
    orders.confirm(Order.PAUSE, ["a"], ask=ask)

    assert questions[0].startswith("Cancel 2 recordings or files (a, b)? What is not stored yet is given up")
    assert questions[1].startswith("Pause a? While it is paused")


# ---- export


async def exported(
    desk: LedgerDesk, capsys: pytest.CaptureFixture[str], form: Format = Format.CSV, **given: Any
) -> str:
    await export(desk, asked(sort="received_at", **given), form=form, output=None)
    return capsys.readouterr().out


async def test_a_csv_has_a_row_for_each_copy_and_one_where_there_is_none(
    desk: LedgerDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(await exported(desk, capsys))))

    told = [(row["recording_id"], row["file_id"], row["storage"]) for row in rows]
    assert told == [
        ("archived", "archived/audio", "here"),
        ("archived", "archived/audio", "there"),
        ("archived", "archived/video", "here"),
        ("archived", "archived/video", "there"),
        ("expired", "expired/video", ""),
        ("failing", "failing/video", "here"),
        ("moving", "moving/video", "here"),
        ("errored", "", ""),
        ("waiting", "waiting/video", ""),
    ]
    first, weekly = rows[0], rows[-1]
    assert (first["size_bytes"], first["crc32c"], first["paused"]) == ("10", "89abcdef", "false")
    assert datetime.fromisoformat(first["stored_at"]).tzinfo is not None
    assert weekly["duration_seconds"] == "60.5"


async def test_what_a_spreadsheet_would_compute_is_text(
    desk: LedgerDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = csv.DictReader(io.StringIO(await exported(desk, capsys, text="weekly")))
    (line,) = (await exported(desk, capsys, Format.JSONL, text="weekly")).splitlines()

    assert row["title"] == '\'=Weekly, "sync"'
    assert json.loads(line)["title"] == '=Weekly, "sync"', "JSON is for programs"


def test_the_columns_are_what_they_were() -> None:
    assert COLUMNS == (
        "recording_id", "scope", "standing", "app", "provider", "status", "title", "organization_id",
        "meeting_id", "session_id", "output_file_name", "announced_bytes", "started_at", "stopped_at",
        "duration_seconds", "stop_reason", "received_at", "pruned", "file_id", "kind", "storage", "state",
        "paused", "cancelled", "name", "key", "size_bytes", "moved_bytes", "attempts", "error", "mend",
        "deleted_in_seconds", "crc64nvme", "crc32c", "stored_at", "verification_due_at", "verified_at",
        "fault",
    )  # fmt: skip


async def test_a_file_has_its_name_only_when_all_is_in_it(desk: LedgerDesk, tmp_path: Path) -> None:
    output = tmp_path / "export.jsonl"

    class Broken(LedgerDesk):
        async def recordings(self, asked: Asked) -> RecordingList:
            if asked.cursor:
                raise NotInLedger("the end")
            return (await super().recordings(asked)).model_copy(update={"next_cursor": "more"})

    with pytest.raises(NotInLedger):
        await export(Broken(desk._database, actor=""), asked(), form=Format.JSONL, output=output)
    assert not list(tmp_path.glob("export*"))
    assert await export(desk, asked(), form=Format.JSONL, output=output) == 6
    assert [path.name for path in tmp_path.glob("export*")] == ["export.jsonl"]
    assert len(output.read_text("utf-8").splitlines()) == 6


async def test_a_place_that_cannot_be_written_is_told(desk: LedgerDesk, tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match="No such file or directory"):
        await export(desk, asked(), form=Format.CSV, output=tmp_path / "none" / "export.csv")


async def test_a_standing_is_exported_alone(desk: LedgerDesk, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (await exported(desk, capsys, Format.JSONL, standing=Standing.EXPIRED)).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["expired"]


async def test_controls_in_what_others_wrote_reach_no_screen(desk: LedgerDesk, known: Ledger) -> None:
    def spoil(connection: sa.Connection) -> None:
        connection.execute(sa.update(recordings).values(title="a\x1b[2Jb"))
        connection.execute(sa.update(artifacts).values(name="c\x1b[2Jd", error="e\x07f"))

    await known.database.write(spoil)
    console = screen()
    await status.show(desk, console, asked=None, most=9, watch=False, as_json=False)
    await status.show(desk, console, asked=asked(), most=9, watch=False, as_json=False)
    await life.show(desk, console, target="failing", as_json=False)

    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert "\x07" not in shown
