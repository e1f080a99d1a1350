"""The public port on loopback: the service's own server and receiver, a real ledger, raw connections."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from service.apps import App
from service.errors import KeyUnavailable
from service.ledger import Database, Intake
from service.model import Event, Provider
from service.receiver import KeyRing, Receiver
from service.server import Server, listen
from service.signature import PinnedKeys, load_keys
from service.telemetry import Metrics
from tests.doubles.sender import Family, Sender

__all__ = ["Answer", "AwayKeys", "PublicPort", "Stage", "Wire", "receiving", "samples_in"]


@dataclass(frozen=True)
class Answer:
    """What came back: the status and the JSON, ``{}`` where there was none."""

    status: int
    fields: dict[str, Any]


class AwayKeys:
    """A key ring whose keys cannot be had, for the providers named; the others' signatures pass."""

    def __init__(self, *away: Provider, inner: KeyRing) -> None:
        self._away = away
        self._inner = inner

    async def check(self, provider: Provider, body: bytes, signature: str) -> None:
        """Raise ``KeyUnavailable`` where the key is away."""
        if provider in self._away:
            raise KeyUnavailable("it is away")
        await self._inner.check(provider, body, signature)


class Wire:
    """A raw connection, for what an HTTP client would not send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, raw: bytes) -> None:
        """Send some bytes; raises OSError once the other side has closed."""
        self._writer.write(raw)
        await self._writer.drain()

    async def status(self) -> int:
        """The status of the next answer, whose body is read and dropped."""
        async with asyncio.timeout(5):
            head = await self._reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await self._reader.readexactly(int(line.partition(b":")[2]))
        return int(head.split(b" ", 2)[1])

    async def rest(self) -> bytes:
        """Everything until the other side closes, which it does within two seconds."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(2):
                return await self._reader.read()
        return b""

    async def is_closed(self) -> bool:
        """Whether the other side closes without another word."""
        return await self.rest() == b""


@dataclass
class PublicPort:
    """A receiver that listens, and what lies behind it."""

    port: int
    ledger: Path
    metrics: Metrics
    http: aiohttp.ClientSession
    announcements: list[Event] = field(default_factory=list)

    async def post(self, body: bytes, headers: dict[str, str], path: str = "/webhook") -> Answer:
        """Deliver ``body`` with exactly these headers."""
        return await self.request("POST", path, data=body, headers=headers)

    async def deliver(self, sender: Sender, body: bytes, family: Family = "dyte", **headers: str) -> Answer:
        """Deliver ``body`` as the provider does."""
        return await self.post(body, sender.headers(body, family) | headers)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Any request, over a connection that may be reused."""
        async with self.http.request(method, path, allow_redirects=False, **options) as response:
            is_json = response.content_type == "application/json"
            return Answer(response.status, await response.json() if is_json else {})

    @contextlib.asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection of one's own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What another process finds in the ledger's file now."""
        with contextlib.closing(sqlite3.connect(self.ledger)) as connection:
            return connection.execute(query).fetchall()

    def counted(self, **labels: str) -> float:
        """How many deliveries were counted with these labels, whatever the others."""
        samples = [sample for family in self.metrics.registry.collect() for sample in family.samples]
        return sum(
            sample.value
            for sample in samples
            if sample.name == "dyte_archiver_deliveries_total" and labels.items() <= sample.labels.items()
        )


def samples_in(exposition: str) -> dict[str, float]:
    """The samples of Prometheus' text format, by name and labels; raises ValueError where it is not that."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


class Stage:
    """The service's own server, on a free port for the whole session; each test puts its app on it."""

    def __init__(self) -> None:
        self.app: Any = None
        self.port = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Be the app that is on stage now."""
        await self.app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Listen until the end of the block."""
        listener = listen("127.0.0.1", 0)
        self.port = int(listener.getsockname()[1])
        server = Server(self)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield self
        finally:
            server.end()
            await running

    @contextlib.asynccontextmanager
    async def serving(self, app: Any) -> AsyncIterator[aiohttp.ClientSession]:
        """Put ``app`` on; gives a session on it."""
        self.app = app
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}", timeout=aiohttp.ClientTimeout(total=10)
        ) as http:
            yield http


@contextlib.asynccontextmanager
async def receiving(
    stage: Stage,
    ledger: Path,
    sender: Sender,
    *,
    keys: KeyRing | None = None,
    apps: Sequence[App] = (App(),),
    senders: Mapping[KeyRing, Sequence[App]] | None = None,
) -> AsyncIterator[PublicPort]:
    """The receiver over the ledger at ``ledger``, trusting ``sender`` unless it has other ``keys``.

    ``senders`` are several keys, each with its apps, in place of all that.
    """
    metrics = Metrics()
    database = Database(f"sqlite:///{ledger}")
    announcements: list[Event] = []
    receiver = Receiver(
        senders or {keys or PinnedKeys(load_keys(sender.public_pem)): apps},
        Intake(database),
        metrics=metrics,
        announced=announcements.append,
    )
    try:
        async with stage.serving(receiver.app) as http:
            yield PublicPort(stage.port, ledger, metrics, http, announcements)
    finally:
        await database.close()
