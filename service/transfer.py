"""Bytes moving: source to parts to storage, in parallel, within the budget."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from awscrt.checksums import combine_crc32c, combine_crc64nvme, crc32c, crc64nvme

from service.budget import Budget, Gate
from service.errors import (
    ArchiverError,
    Draining,
    SourceChanged,
    SourceUnavailable,
    StorageThrottled,
    StorageUnavailable,
)
from service.model import Checksum, Part, Stored, Upload
from service.retry import part_delay_s
from service.source import Opened
from service.storage import Storage

MAX_PARTS = 10_000
"""S3's limit, and low enough for every other store."""

_T = TypeVar("_T")


def part_size_for(size: int | None, *, least: int) -> int:
    """The part size for a file of ``size`` bytes: ``least``, or as much as :data:`MAX_PARTS` parts need.

    Whole MiB, so that it reads well in a manifest.
    """
    mib = 1024 * 1024
    return max(least, math.ceil((size or 0) / MAX_PARTS / mib) * mib)


def checksum_of(view: memoryview) -> Checksum:
    """Both checksums of some bytes."""
    return Checksum(crc64nvme(view), crc32c(view))


def combined(first: Checksum, second: Checksum, second_size: int) -> Checksum:
    """The checksum of two runs of bytes, one after the other, from each one's own."""
    return Checksum(
        combine_crc64nvme(first.crc64nvme, second.crc64nvme, second_size),
        combine_crc32c(first.crc32c, second.crc32c, second_size),
    )


def whole_checksum(parts: Sequence[Part]) -> Checksum:
    """The whole file's checksum from its parts', in order, without reading a byte again."""
    whole = Checksum(0, 0)
    for part in parts:
        whole = combined(whole, part.checksum, part.size)
    return whole


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves parts to one storage; shared by all files of the process.

    ``sleep`` and ``jitter`` (random in [0, 1)) are given for the pauses between tries; ``draining`` is set
    when no new part may begin.
    """

    storage: Storage
    budget: Budget
    gate: Gate
    parts_in_flight: int
    draining: asyncio.Event
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]

    async def ranges(
        self,
        opened: Opened,
        upload: Upload,
        done: Mapping[int, Part],
        keep: Callable[[Part], Awaitable[None]],
    ) -> list[Part]:
        """Move every part that is not ``done``, several at once; ``keep`` is called with each receipt.

        After a failure the parts in flight are still kept; then the failure is raised, or
        :class:`~service.errors.Draining` if the service is stopping and more were to come.
        """
        assert upload.size is not None
        size, count = upload.size, math.ceil(upload.size / upload.part_size)
        parts = dict(done)
        missing = iter([number for number in range(1, count + 1) if number not in done])

        async def step() -> bool:
            if (number := next(missing, None)) is None:
                return False
            start = (number - 1) * upload.part_size
            # Of one size all, the last one too: then the next part finds memory that is there.
            async with self.budget.buffer(upload.part_size) as memory:
                if self.draining.is_set():
                    return False
                view = memory[: size - start]
                await opened.read_into(start, view)
                parts[number] = part = await self._store(upload, number, view)
                await keep(part)
            return True

        await self._lanes(step)
        if len(parts) < count:
            raise Draining
        return [parts[number] for number in sorted(parts)]

    async def stream(
        self,
        opened: Opened,
        part_size: int,
        upload: Upload | None,
        done: Mapping[int, Part],
        *,
        begin: Callable[[], Awaitable[Upload]],
        keep: Callable[[Part], Awaitable[None]],
        put: Callable[[memoryview], Awaitable[Stored]],
    ) -> list[Part] | Stored:
        """Move a source that is one stream: read in order, stored several parts at once.

        Without an ``upload``, ``begin`` is called when it turns out to be more than one part; else ``put``
        with all of it, and its answer returned. Parts that are ``done`` are read again, because there is no
        other way past them, and compared, not stored again.
        """
        pieces = opened.stream(part_size)
        reading = asyncio.Lock()
        parts: dict[int, Part] = {}
        whole: Stored | None = None
        number, rest, ended = 0, memoryview(b""), False

        async def fill(view: memoryview) -> int:
            nonlocal rest
            got = 0
            while got < len(view):
                if not rest and not (rest := await anext(pieces, rest)):
                    break
                taken = min(len(rest), len(view) - got)
                view[got : got + taken] = rest[:taken]
                rest, got = rest[taken:], got + taken
            return got

        async def step() -> bool:
            nonlocal number, ended, upload, whole
            async with contextlib.AsyncExitStack() as held:
                async with reading:
                    if ended or self.draining.is_set():
                        return False
                    view = await held.enter_async_context(self.budget.buffer(part_size))
                    view = view[: await fill(view)]
                    number, ended = number + 1, len(view) < part_size
                    mine = number
                    if ended and upload is None:
                        whole = await put(view)
                        return False
                    if not view and mine == 1:
                        raise SourceChanged("it is empty now")
                    if not view:
                        return False
                    if mine > MAX_PARTS:
                        raise SourceUnavailable(
                            "it gives more than 10,000 parts", mend="raise ARCHIVER_PART_SIZE_MIB"
                        )
                    upload = upload or await begin()
                if mine in done:
                    parts[mine] = done[mine]
                    if (len(view), checksum_of(view)) != (done[mine].size, done[mine].checksum):
                        raise SourceChanged("a part read again is not what it was")
                else:
                    parts[mine] = part = await self._store(upload, mine, view)
                    await keep(part)
            return not ended

        try:
            await self._lanes(step)
        finally:
            await pieces.aclose()
        if whole is not None:
            return whole
        if not ended:
            raise Draining
        return [parts[key] for key in sorted(parts)]

    async def requested(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The answer to one request to the storage, sent again a few times while it is unavailable.

        The gate is narrowed when the storage asks for less. Raises what is left of the failure then.
        """
        attempts = 0
        while True:
            async with self.gate.request() as began_at:
                try:
                    answer = await call()
                    self.gate.widen()
                    return answer
                except StorageUnavailable as failure:
                    error = failure
                    if isinstance(error, StorageThrottled):
                        self.gate.narrow(began_at)
            attempts += 1
            delay_s = part_delay_s(error, attempts, jitter=self.jitter())
            if delay_s is None:
                raise error
            await self.sleep(delay_s)

    async def _store(self, upload: Upload, number: int, view: memoryview) -> Part:
        checksum = checksum_of(view)
        receipt = await self.requested(lambda: self.storage.put_part(upload, number, view, checksum))
        return Part(number, len(view), checksum, receipt)

    async def _lanes(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Call ``step`` in parallel until it returns False, one fails, or the service drains; join all."""
        failures: list[ArchiverError] = []

        async def lane() -> None:
            try:
                while not failures and not self.draining.is_set() and await step():
                    pass
            except ArchiverError as error:
                failures.append(error)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.parts_in_flight):
                    group.create_task(lane())
        except BaseExceptionGroup as errors:
            # Not one of the families: a fault of ours. One of them tells as much as all.
            raise errors.exceptions[0] from errors
        if failures:
            raise failures[0]
