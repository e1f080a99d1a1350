"""What a worker is made of, wired as the settings say. A process that only receives loads nothing of it."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from service.archive import Archivist
from service.budget import Budget, Gate
from service.deadlines import ALARM_S
from service.destination import Destination, Destinations
from service.enduring import kept_up
from service.guard import Guard
from service.ledger import Database, Duties, Intake, Notices, Outbox, Progress, View, Work
from service.ledger.duties import own_name
from service.ledger.verifications import Verifications
from service.links import Links
from service.moving import Mover
from service.naming import KeyTemplate
from service.news import News
from service.notice import Where
from service.placing import Placing
from service.provider import Pace, ProviderApi, api_session
from service.reconcile import Reconciler
from service.settings import MIB, Settings
from service.source import Source
from service.storage import open_storage
from service.telemetry import Metrics, Redaction
from service.tracing import Tracing
from service.transfer import Transfer
from service.verifying import Verifier
from service.worker import Worker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Assembly:
    """Makes the parts of one worker; ``resources`` closes what they opened."""

    settings: Settings
    database: Database
    metrics: Metrics
    resources: contextlib.AsyncExitStack
    tracing: Tracing | None = None

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
                metrics=self.metrics,
            )

        destinations = Destinations(opened)
        self.resources.push_async_callback(destinations.close)
        await destinations.open(self.settings.storages)
        source = Source(Guard(self.settings.source_hosts), jitter=random.random, at_once=at_once)
        self.resources.push_async_callback(source.close)
        work = Work(
            self.database,
            owner=own_name(),
            lease_s=self.settings.lease_seconds,
            notices=self._notices() if self.settings.notice_topics else None,
        )
        progress = Progress(self.database, lease_s=self.settings.lease_seconds)
        links = Links(apis)
        budget = Budget(self.settings.memory_budget_mib * MIB)
        self._measure(budget)
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
                budget=budget,
                parts_in_flight=self.settings.parts_in_flight,
                draining=draining,
            ),
            least_part_size=self.settings.part_size_mib * MIB,
            metrics=self.metrics,
            clock=time.monotonic,
            tracing=self.tracing,
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
            tracing=self.tracing,
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
            tracing=self.tracing,
        )

    def _measure(self, budget: Budget) -> None:
        """Have the metrics tell what this process may do, and what it uses when they are read."""
        self.metrics.begin(
            apps=[app.name for app in self.settings.apps],
            kinds=self.settings.wanted,
            storages=self.settings.storages.keys(),
        )
        self.metrics.memory_budget.set(budget.limit_bytes)
        self.metrics.memory_used.set_function(lambda: budget.used_bytes)
        self.metrics.parts_in_flight.set_function(lambda: budget.in_flight)

    async def tell(self, worker: Worker) -> None:
        """Start telling the customer's own system, if there is one."""
        if self.settings.notice_url is None:
            return
        # Nobody else needs it.
        from service.notices import Lookout, Post, Sending, notice_session

        outbox = Outbox(self.database)
        lookout = Lookout(
            self._notices(),
            outbox,
            Duties(self.database, owner=own_name(), lease_s=self.settings.lease_seconds),
            self.metrics,
            failing_s=self.settings.notice_failed_minutes * 60,
            near_s=ALARM_S,
        )
        kept_up(self.resources, lookout.run)
        session = await self.resources.enter_async_context(notice_session())
        sending = Sending(
            outbox,
            Post(
                session,
                self.settings.notice_url.get_secret_value(),
                secrets=self.settings.notice_secrets,
                clock=time.time,
            ),
            worker.destinations,
            topics=self.settings.notice_topics,
            link_s=self.settings.notice_link_hours * 3600,
            mask=Redaction(self.settings.secrets).mask,
            metrics=self.metrics,
            clock=time.monotonic,
            jitter=random.random,
        )
        kept_up(self.resources, sending.run)

    def _notices(self) -> Notices:
        def where(name: str) -> Where:
            return Where.of(name, self.settings.routing.config(name))

        return Notices(self.database, topics=self.settings.notice_topics, where=where)

    def watch(self, apis: Mapping[str, ProviderApi], intake: Intake, worker: Worker) -> News:
        """Start what is done now and then beside the worker; returns whom to tell of events."""
        duties = Duties(self.database, owner=own_name(), lease_s=self.settings.lease_seconds)
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
        verifier = Verifier(
            Verifications(self.database),
            worker.destinations,
            lease_s=self.settings.lease_seconds,
            metrics=self.metrics,
        )
        kept_up(self.resources, verifier.run)
        return news
