"""How much memory the service needs: idle, for one recording small and large, and for four at once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.meter import peak_mib
from tests.bench.race import Route
from tests.bench.samples import Sample
from tests.bench.service import Deployment, manifest_of
from tests.bench.storage import Storage, bucket


@dataclass(frozen=True)
class Occupancy:
    """High-water marks of one service process: when it was ready, and after all recordings were archived."""

    case: str
    ready_mib: float
    peak_mib: float
    wall_s: float


def measure_memory(
    deployment: Deployment, storage: Storage, route: Route, samples: Sequence[Sample]
) -> list[Occupancy]:
    """`samples` are in order of size. Each case has a process and a bucket of its own."""
    smallest, largest = samples[0], samples[-1]
    cases = [(smallest, 1), (smallest, 4)]
    if largest is not smallest:
        cases.insert(1, (largest, 1))
    return [_measure(deployment, storage, route, sample, count) for sample, count in cases]


def _measure(deployment: Deployment, storage: Storage, route: Route, sample: Sample, count: int) -> Occupancy:
    names = [f"{number}-{sample.name}" for number in range(count)]
    link = f"{route.source_url}/{sample.name}"
    with (
        bucket(storage, f"memory-{route.label}-{sample.label.lower()}-{count}") as target,
        deployment.running(endpoint_url=route.endpoint_url, bucket=target.name) as service,
    ):
        pid = service.process.pid
        ready_mib, started = peak_mib(pid), time.perf_counter()
        for name in names:
            service.deliver(
                deployment.signer.uploaded(file_name=name, link=link, size_bytes=sample.size_bytes)
            )
        for name in names:
            target.wait_for(manifest_of(name), process=service.process, timeout_s=TIMEOUT_SECONDS)
            if target.size_bytes(name) != sample.size_bytes:
                raise SystemExit(f"{name} was not stored whole")
        wall_s = time.perf_counter() - started
        return Occupancy(f"{route.name}: {count} x {sample.label}", ready_mib, peak_mib(pid), wall_s)
