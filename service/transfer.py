"""Bytes moving: source to parts to storage, in parallel, within the budget."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from awscrt.checksums import combine_crc32c, combine_crc64nvme, crc32c, crc64nvme

from service.budget import Budget
from service.destination import Destination
from service.enduring import all_of, joined
from service.errors import (
    ArchiverError,
    Draining,
    SourceChanged,
    SourceUnavailable,
    StorageError,
    StorageUnavailable,
)
from service.model import Checksum, Part, Stored, Upload
from service.sibling import StoredCopy
from service.source import Opened

MAX_PARTS = 10_000
"""S3's limit, and low enough for every other store."""


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


@dataclass(slots=True, eq=False)
class Target:
    """One copy of a file on its way: where it goes, how far it is, and what stopped it.

    ``done`` are the parts that are there, ``keep`` is called with each that comes to them. ``key`` is None
    until the file has its name there, ``upload`` until a session is open. Once ``failure`` is set nothing
    more is sent, and the other copies go on; ``was_tried`` is False if it was set before anything was.
    ``refused`` are names under which something else turned out to lie. ``checksum`` is the whole file's,
    once it is ``stored``.
    """

    destination: Destination
    keep: Callable[[Part], Awaitable[None]]
    key: str | None = None
    upload: Upload | None = None
    done: dict[int, Part] = field(default_factory=dict)
    failure: StorageError | None = None
    stored: Stored | None = None
    was_tried: bool = True
    refused: set[str] = field(default_factory=set)
    checksum: Checksum | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is more to do for it in this try."""
        return self.failure is None and self.stored is None

    @property
    def parts(self) -> list[Part]:
        """The parts that are there, in order."""
        return [self.done[number] for number in sorted(self.done)]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves parts, each read once, to one storage or several; shared by all files of the process.

    ``draining`` is set when no new part may begin. ``lag_s`` is how long a part that one storage has is
    waited for in another: a storage that hangs does not hold up the others.
    """

    budget: Budget
    parts_in_flight: int
    draining: asyncio.Event
    lag_s: float = 30.0

    async def ranges(self, opened: Opened, size: int, part_size: int, targets: Sequence[Target]) -> None:
        """Move every part that a target has not, several at once. Every target has a session open.

        After a failure of the source the parts in flight are still kept; then it is raised, or
        :class:`~service.errors.Draining` if the service is stopping and more were to come.
        """
        count = math.ceil(size / part_size)
        numbers = iter(range(1, count + 1))
        asked: deque[int] = deque()  # the source has them on the way

        def lacking(number: int) -> list[Target]:
            return [target for target in targets if target.is_open and number not in target.done]

        def following(numbers: Iterable[int]) -> int | None:
            return next((number for number in numbers if lacking(number)), None)

        def asked_first() -> Iterator[int]:
            while asked:
                yield asked.popleft()
            yield from numbers

        async def step() -> bool:
            if (number := following(asked_first())) is None:
                return False
            start = (number - 1) * part_size
            async with contextlib.AsyncExitStack() as held:
                # The place comes first: who waits for a host that is slow takes no memory from the others.
                async with opened.place():
                    # Of one size all, the last one too: then the next part finds memory that is there.
                    memory = await held.enter_async_context(self.budget.buffer(part_size))
                    if self.draining.is_set():
                        return False
                    view = memory[: size - start]
                    await opened.read_into(start, view)
                # While this part is stored the next comes as far as it can without memory; where memory is
                # waited for, it would lie there long.
                is_soon = not (self.draining.is_set() or self.budget.is_waited_for)
                if is_soon and (ahead := following(numbers)) is not None:
                    asked.append(ahead)
                    opened.ask_ahead((ahead - 1) * part_size, min(part_size, size - (ahead - 1) * part_size))
                await self._store(lacking(number), number, view)
            return True

        await self._lanes(step)
        if any(target.is_open and len(target.done) < count for target in targets):
            raise Draining

    async def stream(
        self,
        opened: Opened | StoredCopy,
        part_size: int,
        targets: Sequence[Target],
        *,
        begin: Callable[[], Awaitable[None]],
        put: Callable[[memoryview], Awaitable[None]],
    ) -> int | None:
        """Move a source that is one stream: read in order, stored several parts at once. Returns its size.

        If no target has a session, ``begin`` is called to open theirs when it turns out to be more than one
        part; else ``put`` with all of it, and None returned. Where no target is open any more it is read no
        further, and the size is that of what was read. Parts that are done are read again, because
        there is no other way past them, and compared, not stored again.
        """
        pieces = opened.stream(part_size)
        reading = asyncio.Lock()
        begun = any(target.upload for target in targets)
        number, size, rest, ended, was_put = 0, 0, memoryview(b""), False, False

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
            nonlocal number, size, ended, begun, was_put
            async with contextlib.AsyncExitStack() as held:
                async with reading:
                    if ended or self.draining.is_set() or not any(target.is_open for target in targets):
                        return False
                    view = await held.enter_async_context(self.budget.buffer(part_size))
                    view = view[: await fill(view)]
                    number, size, ended = number + 1, size + len(view), len(view) < part_size
                    mine = number
                    if ended and not begun:
                        await put(view)
                        was_put = True
                        return False
                    if not view and mine == 1:
                        raise SourceChanged("it is empty now")
                    if not view:
                        return False
                    if mine > MAX_PARTS:
                        raise SourceUnavailable(
                            "it gives more than 10,000 parts", mend="raise ARCHIVER_PART_SIZE_MIB"
                        )
                    if not begun:
                        await begin()
                        begun = True
                known = {
                    (part.size, part.checksum)
                    for target in targets
                    if (part := target.done.get(mine)) is not None
                }
                if known and known != {(len(view), checksum_of(view))}:
                    raise SourceChanged("a part read again is not what it was")
                lacking = [target for target in targets if target.is_open and mine not in target.done]
                await self._store(lacking, mine, view)
            return not ended

        try:
            await self._lanes(step)
        finally:
            await pieces.aclose()
        if was_put:
            return None
        if not ended and any(target.is_open for target in targets):
            raise Draining
        return size

    async def each(
        self,
        targets: Sequence[Target],
        job: Callable[[Target], Awaitable[None]],
        *,
        lag_s: float | None = None,
    ) -> None:
        """Do ``job`` for every target that is open, at once; a storage's failure is the target's own.

        With ``lag_s``, those that take so much longer than the first to succeed fail as unavailable.
        """
        targets = [target for target in targets if target.is_open]

        async def one(target: Target) -> None:
            try:
                await job(target)
            except StorageError as error:
                target.failure = error

        if len(targets) == 1:
            await one(targets[0])
            return
        tasks = {asyncio.ensure_future(one(target)): target for target in targets}
        try:
            pending = set(tasks)
            while pending and not any(
                task.done() and target.failure is None for task, target in tasks.items()
            ):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            ours = any(task.done() and task.exception() for task in tasks)  # a lost lease, say
            if pending and not ours:
                await asyncio.wait(pending, timeout=lag_s)
            for task, target in tasks.items():
                if not task.done():
                    late = StorageUnavailable("it does not keep up with the other storage")
                    target.failure = target.failure or late  # another part's tells more
        finally:
            # The parts' memory is theirs until they have ended.
            for task in tasks:
                task.cancel()
            await joined(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()  # raises what is not the storage's

    async def _store(self, targets: Sequence[Target], number: int, view: memoryview) -> None:
        checksum = checksum_of(view)

        async def store(target: Target) -> None:
            upload, destination = target.upload, target.destination
            assert upload is not None
            receipt = await destination.requested(
                lambda: destination.storage.put_part(upload, number, view, checksum)
            )
            target.done[number] = part = Part(number, len(view), checksum, receipt)
            await target.keep(part)

        await self.each(targets, store, lag_s=self.lag_s)

    async def _lanes(self, step: Callable[[], Awaitable[bool]]) -> None:
        """Call ``step`` in parallel until it returns False, one fails, or the service drains; join all."""
        failures: list[ArchiverError] = []

        async def lane() -> None:
            try:
                while not failures and not self.draining.is_set() and await step():
                    pass
            except ArchiverError as error:
                failures.append(error)

        await all_of(lane() for _ in range(self.parts_in_flight))
        if failures:
            raise failures[0]
