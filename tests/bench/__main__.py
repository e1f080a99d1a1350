"""`python -m tests.bench`: race dyte-archiver against what one would use otherwise; see README.md."""

import contextlib
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tests.bench.certs import make_certificates
from tests.bench.contestants import Aioboto3Upload, Contestant, CurlAws, RcloneCopy, RcloneCopyUrl
from tests.bench.deliveries import Signer
from tests.bench.far import far_away
from tests.bench.idle import measure_idle
from tests.bench.latency import measure_latency
from tests.bench.memory import measure_memory
from tests.bench.options import Options, read_options
from tests.bench.race import Route, Track
from tests.bench.report import Findings, tables, write_json
from tests.bench.samples import TINY, Sample, make_sample, parse_size, work_folder
from tests.bench.service import Deployment, DyteArchiver
from tests.bench.source import Source, running_source
from tests.bench.storage import Storage, running_storage

TINY_ROUNDS = 3
UNHELD = ("plain", "tls")
DISTANT = ("far", "apart")
RANGED_OR_NOT = ("rclone-copyurl", "rclone-copy", "dyte-archiver")
"""Who races over a distance: one stream and ranges of the same program, and the service."""


def main() -> None:
    """Everything that is started is ended, and the work folder removed, however the run ends.

    What was found until then is reported, too: hours of measuring are not thrown away.
    """
    options = read_options(sys.argv[1:])
    signal.signal(signal.SIGTERM, _end)
    folder = work_folder([parse_size(label) for label in options.sizes], at_once=max(options.at_once))
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
        deployment = Deployment(Signer(), authority, scratch, options.checksum)
        track = Track(source, storage, authority, scratch)
        routes = _routes(options, source, storage, stack, scratch)
        try:
            _measure(options, findings, track, deployment, routes, samples)
        finally:
            sys.stdout.write(tables(findings))
            if options.json is not None:
                write_json(findings, options.json)


def _measure(
    options: Options,
    findings: Findings,
    track: Track,
    deployment: Deployment,
    routes: Sequence[Route],
    by_size: Sequence[Sample],
) -> None:
    tiny, *samples = by_size
    every: list[Contestant] = [RcloneCopyUrl(), RcloneCopy(), CurlAws(), Aioboto3Upload()]
    every.append(DyteArchiver(deployment, track.storage))
    contestants = [contestant for contestant in every if contestant.name in options.only]
    for route in routes:
        racing = [each for each in contestants if route.label not in DISTANT or each.name in RANGED_OR_NOT]
        if not racing:
            continue
        findings.runs.extend(track.race(racing, route, tiny, rounds=min(TINY_ROUNDS, options.rounds)))
        # One stream at a held rate tells all that it can with the smallest sample.
        for sample in samples if route.label in UNHELD else samples[:1]:
            findings.runs.extend(track.race(racing, route, sample, rounds=options.rounds))
    for route in routes if "memory" in options.only else ():
        if route.label in DISTANT:
            continue
        findings.memory.extend(
            measure_memory(deployment, track.storage, route, samples, counts=options.at_once)
        )
    if "latency" in options.only:
        findings.latency.extend(measure_latency(deployment, track.storage, routes[0], samples[0]))
    if "idle" in options.only:
        findings.idle.extend(measure_idle(deployment, routes[0]))


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
    main()
