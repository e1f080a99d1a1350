"""Tables for a README, and everything measured as JSON."""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median

from tests.bench.idle import Idleness
from tests.bench.instructions import Instructions
from tests.bench.latency import Answers
from tests.bench.markdown import spread, table
from tests.bench.memory import Occupancy
from tests.bench.pods import Fleet, pods_table
from tests.bench.programs import find_program, quiet_environment
from tests.bench.race import Run
from tests.bench.samples import TINY
from tests.bench.small import Handful, small_table
from tests.bench.sweep import Setting, sweep_tables

REFERENCE = "rclone-copy"


@dataclass
class Findings:
    """All that a run has found so far."""

    runs: list[Run] = field(default_factory=list)
    memory: list[Occupancy] = field(default_factory=list)
    latency: list[Answers] = field(default_factory=list)
    idle: list[Idleness] = field(default_factory=list)
    instructions: list[Instructions] = field(default_factory=list)
    small: list[Handful] = field(default_factory=list)
    pods: list[Fleet] = field(default_factory=list)
    sweep: list[Setting] = field(default_factory=list)


def tables(findings: Findings) -> str:
    """Markdown: a table for each route and sample, then the scenarios, whatever there is of them."""
    found = []
    for (route, label), group in groupby(findings.runs, key=lambda run: (run.route, run.sample)):
        if label != TINY:
            same_route = [run for run in findings.runs if run.route == route]
            found.append(_race_table(route, label, list(group), same_route))
    if findings.memory:
        found.append(_memory_table(findings.memory))
    if findings.latency:
        found.append(_latency_table(findings.latency))
    if findings.idle:
        found.append(_idle_table(findings.idle))
    if findings.instructions:
        found.append(_instructions_table(findings.instructions))
    if findings.small:
        found.append(small_table(findings.small))
    if findings.pods:
        found.append(pods_table(findings.pods))
    if findings.sweep:
        found.append(sweep_tables(findings.sweep))
    return "".join(f"{table}\n\n" for table in found)


def write_json(findings: Findings, file: Path) -> None:
    """Every single measure, and what it was measured with."""
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "versions": _versions()}
    content = {"machine": machine} | dataclasses.asdict(findings)
    file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _memory_table(occupancies: Sequence[Occupancy]) -> str:
    rows = [
        [o.case, str(o.at_once), f"{o.ready_mib:.0f}", f"{o.peak_mib:.0f}", f"{o.wall_s:.1f}"]
        for o in occupancies
    ]
    title = "### Memory of the service (VmHWM)\n\n"
    return title + table(["recordings", "seen at once", "ready MiB", "peak MiB", "wall s"], rows)


def _latency_table(answers: Sequence[Answers]) -> str:
    rows = [
        [
            a.case,
            str(a.sent),
            str(a.refused),
            *(f"{value:.1f}" for value in (a.p50_ms, a.p99_ms, a.max_ms, a.late_p99_ms, a.moved_gb)),
        ]
        for a in answers
    ]
    head = [
        "service",
        "deliveries",
        "refused",
        "p50 ms",
        "p99 ms",
        "max ms",
        "sender late p99 ms",
        "GB moved",
    ]
    return "### Answers to deliveries\n\n" + table(head, rows)


def _idle_table(idle: Sequence[Idleness]) -> str:
    rows = [
        [
            each.role,
            *(
                f"{value:.2f}"
                for value in (each.ready_s, each.resident_mib, each.anonymous_mib, each.cpu_percent)
            ),
        ]
        for each in idle
    ]
    return "### Idle\n\n" + table(
        ["role", "ready after s", "resident MiB", "of it anonymous", "% of a core"], rows
    )


def _instructions_table(counted: Sequence[Instructions]) -> str:
    rows = [[f"{each.route}, {each.sample}", f"{each.a_byte:.2f}"] for each in counted]
    return "### Instructions (valgrind)\n\n" + table(["transfer", "a byte"], rows)


def _race_table(route: str, label: str, runs: list[Run], same_route: list[Run]) -> str:
    names = list(dict.fromkeys(run.contestant for run in sorted(runs, key=lambda run: run.contestant)))
    wall = {name: [run.wall_s for run in runs if run.contestant == name] for name in names}
    memory = {name: [run.peak_mib for run in runs if run.contestant == name] for name in names}
    start = {name: _start_cpu_s(name, same_route) for name in names}
    cpu = {
        name: [(run.cpu_s - start[name]) * 1e9 / run.size_bytes for run in runs if run.contestant == name]
        for name in names
    }
    gets = {name: median(run.gets for run in runs if run.contestant == name) for name in names}
    rows = [
        [
            name,
            *(spread(wall[name], 2), _ratio(wall, name)),
            *(spread(cpu[name], 2), _ratio(cpu, name)),
            *(spread(memory[name], 0), _ratio(memory, name)),
            *(f"{start[name]:.2f}", f"{gets[name]:.0f}"),
        ]
        for name in names
    ]
    rounds = max(run.round for run in runs) + 1
    head = ["contestant", "wall s", "x", "CPU s/GB", "x", "peak MiB", "x", "start CPU s", "GETs"]
    title = (
        f"### {route}, {label}\n\nMedian of {rounds} (min to max). x: times `{REFERENCE}` of the same run. "
    )
    return f"{title}CPU is without what starting costs, which has its own column.\n\n{table(head, rows)}"


def _start_cpu_s(name: str, runs: Iterable[Run]) -> float:
    tiny = [run.cpu_s for run in runs if run.contestant == name and run.sample == TINY]
    return median(tiny) if tiny else 0.0


def _ratio(values: dict[str, list[float]], name: str) -> str:
    if REFERENCE not in values:
        return ""
    return f"{median(values[name]) / median(values[REFERENCE]):.2f}"


def _versions() -> dict[str, str]:
    """The first line of what each program says of itself."""
    asked = {"rclone": "version", "weed": "version", "nginx": "-v", "curl": "--version", "aws": "--version"}
    versions = {"python": platform.python_version()}
    for name, argument in asked.items():
        command = [find_program(name), argument]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet_environment())
        versions[name] = (done.stdout or done.stderr).strip().partition("\n")[0]
    return versions
