"""The recording's source: nginx on loopback, serving one folder of samples in three ways."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.certs import Certificates
from tests.bench.programs import find_program, free_ports, running, wait_for_port


@dataclass(frozen=True)
class Source:
    """Base addresses of the same folder: plain, over TLS, and held to a rate per connection.

    `held` is how S3 treats one connection, and the reason why parallel ranges exist at all.
    """

    plain: str
    tls: str
    held: str
    access_log: Path

    def answered(self) -> int:
        """How many GETs were answered so far; shows which contestant really reads in parallel ranges."""
        with self.access_log.open("rb") as log:
            return sum(line.startswith(b"GET ") for line in log)


@contextlib.contextmanager
def running_source(
    folder: Path, samples: Path, certificates: Certificates, *, held_mb_s: int
) -> Iterator[Source]:
    """Run nginx until the block ends; `held_mb_s`: megabytes a second for each held connection."""
    plain, tls, held = free_ports(3)
    access_log, conf, log = folder / "access.log", folder / "nginx.conf", folder / "nginx.log"
    conf.write_text(_configuration(folder, samples, certificates, (plain, tls, held), held_mb_s), "utf-8")
    command = [find_program("nginx"), "-c", str(conf), "-p", str(folder), "-e", str(log)]
    with running(command, log=log) as process:
        for port in (plain, tls, held):
            wait_for_port(process, port, log=log)
        yield Source(
            plain=f"http://127.0.0.1:{plain}",
            tls=f"https://127.0.0.1:{tls}",
            held=f"http://127.0.0.1:{held}",
            access_log=access_log,
        )


def _configuration(
    folder: Path, samples: Path, certificates: Certificates, ports: tuple[int, int, int], held_mb_s: int
) -> str:
    """Workers stay root if we are root: the temporary folder is closed to other users."""
    plain, tls, held = ports
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/nginx-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  log_format requests '$request_method $status $http_range $body_bytes_sent';
  access_log {folder}/access.log requests;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  root {samples};
  default_type video/mp4;
{temporary}
  server {{ listen 127.0.0.1:{plain}; }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {certificates.server_chain};
    ssl_certificate_key {certificates.server_key};
    ssl_session_cache shared:tls:1m;
  }}
  server {{ listen 127.0.0.1:{held}; limit_rate {held_mb_s * 1000}k; }}
}}
"""
