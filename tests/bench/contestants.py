"""What one would use instead: four ways to bring a link's file into S3 without a disk in between.

All are given what dyte-archiver has by default: parts of 5 MiB, 8 at once. What a tool cannot do it does
not get: `rclone copyurl`, curl and aioboto3 read the source as one stream.
"""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.bench.meter import Cost, measure_command
from tests.bench.programs import find_program, quiet_environment
from tests.bench.samples import Sample
from tests.bench.storage import ACCESS_KEY, REGION, SECRET_KEY

PART_SIZE_MIB = 8
STREAMS = 8
TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True)
class Job:
    """Bring `sample` from `source_url` (a folder's address) to the object of the same name in `bucket`."""

    sample: Sample
    source_url: str
    endpoint_url: str
    authority: Path
    bucket: str
    scratch: Path

    @property
    def link(self) -> str:
        """The address of the sample itself."""
        return f"{self.source_url}/{self.sample.name}"


class Contestant(Protocol):
    """Somebody who can do a job and says what it cost."""

    @property
    def name(self) -> str:
        """As in `--only` and in the tables."""

    def run(self, job: Job) -> Cost:
        """Do it; raises when it fails."""


@dataclass(frozen=True)
class RcloneCopyUrl:
    """`rclone copyurl`: one download stream, concurrent multipart upload."""

    name: str = "rclone-copyurl"

    def run(self, job: Job) -> Cost:
        """See the class."""
        command = [
            find_program("rclone"),
            "copyurl",
            *_RCLONE_S3,
            job.link,
            f"bench:{job.bucket}/{job.sample.name}",
        ]
        return _measure(job, command, rclone_environment(job))


@dataclass(frozen=True)
class RcloneCopy:
    """`rclone copy` from an http remote: the strongest rival, it moves parts from ranges in parallel too.

    The cutoff is set to one part; at its default of 256 MiB smaller files would go as one stream. That it
    really does is visible in the tables: as many GETs as parts.
    """

    name: str = "rclone-copy"

    def run(self, job: Job) -> Cost:
        """See the class."""
        streams = [f"--multi-thread-streams={STREAMS}", f"--multi-thread-cutoff={PART_SIZE_MIB}Mi"]
        places = [f"source:{job.sample.name}", f"bench:{job.bucket}"]
        return _measure(
            job, [find_program("rclone"), "copy", *streams, *_RCLONE_S3, *places], rclone_environment(job)
        )


@dataclass(frozen=True)
class CurlAws:
    """`curl | aws s3 cp -`: what a shell script would do."""

    name: str = "curl-aws"

    def run(self, job: Job) -> Cost:
        """See the class."""
        config = job.scratch / "aws.config"
        config.write_text(
            f"[default]\ns3 =\n  multipart_chunksize = {PART_SIZE_MIB}MB\n"
            f"  max_concurrent_requests = {STREAMS}\n",
            "utf-8",
        )
        download = [find_program("curl"), "-sSf", job.link]
        upload = [find_program("aws"), "--endpoint-url", job.endpoint_url, "s3", "cp", "--no-progress", "-"]
        upload += [f"s3://{job.bucket}/{job.sample.name}", "--expected-size", str(job.sample.size_bytes)]
        pipeline = f"set -o pipefail; {shlex.join(download)} | {shlex.join(upload)}"
        environment = _aws_environment(job) | {"AWS_CONFIG_FILE": str(config)}
        return _measure(job, ["bash", "-c", pipeline], environment)


@dataclass(frozen=True)
class Aioboto3Upload:
    """aioboto3's `upload_fileobj` fed by an aiohttp response: what a Python program would do."""

    name: str = "aioboto3"

    def run(self, job: Job) -> Cost:
        """See the class and `aioboto3_upload`."""
        script = Path(__file__).with_name("aioboto3_upload.py")
        command = [sys.executable, str(script), job.link, job.endpoint_url, job.bucket, job.sample.name]
        return _measure(job, [*command, str(PART_SIZE_MIB), str(STREAMS)], _aws_environment(job))


_RCLONE_S3 = (
    f"--s3-upload-concurrency={STREAMS}",
    f"--s3-chunk-size={PART_SIZE_MIB}Mi",
    "--s3-no-check-bucket",
)


def _measure(job: Job, command: list[str], environment: dict[str, str]) -> Cost:
    log = job.scratch / "contestant.log"
    return measure_command(command, environment=environment, log=log, timeout_s=TIMEOUT_SECONDS)


def rclone_environment(job: Job) -> dict[str, str]:
    """Both remotes by environment; no file of the caller's is read. Go programs trust SSL_CERT_FILE."""
    return quiet_environment() | {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_SOURCE_TYPE": "http",
        "RCLONE_CONFIG_SOURCE_URL": job.source_url,
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": job.endpoint_url,
        "RCLONE_CONFIG_BENCH_REGION": REGION,
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": SECRET_KEY,
        "SSL_CERT_FILE": str(job.authority),
    }


def _aws_environment(job: Job) -> dict[str, str]:
    """For the AWS SDK for Python and for curl (CURL_CA_BUNDLE) and aiohttp (SSL_CERT_FILE)."""
    return quiet_environment() | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CA_BUNDLE": str(job.authority),
        "CURL_CA_BUNDLE": str(job.authority),
        "SSL_CERT_FILE": str(job.authority),
    }
