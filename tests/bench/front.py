"""A counter before the storage: nginx, which notes each request and passes it on as it came."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.bench.programs import find_program, free_ports, running, wait_for_port


@dataclass(frozen=True)
class Front:
    """An endpoint of the storage; `Host` reaches the storage unchanged, so signatures stay true."""

    url: str
    access_log: Path

    def asked(self, bucket: str) -> list[tuple[str, str]]:
        """Method and key (or nothing) of each request so far that went to a bucket."""
        with self.access_log.open("r", encoding="ascii") as log:
            lines = [line.split() for line in log]
        found = []
        for method, target, _ in lines:
            _, name, *key = unquote(urlsplit(target).path).split("/", 2)
            if name == bucket:
                found.append((method, key[0] if key else ""))
        return found


@contextlib.contextmanager
def running_front(folder: Path, storage_url: str) -> Iterator[Front]:
    """Run nginx before the storage until the block ends. Bodies stream through it."""
    (port,) = free_ports(1)
    access_log, conf, log = folder / "requests.log", folder / "front.conf", folder / "front.log"
    conf.write_text(_configuration(folder, port, urlsplit(storage_url).netloc), "utf-8")
    with running(
        [find_program("nginx"), "-c", str(conf), "-p", str(folder), "-e", str(log)], log=log
    ) as nginx:
        wait_for_port(nginx, port, log=log)
        yield Front(f"http://127.0.0.1:{port}", access_log)


def _configuration(folder: Path, port: int, storage: str) -> str:
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/front-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {folder}/front.pid;
events {{ worker_connections 1024; }}
http {{
  log_format requests '$request_method $request_uri $status';
  access_log {folder}/requests.log requests;
  keepalive_requests 100000;
  client_max_body_size 0;
{temporary}
  upstream storage {{ server {storage}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://storage;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_request_buffering off;
    }}
  }}
}}
"""
