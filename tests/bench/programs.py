"""Finding, starting and ending the programs that a benchmark needs; only what was started here is ended."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.doubles.programs import find_program as installed


def find_program(name: str) -> str:
    """Full path of a program, or the benchmark ends."""
    found = installed(name)
    if found is None:
        raise SystemExit(f"{name} is not installed: see tests/bench/README.md")
    return found


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on; should one be lost again, a server will not start."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def quiet_environment() -> dict[str, str]:
    """This environment without what would change a measure: proxies, AWS, rclone and archiver settings."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    own = ("AWS_", "RCLONE_", "ARCHIVER_", "MALLOC_")
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in proxies and not name.startswith(own)
    }


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, its output in `log`; terminated with the block, killed after 40 s."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment or quiet_environment(),
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int, *, log: Path, seconds: float = 60) -> None:
    """Return when something listens on the loopback port; end the run if the program died or is silent."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        _give_up_if_hopeless(process, deadline, log)


def wait_for_answer(process: subprocess.Popen[bytes], url: str, *, log: Path, seconds: float = 60) -> None:
    """Return when `url` answers with 200; end the run if the program died or is silent."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        _give_up_if_hopeless(process, deadline, log)


def _give_up_if_hopeless(process: subprocess.Popen[bytes], deadline: float, log: Path) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        last_lines = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
        raise SystemExit(f"{process.args!r} did not come up; the end of its log:\n{last_lines}")
    time.sleep(0.05)
