"""`python -m tests.bench.intake`: signed, durable deliveries a second, beside the same app without a ledger.

`wrk` sends deliveries, each of a new recording, over kept connections to one receiver process. They take
turns: SQLite, PostgreSQL (both flush their writes to the disk), and the app whose intake keeps nothing.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from tests.bench.deliveries import Signer
from tests.bench.meter import cpu_seconds
from tests.bench.programs import find_program
from tests.doubles.ports import free_ports
from tests.doubles.servers import Postgres

_SCRIPT = """
local file, sent = io.open("{requests}", "rb"), {{}}
for size in io.lines("{requests}.sizes") do sent[#sent + 1] = file:read(tonumber(size)) end
local at = 0
request = function() at = at % #sent + 1; return sent[at] end
"""
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_TAIL = re.compile(r"\s(50|99)%\s+([\d.]+)(us|ms|s)")
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def main() -> None:
    """Measure in turns, and print a table for the README."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.intake", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=30_000, help="how many are signed for each round")
    parser.add_argument("--connections", type=int, default=96)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="sqlite,postgresql,nothing")
    options = parser.parse_args()
    folder = Path(mkdtemp(prefix="bench-intake-"))
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        signer = Signer()
        sys.stderr.write(f"signing {options.deliveries} deliveries\n")
        script = _requests(folder, signer, options.deliveries)
        postgres = stack.enter_context(Postgres(is_durable=True))
        for _ in range(options.rounds):
            for name in options.only.split(","):
                url = {
                    "sqlite": f"sqlite:///{folder / str(time.time_ns())}.db",
                    "postgresql": postgres.create_database(),
                }.get(name)
                with _receiver(folder, signer, url) as (port, pid):
                    figures = _measured(port, pid, script, options.connections, options.seconds)
                found.setdefault(name, []).append(figures)
                sys.stderr.write(
                    f"{name}: {figures[0]:.0f}/s, p50 {figures[1]:.1f} ms, p99 {figures[2]:.1f} ms\n"
                )
    sys.stdout.write("| ledger | deliveries/s | p50 ms | p99 ms | CPU ms each |\n|---|---|---|---|---|\n")
    for name, rounds in found.items():
        rate, half, tail, cpu = (median(values) for values in zip(*rounds, strict=True))
        sys.stdout.write(f"| {name} | {rate:.0f} | {half:.1f} | {tail:.1f} | {cpu:.2f} |\n")


def _requests(folder: Path, signer: Signer, count: int) -> Path:
    """Write the requests as they go over the wire, and the script that sends them."""
    requests = folder / "requests"
    with requests.open("wb") as file, requests.with_suffix(".sizes").open("w") as sizes:
        for _ in range(count):
            delivery = signer.uploaded(
                file_name=f"{time.time_ns()}.mp4", link="https://h.example/a.mp4?s=1", size_bytes=1
            )
            head = f"POST /webhook HTTP/1.1\r\nHost: archiver\r\nContent-Length: {len(delivery.body)}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in delivery.headers.items())
            request = f"{head}\r\n".encode() + delivery.body
            file.write(request)
            sizes.write(f"{len(request)}\n")
    script = folder / "send.lua"
    script.write_text(_SCRIPT.format(requests=requests))
    return script


@contextlib.contextmanager
def _receiver(folder: Path, signer: Signer, url: str | None) -> Iterator[tuple[int, int]]:
    port, admin = free_ports(2)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARCHIVER_")}
    environment |= {
        "ARCHIVER_WEBHOOK_PUBLIC_KEY": signer.public_pem,
        "ARCHIVER_DATABASE_URL": url or f"sqlite:///{folder}/unused.db",
        "ARCHIVER_ROLE": "receiver",
        "ARCHIVER_HOST": "127.0.0.1",
        "ARCHIVER_PORT": str(port),
        "ARCHIVER_ADMIN_PORT": str(admin),
    }
    what = ["-m", "service", "serve"] if url else ["-m", "tests.bench.intake_of_nothing"]
    ready = f"http://127.0.0.1:{admin}/readyz" if url else f"http://127.0.0.1:{port}/healthz"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *what], env=environment, stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(ready, timeout=1).close()
                    break
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def _measured(
    port: int, pid: int, script: Path, connections: int, seconds: int
) -> tuple[float, float, float, float]:
    """Deliveries a second, the median and the 99th percentile of milliseconds, and CPU milliseconds each."""
    before, began_at = cpu_seconds(pid), time.monotonic()
    wrk = [find_program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command = [*wrk, "-s", str(script), f"http://127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - began_at
    if done.returncode or done.stderr or "Non-2xx" in done.stdout:
        raise SystemExit(f"not every delivery was taken: {done.stdout}{done.stderr[:500]}")
    rate = float(_RATE.findall(done.stdout)[0])
    tails = {share: float(value) * _UNITS_MS[unit] for share, value, unit in _TAIL.findall(done.stdout)}
    return rate, tails["50"], tails["99"], (cpu_seconds(pid) - before) * 1000 / (rate * took_s)


if __name__ == "__main__":
    main()
