"""Who tells a pod in Azure who it is: Microsoft Entra's token endpoint, a machine's metadata service."""

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.bench.certs import Certificates

__all__ = ["IdentityServer"]

RESOURCE = "https://storage.azure.com"


class IdentityServer:
    """Answers both on one loopback port, over TLS with certificates: Entra is asked over nothing else.

    `asked` has what came: path, form or query, and headers. The tokens are such as Azurite takes.
    """

    def __init__(self, *, certificates: Certificates | None = None) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer(form, {"expires_in": 3600})

            def do_GET(self) -> None:
                expires_on = str(int(time.time()) + 3600)
                self._answer(urlsplit(self.path).query, {"expires_on": expires_on, "resource": RESOURCE})

            def _answer(self, given: str, validity: dict[str, object]) -> None:
                values = {name: each[0] for name, each in parse_qs(given).items()}
                outer.asked.append((urlsplit(self.path).path, values, dict(self.headers)))
                page = json.dumps({"token_type": "Bearer", "access_token": token(), **validity}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates.server_chain, certificates.server_key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def token() -> str:
    """A JSON web token for Azure Storage, signed by nobody."""
    now = int(time.time())
    claims = {
        "aud": RESOURCE,
        "iss": "https://sts.windows.net/tenant/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = [json.dumps(each).encode() for each in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in [*parts, b"signature"])
