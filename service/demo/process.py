"""The service as a process of its own."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from service.demo.telling import DemoFailed
from service.settings import PREFIX

LOOPBACK = "127.0.0.1"

_START_S = 30.0
_POLL_S = 0.1


@contextlib.asynccontextmanager
async def running_service(
    folder: Path, settings: Mapping[str, str], *, port: int = 0
) -> AsyncIterator[tuple[int, int]]:
    """The service in ``folder``, on its defaults but for ``settings`` (by their names in lower case).

    Gives the public port and the admin port; its log goes on in ``service.log``. Raises :class:`DemoFailed`
    if it does not start, or does not end well.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        f"{PREFIX}{name.upper()}": value for name, value in settings.items()
    }
    # Whatever it asks is on this machine.
    environment["no_proxy"] = LOOPBACK
    log = folder / "service.log"
    with log.open("ab") as output:
        said = output.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve",
            "--host", LOOPBACK, "--port", str(port), "--admin-port", "0",
            cwd=folder, env=environment, stderr=output,
        )  # fmt: skip
    try:
        yield await _started(process, log, said)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        code = await process.wait()
    if code:
        raise DemoFailed(f"the service ended with {code}; see {log}")


async def _started(process: asyncio.subprocess.Process, log: Path, said: int) -> tuple[int, int]:
    """Both ports, as soon as the service's log names them after the first ``said`` bytes."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.returncode is None:
        for line in log.read_bytes()[said:].decode().splitlines():
            with contextlib.suppress(ValueError):
                started = json.loads(line)
                if started["event"] == "service_started":
                    return started["port"], started["admin_port"]
        await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"the service did not start: {log.read_text('utf-8').strip()[-500:]}")
