"""dyte-archiver itself: the real process, started by its command, fed by signed deliveries."""

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.choices import Role
from service.ledger import Database
from service.settings import Settings
from tests.bench.contestants import TIMEOUT_SECONDS, Job
from tests.bench.deliveries import Delivery, Signer
from tests.bench.meter import Cost, cpu_seconds, peak_mib
from tests.bench.programs import free_ports, quiet_environment, running, wait_for_answer
from tests.bench.storage import ACCESS_KEY, REGION, SECRET_KEY, Bucket, Storage

_REPOSITORY = Path(__file__).parents[2]
DEFAULT_AT_ONCE: int = Settings.model_fields["artifacts_in_flight"].default
"""How many files the service moves at once if it is told nothing."""
_DEFAULTS: Mapping[str, object] = {}


@dataclass(frozen=True)
class Service:
    """A process that has said it is ready."""

    process: subprocess.Popen[bytes]
    port: int
    ledger: Path
    """The SQLite file, unless another database was given."""
    ready_s: float
    """From its start on."""

    @property
    def webhook_url(self) -> str:
        """Where deliveries go."""
        return f"http://127.0.0.1:{self.port}/webhook"

    def deliver(self, delivery: Delivery) -> None:
        """POST once; anything but an acceptance ends the run."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/webhook", delivery.body, delivery.headers)
            with connection.getresponse() as answer:
                told = answer.read()
        if not 200 <= answer.status < 300:
            raise SystemExit(f"the service refused a delivery: {answer.status} {told[:500]!r}")


@dataclass(frozen=True)
class Deployment:
    """How the service is run: with its defaults, and told only what it must be.

    `checksum` is the storage's setting of that name. On AWS `crc64nvme` is the default, so it is the one to
    measure; SeaweedFS verifies it as AWS does.
    """

    signer: Signer
    authority: Path
    scratch: Path
    checksum: str
    under: Sequence[str] = ()
    """A command that runs another one, and that one's process is it, such as valgrind."""

    def running(
        self,
        *,
        endpoint_url: str,
        bucket: str,
        at_once: int = DEFAULT_AT_ONCE,
        role: Role = Role.ALL,
        database_url: str | None = None,
        settings: Mapping[str, object] = _DEFAULTS,
    ) -> contextlib.AbstractContextManager[Service]:
        """`serve` with a bucket of SeaweedFS; `at_once` is how many files it moves at the same time."""
        storage = {
            "type": "aws",
            "access_key": ACCESS_KEY,
            "secret": SECRET_KEY,
            "bucket": bucket,
            "region": REGION,
            "path": "/",
            "endpoint_url": endpoint_url,
            "checksum": self.checksum,
        }
        return self.serving(storage, at_once=at_once, role=role, database_url=database_url, settings=settings)

    @contextlib.contextmanager
    def serving(
        self,
        storage: Mapping[str, object],
        *,
        at_once: int = DEFAULT_AT_ONCE,
        role: Role = Role.ALL,
        database_url: str | None = None,
        settings: Mapping[str, object] = _DEFAULTS,
    ) -> Iterator[Service]:
        """`serve`, from its readiness to the end of the block, with an empty SQLite file if given no other.

        The ledger was made before, as a pod finds it at every start but its very first. `settings` by their
        names in lower case, without the prefix.
        """
        port, admin_port = free_ports(2)
        home = Path(tempfile.mkdtemp(prefix="service-", dir=self.scratch))
        environment = quiet_environment() | {
            "ARCHIVER_DATABASE_URL": database_url or f"sqlite:///{home / 'archiver.db'}",
            "ARCHIVER_STORAGE_CONFIG": json.dumps(storage),
            "ARCHIVER_WEBHOOK_PUBLIC_KEY": self.signer.public_pem,
            "ARCHIVER_SOURCE_HOSTS": "127.0.0.1,localhost",
            "ARCHIVER_ARTIFACTS_IN_FLIGHT": str(at_once),
            "ARCHIVER_ROLE": role,
            "ARCHIVER_HOST": "127.0.0.1",
            "ARCHIVER_PORT": str(port),
            "ARCHIVER_ADMIN_PORT": str(admin_port),
            "SSL_CERT_FILE": str(self.authority),
            "AWS_CA_BUNDLE": str(self.authority),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")])),
            **{f"ARCHIVER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        asyncio.run(_made(environment["ARCHIVER_DATABASE_URL"]))
        log = home / "service.log"
        command = [*self.under, sys.executable, "-m", "service", "serve"]
        started = time.perf_counter()
        with running(command, log=log, environment=environment) as process:
            wait_for_answer(process, f"http://127.0.0.1:{admin_port}/readyz", log=log, seconds=180)
            yield Service(process, port, home / "archiver.db", time.perf_counter() - started)


@dataclass(frozen=True)
class DyteArchiver:
    """From the delivery to the manifest, in a process started for this measure and idle before it.

    CPU is what it used in that time; memory is its high-water mark since it started.
    """

    deployment: Deployment
    storage: Storage
    name: str = "dyte-archiver"
    settings: Mapping[str, object] = field(default_factory=dict)

    def run(self, job: Job) -> Cost:
        """See the class."""
        delivery = self.deployment.signer.uploaded(
            file_name=job.sample.name, link=job.link, size_bytes=job.sample.size_bytes
        )
        with self.deployment.running(
            endpoint_url=job.endpoint_url, bucket=job.bucket, settings=self.settings
        ) as service:
            pid = service.process.pid
            cpu_before, started = cpu_seconds(pid), time.perf_counter()
            service.deliver(delivery)
            Bucket(self.storage, job.bucket).wait_for(
                manifest_of(job.sample.name), process=service.process, timeout_s=TIMEOUT_SECONDS
            )
            wall_s = time.perf_counter() - started
            return Cost(wall_s, cpu_seconds(pid) - cpu_before, peak_mib(pid))


async def _made(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


def manifest_of(key: str) -> str:
    """The object whose presence means archived."""
    return f"{key}.json"
