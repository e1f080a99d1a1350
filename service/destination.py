"""Storages as the worker sees them: by name, with a bound on their requests, and known to be in trouble."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from service.budget import Gate
from service.errors import StorageError, StorageRefused, StorageThrottled, StorageUnavailable
from service.model import Attributes, Checksum, Stored
from service.retry import part_delay_s, storage_pause_s
from service.routing import configured_name
from service.storage import Storage
from service.telemetry import Metrics, family_of

_TRIES_S = 60.0
"""How long one request is sent again: a storage that is silent for longer is left to others for a while."""
_ALONE_S = 30.0
"""How long a storage in doubt is left to the one file that tries it."""
_T = TypeVar("_T")


class Destination:
    """A named storage, shared by all files of the process.

    ``clock`` counts monotonic seconds; ``sleep`` and ``jitter`` (random in [0, 1)) are for the pauses between
    tries. ``series`` is what metrics call it: as it is configured, whatever folder a recording brought.
    """

    def __init__(
        self,
        name: str,
        storage: Storage,
        *,
        gate: Gate,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float],
        metrics: Metrics | None = None,
    ) -> None:
        """Without ``metrics`` nothing is counted."""
        self.name = name
        self.series = configured_name(name)
        self.storage = storage
        self._gate = gate
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._metrics = metrics
        self._failures = 0
        self._trouble: StorageError | None = None
        self._paused_until = 0.0

    async def requested(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The answer to one request, sent again a few times while the storage is unavailable.

        The gate is narrowed when the storage asks for less. Raises what is left of the failure then: at once
        if files have failed here and nothing has been answered since, or if a minute went by with it.
        """
        attempts, until = 0, self._clock() + _TRIES_S
        while True:
            async with self._gate.request() as began_at:
                try:
                    answer = await call()
                except StorageUnavailable as failure:
                    error = failure
                    if isinstance(error, StorageThrottled):
                        self._gate.narrow(began_at)
                else:
                    self._gate.widen()
                    self._failures = 0
                    if self._metrics is not None:
                        took_s = self._clock() - began_at
                        self._metrics.storage_request_seconds.labels(self.series).observe(took_s)
                    return answer
            attempts += 1
            delay_s = part_delay_s(error, attempts, jitter=self._jitter())
            is_hopeless = self.is_doubtful and not isinstance(error, StorageThrottled)
            if delay_s is None or is_hopeless or self._clock() >= until:
                raise error
            if self._metrics is not None:
                self._metrics.repeated_requests.labels(self.series, family_of(error)).inc()
            await self._sleep(delay_s)

    async def put(
        self, key: str, body: memoryview, checksum: Checksum, attributes: Attributes, *, replace: bool
    ) -> Stored:
        """Store a small object: :meth:`~service.storage.Storage.put`, sent again as any request is."""
        return await self.requested(
            lambda: self.storage.put(key, body, checksum=checksum, attributes=attributes, replace=replace)
        )

    def failed(self, error: StorageError) -> None:
        """Note that a file failed here. If that may be so for every file, the others wait a little."""
        if self._metrics is not None:
            self._metrics.storage_failures.labels(self.series, family_of(error)).inc()
        if isinstance(error, StorageUnavailable | StorageRefused):
            self._failures += 1
            self._trouble = error
            self._paused_until = self._clock() + storage_pause_s(self._failures)

    @property
    def trouble(self) -> StorageError | None:
        """Why no file should be tried here at the moment: the slots are for storages that take them."""
        return self._trouble if self._failures and self._clock() < self._paused_until else None

    @property
    def is_doubtful(self) -> bool:
        """Whether files have failed here, and no request has been answered since."""
        return self._failures > 0

    def admit(self) -> StorageError | None:
        """None for a file that may be tried here now, else :attr:`trouble`.

        After a pause one file is let through alone: what answers it ends the pause for all, and what fails
        begins the next one. So a pod that is cut off from its storage holds one file at a time.
        """
        trouble = self.trouble
        if trouble is None and self.is_doubtful:
            self._paused_until = self._clock() + _ALONE_S
        return trouble


class Destinations(Mapping[str, Destination]):
    """The storages that are open, by their names; one that was not needed before is opened when it is."""

    def __init__(self, opener: Callable[[str], Awaitable[Destination | None]]) -> None:
        """``opener`` opens the storage of a name; None if there is none of that name."""
        self._opener = opener
        self._open: dict[str, Destination] = {}
        self._opening = asyncio.Lock()

    async def open(self, names: Iterable[str]) -> None:
        """Have these open, as far as they are configured."""
        for name in names:
            async with self._opening:
                if name not in self._open and (destination := await self._opener(name)) is not None:
                    self._open[name] = destination

    @property
    def troubled(self) -> frozenset[str]:
        """Those where no file should be tried at the moment."""
        return frozenset(name for name, each in self._open.items() if each.trouble is not None)

    @property
    def doubtful(self) -> frozenset[str]:
        """Those whose files others should try first: they failed here, and nothing was answered since."""
        return frozenset(name for name, each in self._open.items() if each.is_doubtful)

    async def close(self) -> None:
        """Close every storage."""
        for destination in self._open.values():
            await destination.storage.close()

    def __getitem__(self, name: str) -> Destination:
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)
