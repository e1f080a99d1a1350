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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from service import __version__
from service.admin import Admin
from service.apps import App
from service.archive import Archivist
from service.budget import Budget, Gate
from service.deadlines import Deadlines
from service.destination import Destination, Destinations
from service.errors import LedgerUnavailable, SettingsError
from service.guard import Guard
from service.keys import fetch_key, key_session, key_urls
from service.ledger import Database, Duties, Intake, Progress, View, Work
from service.links import Links
from service.moving import Mover
from service.naming import KeyTemplate
from service.news import News
from service.placing import Placing
from service.provider import Pace, ProviderApi, api_session
from service.receiver import KeyRing, Receiver
from service.reconcile import Reconciler
from service.server import Server, listen
from service.settings import MIB, PREFIX, Role, Settings
from service.signature import FetchedKeys, PinnedKeys, load_keys
from service.source import Source
from service.storage import open_storage
from service.telemetry import Metrics
from service.transfer import Transfer
from service.worker import Worker

_PRUNE_EVERY_S = 3600.0
_BROKEN_S = 60.0

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

        intake = Intake(database, kinds=settings.wanted)
        worker, news = None, News(metrics, to_archive=_nothing, to_ask=_nothing)
        if settings.role is not Role.RECEIVER:
            apis = await _apis(settings, resources)
            worker = await _worker(settings, database, apis, draining, metrics, resources)
            news = _watch(settings, database, apis, intake, worker, metrics, resources)
        apps = [(admin, Admin(check=database.check, draining=draining.is_set, metrics=metrics).app)]
        if settings.role is not Role.WORKER:
            senders = await _senders(settings, resources)
            apps.append((public, Receiver(senders, intake, metrics=metrics, announced=news).app))
            _keep_up(resources, partial(_prune, intake, settings.deliveries_keep_days * 86400))
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


def _nothing() -> None: ...


def _keep_up(resources: contextlib.AsyncExitStack, job: Callable[[], Awaitable[None]]) -> None:
    """Run ``job``, which never ends by itself, beside the rest; a fault of ours does not end it for good."""

    async def run() -> None:
        while True:
            try:
                await job()
            except Exception as error:
                log.error("task_broke_off", exc_info=error)
                await asyncio.sleep(_BROKEN_S)

    task = asyncio.create_task(run())

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    resources.push_async_callback(stop)


async def _apis(settings: Settings, resources: contextlib.AsyncExitStack) -> Mapping[str, ProviderApi]:
    """The APIs of the apps that have credentials, by their names."""
    known = [app for app in settings.apps if app.authorization is not None]
    session = await resources.enter_async_context(api_session())
    return {
        app.name: ProviderApi(
            app,
            session,
            pace=Pace(clock=time.monotonic, sleep=asyncio.sleep),
            jitter=random.random,
        )
        for app in known
    }


def _watch(
    settings: Settings,
    database: Database,
    apis: Mapping[str, ProviderApi],
    intake: Intake,
    worker: Worker,
    metrics: Metrics,
    resources: contextlib.AsyncExitStack,
) -> News:
    """Start what is done now and then beside the worker; returns whom to tell of events."""
    duties = Duties(database, owner=_owner(), lease_s=settings.lease_seconds)
    deadlines = Deadlines(View(database), duties, metrics)
    _keep_up(resources, deadlines.run)
    asked = asyncio.Event()
    news = News(metrics, to_archive=worker.wake, to_ask=asked.set)
    reconciler = Reconciler(
        list(apis.items()),
        duties,
        intake,
        kinds=settings.wanted,
        every_s=settings.reconcile_minutes * 60,
        news=news,
        metrics=metrics,
        clock=time.time,
        woken=asked,
    )
    _keep_up(resources, reconciler.run)
    return news


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def _worker(
    settings: Settings,
    database: Database,
    apis: Mapping[str, ProviderApi],
    draining: asyncio.Event,
    metrics: Metrics,
    resources: contextlib.AsyncExitStack,
) -> Worker:
    async def opened(name: str) -> Destination | None:
        config = settings.routing.config(name)
        if config is None:
            return None
        return Destination(
            name,
            await open_storage(config),
            gate=Gate(settings.parts_in_flight * settings.artifacts_in_flight, clock=time.monotonic),
            clock=time.monotonic,
            sleep=asyncio.sleep,
            jitter=random.random,
        )

    destinations = Destinations(opened)
    resources.push_async_callback(destinations.close)
    await destinations.open(settings.storages)
    source = Source(Guard(settings.source_hosts), jitter=random.random)
    resources.push_async_callback(source.close)
    work = Work(database, owner=_owner(), lease_s=settings.lease_seconds)
    progress = Progress(database, lease_s=settings.lease_seconds)
    links = Links(apis)
    mover = Mover(
        work=work,
        progress=progress,
        source=source,
        destinations=destinations,
        placing=Placing(progress, View(database), KeyTemplate.parse(settings.key_template), metrics),
        links=links,
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
        links=links,
        from_provider=settings.storage_from_provider,
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


async def _senders(
    settings: Settings, resources: contextlib.AsyncExitStack
) -> Mapping[KeyRing, Sequence[App]]:
    """The apps by the keys that sign for them; those of one key share its ring."""
    session = await resources.enter_async_context(key_session())

    async def fetch(url: str) -> bytes:
        document = (await fetch_key(session, url)).document
        log.info("key_fetched", url=url)
        return document

    apps: dict[tuple[str | None, str | None], list[App]] = {}
    for app in settings.apps:
        apps.setdefault((app.public_key, app.key_url), []).append(app)
    return {
        PinnedKeys(load_keys(pem))
        if pem
        else FetchedKeys(key_urls(theirs[0]), fetch, clock=time.monotonic): theirs
        for (pem, _), theirs in apps.items()
    }


async def _prune(intake: Intake, keep_s: float) -> None:
    while True:
        try:
            pruned = await intake.prune(keep_s=keep_s)
            log.debug("deliveries_pruned", count=pruned)
        except LedgerUnavailable as error:
            log.warning("prune_failed", error=str(error))
        await asyncio.sleep(_PRUNE_EVERY_S)
