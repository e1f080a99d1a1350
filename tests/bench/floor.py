"""What the machine itself takes: curl alone, from the source and to the storage, and the ciphers alone.

Nobody who copies can take less than reading and sending take together. Over TLS every byte is decrypted once
and encrypted once: `openssl speed` says what that takes with the ciphers that the two servers agree to.
"""

import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.contestants import TIMEOUT_SECONDS
from tests.bench.meter import Cost, measure_command
from tests.bench.programs import find_program, quiet_environment
from tests.bench.race import Route, Run
from tests.bench.samples import Sample
from tests.bench.storage import ACCESS_KEY, REGION, SECRET_KEY, Storage, bucket

_CIPHERS = {
    "AES128-GCM": "aes-128-gcm",
    "AES256-GCM": "aes-256-gcm",
    "CHACHA20-POLY1305": "chacha20-poly1305",
}
"""What a suite's name says in OpenSSL's spelling, whichever the version of TLS, and what `speed` calls it."""
_RECORD_BYTES = 16_384
"""A full record of TLS (RFC 8446, 5.1)."""
_SPEED = re.compile(r"^\S+\s+([\d.]+)k$", re.MULTILINE)


def measure_floor(
    storage: Storage,
    route: Route,
    sample: Sample,
    samples: Path,
    authority: Path,
    scratch: Path,
    *,
    rounds: int,
) -> Iterator[Run]:
    """Runs for the race's table. `samples` is the folder that the source serves."""
    curl = [find_program("curl"), "-sSf", "--http1.1", "--cacert", str(authority)]
    signed = ["--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{ACCESS_KEY}:{SECRET_KEY}"]
    # Unsigned, as the service sends it over TLS: else curl would hash the file first.
    signed += ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    for number in range(rounds):
        with bucket(storage, f"floor-{route.label}-{number}") as target:
            reading = [*curl, "-o", "/dev/null", f"{route.source_url}/{sample.name}"]
            sending = [*curl, *signed, "-T", str(samples / sample.name)]
            sending.append(f"{route.endpoint_url}/{target.name}/{sample.name}")
            costs = {"floor: curl reads": _run(reading, scratch), "floor: curl sends": _run(sending, scratch)}
            if target.size_bytes(sample.name) != sample.size_bytes:
                raise SystemExit("curl did not store the sample whole")
        if route.source_url.startswith("https:"):
            costs["floor: ciphers"] = _ciphers(route, sample, authority)
        for name, cost in costs.items():
            sys.stderr.write(f"{route.name} {name}: {cost.wall_s:.2f} s, {cost.cpu_s:.2f} CPU s\n")
            yield Run(
                route.name, sample.label, sample.size_bytes, name, number,
                cost.wall_s, cost.cpu_s, cost.peak_mib, int(name == "floor: curl reads"),
            )  # fmt: skip


def _run(command: list[str], scratch: Path) -> Cost:
    log = scratch / "floor.log"
    return measure_command(command, environment=quiet_environment(), log=log, timeout_s=TIMEOUT_SECONDS)


def _ciphers(route: Route, sample: Sample, authority: Path) -> Cost:
    """Decrypt the sample with the source's cipher, encrypt it with the storage's: one core, all in cache."""
    seconds = sum(
        sample.size_bytes / _bytes_a_second(_agreed(url, authority))
        for url in (route.source_url, route.endpoint_url)
    )
    return Cost(seconds, seconds, 0.0)


def _agreed(url: str, authority: Path) -> str:
    """The cipher that Python and this server choose, as `openssl speed` calls it."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection((parts.hostname or "", parts.port or 443)) as connection,
        context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
    ):
        suite = secured.cipher()
    assert suite is not None
    name = suite[0].replace("AES_", "AES").replace("_", "-")
    return next(cipher for part, cipher in _CIPHERS.items() if part in name)


def _bytes_a_second(cipher: str) -> float:
    command = [
        find_program("openssl"),
        "speed",
        "-seconds",
        "1",
        "-bytes",
        str(_RECORD_BYTES),
        "-evp",
        cipher,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet_environment())
    return float(_SPEED.findall(done.stdout)[-1]) * 1000
