"""The service: both ports and the worker in one loop, from start to drained."""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp

from service import __version__
from service.admin import Admin
from service.choices import Role
from service.deadlines import Deadlines
from service.enduring import kept_up
from service.errors import LedgerRefused, LedgerUnavailable, SettingsError
from service.keys import key_rings, key_session
from service.ledger import Database, Duties, Intake, Pruning, View
from service.ledger.duties import own_name
from service.ledger.intake import Outcome
from service.model import Delivery, Event
from service.news import News
from service.receiver import Receiver
from service.server import Server, listen
from service.settings import PREFIX, Settings
from service.telemetry import Metrics
from service.tracing import open_tracing

if TYPE_CHECKING:
    from service.worker import Worker

_PRUNE_EVERY_S = 3600.0
_DAY_S = 86400.0
_NOTICES_KEEP_S = 30 * _DAY_S
"""At least: what is looked for, and not known to be told, is told again."""
_COMMIT_S = 0.9
"""A delivery that is not committed by then is answered 503; the provider sends it again."""
_AWAIT_S = 1.0
_TOLD_EVERY_S = 60.0

log = structlog.get_logger()


class _Intake(Intake):
    """Takes nothing before the ledger is open."""

    is_open = False

    async def record(self, delivery: Delivery, event: Event) -> Outcome:
        if not self.is_open:
            raise LedgerUnavailable("it is not open yet")
        return await super().record(delivery, event)


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    While the ledger's database is away it is waited for, with its ports open. Raises
    :class:`~service.errors.ArchiverError` if the service cannot start.
    """
    draining = asyncio.Event()
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as resources:
        public = None
        if settings.role is not Role.WORKER:
            public = _listen(resources, settings.host, settings.port, "PORT")
        admin = _listen(resources, settings.host, settings.admin_port, "ADMIN_PORT")
        _catch_signals(draining)
        tracing = open_tracing(os.environ, version=__version__)
        if tracing is not None:
            resources.push_async_callback(tracing.close)
        database = Database(settings.database_url.get_secret_value())
        resources.push_async_callback(database.close)
        resources.enter_context(database.alone())

        intake = _Intake(database, kinds=settings.wanted, within_s=_COMMIT_S)

        async def check() -> None:
            await database.check_ready()
            if not intake.is_open:
                raise LedgerUnavailable("it is not open yet")

        worker, news = None, News(metrics)

        def announced(event: Event) -> None:
            news(event)  # whoever it is by then

        if settings.role is not Role.RECEIVER:
            from service.assembly import Assembly

            assembly = Assembly(settings, database, metrics, resources, tracing)
            apis = await assembly.apis()
            worker = await assembly.worker(apis, draining)
        token = settings.admin_token.get_secret_value() if settings.admin_token else None
        apps: list[tuple[socket.socket, ASGIApp]] = [
            (
                admin,
                Admin(
                    check=check, draining=draining.is_set, metrics=metrics, database=database, token=token
                ).app,
            )
        ]
        if public is not None:
            session = await resources.enter_async_context(key_session())
            senders = key_rings(settings.apps, session, clock=time.monotonic)
            receiver = Receiver(senders, intake, metrics=metrics, announced=announced, tracing=tracing)
            apps.append((public, receiver.app))
        # Deliveries are taken to the end: while the worker drains they only go into the ledger.
        async with _serving(apps):
            if await _is_opened(database, draining):
                # Each process, so that its metrics tell of the work also when no worker is there.
                duties = Duties(database, owner=own_name(), lease_s=settings.lease_seconds)
                kept_up(resources, Deadlines(View(database), duties, metrics).run)
                if worker is not None:
                    news = assembly.watch(apis, intake, worker)
                    await assembly.tell(worker)
                if settings.role is not Role.WORKER:
                    kept_up(resources, partial(_prune, Pruning(database), settings))
                intake.is_open = True
                log.info(
                    "service_started",
                    version=__version__,
                    role=settings.role,
                    port=public.getsockname()[1] if public else None,
                    admin_port=admin.getsockname()[1],
                    storages={name: config.label for name, config in settings.storages.items()},
                )
                _settle_in()
                await _run(worker, draining, settings.drain_seconds)
    log.info("service_stopped")


@contextlib.asynccontextmanager
async def _serving(apps: Sequence[tuple[socket.socket, ASGIApp]]) -> AsyncIterator[None]:
    servers = [Server(app) for _, app in apps]
    serving = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, (listener, _) in zip(servers, apps, strict=True)
    ]
    try:
        yield
    finally:
        for server in servers:
            server.end()
        await asyncio.gather(*serving)


async def _is_opened(database: Database, draining: asyncio.Event) -> bool:
    """True once the ledger is there, False if draining is set before; raises what waiting does not mend."""
    stop = asyncio.create_task(draining.wait())
    told_at = -math.inf
    try:
        while not stop.done():
            opening = asyncio.create_task(database.migrate())
            await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                break
            try:
                await opening
            except LedgerRefused:
                raise
            except LedgerUnavailable as error:
                if time.monotonic() - told_at >= _TOLD_EVERY_S:
                    told_at = time.monotonic()
                    log.error("ledger_awaited", error=str(error))
                await asyncio.wait([stop], timeout=_AWAIT_S)
            else:
                return True
    finally:
        stop.cancel()
    return False


async def _run(worker: "Worker | None", draining: asyncio.Event, drain_s: float) -> None:
    """Until draining is set; then give the worker ``drain_s`` for its parts in flight."""
    working = asyncio.create_task(worker.run() if worker else draining.wait())
    stop = asyncio.create_task(draining.wait())
    await asyncio.wait([working, stop], return_when=asyncio.FIRST_COMPLETED)
    if not stop.done():
        stop.cancel()
        await working  # it broke off: raises why
    log.info("draining_began", seconds=drain_s)
    _, late = await asyncio.wait([working], timeout=drain_s)
    if late:
        log.warning("parts_dropped", reason="they did not finish in time; they are moved again")
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


def _settle_in() -> None:
    """Keep the loop's turns short while parts move, so that deliveries are answered in time."""
    # What start-up left for good is not looked at again: a full collection over it takes a tenth of a second.
    gc.collect()
    gc.freeze()
    # The ledger's thread asks for the interpreter at every statement: 5 ms each would add up.
    sys.setswitchinterval(0.001)


def _catch_signals(draining: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if draining.is_set():
            os._exit(128 + number)  # the ledger and the storage are always ready for that
        draining.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _listen(resources: contextlib.AsyncExitStack, host: str, port: int, name: str) -> socket.socket:
    try:
        listener = listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}{name}: cannot listen on {host} port {port}: {error.strerror}"
        ) from error
    resources.callback(listener.close)
    return listener


async def _prune(pruning: Pruning, settings: Settings) -> None:
    while True:
        try:
            pruned = await pruning.deliveries(keep_s=settings.deliveries_keep_days * _DAY_S)
            log.debug("deliveries_pruned", count=pruned)
            keep_s = max(settings.deliveries_keep_days * _DAY_S, _NOTICES_KEEP_S)
            log.debug("notices_pruned", count=await pruning.notices(keep_s=keep_s))
            if settings.archived_keep_days:
                closed = await pruning.files(keep_s=settings.archived_keep_days * _DAY_S)
                log.debug("recordings_closed", count=closed)
        except LedgerUnavailable as error:
            log.warning("prune_failed", error=str(error))
        await asyncio.sleep(_PRUNE_EVERY_S)
