"""A hundred small files, as chats and transcripts are: how long, and how many requests to the storage.

Sizes lie between 2 KB and 1 MB, evenly over their logarithm, the same in every run. The service gets a
delivery for each, `rclone copyurl` is called for one after the other, as a script does it, and `rclone copy`
once for all, with its 4 transfers at once.
"""

import math
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.contestants import TIMEOUT_SECONDS, Job, RcloneCopyUrl, rclone_environment
from tests.bench.front import running_front
from tests.bench.markdown import spread, table
from tests.bench.meter import cpu_seconds, measure_command
from tests.bench.programs import find_program
from tests.bench.race import Route
from tests.bench.samples import Sample
from tests.bench.service import Deployment
from tests.bench.storage import Bucket, Storage, bucket

FILES = 100
_LEAST_BYTES, _MOST_BYTES = 2_000, 1_000_000
_SENDERS = 4
_LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Handful:
    """All files by one contestant, once. Requests to the storage: a file's by method, manifests' apart."""

    contestant: str
    round: int
    wall_s: float
    cpu_s: float
    file_requests: dict[str, float]
    manifest_requests: dict[str, float]


@dataclass(frozen=True)
class _Task:
    """What all contestants have to do; `job` is any of its files'."""

    files: Sequence[Sample]
    job: Job


def measure_small(
    deployment: Deployment, storage: Storage, route: Route, samples: Path, *, rounds: int
) -> list[Handful]:
    """In turn. `samples` is the folder that the source serves. Every length is checked after each turn."""
    files = _make_files(samples)
    contestants: dict[str, Callable[[_Task], tuple[float, float]]] = {
        "dyte-archiver": lambda task: _service(deployment, task),
        "rclone-copyurl": _one_by_one,
        "rclone-copy": _all_in_one,
    }
    found = []
    with running_front(deployment.scratch, storage.plain) as front:
        for number in range(rounds):
            for name, run in contestants.items():
                with bucket(storage, f"small-{name}-{number}") as target:
                    job = Job(
                        files[0],
                        route.source_url,
                        front.url,
                        deployment.authority,
                        target.name,
                        deployment.scratch,
                    )
                    wall_s, cpu_s = run(_Task(files, job))
                    _check(target, files)
                    asked = front.asked(target.name)
                manifests = [method for method, key in asked if key.endswith(".json")]
                others = [method for method, key in asked if not key.endswith(".json")]
                found.append(Handful(name, number, wall_s, cpu_s, _each(others), _each(manifests)))
                sys.stderr.write(f"{FILES} small files round {number + 1} {name}: {wall_s:.2f} s\n")
    return found


def small_table(handfuls: Sequence[Handful]) -> str:
    """Medians, and how many times as long as the service each took."""
    names = list(dict.fromkeys(each.contestant for each in handfuls))
    of = {name: [each for each in handfuls if each.contestant == name] for name in names}
    ours = median(each.wall_s for each in of["dyte-archiver"])
    rows = [
        [
            name,
            spread([each.wall_s for each in runs], 2),
            f"{median(each.wall_s for each in runs) / ours:.1f}",
            f"{median(each.cpu_s for each in runs):.2f}",
            _told([each.file_requests for each in runs]),
            _told([each.manifest_requests for each in runs]),
        ]
        for name, runs in of.items()
    ]
    head = ["contestant", "wall s", "x", "CPU s", "requests a file", "a manifest"]
    title = f"### {FILES} files of 2 KB to 1 MB\n\nx: times dyte-archiver. Requests to the storage.\n\n"
    return title + table(head, rows)


def _each(methods: Sequence[str]) -> dict[str, float]:
    return {method: count / FILES for method, count in sorted(Counter(methods).items())}


def _told(rounds: Sequence[Mapping[str, float]]) -> str:
    """The median of all, and what the first round's were."""
    total = median(sum(counts.values()) for counts in rounds)
    kinds = ", ".join(f"{method} {count:.4g}" for method, count in rounds[0].items())
    return f"{total:.2f} ({kinds})" if kinds else "0"


def _make_files(folder: Path) -> list[Sample]:
    dice = random.Random(7)
    files = []
    for number in range(FILES):
        size = round(math.exp(dice.uniform(math.log(_LEAST_BYTES), math.log(_MOST_BYTES))))
        name = f"small-{number:03}.mp4"
        (folder / name).write_bytes(os.urandom(size))
        files.append(Sample(name, f"{size}B", size, ""))
    return files


def _service(deployment: Deployment, task: _Task) -> tuple[float, float]:
    """From the first delivery, of four senders, to the last manifest in the ledger."""
    signer, job = deployment.signer, task.job
    deliveries = [
        signer.uploaded(file_name=file.name, link=f"{job.source_url}/{file.name}", size_bytes=file.size_bytes)
        for file in task.files
    ]
    with deployment.running(endpoint_url=job.endpoint_url, bucket=job.bucket) as service:
        cpu_before, started = cpu_seconds(service.process.pid), time.perf_counter()
        with ThreadPoolExecutor(_SENDERS) as senders:
            list(senders.map(service.deliver, deliveries))
        with closing(sqlite3.connect(service.ledger, timeout=10)) as ledger:
            while ledger.execute("SELECT count(*) FROM manifests").fetchone()[0] < len(task.files):
                if service.process.poll() is not None or time.perf_counter() - started > TIMEOUT_SECONDS:
                    raise SystemExit("the service did not archive the small files")
                time.sleep(_LOOK_SECONDS)
        wall_s = time.perf_counter() - started
        return wall_s, cpu_seconds(service.process.pid) - cpu_before


def _one_by_one(task: _Task) -> tuple[float, float]:
    job = task.job
    costs = [
        RcloneCopyUrl().run(
            Job(file, job.source_url, job.endpoint_url, job.authority, job.bucket, job.scratch)
        )
        for file in task.files
    ]
    return sum(cost.wall_s for cost in costs), sum(cost.cpu_s for cost in costs)


def _all_in_one(task: _Task) -> tuple[float, float]:
    job = task.job
    listed = job.scratch / "small.txt"
    listed.write_text("".join(f"{file.name}\n" for file in task.files), "utf-8")
    command = [find_program("rclone"), "copy", "--files-from", str(listed), "--no-traverse"]
    command += ["--s3-no-check-bucket", "source:", f"bench:{job.bucket}"]
    cost = measure_command(
        command,
        environment=rclone_environment(job),
        log=job.scratch / "contestant.log",
        timeout_s=TIMEOUT_SECONDS,
    )
    return cost.wall_s, cost.cpu_s


def _check(target: Bucket, files: Sequence[Sample]) -> None:
    for file in files:
        if target.size_bytes(file.name) != file.size_bytes:
            raise SystemExit(f"{file.name} was not stored whole")
