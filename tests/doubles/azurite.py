"""Azurite, Microsoft's emulator of Azure Blob Storage: signatures, permissions, checksums are verified."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pytest

from tests.bench.certs import Certificates
from tests.doubles.ports import free_ports
from tests.doubles.programs import find_program

__all__ = ["Azurite"]

START_SECONDS = 60.0
START_TRIES = 3


class Azurite:
    """The blob service alone, of one account. What it stores is on disk, so that it may be killed and go on.

    Every look from the test's side uses a new synchronous client without retries, so that it shares nothing
    with what is under test. With certificates it takes tokens too (``--oauth basic``: their issuer, audience
    and time are checked, not who signed them), which the SDK sends over TLS alone.
    """

    account = "archivertest"
    key = "YXJjaGl2ZXItdGVzdC1rZXktYXJjaGl2ZXItdGVzdC1rZXk="

    def __init__(self, *, certificates: Certificates | None = None) -> None:
        self._certificates = certificates
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        program()
        self._directory = Path(tempfile.mkdtemp(prefix="azurite-"))
        for attempt in range(1, START_TRIES + 1):
            (self._port,) = free_ports(1)
            try:
                self.start()
            except BaseException as error:
                log = self._log()
                self.kill()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # the port was taken between choosing and binding
                shutil.rmtree(self._directory, ignore_errors=True)
                raise RuntimeError(f"Azurite did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        """The address of the account's blob service."""
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self._port}/{self.account}"

    def connection_string(self, *, key: str = "", endpoint: str = "") -> str:
        """What the portal would show; `endpoint` leads through a proxy."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={key or self.key};"
            f"BlobEndpoint={endpoint or self.endpoint};"
        )

    def sas(self, container: str, permissions: str, *, hours: float = 1.0) -> str:
        """A SAS for the blobs in a container; expired if `hours` is negative."""
        blob = pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed")
        return str(
            blob.generate_container_sas(
                self.account,
                container,
                account_key=self.key,
                permission=permissions,
                start=datetime.now(UTC) - timedelta(days=1),
                expiry=datetime.now(UTC) + timedelta(hours=hours),
            )
        )

    def container(self, prefix: str) -> str:
        """Create an empty container with a name of its own and return that."""
        name = f"{prefix}-{uuid4().hex[:12]}"
        with self.client() as client:
            client.create_container(name)
        return name

    def client(self) -> Any:
        """Return a synchronous client of the account."""
        blob = pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed")
        return blob.BlobServiceClient(
            self.endpoint,
            credential={"account_name": self.account, "account_key": self.key},
            retry_total=0,
            connection_timeout=2,
            read_timeout=30,
            connection_verify=str(self._certificates.authority) if self._certificates else True,
        )

    def start(self) -> None:
        """Start it, with what it stored before, and wait until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env={**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{self.key}"},
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End it as an operator would: what it stored is on disk then."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(START_SECONDS)
        self._process = None

    def kill(self) -> None:
        """End it at once: what it stored within the last seconds is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _arguments(self) -> Sequence[str]:
        secured: tuple[str, ...] = ()
        if given := self._certificates:
            secured = (f"--cert={given.server_chain}", f"--key={given.server_key}", "--oauth=basic")
        return [
            "--blobHost=127.0.0.1",
            f"--blobPort={self._port}",
            f"--location={self._directory}",
            "--skipApiVersionCheck",  # the SDK may speak a newer version than it knows
            "--disableTelemetry",
            "--silent",
            *secured,
        ]

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        azure = pytest.importorskip("azure.core.exceptions", reason="azure-storage-blob is not installed")
        deadline = time.monotonic() + START_SECONDS
        with self.client() as client:
            while True:
                if self._process.poll() is not None:
                    raise ChildProcessError(f"azurite-blob ended with {self._process.returncode}")
                try:
                    list(client.list_containers())
                except (OSError, azure.AzureError):  # the SDK wraps the one in the other, mostly
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def _log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-2000:]


def program() -> str:
    """Where it is installed, or the test is skipped."""
    found = find_program("azurite-blob")
    if found is None:
        pytest.skip("Azurite is not installed: no `azurite-blob` on PATH (npm install azurite)")
    return found
