"""SQLite on a disk that is full: nothing is acknowledged until there is room, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.content import Content
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment, still

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    program = shutil.which("mount")
    command = [program or "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if program is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def test_a_full_disk_is_told_and_waited_for(tmp_path: Path, small_disk: Path, sender: Sender) -> None:
    size = 6 * PART
    deployment = Deployment(
        tmp_path, sender, database_url=f"sqlite:///{small_disk / 'archiver.db'}", parts_in_flight=2
    )
    acknowledged = 1  # the last
    with threaded(FaultySource()) as source, deployment.running():
        link = source.add("one.mp4", size, rate=3 * MIB)
        deployment.hand_over(sender.uploaded("one", link, size=size))
        deployment.wait_until(lambda: source["one.mp4"].peak == 2)
        filler = fill(small_disk)
        # There may be room left in what SQLite has already.
        statuses = [200]
        while statuses[-1] == 200:
            statuses.append(deployment.deliver(sender.status(f"rec-{len(statuses)}", "RECORDING")))
        assert statuses[-1] == 503
        acknowledged += statuses.count(200) - 1
        assert deployment.deliver(sender.status("again", "RECORDING")) == 503
        assert deployment.answer(deployment.port, "/healthz")[0] == 200
        told = deployment.lines("delivery_not_taken")[-1]
        assert (told["level"], "disk is full" in told["error"]) == ("error", True)
        # Until what is in flight has come, and cannot be noted.
        deployment.wait_until(still(lambda: source["one.mp4"].sent))
        filler.unlink()
        deployment.wait_until(lambda: deployment.deliver(sender.status("again", "RECORDING")) == 200)
        source["one.mp4"].recover()
        deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists, timeout_s=90)
        assert deployment.command("verify").returncode == 0
        assert "1 archived" in deployment.told("status")
        assert f"recordings without a file: {acknowledged}" in deployment.told("status")
        assert deployment.stop() == 0
    assert (tmp_path / "archive" / "one.mp4").read_bytes() == Content(0, size).read()
    assert source["one.mp4"].sent == size, "what had come was noted once there was room"
    assert not [each for each in deployment.lines() if "places" in each]
