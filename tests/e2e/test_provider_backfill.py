"""What the provider deletes soon is an alarm that a person sees; backfill, run beside the service."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.doubles.provider import ProviderDouble
from tests.e2e.at_provider import assert_nothing_leaks, at, manifests, subscribe, taken

DAY_S = 86_400.0
ALARM = "\x1b[1;31m1 files are stored nowhere and have less than 24 h left, the first 12.0 h"
CELL = re.compile(r"\x1b\[1;31m *12\.0 h\x1b")


def test_a_file_with_half_a_day_left_is_an_alarm_until_it_is_stored(
    provider: ProviderDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = provider.realtimekit()
    deployment = at(account, tmp_path, reconcile_minutes=0)
    subscribe(account, deployment)
    late = account.add_recording("late", stopped_ago_s=6.5 * DAY_S - 30, output_file_name="late.mp4")
    served = late.file("video").served
    served.fail(status=503)
    with deployment.running():
        taken(account.announce, late)
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("deadline_near")))
        assert deployment.metric("dyte_archiver_near_deadline_artifacts", app="default") == 1
        left_s = deployment.metric("dyte_archiver_nearest_deadline_seconds")
        with monkeypatch.context() as terminal:
            terminal.setenv("FORCE_COLOR", "1")
            coloured = deployment.command("status").stdout
        served.recover()
        deployment.wait_until((tmp_path / "archive" / "late.mp4.json").exists)
        assert "less than 24 h left" not in deployment.told("status")
    (alarm,) = deployment.lines("deadline_near")
    assert (alarm["artifact"], alarm["app"], alarm["level"]) == ("late/video", "default", "error")
    assert abs(alarm["seconds_left"] - DAY_S / 2) < 60
    assert abs(left_s - DAY_S / 2) < 60
    assert ALARM in coloured
    assert CELL.search(coloured), "so has the cell of what is left"
    assert_nothing_leaks(deployment, account, told=coloured)


def test_backfill_tells_and_changes_what_it_is_asked_for_and_the_service_beside_it_archives_that(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    for name, days in (("new", 0.1), ("old", 5.0), ("board", 3.0)):
        account.add_recording(
            name,
            meeting_id=f"of-{name}",
            audio=name == "old",
            stopped_ago_s=days * DAY_S,
            output_file_name=f"{name}.mp4",
            title=f"About the {name} one",
        )
    account.add_recording("gone", stopped_ago_s=7.5 * DAY_S, output_file_name="gone.mp4")
    account.add_recording("lost", status="ERRORED")
    deployment = at(account, tmp_path, reconcile_minutes=0)
    archive = tmp_path / "archive"
    since = f"{datetime.now(UTC) - timedelta(days=4):%Y-%m-%d}"
    with deployment.running():
        dry = deployment.told("backfill", "--dry-run")
        part = deployment.told("backfill", "--dry-run", "--since", since)
        assert manifests(archive) == {}
        assert "Nothing is to be archived yet" in deployment.told("status")
        board = deployment.told("backfill", "--meeting", "of-board")
        deployment.wait_until(lambda: manifests(archive).keys() == {"board.mp4.json"})
        rest = deployment.told("backfill")
        deployment.wait_until(
            lambda: manifests(archive).keys() == {f"{name}.mp4.json" for name in ("new", "old", "board")}
        )
    assert "3 recordings with 4 files that the provider keeps, 4 of them new; 1 ended without a file" in dry
    assert "Nothing was changed." in dry
    # What is deleted first stands first.
    assert dry.index("old.mp3") < dry.index("board.mp4") < dry.index("new.mp4")
    assert "2.0 d" in dry[: dry.index("About the old one")]
    assert "2 recordings with 2 files that the provider keeps, 2 of them new" in part
    assert "old.mp4" not in part
    assert "1 recordings with 1 files that the provider keeps, 1 of them new" in board
    assert "3 recordings with 4 files that the provider keeps, 3 of them new" in rest
    files = [file for each in account.recordings.values() for file in each.files]
    reads = {f"{file.served.name.rpartition('/')[2]}": len(file.served.requests) for file in files}
    assert reads == {"new.mp4": 1, "old.mp4": 1, "old.mp3": 1, "board.mp4": 1, "gone.mp4": 0, "lost.mp4": 0}
    assert_nothing_leaks(deployment, account, told=dry + part + board + rest)
