"""The S3 storage: SeaweedFS on loopback, plain and over its own TLS port.

Every measure gets a bucket of its own. In SeaweedFS a bucket is a collection of volumes, so dropping it gives
the space back at once, whereas deleted objects stay on disk until the next vacuum.
"""

import contextlib
import hashlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.bench.certs import Certificates
from tests.bench.programs import find_program, free_ports, running, wait_for_answer, wait_for_port

ACCESS_KEY = "benchmarkaccess"
SECRET_KEY = "benchmarksecretbenchmark"
REGION = "us-east-1"
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Storage:
    """S3 endpoints of the same SeaweedFS."""

    plain: str
    tls: str


class Bucket:
    """A bucket, looked at over the plain endpoint whichever endpoint the contestant uses."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self._client: Any = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=storage.plain,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def create(self) -> None:
        """Create it and write once, so that growing its first volumes falls into nobody's measure."""
        self._client.create_bucket(Bucket=self.name)
        self._client.put_object(Bucket=self.name, Key="warm", Body=b"warm")
        self._client.delete_object(Bucket=self.name, Key="warm")

    def drop(self) -> None:
        """Delete it with all that is in it (SeaweedFS does so recursively)."""
        self._client.delete_bucket(Bucket=self.name)

    def size_bytes(self, key: str) -> int | None:
        """Length of an object, None if there is none."""
        try:
            return int(self._client.head_object(Bucket=self.name, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def wait_for(self, key: str, *, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Return within 20 ms of its appearance; TimeoutError if it does not come or the process ends.

        Asks with a signed link and http.client: the SDK's requests would take CPU from what is measured.
        """
        link = urlsplit(self._client.generate_presigned_url("head_object", {"Bucket": self.name, "Key": key}))
        deadline = time.monotonic() + timeout_s
        with contextlib.closing(http.client.HTTPConnection(link.netloc, timeout=30)) as connection:
            while True:
                connection.request("HEAD", f"{link.path}?{link.query}")
                with connection.getresponse() as answer:
                    answer.read()
                if answer.status == 200:
                    return
                if process.poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{key} did not appear in {timeout_s:.0f} s (last answer: {answer.status})"
                    )
                time.sleep(_POLL_SECONDS)

    def sha256(self, key: str) -> str:
        """Digest of an object's bytes, read back whole."""
        digest = hashlib.sha256()
        for chunk in self._client.get_object(Bucket=self.name, Key=key)["Body"].iter_chunks(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def bucket(storage: Storage, name: str) -> Iterator[Bucket]:
    """A new bucket, dropped with the block."""
    fresh = Bucket(storage, name)
    fresh.create()
    try:
        yield fresh
    finally:
        fresh.drop()


@contextlib.contextmanager
def running_storage(folder: Path, certificates: Certificates) -> Iterator[Storage]:
    """Run SeaweedFS (master, volume, filer and S3 in one process) until the block ends, volumes in `folder`.

    Telemetry is off and every socket is on loopback. The S3 gateway terminates TLS itself: no proxy between.
    """
    volumes, config, log = folder / "volumes", folder / "s3.json", folder / "weed.log"
    volumes.mkdir(parents=True)
    identity = {
        "name": "benchmark",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}), "utf-8")
    parts = ("master", "volume", "filer", "s3")
    https, *others = free_ports(1 + 2 * len(parts))
    ports, grpc_ports = dict(zip(parts, others[:4], strict=True)), dict(zip(parts, others[4:], strict=True))
    command = [find_program("weed"), "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={volumes}", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024"]
    command += ["-volume.max=100", "-volume.minFreeSpace=1", "-filer", "-s3", f"-s3.config={config}"]
    command += [f"-s3.cert.file={certificates.server_chain}", f"-s3.key.file={certificates.server_key}"]
    command += [f"-s3.port.https={https}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{part}.port={ports[part]}" for part in parts]
    command += [f"-{part}.port.grpc={grpc_ports[part]}" for part in parts]
    command += [f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}"]
    with running(command, log=log) as process:
        wait_for_port(process, https, log=log)
        wait_for_answer(process, f"http://127.0.0.1:{ports['s3']}/healthz", log=log)
        yield Storage(plain=f"http://127.0.0.1:{ports['s3']}", tls=f"https://127.0.0.1:{https}")
