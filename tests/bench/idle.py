"""What a service costs that has nothing to do: how soon it is ready, its memory, its CPU."""

import time
from dataclasses import dataclass
from statistics import median

from service.choices import Role
from tests.bench.meter import anonymous_mib, cpu_seconds, resident_mib
from tests.bench.race import Route
from tests.bench.service import Deployment

_STARTS = 5
_SECONDS = 60.0
_SETTLED_S = 5.0


@dataclass(frozen=True)
class Idleness:
    """Medians of several starts; CPU in per cent of a core, over a minute."""

    role: str
    ready_s: float
    resident_mib: float
    anonymous_mib: float
    """Of that, what no file backs."""
    cpu_percent: float


def measure_idle(deployment: Deployment, route: Route) -> list[Idleness]:
    """Each role, with an S3 storage that is never asked. The ledger was made before."""
    return [_measure(deployment, route, role) for role in Role]


def _measure(deployment: Deployment, route: Route, role: Role) -> Idleness:
    ready_s, resident, anonymous = [], [], []
    cpu_s = 0.0
    for turn in range(_STARTS):
        with deployment.running(endpoint_url=route.endpoint_url, bucket="idle", role=role) as service:
            ready_s.append(service.ready_s)
            time.sleep(_SETTLED_S)
            resident.append(resident_mib(service.process.pid))
            anonymous.append(anonymous_mib(service.process.pid))
            if turn == _STARTS - 1:
                before = cpu_seconds(service.process.pid)
                time.sleep(_SECONDS)
                cpu_s = cpu_seconds(service.process.pid) - before
    return Idleness(role, median(ready_s), median(resident), median(anonymous), 100 * cpu_s / _SECONDS)
