"""Proves that a process tells Prometheus what it does while it does it, in a form that promtool takes."""

import subprocess
from pathlib import Path

import pytest

from tests.doubles.programs import find_program
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
SIZE = 24 * MIB


def test_what_a_process_does_is_told_while_it_does_it(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender, memory_budget_mib=10, parts_in_flight=2)
    with threaded(FaultySource()) as source, deployment.running():
        assert deployment.metric("dyte_archiver_memory_budget_bytes") == 10 * MIB
        slow = source.add("one.mp4", SIZE, rate=4 * MIB)
        deployment.hand_over(sender.uploaded("one", slow, size=SIZE))
        deployment.wait_until(lambda: deployment.metric("dyte_archiver_parts_in_flight") == 2)
        assert deployment.metric("dyte_archiver_memory_budget_used_bytes") == 10 * MIB
        deployment.wait_until(lambda: bool(deployment.lines("artifact_archived")))
        deployment.wait_until(lambda: deployment.metric("dyte_archiver_parts_in_flight") == 0)
        assert deployment.metric("dyte_archiver_memory_budget_used_bytes") == 0
        assert deployment.metric("dyte_archiver_moved_bytes_total", storage="default") == SIZE
        assert deployment.metric("dyte_archiver_verification_seconds_count") >= 1
        assert deployment.metric("process_open_fds") > 0
        _, exposition = deployment.answer(deployment.admin_port, "/metrics")
        assert (
            'dyte_archiver_storage_failures_total{reason="StorageRefused",storage="default"} 0.0'
            in exposition
        )
        promtool = find_program("promtool")
        if not promtool:
            pytest.skip("promtool (Debian: prometheus) is not installed")
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_receiver_tells_of_the_backlog_also_when_there_is_no_worker(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender, role="receiver")
    with deployment.running():
        deployment.hand_over(sender.uploaded("one", "https://files.example.com/one.mp4"))
        assert deployment.stop() == 0
        deployment.start()
        deployment.wait_until(lambda: deployment.metric("dyte_archiver_due_artifacts") == 1)
        deployment.wait_until(
            lambda: deployment.metric("dyte_archiver_backlog_artifacts", state="waiting") == 1
        )
        assert deployment.metric("dyte_archiver_nearest_deadline_seconds") > 3600
        assert deployment.metric("dyte_archiver_memory_budget_bytes") == 0
