"""What more workers bring: one, two and four on one PostgreSQL, each with as many recordings to archive.

Each connection to the source is held to a rate, so low that CPU is not the limit, and a worker has as many
as its memory for parts allows. The wait for the last recording is so the same for each number, and what is
missing to linear is what workers cost each other: claims, the ledger, unfair shares. The last column of the
table says whether cores were left.
"""

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from service.choices import Role
from tests.bench.certs import Certificates
from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.markdown import spread, table
from tests.bench.meter import cpu_seconds
from tests.bench.samples import Sample, make_sample
from tests.bench.service import Deployment
from tests.bench.source import running_source
from tests.bench.storage import Storage, bucket
from tests.doubles.postgres import Postgres

WORKERS = (1, 2, 4)
RECORDINGS_EACH = 32
HELD_MB_S = 2
_SIZE = "20MB"
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Fleet:
    """Their recordings archived once, by so many workers: from the first delivery to the last manifest.

    `cpu_s` is of the workers and the receiver.
    """

    workers: int
    round: int
    moved_bytes: int
    wall_s: float
    cpu_s: float


def measure_pods(
    deployment: Deployment, storage: Storage, samples: Path, certificates: Certificates, *, rounds: int
) -> list[Fleet]:
    """In turn. `samples` is a folder for the source's file."""
    sample = make_sample(samples, _SIZE)
    found = []
    with contextlib.ExitStack() as stack:
        home = deployment.scratch / "pods"
        home.mkdir()
        source = stack.enter_context(running_source(home, samples, certificates, held_mb_s=HELD_MB_S))
        postgres = stack.enter_context(Postgres(is_durable=True))
        for number in range(rounds):
            for workers in WORKERS:
                url = postgres.create_database()
                name = f"pods-{workers}-{number}"
                wall_s, cpu_s = _measure(deployment, storage, source.held, sample, url, name, workers)
                postgres.drop_database(url)
                moved_bytes = workers * RECORDINGS_EACH * sample.size_bytes
                found.append(Fleet(workers, number, moved_bytes, wall_s, cpu_s))
                sys.stderr.write(f"{workers} workers round {number + 1}: {wall_s:.2f} s, {cpu_s:.2f} CPU s\n")
    return found


def pods_table(fleets: Sequence[Fleet]) -> str:
    """Medians of MB/s, and each number's share of so many times one worker's."""
    rates = {
        workers: [each.moved_bytes / 1e6 / each.wall_s for each in fleets if each.workers == workers]
        for workers in dict.fromkeys(each.workers for each in fleets)
    }
    alone = median(rates[1])
    rows = [
        [
            str(workers),
            spread(speeds, 1),
            f"{median(speeds) / (workers * alone):.2f}",
            f"{100 * median(each.cpu_s / each.wall_s for each in fleets if each.workers == workers):.0f}",
        ]
        for workers, speeds in rates.items()
    ]
    title = (
        f"### Workers on one PostgreSQL\n\n{RECORDINGS_EACH} recordings of {_SIZE} a worker, "
        f"each connection to the source held to {HELD_MB_S} MB/s.\n\n"
    )
    return title + table(["workers", "MB/s", "of linear", "% of a core, all processes"], rows)


def _measure(
    deployment: Deployment,
    storage: Storage,
    source_url: str,
    sample: Sample,
    url: str,
    name: str,
    workers: int,
) -> tuple[float, float]:
    deliveries = [
        deployment.signer.uploaded(
            file_name=f"{number}-{sample.name}",
            link=f"{source_url}/{sample.name}",
            size_bytes=sample.size_bytes,
        )
        for number in range(workers * RECORDINGS_EACH)
    ]
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(bucket(storage, name))
        services = [
            stack.enter_context(
                deployment.running(
                    endpoint_url=storage.plain, bucket=target.name, role=role, database_url=url
                )
            )
            for role in (Role.RECEIVER, *[Role.WORKER] * workers)
        ]
        pids = [service.process.pid for service in services]
        ledger = stack.enter_context(psycopg.connect(url, autocommit=True))
        cpu_before, started = sum(map(cpu_seconds, pids)), time.perf_counter()
        for delivery in deliveries:
            services[0].deliver(delivery)
        while True:
            row = ledger.execute("SELECT count(*) FROM manifests").fetchone()
            if row is not None and row[0] >= len(deliveries):
                break
            ended = any(service.process.poll() is not None for service in services)
            if ended or time.perf_counter() - started > TIMEOUT_SECONDS:
                raise SystemExit("the workers did not archive the recordings")
            time.sleep(_LOOK_SECONDS)
        wall_s = time.perf_counter() - started
        return wall_s, sum(map(cpu_seconds, pids)) - cpu_before
