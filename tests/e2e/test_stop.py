"""SIGTERM drains, a second one ends at once; what was moved is kept."""

import signal
from pathlib import Path

import pytest

from tests.doubles.content import Content
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB


def test_sigterm_finishes_the_parts_in_flight_and_exits_0(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender, parts_in_flight=2)
    size = 12 * PART
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", size, rate=12 * MIB)
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", link, size=size))
            deployment.wait_until(lambda: source["one.mp4"].sent >= 3 * PART)
            deployment.signal(signal.SIGTERM)
            deployment.wait_until(lambda: deployment.answer(deployment.admin_port, "/readyz")[0] == 503)
            # While it drains it still takes deliveries: they are safe in the ledger.
            deployment.hand_over(sender.uploaded("two", link, size=size))
            assert deployment.wait() == 0
        source["one.mp4"].recover()
        with deployment.running():
            archive = tmp_path / "archive"
            deployment.wait_until(
                lambda: {"one.mp4.json", "two.mp4.json"} <= {p.name for p in archive.iterdir()}
            )
            assert deployment.stop() == 0
        assert (tmp_path / "archive" / "one.mp4").read_bytes() == Content(0, size).read()
    # Drained means drained: what was read is not read again. Of what was asked for ahead some may have come.
    read = {line["recording_id"]: line["source_bytes"] for line in deployment.lines("artifact_archived")}
    assert read["one"] % PART == 0
    assert (read["one"] <= size - 3 * PART, read["two"]) == (True, size)
    assert source["one.mp4"].sent <= 2 * size + 2 * PART


def test_parts_that_do_not_finish_in_the_drain_time_are_given_up(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender, drain_seconds=0.5)
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", 4 * PART, stall_after=MIB)
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", link, size=4 * PART))
            deployment.wait_until(lambda: source["one.mp4"].sent >= MIB)
            assert deployment.stop(timeout_s=10) == 0
        source["one.mp4"].recover()
        with deployment.running():  # the lease was given back: no waiting for it to run out
            deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists, timeout_s=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(
    number: signal.Signals, tmp_path: Path, sender: Sender
) -> None:
    deployment = Deployment(tmp_path, sender)
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", 4 * PART, stall_after=MIB)
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", link, size=4 * PART))
            deployment.wait_until(lambda: source["one.mp4"].sent >= MIB)
            deployment.signal(number)
            deployment.wait_until(lambda: bool(deployment.lines("draining_began")))
            deployment.signal(number)
            assert deployment.wait(timeout_s=3) == 128 + number
