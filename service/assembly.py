"""What a worker is made of, wired as the settings say. A process that only receives loads nothing of it."""

import asyncio
import contextlib
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from service.archive import Archivist
from service.budget import Budget, Gate
from service.deadlines import Deadlines
from service.destination import Destination, Destinations
from service.enduring import kept_up
from service.guard import Guard
from service.ledger import Database, Duties, Intake, Progress, View, Work
from service.links import Links
from service.moving import Mover
from service.naming import KeyTemplate
from service.news import News
from service.placing import Placing
from service.provider import Pace, ProviderApi, api_session
from service.reconcile import Reconciler
from service.settings import MIB, Settings
from service.source import Source
from service.storage import open_storage
from service.telemetry import Metrics
from service.transfer import Transfer
from service.worker import Worker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Assembly:
    """Makes the parts of one worker; ``resources`` closes what they opened."""

    settings: Settings
    database: Database
    metrics: Metrics
    resources: contextlib.AsyncExitStack

    async def apis(self) -> Mapping[str, ProviderApi]:
        """The APIs of the apps that have credentials, by their names."""
        known = [app for app in self.settings.apps if app.authorization is not None]
        session = await self.resources.enter_async_context(api_session())
        return {
            app.name: ProviderApi(
                app,
                session,
                pace=Pace(clock=time.monotonic, sleep=asyncio.sleep),
                jitter=random.random,
            )
            for app in known
        }

    async def worker(self, apis: Mapping[str, ProviderApi], draining: asyncio.Event) -> Worker:
        """The worker with all that it needs, every storage opened. Raises what opening one does."""
        at_once = self.settings.parts_in_flight * self.settings.artifacts_in_flight

        async def opened(name: str) -> Destination | None:
            config = self.settings.routing.config(name)
            if config is None:
                return None
            return Destination(
                name,
                await open_storage(config),
                gate=Gate(at_once, clock=time.monotonic),
                clock=time.monotonic,
                sleep=asyncio.sleep,
                jitter=random.random,
            )

        destinations = Destinations(opened)
        self.resources.push_async_callback(destinations.close)
        await destinations.open(self.settings.storages)
        source = Source(Guard(self.settings.source_hosts), jitter=random.random, at_once=at_once)
        self.resources.push_async_callback(source.close)
        work = Work(self.database, owner=_owner(), lease_s=self.settings.lease_seconds)
        progress = Progress(self.database, lease_s=self.settings.lease_seconds)
        links = Links(apis)
        mover = Mover(
            work=work,
            progress=progress,
            source=source,
            destinations=destinations,
            placing=Placing(
                progress, View(self.database), KeyTemplate.parse(self.settings.key_template), self.metrics
            ),
            links=links,
            transfer=Transfer(
                budget=Budget(self.settings.memory_budget_mib * MIB),
                parts_in_flight=self.settings.parts_in_flight,
                draining=draining,
            ),
            least_part_size=self.settings.part_size_mib * MIB,
            metrics=self.metrics,
            clock=time.monotonic,
        )
        archivist = Archivist(
            work=work,
            view=View(self.database),
            mover=mover,
            destinations=destinations,
            routing=self.settings.routing,
            links=links,
            from_provider=self.settings.storage_from_provider,
            metrics=self.metrics,
            jitter=random.random,
        )
        return Worker(
            work,
            archivist,
            at_once=self.settings.artifacts_in_flight,
            lease_s=self.settings.lease_seconds,
            draining=draining,
            metrics=self.metrics,
            clock=time.monotonic,
            jitter=random.random,
        )

    def watch(self, apis: Mapping[str, ProviderApi], intake: Intake, worker: Worker) -> News:
        """Start what is done now and then beside the worker; returns whom to tell of events."""
        duties = Duties(self.database, owner=_owner(), lease_s=self.settings.lease_seconds)
        deadlines = Deadlines(View(self.database), duties, self.metrics)
        kept_up(self.resources, deadlines.run)
        asked = asyncio.Event()
        news = News(self.metrics, to_archive=worker.wake, to_ask=asked.set)
        reconciler = Reconciler(
            list(apis.items()),
            duties,
            intake,
            kinds=self.settings.wanted,
            every_s=self.settings.reconcile_minutes * 60,
            news=news,
            metrics=self.metrics,
            clock=time.time,
            woken=asked,
        )
        kept_up(self.resources, reconciler.run)
        return news


def _owner() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
