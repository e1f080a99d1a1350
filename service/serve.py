"""The service: both ports and the worker in one loop, from start to drained."""

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import socket
import sys
import time

import structlog

from service import __version__
from service.admin import Admin
from service.archive import Archivist
from service.budget import Budget, Gate
from service.destination import Destination
from service.errors import LedgerUnavailable, SettingsError
from service.guard import Guard
from service.keys import fetch_key, key_session, key_urls
from service.ledger import Database, Intake, Progress, View, Work
from service.moving import Mover
from service.naming import KeyTemplate
from service.receiver import KeyRing, Receiver
from service.server import Server, listen
from service.settings import MIB, PREFIX, Role, Settings
from service.signature import FetchedKeys, PinnedKeys, load_keys
from service.source import Source
from service.storage import open_storage
from service.telemetry import Metrics
from service.transfer import Transfer
from service.worker import Worker

_PRUNE_EVERY_S = 3600.0

log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Raises :class:`~service.errors.ArchiverError` if the service cannot start.
    """
    draining = asyncio.Event()
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as resources:
        public = _listen(resources, settings.host, settings.port, "PORT")
        admin = _listen(resources, settings.host, settings.admin_port, "ADMIN_PORT")
        _catch_signals(draining)
        database = Database(settings.database_url.get_secret_value())
        resources.push_async_callback(database.close)
        await database.migrate()

        worker = None
        if settings.role is not Role.RECEIVER:
            worker = await _worker(settings, database, draining, metrics, resources)
        apps = [(admin, Admin(check=database.check, draining=draining.is_set, metrics=metrics).app)]
        if settings.role is not Role.WORKER:
            intake = Intake(database)
            receiver = Receiver(
                await _key_ring(settings, resources),
                intake,
                webhook_ids=settings.webhook_ids,
                metrics=metrics,
                announced=worker.wake if worker else lambda: None,
            )
            apps.append((public, receiver.app))
            pruning = asyncio.create_task(_prune(intake, settings.deliveries_keep_days * 86400))
            resources.callback(pruning.cancel)
        servers = [Server(app) for _, app in apps]
        serving = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, (listener, _) in zip(servers, apps, strict=True)
        ]
        log.info(
            "service_started",
            version=__version__,
            role=settings.role,
            port=public.getsockname()[1],
            admin_port=admin.getsockname()[1],
            storages={name: config.label for name, config in settings.storages.items()},
        )
        _settle_in()
        await _run(worker, draining, settings.drain_seconds)
        # Deliveries were taken until now: while the worker drained they only went into the ledger.
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
    log.info("service_stopped")


async def _run(worker: Worker | None, draining: asyncio.Event, drain_s: float) -> None:
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


async def _worker(
    settings: Settings,
    database: Database,
    draining: asyncio.Event,
    metrics: Metrics,
    resources: contextlib.AsyncExitStack,
) -> Worker:
    destinations = {}
    for name, config in settings.storages.items():
        storage = await open_storage(config)
        resources.push_async_callback(storage.close)
        destinations[name] = Destination(
            name,
            storage,
            gate=Gate(settings.parts_in_flight * settings.artifacts_in_flight, clock=time.monotonic),
            clock=time.monotonic,
            sleep=asyncio.sleep,
            jitter=random.random,
        )
    source = Source(Guard(settings.source_hosts), jitter=random.random)
    resources.push_async_callback(source.close)
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    work = Work(database, owner=owner, lease_s=settings.lease_seconds)
    mover = Mover(
        work=work,
        progress=Progress(database, lease_s=settings.lease_seconds),
        source=source,
        destinations=destinations,
        template=KeyTemplate.parse(settings.key_template),
        transfer=Transfer(
            budget=Budget(settings.memory_budget_mib * MIB),
            parts_in_flight=settings.parts_in_flight,
            draining=draining,
        ),
        least_part_size=settings.part_size_mib * MIB,
        metrics=metrics,
        clock=time.monotonic,
    )
    archivist = Archivist(
        work=work,
        view=View(database),
        mover=mover,
        destinations=destinations,
        routing=settings.routing,
        metrics=metrics,
        jitter=random.random,
    )
    return Worker(
        work,
        archivist,
        at_once=settings.artifacts_in_flight,
        lease_s=settings.lease_seconds,
        draining=draining,
        metrics=metrics,
        clock=time.monotonic,
        jitter=random.random,
    )


async def _key_ring(settings: Settings, resources: contextlib.AsyncExitStack) -> KeyRing:
    if settings.webhook_public_key:
        return PinnedKeys(load_keys(settings.webhook_public_key))
    session = await resources.enter_async_context(key_session())

    async def fetch(url: str) -> bytes:
        document = (await fetch_key(session, url)).document
        log.info("key_fetched", url=url)
        return document

    return FetchedKeys(key_urls(settings), fetch, clock=time.monotonic)


async def _prune(intake: Intake, keep_s: float) -> None:
    while True:
        try:
            pruned = await intake.prune(keep_s=keep_s)
            log.debug("deliveries_pruned", count=pruned)
        except LedgerUnavailable as error:
            log.warning("prune_failed", error=str(error))
        await asyncio.sleep(_PRUNE_EVERY_S)
