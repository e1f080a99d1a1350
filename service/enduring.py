"""What outlives the call that began it: through a cancellation, or as long as the process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

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
