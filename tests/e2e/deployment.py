"""The service as its users run it: a process with an environment, a folder and two ports."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.doubles.ports import free_ports
from tests.doubles.sender import Family, Sender

START_S = 30.0


class Deployment:
    """One folder, database and storage, served by one process after another on the same ports.

    The log of all of them is in ``log``; every line of it is JSON, which :meth:`lines` checks by reading it.
    """

    def __init__(self, folder: Path, sender: Sender, **settings: object) -> None:
        """``settings`` by their names without the prefix, in lower case; objects are given as JSON.

        Parts are as small as S3 lets them be: so a file of a few MiB has several.
        """
        self.folder = folder
        self.log = folder / "service.log"
        self.before: Sequence[str] = ()
        """What `serve` is run by, such as ``ip netns exec NAME``; commands are not."""
        self.port, self.admin_port = free_ports(2)
        self._sender = sender
        self._settings: dict[str, object] = {
            "webhook_public_key": sender.public_pem,
            "source_hosts": "127.0.0.1",
            "host": "127.0.0.1",
            "port": self.port,
            "admin_port": self.admin_port,
            "part_size_mib": 5,
        } | settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the process is started with."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIVER_")}
        return plain | {
            f"ARCHIVER_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
            for name, value in self._settings.items()
        }

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def configure(self, **settings: object) -> None:
        """Change settings for the next start."""
        self._settings |= settings

    def start(self, *options: str) -> None:
        """Start a process, with `options` of the command, and wait until it is ready."""
        self.launch(*options)
        self.wait_until_ready()

    def launch(self, *options: str) -> None:
        """Start a process, and go on."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "service", "serve", *options],
                cwd=self.folder,
                env=self.environment,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Return when the process says that it is."""
        self.wait_until(lambda: self.answer(self.admin_port, "/readyz")[0] == 200, timeout_s=START_S)

    @property
    def is_running(self) -> bool:
        """Whether the process that was started last has not ended."""
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """Start a process; kill it at the end if it still runs."""
        self.start(*options)
        try:
            yield
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill -9: nothing is said, nothing is tidied."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal and go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """Wait for the process's end; returns the exit code."""
        assert self._process is not None
        return self._process.wait(timeout=timeout_s)

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the service in the same folder and environment."""
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def told(self, *arguments: str) -> str:
        """What a command prints on a wide terminal, blanks and line ends as one blank."""
        done = subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=self.folder,
            env=self.environment | {"COLUMNS": "400"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return " ".join((done.stdout + done.stderr).split())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 where there is none."""
        _, text = self.answer(self.admin_port, "/metrics")
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        return sum(
            each.value for each in samples if each.name == name and labels.items() <= each.labels.items()
        )

    def deliver(self, body: bytes, *, family: Family = "dyte") -> int:
        """Deliver as the provider does; returns the status, 0 if nobody answered."""
        request = urllib.request.Request(
            f"http://{self._settings['host']}:{self.port}/webhook", body, self._sender.headers(body, family)
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def hand_over(self, body: bytes, *, family: Family = "dyte") -> None:
        """Deliver until it is taken, as the provider does: a busy machine may be late with a commit."""
        self.wait_until(lambda: self.deliver(body, family=family) == 200)

    def answer(self, port: int, path: str) -> tuple[int, str]:
        """Status and text of a GET; status 0 if nobody answered."""
        try:
            with urllib.request.urlopen(f"http://{self._settings['host']}:{port}{path}", timeout=5) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Return as soon as ``condition`` holds; fail with the log's end if it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = self.log.read_text("utf-8", "replace")[-3000:]
                raise AssertionError(f"{'the process ended' if ended else 'it never happened'}; log:\n{log}")
            time.sleep(0.02)

    @property
    def archived(self) -> set[tuple[str, str]]:
        """The recordings whose manifests are written, each with the storage: written twice, it is one."""
        return {(line["recording_id"], line["storage"]) for line in self.lines("recording_archived")}

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, or those of one event."""
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]
        return [line for line in lines if event in (None, line["event"])]


def still(count: Callable[[], int], seconds: float = 3.0) -> Callable[[], bool]:
    """Whether a count has been the same for so long, for :meth:`Deployment.wait_until`."""
    last, since = count(), time.monotonic()

    def is_still() -> bool:
        nonlocal last, since
        if (now := count()) != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    return is_still
