"""pgbouncer in transaction mode between, with fewer sessions at the server than clients."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.doubles.bad_line import BadLine
from tests.doubles.content import Content
from tests.doubles.pgbouncer import PgBouncer
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

PART = 5 * 1024 * 1024
SIZE = PART + 12_345
FILES = 6


@pytest.fixture
def line(postgres_url: str) -> Iterator[BadLine]:
    """The line between the pool and the server."""
    with threaded(BadLine(postgres_url)) as line:
        yield line


def test_two_workers_archive_through_a_pool_of_two_sessions_and_the_commands_work(
    tmp_path: Path, sender: Sender, line: BadLine, postgres_url: str
) -> None:
    with PgBouncer(line.url, pool_size=2) as pool:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        first, second = (
            Deployment(
                tmp_path / name,
                sender,
                database_url=pool.url,
                artifacts_in_flight=2,
                storage_config={"type": "local", "path": str(tmp_path / "archive")},
            )
            for name in ("one", "two")
        )
        with threaded(FaultySource()) as source, first.running(), second.running():

            def announce(name: str, seed: int) -> int:
                link = source.add(f"{name}.mp4", SIZE, seed=seed)
                return (first, second)[seed % 2].deliver(sender.uploaded(name, link, size=SIZE))

            names = [f"rec-{number}" for number in range(FILES)]
            assert [announce(name, seed) for seed, name in enumerate(names)] == [200] * FILES
            # The server is away, and the pool is there: that lets clients in and fails their statements.
            line.tear()
            first.wait_until(lambda: first.deliver(sender.status("late", "RECORDING")) == 503)
            assert first.deliver(sender.status("late", "RECORDING")) == 503
            assert first.answer(first.admin_port, "/readyz")[0] == 503
            line.mend()
            first.wait_until(lambda: announce("late", FILES) == 200)
            names.append("late")
            for seed, name in enumerate(names):
                archived = tmp_path / "archive" / f"{name}.mp4"
                first.wait_until(archived.with_suffix(".mp4.json").exists)
                assert archived.read_bytes() == Content(seed, SIZE).read()
            with psycopg.connect(postgres_url) as connection:
                sessions = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert (sessions.fetchone() or (9,))[0] <= 2
            assert f"{len(names)} archived" in first.told("status")
            check = first.command("check", "--json")
            database = [each for each in json.loads(check.stdout)["rows"] if "database" in each["subject"]]
            assert database
            assert all(each["outcome"] == "pass" for each in database), check.stdout
            assert first.stop() == second.stop() == 0
    for deployment in (first, second):
        assert not [each for each in deployment.lines() if "places" in each]
