"""What the provider delivers to the subscriptions, and what it was answered."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import aiohttp

from tests.doubles.provider_things import WebhookDouble
from tests.doubles.sender import Family, Sender

__all__ = ["Deliveries", "Post", "Sent"]

ANSWER_WITHIN_S: Mapping[Family, float] = {"dyte": 3.0, "rtk": 10.0}


@dataclass(frozen=True)
class Sent:
    """One delivery; `status` is 0 if nobody answered in time."""

    webhook_id: str
    delivery_id: str
    event: str
    body: bytes
    status: int


class Deliveries(Awaitable[list[Sent]]):
    """Deliveries that go out by themselves: `await` them, or `wait()` for them in a synchronous test."""

    def __init__(
        self, future: "concurrent.futures.Future[list[Sent]]", loop: asyncio.AbstractEventLoop
    ) -> None:
        self._future = future
        self._loop = loop

    def __await__(self) -> Generator[Any, None, list[Sent]]:
        return asyncio.wrap_future(self._future).__await__()

    def wait(self, *, timeout_s: float = 30.0) -> list[Sent]:
        """All of them, once each is answered or given up."""
        try:
            is_inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_inside = False
        assert not is_inside, "the provider runs in this very loop: await the deliveries"
        return self._future.result(timeout_s)


class Post:
    """Sends from the loop that it was entered in, whatever thread asks for it.

    What has not been sent when it is left is dropped.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[list[Sent]]] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    def send(self, job: Callable[[], Coroutine[Any, Any, list[Sent]]]) -> Deliveries:
        """Begin to do `job` in the loop."""

        async def tracked() -> list[Sent]:
            task = asyncio.create_task(job())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return await task

        return Deliveries(asyncio.run_coroutine_threadsafe(tracked(), self._loop), self._loop)

    async def deliver(
        self, webhooks: Iterable[WebhookDouble], event: str, body: bytes, *, sender: Sender, family: Family
    ) -> list[Sent]:
        """Send the event at once to all of these who want it."""
        wanted = [each for each in webhooks if each.enabled and event in each.events]
        jobs = (self._deliver_to(each, event, body, sender, family) for each in wanted)
        return list(await asyncio.gather(*jobs))

    async def _deliver_to(
        self, webhook: WebhookDouble, event: str, body: bytes, sender: Sender, family: Family
    ) -> Sent:
        delivery_id = str(uuid4())
        headers = sender.headers(body, family, delivery_id=delivery_id, webhook_id=webhook.id)
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S[family])
        status = 0
        try:
            async with self._http.post(
                webhook.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        return Sent(webhook.id, delivery_id, event, body, status)
