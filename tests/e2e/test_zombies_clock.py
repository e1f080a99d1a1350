"""A worker whose clock is wrong by an hour: the leases are the ledger's, and the others are there too."""

import json
import signal
import time
from datetime import datetime
from pathlib import Path

import psycopg

from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment
from tests.e2e.pair import LEASE_S, PART, Misdated, ledger

MIB = 1024 * 1024


def test_in_a_folder_a_wrong_clock_changes_neither_leases_nor_what_is_written(
    tmp_path: Path, sender: Sender, postgres_url: str
) -> None:
    archive = tmp_path / "archive"
    settings = {
        "database_url": postgres_url,
        "storage_config": {"type": "local", "path": str(archive)},
        "lease_seconds": LEASE_S,
        "parts_in_flight": 2,
    }
    folders = [tmp_path / "zombie", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    zombie, other = Misdated(folders[0], sender, **settings), Deployment(folders[1], sender, **settings)
    size = 3 * PART
    with threaded(FaultySource()) as source, zombie.running(), other.running():
        link = source.add("slow.mp4", size, rate=MIB)
        other.signal(signal.SIGSTOP)
        zombie.hand_over(sender.uploaded("slow", link, size=size))
        zombie.wait_until(lambda: source["slow.mp4"].sent > 0)
        other.signal(signal.SIGCONT)
        # Its lease is renewed for longer than a lease, and to the other one it holds.
        until: set[float] = set()
        zombie.wait_until(lambda: _noted(until, postgres_url) > LEASE_S)
        assert ledger(postgres_url, "artifacts")[0]["epoch"] == 1
        zombie.signal(signal.SIGSTOP)
        source["slow.mp4"].recover()
        # To the end: it is stopped below.
        other.wait_until(lambda: ledger(postgres_url, "artifacts")[0]["state"] == "archived")
        assert (archive / "slow.mp4.json").exists()
        zombie.signal(signal.SIGCONT)
        zombie.wait_until(lambda: bool(zombie.lines("lease_lost")))
        content = source["slow.mp4"].content.read()
        after = source.add("after.mp4", PART + 1)
        other.signal(signal.SIGSTOP)
        zombie.hand_over(sender.uploaded("after", after, size=PART + 1))
        zombie.wait_until((archive / "after.mp4.json").exists)
        other.signal(signal.SIGCONT)
        (row, *_) = [each for each in ledger(postgres_url, "artifacts") if each["recording_id"] == "slow"]
        assert (row["state"], row["epoch"]) == ("archived", 2)
    told = datetime.fromisoformat(zombie.lines("service_started")[0]["timestamp"]).timestamp()
    assert told - time.time() > 3000, "the clock was not wrong at all"
    assert (archive / "slow.mp4").read_bytes() == content
    assert sorted(path.name for path in archive.iterdir()) == [
        "after.mp4", "after.mp4.json", "slow.mp4", "slow.mp4.json",
    ]  # fmt: skip
    for name in ("after", "slow"):
        manifest = json.loads((archive / f"{name}.mp4.json").read_text())
        archived_at = datetime.fromisoformat(manifest["artifacts"][0]["archived_at"]).timestamp()
        assert abs(archived_at - time.time()) < 600, "the ledger's clock, not the worker's"


def test_a_store_that_refuses_a_wrong_clock_is_left_to_a_worker_whose_clock_is_right(
    tmp_path: Path, sender: Sender, postgres_url: str, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    settings = {
        "database_url": postgres_url,
        "storage_config": seaweedfs.storage_config(bucket),
        "lease_seconds": LEASE_S,
    }
    folders = [tmp_path / "zombie", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    zombie, other = Misdated(folders[0], sender, **settings), Deployment(folders[1], sender, **settings)
    with threaded(FaultySource()) as source, zombie.running():
        link = source.add("one.mp4", PART + 1)
        zombie.hand_over(sender.uploaded("one", link, size=PART + 1))
        # It signs with its own clock, and the store does not take that.
        zombie.wait_until(lambda: bool(zombie.lines("try_failed")))
        assert "60 minutes ahead of the store's" in zombie.lines("try_failed")[0]["mend"]
        assert seaweedfs.objects(bucket) == {}
        with other.running("--role", "worker"):

            def is_archived() -> bool:
                if "one.mp4.json" in seaweedfs.objects(bucket):
                    return True
                _make_due(postgres_url)  # whoever claims it first: one of them can
                time.sleep(0.5)
                return False

            other.wait_until(is_archived, timeout_s=90)
        assert other.lines("artifact_stored")
        assert not zombie.lines("artifact_stored")
        assert seaweedfs.read(bucket, "one.mp4") == source["one.mp4"].content.read()
        assert seaweedfs.open_uploads(bucket) == []


def _make_due(url: str) -> None:
    """No waiting between tries."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE copies SET due_at = 0 WHERE state = 'waiting'")
        connection.execute("UPDATE artifacts SET due_at = 0 WHERE due_at IS NOT NULL AND owner IS NULL")


def _noted(until: set[float], url: str) -> int:
    """How many ends of the lease were seen; every renewal makes another."""
    until.update(row["lease_until"] for row in ledger(url, "artifacts") if row["lease_until"])
    return len(until)
