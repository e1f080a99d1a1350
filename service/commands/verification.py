"""``verify`` by a running service: its workers read the files back, and this waits for what they find."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from service.admin.asked import Asked
from service.admin.documents import CopyLine, RecordingLife
from service.choices import Order, Sort
from service.desk import Desk, patiently, walk
from service.errors import NotInLedger, OrderRefused
from service.findings import Findings
from service.model import State

_AT_ONCE = 32
"""Files that are ordered and not yet verified: the workers have other work too."""
_EVERY_S = 2.0
_SILENT_S = 60.0
_Sleep = Callable[[float], Awaitable[None]]
_STORED = (State.STORED, State.ARCHIVED)


@dataclass(frozen=True, slots=True)
class _Target:
    recording_id: str
    file_id: str
    copies: int
    size: int


async def order_verification(
    desk: Desk,
    console: Console,
    *,
    sample: int | None,
    before: float | None,
    sleep: _Sleep = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Have all stored files verified, or a ``sample``, or what was not since ``before``; how many are wrong.

    ``clock`` counts monotonic seconds. Raises what the desk does, :class:`~service.errors.ServiceRefused` if
    it takes no orders.
    """
    targets = _targets(desk, before)
    count = size = None
    if sample is not None:
        drawn = await _drawn(targets, sample)
        targets = _each(drawn)
        count = sum(target.copies for target in drawn)
        size = sum(target.copies * target.size for target in drawn)
    elif console.is_terminal:
        # Twice through the list, so that it can be told how much is left.
        count = size = 0
        async for target in _targets(desk, before):
            count, size = count + target.copies, size + target.copies * target.size
    open_: dict[str, _Target] = {}
    silent_since = clock()
    with Findings(console, count=count, size=size) as findings:
        is_all = False
        while not is_all or open_:
            while not is_all and len(open_) < _AT_ONCE:
                try:
                    target = await anext(targets)
                except StopAsyncIteration:
                    is_all = True
                    break
                if await _ordered(desk, target, sleep):
                    open_[target.file_id] = target
            done = await _looked_at(desk, open_, findings, sleep)
            if done:
                silent_since = clock()
                continue
            if open_ and clock() - silent_since >= _SILENT_S:
                silent_since = clock()
                sys.stderr.write("dyte-archiver: nothing was verified for a minute: does a worker run?\n")
            if open_:
                await sleep(_EVERY_S)
    return findings.faults


async def _targets(desk: Desk, before: float | None) -> AsyncIterator[_Target]:
    async for recording in walk(desk, Asked.model_validate({"sort": Sort.OLDEST})):
        files: dict[str, list[CopyLine]] = {}
        for copy in recording.copies:
            if copy.state in _STORED:
                files.setdefault(copy.file_id, []).append(copy)
        for file_id, stored in files.items():
            if before is None or any(
                copy.verified_at is None or copy.verified_at < before for copy in stored
            ):
                yield _Target(recording.id, file_id, len(stored), stored[0].size_bytes or 0)


async def _drawn(targets: AsyncIterator[_Target], count: int) -> list[_Target]:
    """So many of them, each as likely as every other, however many there are."""
    drawn: list[_Target] = []
    seen = 0
    chance = random.SystemRandom()
    async for target in targets:
        seen += 1
        if len(drawn) < count:
            drawn.append(target)
        elif (place := chance.randrange(seen)) < count:
            drawn[place] = target
    return drawn


async def _each(drawn: list[_Target]) -> AsyncIterator[_Target]:
    for target in drawn:
        yield target


async def _ordered(desk: Desk, target: _Target, sleep: _Sleep) -> bool:
    try:
        await patiently(partial(desk.order, Order.VERIFY, target.file_id), sleep=sleep)
    except (OrderRefused, NotInLedger):
        return False  # the ledger has forgotten it meanwhile
    return True


async def _looked_at(desk: Desk, targets: dict[str, _Target], findings: Findings, sleep: _Sleep) -> int:
    """Tell of what is verified by now, and take it out; returns how many files."""
    lives: dict[str, RecordingLife | None] = {}
    for recording_id in {target.recording_id for target in targets.values()}:
        try:
            lives[recording_id] = await patiently(partial(desk.life, recording_id), sleep=sleep)
        except NotInLedger:
            lives[recording_id] = None
    done = 0
    for target in [*targets.values()]:
        life = lives[target.recording_id]
        files = life.files if life else []
        copies = [copy for file in files if file.id == target.file_id for copy in file.copies]
        if any(copy.verification_due_at is not None for copy in copies):
            continue
        del targets[target.file_id]
        done += 1
        for copy in copies:
            if copy.verified_at is None:
                continue  # it came after the order
            name = copy.key or target.file_id
            findings.passed(copy.size_bytes or 0)
            if copy.fault:
                findings.wrong(name, copy.fault)
            else:
                findings.whole(name)
    return done
