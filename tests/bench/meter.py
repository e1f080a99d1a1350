"""What a run costs: wall time, CPU time and peak memory of a whole process tree (Linux).

CPU of a command is what the kernel charges to it and to all its waited-for descendants (wait4), so nothing
is lost between samples. CPU of a running service is read from the process's own CPU clock, in nanoseconds,
not in ticks.

Peak memory is VmHWM, the kernel's own high-water mark of a process's resident memory, summed over the
processes alive at the same moment, looked at every 50 ms. For a pipeline the sum is an upper bound: two
processes need not peak together, and shared library pages count for each.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Cost:
    """One measured run."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measure_command(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, timeout_s: float
) -> Cost:
    """Run a command to its end; end the benchmark with the command's last words if it fails."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    with Highest(partial(peak_mib, process.pid), every_s=_SAMPLE_SECONDS) as memory:
        too_late = threading.Timer(timeout_s, os.killpg, (process.pid, signal.SIGKILL))
        too_late.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # we are being ended, and its session is its own
            raise
        finally:
            too_late.cancel()
        wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last_lines = log.read_text("utf-8", "replace")[-2000:]
        raise SystemExit(f"{command!r} ended with {process.returncode}; the end of its log:\n{last_lines}")
    return Cost(wall_s, used.ru_utime + used.ru_stime, memory.most)


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and its living descendants."""
    return sum(_cpu_clock(member) for member in _tree(pid))


def peak_mib(pid: int) -> float:
    """Sum of the high-water marks of a process and its living descendants, now."""
    return sum(_status_kib(member, "VmHWM") for member in _tree(pid)) / 1024


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its living descendants, now."""
    return sum(_status_kib(member, "VmRSS") for member in _tree(pid)) / 1024


def anonymous_mib(pid: int) -> float:
    """Of the resident memory what no file backs: what the kernel cannot drop."""
    return sum(_status_kib(member, "RssAnon") for member in _tree(pid)) / 1024


class Highest:
    """Takes a look now and then, in a thread, while the block runs; `most` is the greatest that it saw."""

    def __init__(self, look: Callable[[], float], *, every_s: float) -> None:
        self.most = 0.0
        self._look = look
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.most = max(self.most, self._look())
            self._stop.wait(self._every_s)


def _tree(pid: int) -> list[int]:
    """A process and its descendants; those that end while we look are left out."""
    found, waiting = [], [pid]
    while waiting:
        member = waiting.pop()
        found.append(member)
        try:
            threads = list(Path(f"/proc/{member}/task").iterdir())
            for thread in threads:
                waiting += [int(child) for child in (thread / "children").read_text("ascii").split()]
        except OSError:
            continue
    return found


def _cpu_clock(pid: int) -> float:
    """The clock that clock_getcpuclockid(3) would give for another process; it counts ended threads too."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _status_kib(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
