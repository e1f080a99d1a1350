"""How much memory the service needs: idle, for one recording small and large, and for several at once."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.meter import Highest, peak_mib, resident_mib
from tests.bench.race import Route
from tests.bench.samples import Sample
from tests.bench.service import DEFAULT_AT_ONCE, Deployment, manifest_of
from tests.bench.storage import Storage, bucket

_LOOK_SECONDS = 0.02
_CURVE_SECONDS = 0.1


@dataclass(frozen=True)
class Occupancy:
    """High-water marks of one service process: when it was ready, and after all recordings were archived.

    `at_once` is how many the ledger showed as being moved at the same moment. `curve` is resident memory over
    time: seconds since the first delivery, MiB.
    """

    case: str
    at_once: int
    ready_mib: float
    peak_mib: float
    wall_s: float
    curve: list[tuple[float, float]]


def measure_memory(
    deployment: Deployment,
    storage: Storage,
    route: Route,
    samples: Sequence[Sample],
    *,
    counts: Sequence[int],
    huge: Sample | None = None,
) -> list[Occupancy]:
    """`samples` are in order of size: the smallest in each of the numbers, the largest once, and `huge` once.

    Each case has a process and a bucket of its own. The process is let move as many at once as there are,
    if that is not allowed anyway; its memory for parts is what it is by default.
    """
    smallest, largest = samples[0], samples[-1]
    cases = [(smallest, count) for count in counts]
    if largest is not smallest:
        cases.insert(1, (largest, 1))
    if huge is not None:
        cases.append((huge, 1))
    return [_measure(deployment, storage, route, sample, count) for sample, count in cases]


def _measure(deployment: Deployment, storage: Storage, route: Route, sample: Sample, count: int) -> Occupancy:
    names = [f"{number}-{sample.name}" for number in range(count)]
    link = f"{route.source_url}/{sample.name}"
    with (
        bucket(storage, f"memory-{route.label}-{sample.label.lower()}-{count}") as target,
        deployment.running(
            endpoint_url=route.endpoint_url, bucket=target.name, at_once=max(count, DEFAULT_AT_ONCE)
        ) as service,
    ):
        pid = service.process.pid
        ready_mib, started = peak_mib(pid), time.perf_counter()
        curve: list[tuple[float, float]] = []

        def look() -> float:
            curve.append((time.perf_counter() - started, resident_mib(pid)))
            return curve[-1][1]

        with _moving(service.ledger) as moving, Highest(look, every_s=_CURVE_SECONDS):
            for name in names:
                service.deliver(
                    deployment.signer.uploaded(file_name=name, link=link, size_bytes=sample.size_bytes)
                )
            for name in names:
                target.wait_for(manifest_of(name), process=service.process, timeout_s=TIMEOUT_SECONDS)
                if target.size_bytes(name) != sample.size_bytes:
                    raise SystemExit(f"{name} was not stored whole")
        wall_s = time.perf_counter() - started
        case = f"{route.name}: {count} x {sample.label}"
        return Occupancy(case, int(moving.most), ready_mib, peak_mib(pid), wall_s, curve)


@contextlib.contextmanager
def _moving(ledger: Path) -> Iterator[Highest]:
    """How many files are moved, by a ledger, while the block runs."""
    address = f"file:{ledger}?mode=ro"
    count = "SELECT count(*) FROM artifacts WHERE owner IS NOT NULL"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=10, check_same_thread=False)
    ) as connection:

        def look() -> float:
            (held,) = connection.execute(count).fetchone()
            return float(held)

        with Highest(look, every_s=_LOOK_SECONDS) as highest:
            yield highest
