"""Runs an asynchronous double in a thread, for tests that are synchronous or watch another process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

__all__ = ["threaded"]

Double = TypeVar("Double")


@contextmanager
def threaded(double: AbstractAsyncContextManager[Double]) -> Iterator[Double]:
    """Enter `double` on an event loop of its own in a thread, and leave it there afterwards.

    The doubles' settings and counters are plain attributes, read anew for each request: the test's thread
    sets and reads them directly.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"double:{type(double).__name__}", daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(double.__aenter__(), loop).result()
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(double.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
