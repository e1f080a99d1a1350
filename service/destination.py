"""A storage as the worker sees it: by its name, with a bound on its requests, and known to be in trouble."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.budget import Gate
from service.errors import StorageError, StorageRefused, StorageThrottled, StorageUnavailable
from service.model import Attributes, Checksum, Stored
from service.retry import part_delay_s, storage_pause_s
from service.storage import Storage

_T = TypeVar("_T")


class Destination:
    """A named storage, shared by all files of the process.

    ``clock`` counts monotonic seconds; ``sleep`` and ``jitter`` (random in [0, 1)) are for the pauses between
    tries.
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
    ) -> None:
        self.name = name
        self.storage = storage
        self._gate = gate
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._failures = 0
        self._trouble: StorageError | None = None
        self._paused_until = 0.0

    async def requested(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The answer to one request, sent again a few times while the storage is unavailable.

        The gate is narrowed when the storage asks for less. Raises what is left of the failure then.
        """
        attempts = 0
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
                    return answer
            attempts += 1
            delay_s = part_delay_s(error, attempts, jitter=self._jitter())
            if delay_s is None:
                raise error
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
        if isinstance(error, StorageUnavailable | StorageRefused):
            self._failures += 1
            self._trouble = error
            self._paused_until = self._clock() + storage_pause_s(self._failures)

    @property
    def trouble(self) -> StorageError | None:
        """Why no file should be tried here at the moment: the slots are for storages that take them."""
        return self._trouble if self._failures and self._clock() < self._paused_until else None
