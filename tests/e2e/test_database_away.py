"""PostgreSQL in every kind of trouble, under a receiver and a worker in the midst of a file."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.doubles.bad_line import BadLine
from tests.doubles.content import Content
from tests.doubles.sender import Sender
from tests.doubles.servers import Postgres
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment, still

MIB = 1024 * 1024
PART = 5 * MIB
PARTS = 24
POOL = 8
FAULTS = ("delivery_broke_off", "try_broke_off", "task_broke_off", "duty_broke_off", "lease_lost")
"""What the log says where it was not the database that failed."""


@dataclass
class Scene:
    """A receiver and a worker, both on one line to a PostgreSQL of their own."""

    postgres: Postgres
    url: str
    line: BadLine
    receiver: Deployment
    worker: Deployment
    sender: Sender
    seconds: list[float] = field(default_factory=list)
    """How long each answer took while the database was away."""

    def execute(self, *statements: str) -> None:
        """As the superuser, by another way."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def deliver(self) -> int:
        """The status of one delivery."""
        began_at = time.monotonic()
        status = self.receiver.deliver(self.sender.status(f"rec-{began_at}", "RECORDING"))
        self.seconds.append(time.monotonic() - began_at)
        return status

    def sessions(self) -> int:
        """How many the two have at the server."""
        with psycopg.connect(self.url) as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'archiver'"
            (number,) = connection.execute(count).fetchone() or (0,)
        return int(number)

    def held(self) -> dict[str, int]:
        """Threads and files of each."""
        processes = {"receiver": self.receiver.pid, "worker": self.worker.pid}
        return {
            f"{name}'s {what}": count
            for name, pid in processes.items()
            for what, count in (
                ("threads", psutil.Process(pid).num_threads()),
                ("files", psutil.Process(pid).num_fds()),
            )
        }

    def lines(self) -> int:
        """How much both have logged, but for a delivery's own lines."""
        every = [*self.receiver.lines(), *self.worker.lines()]
        return len([line for line in every if not str(line["event"]).startswith("delivery_")])

    @contextmanager
    def away(self, begin: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
        """The database is in trouble: the receiver says so at once, is alive, and recovers alone."""
        begin()
        try:
            self.receiver.wait_until(lambda: self.deliver() == 503)
            self.seconds.clear()
            assert [self.deliver() for _ in range(3)] == [503, 503, 503]
            assert self.receiver.answer(self.receiver.port, "/healthz")[0] == 200
            assert self.receiver.answer(self.receiver.admin_port, "/healthz")[0] == 200
            assert self.receiver.answer(self.receiver.admin_port, "/readyz")[0] == 503
            yield
        finally:
            end()
        # The promise is 1 s; the machine may be busy now and then.
        assert statistics.median(self.seconds) < 1.5
        self.receiver.wait_until(lambda: self.deliver() == 200, timeout_s=30)
        for each in (self.receiver, self.worker):
            each.wait_until_ready()


def roles(postgres: Postgres) -> tuple[str, str]:
    """A new database's URLs: the superuser's, and that of a user to whom limits apply."""
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE archiver LOGIN")
        connection.execute("GRANT ALL ON SCHEMA public TO archiver")
    return url, url.replace("postgres@", "archiver@")


@pytest.fixture
def scene(tmp_path: Path, sender: Sender) -> Iterator[Scene]:
    """Both running and ready."""
    with Postgres() as postgres:
        url, plain = roles(postgres)
        with threaded(BadLine(plain)) as line:
            for role in ("receiver", "worker"):
                (tmp_path / role).mkdir()
            receiver, worker = (
                Deployment(
                    tmp_path / role,
                    sender,
                    role=role,
                    database_url=line.url,
                    parts_in_flight=2,
                    storage_config={"type": "local", "path": str(tmp_path / "archive")},
                )
                for role in ("receiver", "worker")
            )
            with receiver.running(), worker.running():
                yield Scene(postgres, url, line, receiver, worker, sender)


def test_whatever_befalls_the_database_deliveries_are_refused_at_once_and_the_file_goes_on(
    scene: Scene, tmp_path: Path, sender: Sender
) -> None:
    postgres, line, execute = scene.postgres, scene.line, scene.execute
    size = PARTS * PART
    send_away = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'archiver'"
    troubles: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "restarted": (postgres.shut_down, postgres.restart),
        "killed": (postgres.kill, postgres.restart),
        "torn": (line.tear, line.mend),
        "silent": (line.silence, line.mend),
        "frozen": (postgres.freeze, postgres.thaw),
        "slow": (lambda: setattr(line, "delay_s", 1.5), line.mend),
        "full": (
            lambda: execute("ALTER ROLE archiver CONNECTION LIMIT 0", send_away),
            lambda: execute("ALTER ROLE archiver CONNECTION LIMIT -1"),
        ),
        # The sessions of meanwhile stay read-only: they are to be left, as those to a former primary.
        "read-only": (
            lambda: execute("ALTER ROLE archiver SET default_transaction_read_only = on", send_away),
            lambda: execute("ALTER ROLE archiver RESET default_transaction_read_only"),
        ),
    }
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", size, rate=4 * MIB)
        scene.receiver.hand_over(sender.uploaded("one", link, size=size))
        scene.worker.wait_until(lambda: source["one.mp4"].peak == 2)
        before, began_at = scene.held(), time.monotonic()
        lines = scene.lines()
        for name, (begin, end) in troubles.items():
            with scene.away(begin, end):
                if name == "killed":  # for so long that what is in flight has come, and cannot be noted
                    scene.worker.wait_until(still(lambda: source["one.mp4"].sent))
                if name == "frozen":
                    cpu = psutil.Process(scene.receiver.pid).cpu_times()
                    time.sleep(2)
                    later = psutil.Process(scene.receiver.pid).cpu_times()
                    assert later.user + later.system - cpu.user - cpu.system < 1, "it spins"
        # Neither waits in a loop, nor keeps what it lost.
        assert scene.lines() - lines < 20 + 2 * (time.monotonic() - began_at)
        assert scene.sessions() <= 2 * POOL
        for what, count in scene.held().items():
            assert count <= before[what] + POOL + 6, what
        assert source["one.mp4"].sent < size, "the file was to be under way all the time"
        source["one.mp4"].recover()
        scene.worker.wait_until((tmp_path / "archive" / "one.mp4.json").exists, timeout_s=90)
    assert (tmp_path / "archive" / "one.mp4").read_bytes() == Content(0, size).read()
    assert source["one.mp4"].sent == size, "no outage was longer than a lease: nothing is read again"
    for deployment in (scene.receiver, scene.worker):
        assert deployment.stop() == 0
        assert not [each for each in deployment.lines() if each["event"] in FAULTS or "places" in each]
