"""Receivers and workers apart on one PostgreSQL, and one process alone on a SQLite file."""

import subprocess
import sys
from pathlib import Path

import psutil

from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024


def libraries(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def listening(pid: int) -> set[int]:
    """The ports that a process takes connections on."""
    taken = psutil.Process(pid).net_connections(kind="tcp")
    return {each.laddr.port for each in taken if each.status == psutil.CONN_LISTEN}


def test_a_receiver_loads_nothing_that_moves_files(tmp_path: Path, sender: Sender, postgres_url: str) -> None:
    for name in ("receiver", "worker"):
        (tmp_path / name).mkdir()
    receiver, worker = (
        Deployment(
            tmp_path / role,
            sender,
            role=role,
            database_url=postgres_url,
            storage_config={"type": "local", "path": str(tmp_path / "archive")},
        )
        for role in ("receiver", "worker")
    )
    with threaded(FaultySource()) as source, receiver.running(), worker.running():
        receiver.hand_over(sender.uploaded("one", source.add("one.mp4", 9 * MIB), size=9 * MIB))
        assert listening(receiver.pid) == {receiver.port, receiver.admin_port}
        assert listening(worker.pid) == {worker.admin_port}
        worker.wait_until((tmp_path / "archive" / "one.mp4.json").exists)

        assert "_awscrt" in libraries(worker.pid)
        assert "_awscrt" not in libraries(receiver.pid)
        assert receiver.stop() == 0
        assert worker.stop() == 0


def test_a_receiver_imports_neither_a_storage_nor_what_uses_one() -> None:
    imported = "import service.serve, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "service.receiver" in loaded
    heavy = {"service.worker", "service.transfer", "service.source", "awscrt", "aioboto3", "botocore"}
    assert loaded & heavy == set()
    storages = {name for name in loaded if name.startswith("service.storage.")}
    assert {name for name in storages if not name.startswith("service.storage.config")} == set()


def test_a_service_does_without_what_shows_things_to_people() -> None:
    imported = (
        "import service.commands.running, service.serve, service.assembly, service.storage.s3, sys;"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "service.worker" in loaded
    assert {"rich", "pygments", "jinja2"} & loaded == set()


def test_a_second_process_on_a_sqlite_file_is_refused_and_commands_are_not(
    tmp_path: Path, sender: Sender
) -> None:
    deployment = Deployment(tmp_path, sender)
    with deployment.running():
        second = Deployment(tmp_path, sender).command("serve", timeout_s=30)
        assert second.returncode == 1
        assert "another process serves archiver.db already" in second.stderr
        assert "PostgreSQL" in second.stderr
        assert "Traceback" not in second.stderr
        deployment.hand_over(sender.status("one", "RECORDING"))
        assert "1 recording" in deployment.told("status")
    # After kill -9 it is free at once.
    deployment.start()
    assert deployment.stop() == 0
