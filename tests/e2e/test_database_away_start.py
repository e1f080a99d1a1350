"""A process that starts while the database is away waits for it; what waiting does not mend ends it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.doubles.bad_line import BadLine
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment


@pytest.fixture
def line(postgres_url: str) -> Iterator[BadLine]:
    """A line to an empty database."""
    with threaded(BadLine(postgres_url)) as line:
        yield line


def test_who_starts_before_the_database_waits_for_it_with_both_ports_open(
    tmp_path: Path, sender: Sender, line: BadLine
) -> None:
    deployment = Deployment(tmp_path, sender, database_url=line.url)
    line.tear()
    deployment.launch()
    with threaded(FaultySource()) as source:
        body = sender.uploaded("one", source.add("one.mp4", 1000), size=1000)
        try:
            deployment.wait_until(lambda: bool(deployment.lines("ledger_awaited")))
            for port in (deployment.port, deployment.admin_port):
                deployment.wait_until(lambda: deployment.answer(port, "/healthz")[0] == 200)  # noqa: B023
            assert deployment.answer(deployment.admin_port, "/readyz")[0] == 503
            assert deployment.deliver(body) == 503
            line.mend()
            deployment.wait_until_ready()
            deployment.hand_over(body)
            deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists)
            assert deployment.stop() == 0
        finally:
            deployment.kill()
    (awaited,) = deployment.lines("ledger_awaited")
    assert awaited["level"] == "error"
    assert awaited["error"].startswith("The ledger cannot be reached or written now: ")
    assert not [each for each in deployment.lines() if "places" in each]


@pytest.mark.parametrize("trouble", ["torn", "silent"])
def test_sigterm_ends_one_that_waits_for_the_database(
    trouble: str, tmp_path: Path, sender: Sender, line: BadLine
) -> None:
    deployment = Deployment(tmp_path, sender, database_url=line.url, role="receiver")
    if trouble == "torn":
        line.tear()
    else:
        line.silence()
    deployment.launch()
    try:
        deployment.wait_until(lambda: deployment.answer(deployment.port, "/healthz")[0] == 200)
        if trouble == "silent":  # not before it waits for an answer
            deployment.wait_until(lambda: bool(psutil.Process(deployment.pid).net_connections()))
        deployment.signal(signal.SIGTERM)
        assert deployment.wait() == 0
    finally:
        deployment.kill()
    assert deployment.lines("service_stopped")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("/nowhere", 'database "nowhere" does not exist'), ("nobody@", 'role "nobody" does not exist')],
    ids=["database", "user"],
)
def test_who_is_not_let_in_says_so_and_ends(
    wrong: str, told: str, tmp_path: Path, sender: Sender, postgres_url: str
) -> None:
    at, _, _ = postgres_url.rpartition("/")
    url = at + wrong if wrong.startswith("/") else postgres_url.replace("postgres@", wrong)
    done = Deployment(tmp_path, sender, database_url=url, role="receiver").command("serve", timeout_s=30)
    assert done.returncode == 1
    assert told in done.stderr
    assert "ARCHIVER_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
