"""A real pgbouncer on loopback, in transaction mode: each transaction may get another session."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.doubles.ports import free_ports
from tests.doubles.programs import find_program

__all__ = ["PgBouncer"]

START_SECONDS = 30.0


class PgBouncer:
    """Pools the database of `url` for its user, with `pool_size` sessions at the server."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        self._parts = urlsplit(url)
        self._pool_size = pool_size
        self._directory = Path()
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database's URL, by way of the pool."""
        return self._parts._replace(netloc=f"{self._parts.username}@127.0.0.1:{self._port}").geturl()

    def __enter__(self) -> Self:
        program = find_program("pgbouncer")
        if program is None:
            pytest.skip("there is no pgbouncer (Debian's package pgbouncer)")
        self._directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        (self._port,) = free_ports(1)
        database = self._parts.path.lstrip("/")
        (self._directory / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"{database} = host={self._parts.hostname} port={self._parts.port} user={self._parts.username}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nserver_round_robin = 1\n"
            f"default_pool_size = {self._pool_size}\nmax_client_conn = 200\n"
            "server_login_retry = 1\nquery_wait_timeout = 20\n"
        )
        self._directory.chmod(0o755)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, self._directory / "pgbouncer.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user="nobody" if os.geteuid() == 0 else None,  # it refuses to run as root
            )
        self._wait_until_it_answers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._directory / "log").read_text(errors="replace")) from None
                time.sleep(0.02)
            else:
                return
