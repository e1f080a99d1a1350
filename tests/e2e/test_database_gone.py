"""PostgreSQL that crashes or freezes: deliveries get their 503 in time, and all goes on when it is back."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.doubles.sender import Sender
from tests.doubles.servers import Postgres
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
SIZE = 96 * MIB
PART = 8 * MIB


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """One of its own, since it is crashed and frozen."""
    with Postgres() as server:
        yield server


AWAY: dict[str, tuple[Callable[[Postgres], None], Callable[[Postgres], None]]] = {
    "crashed": (Postgres.crash, Postgres.restart),
    "frozen": (Postgres.freeze, Postgres.thaw),
}


@pytest.mark.parametrize("how", AWAY)
def test_while_it_is_away_deliveries_are_answered_503_in_time_and_then_all_goes_on(
    how: str, postgres: Postgres, tmp_path: Path, sender: Sender
) -> None:
    go, come_back = AWAY[how]
    url = postgres.create_database()
    deployment = Deployment(tmp_path, sender, database_url=url, lease_seconds=30, parts_in_flight=2)
    with threaded(FaultySource()) as source, deployment.running():
        link = source.add("one.mp4", SIZE, rate=12 * MIB)
        assert deployment.deliver(sender.uploaded("one", link, size=SIZE)) == 200
        deployment.wait_until(lambda: source["one.mp4"].sent > 30 * MIB)
        process = psutil.Process(deployment.pid)
        threads, files = process.num_threads(), process.num_fds()

        go(postgres)
        took_s = []
        for number in range(3):
            began_at = time.monotonic()
            news = sender.uploaded(f"later-{number}", source.add(f"later-{number}.mp4", 5), size=5)
            assert deployment.deliver(news) == 503
            took_s.append(time.monotonic() - began_at)
        assert max(took_s) < 2.5, took_s
        assert deployment.answer(deployment.admin_port, "/healthz")[0] == 200
        before = len(deployment.lines())
        time.sleep(3)
        assert len(deployment.lines()) - before < 30, "nothing spins"
        come_back(postgres)

        news = sender.uploaded("two", source.add("two.mp4", 5), size=5)
        deployment.wait_until(lambda: deployment.deliver(news) == 200)
        deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists)
        assert source["one.mp4"].content.read() == (tmp_path / "archive" / "one.mp4").read_bytes()
        deployment.wait_until((tmp_path / "archive" / "two.mp4.json").exists)
        assert source["one.mp4"].sent <= SIZE + 4 * PART, "what the storage has is not moved again"
        assert process.num_threads() <= threads + 8
        assert process.num_fds() <= files + 16
        assert deployment.stop() == 0
