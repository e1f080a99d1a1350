"""What the service tells of itself: its metrics; its log lines are made in :mod:`service.logs`."""

import math
from collections.abc import Collection, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from service import __version__
from service.errors import ArchiverError, ProviderError, SourceError, StorageError
from service.logs import Redaction, configure_logging

__all__ = ["Metrics", "Redaction", "configure_logging", "family_of"]


def family_of(error: BaseException) -> str:
    """An error's family, as a metric's label names it: what is none of ours is ``Fault``."""
    return type(error).__name__ if isinstance(error, ArchiverError) else "Fault"


class Metrics:
    """Every metric of the process, in a registry of its own."""

    def __init__(self) -> None:
        # When each series began is another series for each: nothing here asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.build = Info(
            "dyte_archiver_build",
            "The version that runs.",
            registry=self.registry,
        )
        self.build.info({"version": __version__})
        self.deliveries = Counter(
            "dyte_archiver_deliveries",
            "Deliveries by app, provider, event and outcome.",
            ["app", "provider", "event_name", "outcome"],
            registry=self.registry,
        )
        self.verification_seconds = Histogram(
            "dyte_archiver_verification_seconds",
            "To verify a delivery's signature, the key's fetch included where it came to that.",
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5),
            registry=self.registry,
        )
        self.artifacts = Counter(
            "dyte_archiver_artifacts",
            "Artifacts by app, kind and how their try ended.",
            ["app", "kind", "outcome"],
            registry=self.registry,
        )
        self.retries = Counter(
            "dyte_archiver_retries",
            "Tries of files that failed and are made again, by the error's family.",
            ["reason"],
            registry=self.registry,
        )
        self.renewed_links = Counter(
            "dyte_archiver_renewed_links",
            "Links renewed at the provider's API.",
            ["app"],
            registry=self.registry,
        )
        self.found = Counter(
            "dyte_archiver_found",
            "Recordings and sessions with files that the provider's API told of, and no delivery had.",
            ["app"],
            registry=self.registry,
        )
        self.recordings = Counter(
            "dyte_archiver_recordings",
            "News of recordings by status.",
            ["app", "status"],
            registry=self.registry,
        )
        self.reconciled_at = Gauge(
            "dyte_archiver_reconciled_timestamp_seconds",
            "When this process last compared the ledger with all that the provider has.",
            ["app"],
            registry=self.registry,
        )
        self.nearest_deadline = Gauge(
            "dyte_archiver_nearest_deadline_seconds",
            "Until the provider deletes the next file that is stored nowhere; +Inf if all are stored.",
            registry=self.registry,
        )
        self.nearest_deadline.set(math.inf)
        self.near_deadline = Gauge(
            "dyte_archiver_near_deadline_artifacts",
            "Files stored nowhere that the provider deletes within 24 hours.",
            ["app"],
            registry=self.registry,
        )
        self.due = Gauge(
            "dyte_archiver_due_artifacts",
            "Files to be moved now, of all processes, and not those that wait for another try.",
            registry=self.registry,
        )
        self.backlog = Gauge(
            "dyte_archiver_backlog_artifacts",
            "Files without their manifest yet, of all processes, by state.",
            ["state"],
            registry=self.registry,
        )
        self.oldest_waiting = Gauge(
            "dyte_archiver_oldest_waiting_seconds",
            "Since the first news of the file that is longest not stored, paused ones aside; 0 if all are.",
            registry=self.registry,
        )
        self.notices = Counter(
            "dyte_archiver_notices",
            "Notices by type and how sending them ended.",
            ["type", "outcome"],
            registry=self.registry,
        )
        self.waiting_notices = Gauge(
            "dyte_archiver_waiting_notices",
            "Notices of all processes that were not taken yet, and not given up.",
            registry=self.registry,
        )
        self.moved_bytes = Counter(
            "dyte_archiver_moved_bytes",
            "Bytes confirmed by the storage.",
            ["storage"],
            registry=self.registry,
        )
        self.archive_seconds = Histogram(
            "dyte_archiver_archive_seconds",
            "From the claim to the end of a try that stored the file.",
            ["storage"],
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
            registry=self.registry,
        )
        self.storage_request_seconds = Histogram(
            "dyte_archiver_storage_request_seconds",
            "Requests to the storage that it answered, such as a part's.",
            ["storage"],
            buckets=(0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60),
            registry=self.registry,
        )
        self.verified = Counter(
            "dyte_archiver_verified_copies",
            "Copies that were read back because somebody asked for it.",
            ["outcome"],
            registry=self.registry,
        )
        self.repeated_requests = Counter(
            "dyte_archiver_repeated_requests",
            "Requests to the storage that were sent again, by the error's family.",
            ["storage", "reason"],
            registry=self.registry,
        )
        self.storage_failures = Counter(
            "dyte_archiver_storage_failures",
            "Tries of files, and manifests, that failed in the storage, by the error's family.",
            ["storage", "reason"],
            registry=self.registry,
        )
        self.parts_in_flight = Gauge(
            "dyte_archiver_parts_in_flight",
            "Parts that this process has in memory.",
            registry=self.registry,
        )
        self.memory_budget = Gauge(
            "dyte_archiver_memory_budget_bytes",
            "Memory that this process may use for parts.",
            registry=self.registry,
        )
        self.memory_used = Gauge(
            "dyte_archiver_memory_budget_used_bytes",
            "Memory that parts in flight take of it.",
            registry=self.registry,
        )

    def begin(self, *, apps: Collection[str], kinds: Collection[str], storages: Collection[str]) -> None:
        """Show at 0 what a process that moves files counts: to Prometheus a first value is no increase."""
        for app in apps:
            self.renewed_links.labels(app)
            self.found.labels(app)
            for kind in kinds:
                for outcome in ("stored", "failed", "expired", "lease_lost"):
                    self.artifacts.labels(app, kind, outcome)
        for family in (SourceError, StorageError, ProviderError):
            for reason in _families(family):
                self.retries.labels(reason)
        for storage in storages:
            self.moved_bytes.labels(storage)
            self.archive_seconds.labels(storage)
            for reason in _families(StorageError):
                self.storage_failures.labels(storage, reason)


def _families(family: type[ArchiverError]) -> Iterator[str]:
    for each in family.__subclasses__():
        yield each.__name__
        yield from _families(each)
