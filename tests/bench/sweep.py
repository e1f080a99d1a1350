"""Throughput and CPU by part size and by parts at once.

The memory for parts is raised where they would not fit into it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from service.settings import Settings
from tests.bench.markdown import table
from tests.bench.race import Route, Track
from tests.bench.samples import Sample
from tests.bench.service import Deployment, DyteArchiver

PART_SIZES_MIB = (5, 8, 16, 32)
PARTS_IN_FLIGHT = (1, 2, 4, 8, 16)
_BUDGET_MIB: int = Settings.model_fields["memory_budget_mib"].default


@dataclass(frozen=True)
class Setting:
    """One transfer with other settings. CPU is without what a file of `tiny` takes with the defaults."""

    route: str
    sample: str
    part_size_mib: int
    parts_in_flight: int
    round: int
    mb_s: float
    cpu_s_per_gb: float
    peak_mib: float


def measure_sweep(
    deployment: Deployment, track: Track, route: Route, tiny: Sample, sample: Sample, *, rounds: int
) -> Iterator[Setting]:
    """Every part size with every number of parts at once, in turn."""
    plain = DyteArchiver(deployment, track.storage)
    start_cpu_s = median(run.cpu_s for run in track.race([plain], route, tiny, rounds=3))
    contestants = {
        f"{mib} MiB, {count} at once": (mib, count) for mib in PART_SIZES_MIB for count in PARTS_IN_FLIGHT
    }
    racing = [
        DyteArchiver(
            deployment,
            track.storage,
            name,
            {
                "part_size_mib": mib,
                "parts_in_flight": count,
                "memory_budget_mib": max(_BUDGET_MIB, mib * count),
            },
        )
        for name, (mib, count) in contestants.items()
    ]
    for run in track.race(racing, route, sample, rounds=rounds):
        speed, cpu = run.size_bytes / 1e6 / run.wall_s, (run.cpu_s - start_cpu_s) * 1e9 / run.size_bytes
        mib, count = contestants[run.contestant]
        yield Setting(route.label, sample.label, mib, count, run.round, speed, cpu, run.peak_mib)


def sweep_tables(settings: Sequence[Setting]) -> str:
    """For each route medians of MB/s, of CPU s/GB and of the peak in MiB, part sizes down, numbers across."""
    found = []
    for route, sample in dict.fromkeys((each.route, each.sample) for each in settings):
        rows = []
        for mib in PART_SIZES_MIB:
            cells = [f"{mib} MiB"]
            for count in PARTS_IN_FLIGHT:
                here = [
                    each
                    for each in settings
                    if (each.route, each.sample) == (route, sample)
                    and (each.part_size_mib, each.parts_in_flight) == (mib, count)
                ]
                three = (
                    (
                        median(each.mb_s for each in here),
                        median(each.cpu_s_per_gb for each in here),
                        median(each.peak_mib for each in here),
                    )
                    if here
                    else (0.0, 0.0, 0.0)
                )
                cells.append(f"{three[0]:.0f} / {three[1]:.2f} / {three[2]:.0f}")
            rows.append(cells)
        title = f"### Part size and parts at once, {route}, {sample}\n\nMB/s / CPU s/GB / peak MiB.\n\n"
        found.append(title + table(["part size", *map(str, PARTS_IN_FLIGHT)], rows))
    return "\n\n".join(found)
