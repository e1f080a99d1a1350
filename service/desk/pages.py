"""Going through a list, however long it is: a page at a time, and on where it was after a failure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from service.admin.asked import Asked
from service.admin.documents import Recording, RecordingList
from service.desk.port import Desk
from service.errors import LedgerUnavailable, ServiceUnavailable

PAGE: Final = 200
"""Recordings at once."""

_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
_T = TypeVar("_T")


async def pages(
    desk: Desk,
    asked: Asked,
    *,
    most: int | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[RecordingList]:
    """The pages of what ``asked`` finds, ``most`` recordings in all; its own ``limit`` is of no matter.

    At least one comes. A desk that goes away between two is asked again for a quarter of a minute; then it
    raises what the desk does.
    """
    left = most
    while True:
        limit = PAGE if left is None else min(PAGE, left)
        ask = partial(desk.recordings, asked.model_copy(update={"limit": limit}))
        # What was never there is told at once.
        page = await (patiently(ask, sleep=sleep) if asked.cursor else ask())
        if left is not None:
            page = page.model_copy(update={"recordings": page.recordings[:left]})
            left -= len(page.recordings)
        yield page
        if page.next_cursor is None or left == 0:
            return
        asked = asked.model_copy(update={"cursor": page.next_cursor})


async def walk(desk: Desk, asked: Asked) -> AsyncIterator[Recording]:
    """Every recording that ``asked`` finds, a page of them held at a time. Raises as :func:`pages` does."""
    async for page in pages(desk, asked):
        for recording in page.recordings:
            yield recording


async def patiently(
    ask: Callable[[], Awaitable[_T]], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> _T:
    """What ``ask`` gives, asked again for a quarter of a minute while the desk is away."""
    for pause_s in _PAUSES_S:
        try:
            return await ask()
        except (LedgerUnavailable, ServiceUnavailable):
            await sleep(pause_s)
    return await ask()
