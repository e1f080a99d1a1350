"""`python -m tests.bench`: race dyte-archiver against what one would use otherwise; see README.md."""

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.bench.certs import Certificates, make_certificates
from tests.bench.contestants import Aioboto3Upload, Contestant, CurlAws, RcloneCopy, RcloneCopyUrl
from tests.bench.deliveries import Signer
from tests.bench.far import far_away
from tests.bench.floor import measure_floor
from tests.bench.idle import measure_idle
from tests.bench.instructions import count_instructions
from tests.bench.latency import measure_latency
from tests.bench.memory import measure_memory
from tests.bench.options import Options, read_options
from tests.bench.pods import measure_pods
from tests.bench.race import Route, Run, Track
from tests.bench.report import Findings, tables, write_json
from tests.bench.samples import TINY, Sample, make_sample, make_sparse_sample, parse_size, work_folder
from tests.bench.service import Deployment, DyteArchiver
from tests.bench.small import measure_small
from tests.bench.source import Source, running_source
from tests.bench.storage import Storage, running_storage
from tests.bench.sweep import measure_sweep

TINY_ROUNDS = 3
UNHELD = ("plain", "tls")
DISTANT = ("far", "apart")
SWEPT = ("plain", "held")
OVER_DISTANCE = ("rclone-copyurl", "rclone-copy", "dyte-archiver")
"""Who races over a distance: one stream and ranges of the same program, and the service."""


def main(arguments: Sequence[str]) -> None:
    """Everything that is started is ended, and the work folder removed, however the run ends.

    What was found until then is reported, too: hours of measuring are not thrown away.
    """
    options = read_options(arguments)
    signal.signal(signal.SIGTERM, _end)
    folder = work_folder(
        [parse_size(label) for label in options.sizes],
        at_once=max(options.at_once),
        sparse_bytes=parse_size(options.huge or "0B"),
    )
    sys.stderr.write(f"working in {folder}\n")
    findings = Findings()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for part in ("samples", "source", "scratch"):
            (folder / part).mkdir()
        labels = (TINY, *options.sizes)
        samples = sorted((make_sample(folder / "samples", label) for label in labels), key=_size_bytes)
        certificates = make_certificates(folder)
        source = stack.enter_context(
            running_source(folder / "source", folder / "samples", certificates, held_mb_s=options.held_mb_s)
        )
        storage = stack.enter_context(running_storage(folder / "storage", certificates))
        authority, scratch = certificates.authority, folder / "scratch"
        bench = _Bench(
            options=options,
            findings=findings,
            deployment=Deployment(Signer(), authority, scratch, options.checksum),
            track=Track(source, storage, authority, scratch),
            routes=_routes(options, source, storage, stack, scratch),
            tiny=samples[0],
            samples=samples[1:],
            huge=make_sparse_sample(folder / "samples", options.huge) if options.huge else None,
            folder=folder / "samples",
            certificates=certificates,
        )
        try:
            bench.races()
            bench.scenarios()
        finally:
            sys.stdout.write(tables(findings))
            if options.json is not None:
                write_json(findings, options.json)


@dataclass(frozen=True)
class _Bench:
    """What was asked for, and all that it needs. `samples` are in order of size, and lie in `folder`."""

    options: Options
    findings: Findings
    deployment: Deployment
    track: Track
    routes: Sequence[Route]
    tiny: Sample
    samples: Sequence[Sample]
    huge: Sample | None
    folder: Path
    certificates: Certificates

    def races(self) -> None:
        """Every contestant on every route, and what the machine itself takes on those that are not held."""
        every: list[Contestant] = [RcloneCopyUrl(), RcloneCopy(), CurlAws(), Aioboto3Upload()]
        every.append(DyteArchiver(self.deployment, self.track.storage))
        contestants = [contestant for contestant in every if contestant.name in self.options.only]
        rounds = self.options.rounds
        for route in self.routes:
            racing = [
                each for each in contestants if route.label not in DISTANT or each.name in OVER_DISTANCE
            ]
            if racing:
                runs = self.track.race(racing, route, self.tiny, rounds=min(TINY_ROUNDS, rounds))
                self.findings.runs.extend(runs)
            # One stream at a held rate tells all that it can with the smallest sample.
            for sample in self.samples if route.label in UNHELD else self.samples[:1]:
                if racing:
                    self.findings.runs.extend(self.track.race(racing, route, sample, rounds=rounds))
                if "floor" in self.options.only and route.label in UNHELD:
                    self.findings.runs.extend(self._floor(route, sample))

    def scenarios(self) -> None:
        """Those asked for."""
        asked, findings, rounds = self.options.only, self.findings, self.options.rounds
        deployment, storage, route, smallest = (
            self.deployment, self.track.storage, self.routes[0], self.samples[0]
        )  # fmt: skip
        for each in self.routes if "memory" in asked else ():
            if each.label not in DISTANT:
                huge = self.huge if each is route else None
                counts = self.options.at_once
                findings.memory.extend(
                    measure_memory(deployment, storage, each, self.samples, counts=counts, huge=huge)
                )
        if "latency" in asked:
            findings.latency.extend(measure_latency(deployment, storage, route, smallest))
        if "idle" in asked:
            findings.idle.extend(measure_idle(deployment, route))
        if "instructions" in asked:
            findings.instructions.append(count_instructions(deployment, storage, route, smallest))
        if "small" in asked:
            findings.small.extend(measure_small(deployment, storage, route, self.folder, rounds=rounds))
        if "pods" in asked:
            findings.pods.extend(
                measure_pods(deployment, storage, self.folder, self.certificates, rounds=rounds)
            )
        for each in self.routes if "sweep" in asked else ():
            if each.label in SWEPT:
                findings.sweep.extend(
                    measure_sweep(deployment, self.track, each, self.tiny, smallest, rounds=rounds)
                )

    def _floor(self, route: Route, sample: Sample) -> Iterator[Run]:
        authority, scratch, storage = self.certificates.authority, self.deployment.scratch, self.track.storage
        rounds = self.options.rounds
        return measure_floor(storage, route, sample, self.folder, authority, scratch, rounds=rounds)


def _routes(
    options: Options, source: Source, storage: Storage, stack: contextlib.ExitStack, scratch: Path
) -> list[Route]:
    """Those asked for; the proxies of the distant ones run until the stack unwinds."""
    held = f"source held to {options.held_mb_s} MB/s a connection"
    away = f"{options.round_trip_ms} ms away"
    every = [
        Route("plain", "http to http", source.plain, storage.plain),
        Route("tls", "https to https", source.tls, storage.tls),
        Route("held", held, source.held, storage.plain),
    ]
    if set(options.routes) & set(DISTANT):
        far_source, far_storage = (
            stack.enter_context(far_away(url, round_trip_ms=options.round_trip_ms, log=scratch / "far.log"))
            for url in (source.held, storage.plain)
        )
        every.append(Route("far", f"{held} and {away}, storage near", far_source, storage.plain))
        every.append(Route("apart", f"{held} and {away}, storage {away}", far_source, far_storage))
    return [route for route in every if route.label in options.routes]


def _end(number: int, _frame: object) -> NoReturn:
    """Unwind instead of dying at once, which would leave the servers behind."""
    sys.exit(128 + number)


def _size_bytes(sample: Sample) -> int:
    return sample.size_bytes


if __name__ == "__main__":
    main(sys.argv[1:])
