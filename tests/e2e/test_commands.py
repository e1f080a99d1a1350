"""The commands as a person runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

from service import __version__
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_the_demo_archives_checks_and_says_where_everything_is(tmp_path: Path) -> None:
    done = run("demo", "--size", "30MB", TMPDIR=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert done.returncode == 0, done.stderr + (folder / "service.log").read_text()[-3000:]
    archive = folder / "archive"
    assert f"{archive / 'demo-recording.mp4'} (30.0 MB)" in done.stdout
    assert str(archive / "demo-recording.mp4.json") in done.stdout
    assert "source, manifest and file agree" in done.stdout
    assert (archive / "demo-recording.mp4").stat().st_size == 30_000_000


@pytest.mark.parametrize("size", ["0B", "1B", "5242880B", "5242881B"])
def test_the_demo_takes_any_size(size: str, tmp_path: Path) -> None:
    done = run("demo", "--size", size, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "source, manifest and file agree" in done.stdout


@pytest.mark.parametrize(("provider", "size"), [("dyte", "40MB"), ("realtimekit", "1B")])
def test_the_demo_shows_the_whole_life_of_a_recording(provider: str, size: str, tmp_path: Path) -> None:
    done = run("demo", "--provider", provider, "--size", size, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    # What arrives and what is moved go on side by side; of either, each line is told after the one before it.
    arrives = (
        "/webhook is registered for recording.statusUpdate",
        "Weekly sync is created",
        "INVOKED: answered 200",
        "UPLOADED: answered 200",
        "meeting.transcript: answered 200",
        "archived  4 files",
        "meeting.summary: nobody answers: lost",
        "UPLOADED: nobody answers: lost",
        "GET /recordings: 2",
        "archived  3 files",
        "agree for all 7 files",
    )
    moves = (
        "INVOKED: answered 200",
        "weekly-sync.mp4 has expired: 403",
        "with fresh links",
        "archived  4 files",
    )
    for strand in (arrives, moves):
        told = iter(done.stdout.splitlines())
        for step in strand:
            assert any(step in line for line in told), f"{step!r} is not told after what comes before"
    (folder,) = tmp_path.iterdir()
    archive = {path.name for path in (folder / "archive").iterdir() if not path.name.startswith(".")}
    recorded = {f"{name}{end}" for name in ("weekly-sync", "retrospective") for end in (".mp4", ".mp3")}
    (session,) = {name.removesuffix("-chat.csv") for name in archive if name.endswith("-chat.csv")}
    left = {f"{session}{end}" for end in ("-chat.csv", "-transcript.csv", "-summary.txt", ".json")}
    assert archive == recorded | left | {"weekly-sync.mp4.json", "retrospective.mp4.json"}
    assert "signature=" not in done.stdout + (folder / "service.log").read_text("utf-8")


def test_verify_finds_a_changed_a_short_and_a_missing_file(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender)
    archive = tmp_path / "archive"
    with threaded(FaultySource()) as source, deployment.running():
        for name in ("changed", "short", "missing", "whole"):
            link = source.add(f"{name}.mp4", 1_000_000, seed=len(name))
            deployment.hand_over(sender.uploaded(name, link, size=1_000_000))
        deployment.wait_until(lambda: len(list(archive.glob("*.json"))) == 4)
        assert deployment.stop() == 0
    assert deployment.command("verify").returncode == 0
    changed = bytearray((archive / "changed.mp4").read_bytes())
    changed[500_000] ^= 1
    (archive / "changed.mp4").write_bytes(changed)
    (archive / "short.mp4").write_bytes(b"")
    (archive / "missing.mp4").unlink()
    done = deployment.command("verify")
    assert done.returncode == 1
    assert "changed.mp4: What is stored is not what was read from the source: its checksums are others" in (
        done.stdout
    )
    assert "short.mp4: What is stored is not what was read from the source: 0 bytes" in done.stdout
    assert "missing.mp4: The object is not in the storage" in done.stdout
    assert "1 of 4 files are whole." in done.stdout
    # Years later there may be no ledger: a manifest is enough.
    for path in tmp_path.glob("archiver.db*"):
        path.unlink()
    assert deployment.command("verify", "whole.mp4.json").returncode == 0
    assert deployment.command("verify", "changed.mp4.json").returncode == 1


def test_status_shows_what_is_there(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender)
    with threaded(FaultySource()) as source, deployment.running():
        good, bad = source.add("good.mp4", 1000), source.add("bad.mp4", 1000, status=503)
        for name, link in (("good", good), ("bad", bad)):
            deployment.hand_over(sender.uploaded(name, link, size=1000))
        deployment.wait_until(lambda: bool(deployment.lines("try_failed")))
        deployment.wait_until((tmp_path / "archive" / "good.mp4.json").exists)
        # Now and then it is tried again.
        deployment.wait_until(lambda: "1 waiting" in deployment.command("status").stdout)
        shown = deployment.command("status")
    assert shown.returncode == 0
    assert "1 archived" in shown.stdout
    assert "it answered 503" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["serve"], {"ARCHIVER_PRT": "1"}, "ARCHIVER_PRT: is not a setting of this version"),
        (["serve"], {"ARCHIVER_PORT": "70000"}, "ARCHIVER_PORT: "),
        (
            ["serve", "--port", "1", "--host", "203.0.113.9"],
            {},
            "ARCHIVER_PORT: cannot listen on 203.0.113.9",
        ),
        (["status"], {"ARCHIVER_DATABASE_URL": "postgresql://u:s3cr3t@127.0.0.1:1/x"}, "The ledger cannot"),
        (["status"], {"ARCHIVER_DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "there is no file"),
        (["verify"], {"ARCHIVER_DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "there is no file"),
        (["demo", "--size", "much"], {}, "is not a size such as 300MB"),
    ],
)
def test_an_error_is_a_clear_line_and_not_a_traceback(
    arguments: list[str], environment: dict[str, str], told: str
) -> None:
    done = run(*arguments, **environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cr3t" not in done.stderr


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"dyte-archiver {__version__}\n"
