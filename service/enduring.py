"""Tasks that are waited for to their end: through a cancellation, all of them, or as long as the process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import structlog

_BROKEN_S = 60.0
_T = TypeVar("_T")

log = structlog.get_logger()


async def to_its_end(work: Awaitable[_T]) -> _T:
    """The result of ``work``, however often the caller is cancelled meanwhile; then that is passed on."""
    running, cancelled = asyncio.ensure_future(work), None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from running.exception()
    return running.result()


async def joined(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Return when all have ended, however often the caller is cancelled meanwhile; then pass that on."""
    waiting = {task for task in tasks if not task.done()}
    cancelled: asyncio.CancelledError | None = None
    while waiting:
        try:
            _, waiting = await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled


async def all_of(works: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """The results of all, run at once; the first failure cancels the others, and is raised when they ended.

    Not a TaskGroup: after a failure, Python 3.11's leaves the caller counted as cancelled, and by that count
    aiohttp decides later whether a request was broken off by the caller.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await joined(tasks)
    failures = [task.exception() for task in (*done, *tasks) if not task.cancelled()]
    for failure in filter(None, failures):
        raise failure
    return [task.result() for task in tasks]


def kept_up(resources: contextlib.AsyncExitStack, job: Callable[[], Awaitable[None]]) -> None:
    """Run ``job``, which never ends by itself, until ``resources`` close; a fault of ours does not end it."""

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
