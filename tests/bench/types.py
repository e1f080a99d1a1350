"""`python -m tests.bench.types`: each type of storage beside `rclone copyto` with the same server.

Both read the same nginx over http and write to the same server, 8 parts of 5 MiB at once where the protocol
has parts. They take turns; the table gives medians and their ratio. CPU is of the whole process, less what
it takes for a file of 1 KB; MB/s is of the whole wall time, of the service from delivery to manifest.
"""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.certs import make_certificates
from tests.bench.contestants import PART_SIZE_MIB, STREAMS, TIMEOUT_SECONDS
from tests.bench.deliveries import Signer
from tests.bench.meter import Cost, cpu_seconds, measure_command, peak_mib
from tests.bench.programs import find_program, quiet_environment
from tests.bench.samples import TINY, Sample, make_sample, parse_size, work_folder
from tests.bench.service import Deployment
from tests.bench.source import running_source
from tests.bench.storage import ACCESS_KEY, REGION, SECRET_KEY, Bucket, running_storage
from tests.doubles.azurite import Azurite
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import GoogleFront
from tests.doubles.sshd import OpenSSH
from tests.doubles.threaded import threaded

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Place:
    """One storage, as the service's config and as a remote of rclone's."""

    server: str
    config: Mapping[str, Any]
    remote: Mapping[str, str]
    root: str
    flags: Sequence[str] = ()


def main() -> None:
    """Measure what is asked for, and print a table for the README."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.types", description=__doc__)
    parser.add_argument("--size", default="300MB", help="the sample, such as 300MB or 3GB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PLACES), help="types, comma-separated")
    parser.add_argument("--json", type=Path, help="a file for every run")
    options = parser.parse_args()
    folder = work_folder([parse_size(options.size)])
    rows: list[str] = []
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for part in ("samples", "source", "scratch"):
            (folder / part).mkdir()
        tiny, sample = (make_sample(folder / "samples", label) for label in (TINY, options.size))
        certificates = make_certificates(folder)
        source = stack.enter_context(
            running_source(folder / "source", folder / "samples", certificates, held_mb_s=40)
        )
        deployment = Deployment(Signer(), certificates.authority, folder / "scratch", "crc64nvme")
        for name in options.only.split(","):
            with PLACES[name](folder) as place:
                race = _Race(deployment, source.plain, place, folder / "scratch")
                row, found[name] = race.run(tiny, sample, rounds=options.rounds)
                rows.append(f"| `{name}` ({place.server}) | {row} |")
                sys.stderr.write(rows[-1] + "\n")
    head = "| type (server) | MB/s | rclone | ratio | CPU s/GB | rclone | ratio | peak MiB | rclone |"
    sys.stdout.write("\n".join([head, "|---" * 9 + "|", *rows]) + "\n")
    if options.json is not None:
        every = {"size_bytes": sample.size_bytes, "runs": found}
        options.json.write_text(json.dumps(every, indent=1) + "\n", "utf-8")


@dataclass(frozen=True)
class _Race:
    deployment: Deployment
    source_url: str
    place: Place
    scratch: Path

    def run(
        self, tiny: Sample, sample: Sample, *, rounds: int
    ) -> tuple[str, dict[str, list[dict[str, float]]]]:
        """The table's cells: medians of both, and the service's in relation to rclone's; and every run.

        CPU seconds are given without those of a start.
        """
        contestants = {"dyte-archiver": self._service, "rclone copyto": self._rclone}
        start = {name: median(run(tiny).cpu_s for _ in range(3)) for name, run in contestants.items()}
        runs: dict[str, list[Cost]] = {name: [] for name in contestants}
        for number in range(rounds):
            order = list(contestants) if number % 2 else list(reversed(contestants))
            for name in order:
                cost = contestants[name](sample)
                runs[name].append(replace(cost, cpu_s=cost.cpu_s - start[name]))
        (ours, theirs), gigabytes = runs.values(), sample.size_bytes / 1e9
        cells = []
        for of, digits in (
            (lambda cost: gigabytes * 1000 / cost.wall_s, 0),
            (lambda cost: cost.cpu_s / gigabytes, 2),
        ):
            our, their = median(map(of, ours)), median(map(of, theirs))
            cells += [f"{our:.{digits}f}", f"{their:.{digits}f}", f"{our / their:.2f}"]
        cells += [f"{median(cost.peak_mib for cost in costs):.0f}" for costs in (ours, theirs)]
        return " | ".join(cells), {name: [asdict(cost) for cost in costs] for name, costs in runs.items()}

    def _service(self, sample: Sample) -> Cost:
        delivery = self.deployment.signer.uploaded(
            file_name=f"{time.time_ns()}.mp4",
            link=f"{self.source_url}/{sample.name}",
            size_bytes=sample.size_bytes,
        )
        with self.deployment.serving(self.place.config) as service:
            pid = service.process.pid
            cpu_before, started = cpu_seconds(pid), time.perf_counter()
            service.deliver(delivery)
            # The ledger is asked, not the storage: whichever it is, that costs the service nothing.
            with contextlib.closing(sqlite3.connect(service.ledger, timeout=10)) as ledger:
                while not ledger.execute("SELECT count(*) FROM manifests").fetchone()[0]:
                    if service.process.poll() is not None or time.perf_counter() - started > TIMEOUT_SECONDS:
                        raise SystemExit("the service did not archive the sample")
                    time.sleep(_POLL_SECONDS)
            wall_s = time.perf_counter() - started
            return Cost(wall_s, cpu_seconds(pid) - cpu_before, peak_mib(pid))

    def _rclone(self, sample: Sample) -> Cost:
        environment = quiet_environment() | {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_SOURCE_TYPE": "http",
            "RCLONE_CONFIG_SOURCE_URL": self.source_url,
            **{f"RCLONE_CONFIG_BENCH_{name}": value for name, value in self.place.remote.items()},
        }
        streams = [f"--multi-thread-streams={STREAMS}", f"--multi-thread-cutoff={PART_SIZE_MIB}Mi"]
        target = f"bench:{self.place.root}/{time.time_ns()}.mp4"
        command = [
            find_program("rclone"),
            "copyto",
            *streams,
            *self.place.flags,
            f"source:{sample.name}",
            target,
        ]
        log = self.scratch / "rclone.log"
        return measure_command(command, environment=environment, log=log, timeout_s=TIMEOUT_SECONDS)


@contextlib.contextmanager
def _local(folder: Path) -> Iterator[Place]:
    root = folder / "archive"
    yield Place("the same disk", {"type": "local", "path": str(root)}, {"TYPE": "local"}, str(root))


@contextlib.contextmanager
def _s3(folder: Path) -> Iterator[Place]:
    with running_storage(folder / "storage", make_certificates(folder)) as storage:
        Bucket(storage, "types").create()
        config = {
            "type": "aws", "access_key": ACCESS_KEY, "secret": SECRET_KEY, "bucket": "types",
            "region": REGION,
            "endpoint_url": storage.plain, "checksum": "crc64nvme",
        }  # fmt: skip
        remote = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": storage.plain, "REGION": REGION,
            "ACCESS_KEY_ID": ACCESS_KEY, "SECRET_ACCESS_KEY": SECRET_KEY,
        }  # fmt: skip
        flags = [f"--s3-upload-concurrency={STREAMS}", f"--s3-chunk-size={PART_SIZE_MIB}Mi"]
        yield Place("SeaweedFS", config, remote, "types", [*flags, "--s3-no-check-bucket"])


@contextlib.contextmanager
def _azure(_folder: Path, *, checksum: str = "md5") -> Iterator[Place]:
    """With MD5, as rclone has it: CRC-64, the service's default, Azurite verifies in slow JavaScript."""
    with Azurite() as server:
        container = server.container("types")
        config = {
            "type": "azure", "access_key": server.connection_string(), "bucket": container,
            "checksum": checksum,
        }  # fmt: skip
        remote = {
            "TYPE": "azureblob", "ACCOUNT": server.account, "KEY": server.key, "ENDPOINT": server.endpoint,
        }  # fmt: skip
        flags = [f"--azureblob-upload-concurrency={STREAMS}"]
        flags.append(f"--azureblob-chunk-size={PART_SIZE_MIB}Mi")
        yield Place("Azurite", config, remote, container, flags)


@contextlib.contextmanager
def _gcs(_folder: Path) -> Iterator[Place]:
    with FakeGcs() as server, threaded(GoogleFront(server.endpoint_url)) as front:
        bucket = server.bucket("types")
        # Before the server itself, which takes any token, stands only the giver of tokens.
        config = front.storage_config(bucket, path="") | {"endpoint_url": server.endpoint_url}
        remote = {
            "TYPE": "google cloud storage", "ANONYMOUS": "true",
            "ENDPOINT": f"{server.endpoint_url}/storage/v1/", "BUCKET_POLICY_ONLY": "true",
        }  # fmt: skip
        yield Place("fake-gcs-server", config, remote, bucket, ["--gcs-no-check-bucket"])


@contextlib.contextmanager
def _sftp(folder: Path) -> Iterator[Place]:
    with OpenSSH() as server:
        config = server.storage_config("types")
        key = folder / "key.pem"
        key.write_text(config["private_key"], "utf-8")
        remote = {
            "TYPE": "sftp", "HOST": "127.0.0.1", "PORT": str(server.port), "USER": config["username"],
            "KEY_FILE": str(key), "SHELL_TYPE": "none",
        }  # fmt: skip
        yield Place("OpenSSH", config, remote, str(server.root / "types"))


PLACES: Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Place]]] = {
    "local": _local,
    "aws": _s3,
    "azure": _azure,
    "azure-crc64": lambda folder: _azure(folder, checksum="crc64"),
    "gcs": _gcs,
    "sftp": _sftp,
}


if __name__ == "__main__":
    main()
