"""How many instructions moving a file takes: what valgrind counts, on a busy machine as on an idle one.

From the delivery to the manifest, of the service's process alone, without the kernel's. The counting begins
when the service is ready and idle.
"""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.programs import find_program
from tests.bench.race import Route
from tests.bench.samples import Sample
from tests.bench.service import Deployment, manifest_of
from tests.bench.storage import Storage, bucket

_SETTLED_S = 3.0
_AGAIN_S = 5.0
_COUNTED = re.compile(r"Collected : (\d+)")


@dataclass(frozen=True)
class Instructions:
    """Of one transfer, in the service's own code and in its libraries'."""

    route: str
    sample: str
    size_bytes: int
    counted: int

    @property
    def a_byte(self) -> float:
        """Instructions for each byte moved."""
        return self.counted / self.size_bytes


def count_instructions(
    deployment: Deployment, storage: Storage, route: Route, sample: Sample
) -> Instructions:
    """Move the sample once under valgrind, which makes the service some fifty times as slow."""
    log = deployment.scratch / "valgrind.log"
    counting = [
        "--tool=callgrind",
        "--instr-atstart=no",
        "--callgrind-out-file=/dev/null",
        f"--log-file={log}",
    ]
    watched = replace(deployment, under=(find_program("valgrind"), *counting))
    link = f"{route.source_url}/{sample.name}"
    delivery = deployment.signer.uploaded(file_name=sample.name, link=link, size_bytes=sample.size_bytes)
    with bucket(storage, f"counted-{route.label}") as target:
        with watched.running(endpoint_url=route.endpoint_url, bucket=target.name) as service:
            time.sleep(_SETTLED_S)
            _switch("on", service.process.pid)
            _repeated(lambda: service.deliver(delivery))
            target.wait_for(manifest_of(sample.name), process=service.process, timeout_s=TIMEOUT_SECONDS)
            _switch("off", service.process.pid)
        if target.size_bytes(sample.name) != sample.size_bytes:
            raise SystemExit("the sample was not stored whole")
    told = _COUNTED.search(log.read_text("utf-8", "replace"))
    if told is None:
        raise SystemExit("valgrind did not tell what it counted")
    return Instructions(route.name, sample.label, sample.size_bytes, int(told[1]))


def _switch(counting: str, pid: int) -> None:
    command = [find_program("callgrind_control"), "-i", counting, str(pid)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _repeated(deliver: Callable[[], None]) -> None:
    """As the provider does: so slow a service may not answer the first in its time."""
    for _ in range(5):
        with contextlib.suppress(SystemExit, OSError):
            return deliver()
        time.sleep(_AGAIN_S)
    return deliver()
