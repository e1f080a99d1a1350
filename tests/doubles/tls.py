"""TLS as it should be and as it should not: an authority of one's own, and ends with its certificates."""

import asyncio
import ipaddress
import socket
import ssl
import threading
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Self, get_args

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.doubles.wire import READ_LIMIT, Listener, read_head

__all__ = ["FLAWS", "Authority", "ConnectProxy", "Flaw", "OldEnd", "TlsEnd"]

Flaw = Literal["old protocol", "self-signed", "another host", "expired"]
FLAWS: Final[tuple[Flaw, ...]] = get_args(Flaw)


class Authority:
    """Signs certificates; ``file`` is what a client that trusts it is given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("an authority of the tests")
        self.file = folder / "authority.pem"
        is_authority = x509.BasicConstraints(ca=True, path_length=0)
        builder = _certificate(self._name, self._name, self._key).add_extension(is_authority, critical=True)
        self.file.write_bytes(builder.sign(self._key, SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self, host: str, flaw: Flaw | None = None, *, only: str = "") -> ssl.SSLContext:
        """What a server presents that is called ``host``, with a ``flaw``; ``only``: no other TLS version."""
        name = "another.example.com" if flaw == "another host" else host
        own = flaw == "self-signed"
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        builder = _certificate(
            subject, subject if own else self._name, key, shift_days=-10 if flaw == "expired" else 0
        ).add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        file = self._folder / f"{host}-{flaw}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + builder.sign(key if own else self._key, SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # an old protocol is what is wanted
            if flaw == "old protocol":
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
                context.set_ciphers("ALL:@SECLEVEL=0")
            elif only:
                context.minimum_version = context.maximum_version = ssl.TLSVersion[only]
        return context


class TlsEnd(Listener):
    """Speaks TLS as ``context`` says, and hands on what it is asked to a port of this machine; `async with`.

    ``asked`` counts the connections on which anything was asked: whoever refuses the certificate does not.
    """

    def __init__(self, context: ssl.SSLContext, target: int) -> None:
        super().__init__()
        self._context = context
        self._target = target
        self.asked = 0
        self.versions: set[str] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=READ_LIMIT, ssl=self._context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def base_url(self) -> str:
        """`https://127.0.0.1:<port>`, without a slash at the end."""
        return f"https://127.0.0.1:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand everything on, both ways, until one side ends."""
        first = await reader.read(READ_LIMIT)
        if not first:
            return
        self.asked += 1
        self.versions.add(writer.get_extra_info("ssl_object").version())
        await _join(self._target, reader, writer, first)


class ConnectProxy(Listener):
    """A proxy that knows `CONNECT` alone; ``asked`` counts how often; `async with`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One tunnel."""
        head = await read_head(reader)
        if head is not None and head.start[0] == "CONNECT":
            self.asked += 1
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _join(int(head.start[1].rpartition(":")[2]), reader, writer, b"")


class OldEnd:
    """Offers nothing newer than TLS 1.1, and says so by an alert, where asyncio's server would only hang up.

    Use it as `with`. ``asked`` counts the clients that were content with it.
    """

    def __init__(self, authority: Authority) -> None:
        self._context = authority.context("127.0.0.1", "old protocol")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.base_url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(10)
                wrap = self._context.wrap_socket
                with connection, suppress(OSError), wrap(connection, server_side=True) as secured:
                    # None where the client was gone at once: then there was no handshake.
                    self.asked += secured.version() is not None


async def _join(
    target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes
) -> None:
    """Hand on what comes, ``first`` before all, and back what is answered, until one side ends."""
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
    inner_writer.write(first)
    ways = [asyncio.create_task(_pour(*way)) for way in ((reader, inner_writer), (inner_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        inner_writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while received := await reader.read(READ_LIMIT):
            writer.write(received)
            await writer.drain()


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, shift_days: int = 0
) -> x509.CertificateBuilder:
    now = datetime.now(UTC) + timedelta(days=shift_days)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
