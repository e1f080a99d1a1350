"""Sends what is in the outbox; a topic that is not taken holds up no other, and nothing that is archived."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any, Final

import structlog

from service.destination import Destinations
from service.enduring import joined
from service.errors import ArchiverError, LedgerUnavailable, NoticeNotTaken, NoticeUnwanted
from service.ledger import Outbox
from service.manifest import moment
from service.model import Topic
from service.notice import Facts, Notice, masked
from service.notices.post import TIMEOUT_S, Post
from service.retry import notice_delay_s
from service.telemetry import Metrics

_AT_ONCE = 4
"""Of one topic."""
_DOUBT = 4
"""Of a topic of which so many were not taken in a row, one at a time is tried, at every look."""
_LINK_S = 10.0
_LEASE_S = TIMEOUT_S + _LINK_S + 5.0
_POLL_S = 2.0
_LEDGER_PAUSE_S = 5.0

MOST_LINK_S: Final = 7 * 24 * 3600.0
"""How long a signed link may be good for: more no store signs."""

log = structlog.get_logger()


class Sending:
    """Sends notices until it is cancelled; what it had then is sent by the next one."""

    def __init__(
        self,
        outbox: Outbox,
        post: Post,
        destinations: Destinations,
        *,
        topics: Collection[Topic],
        link_s: float,
        mask: Callable[[str], str],
        metrics: Metrics,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        poll_s: float = _POLL_S,
    ) -> None:
        """``link_s``: how long the links to files in a notice are good; 0: there are none.

        ``mask`` takes secrets out of what others said; ``clock`` counts monotonic seconds; ``jitter`` is
        random in [0, 1). ``poll_s``: how often the outbox is looked at.
        """
        self._outbox = outbox
        self._post = post
        self._destinations = destinations
        self._topics = tuple(topics)
        self._link_s = link_s
        self._mask = mask
        self._metrics = metrics
        self._clock = clock
        self._jitter = jitter
        self._poll_s = poll_s
        self._running: dict[asyncio.Task[None], Notice] = {}
        self._failures: Counter[Topic] = Counter()
        self._paused_until: dict[Topic, float] = {}

    async def run(self) -> None:
        """Send what is due, for ever."""
        try:
            while True:
                pause_s = self._poll_s
                try:
                    await self._start_due()
                except LedgerUnavailable as error:
                    log.warning("notices_not_read", error=str(error))
                    pause_s = _LEDGER_PAUSE_S
                if self._running:
                    await asyncio.wait(self._running, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(pause_s)
        finally:
            await self._stop_now()

    async def _start_due(self) -> None:
        """Start sending what is due and what there is room for."""
        for notice in await self._outbox.take(self._room(), lease_s=_LEASE_S):
            task = asyncio.create_task(self._send(notice), name=notice.id)
            self._running[task] = notice
            task.add_done_callback(self._running.pop)

    def _room(self) -> dict[Topic, int]:
        under_way = Counter(notice.topic for notice in self._running.values())

        def most(topic: Topic) -> int:
            if self._failures[topic] < _DOUBT:
                return _AT_ONCE
            # What waits is not worn out on a receiver that is away: it is there for when it is back.
            return int(self._clock() >= self._paused_until[topic])

        return {topic: most(topic) - under_way[topic] for topic in self._topics}

    async def _stop_now(self) -> None:
        """Cancel what is under way, and give it back; if that is cut short it is due when its lease ends."""
        under_way = dict(self._running)
        for task in under_way:
            task.cancel()
        await joined(under_way)
        with contextlib.suppress(LedgerUnavailable):
            for task, notice in under_way.items():
                if task.cancelled():
                    await self._outbox.release(notice)

    async def _send(self, notice: Notice) -> None:
        said = {"notice_id": notice.id, "topic": notice.topic, "recording_id": notice.recording_id}
        try:
            await self._post.send(await self._as_sent(notice))
        except NoticeNotTaken as error:
            await self._not_taken(notice, error, said)
        except Exception as error:  # every way it can end is settled, a fault of ours too
            log.error("notice_broke_off", exc_info=error, **said)
            await self._not_taken(notice, NoticeNotTaken(f"it was not sent: {type(error).__name__}"), said)
        else:
            self._failures[notice.topic] = 0
            self._metrics.notices.labels(notice.topic, "taken").inc()
            log.info("notice_taken", attempts=notice.attempts, **said)
            await self._noted(lambda: self._outbox.taken(notice), said)

    async def _not_taken(self, notice: Notice, error: NoticeNotTaken, said: dict[str, Any]) -> None:
        told = {"attempts": notice.attempts, "error": str(error), **said}
        if not isinstance(error, NoticeUnwanted):
            self._failures[notice.topic] += 1
            self._paused_until[notice.topic] = self._clock() + self._poll_s
        delay_s = notice_delay_s(
            error, notice.attempts, age_s=notice.now - notice.made_at, jitter=self._jitter()
        )
        if delay_s is None:
            self._metrics.notices.labels(notice.topic, "given_up").inc()
            log.error("notice_given_up", **told)
            await self._noted(lambda: self._outbox.given_up(notice, error=error.detail), said)
            return
        self._metrics.notices.labels(notice.topic, "failed").inc()
        log.warning("notice_failed", next_in_seconds=round(delay_s, 1), **told)
        await self._noted(lambda: self._outbox.later(notice, delay_s=delay_s, error=error.detail), said)

    async def _noted(self, note: Callable[[], Awaitable[None]], said: dict[str, Any]) -> None:
        """Write what came of it. If that fails its lease ends, and it is sent again."""
        try:
            await note()
        except LedgerUnavailable as error:
            log.warning("notice_not_noted", error=str(error), **said)

    async def _as_sent(self, notice: Notice) -> Notice:
        """The notice as it goes out: without a secret but for the links, which nothing keeps."""
        facts = masked(notice.facts, self._mask)
        if self._link_s and notice.topic is Topic.ARCHIVED:
            facts = await self._linked(notice, facts)
        return replace(notice, facts=facts)

    async def _linked(self, notice: Notice, facts: Facts) -> Facts:
        name = facts["storage"]["name"]
        links: list[str | None] = [None] * len(facts["files"])
        until = moment(notice.now + self._link_s)
        try:
            async with asyncio.timeout(_LINK_S):
                await self._destinations.open([name])
                if name in self._destinations:
                    storage = self._destinations[name].storage
                    links = [await storage.link(file["key"], valid_s=self._link_s) for file in facts["files"]]
        except (ArchiverError, TimeoutError) as error:
            # Where it lies is told in any case.
            log.warning("notice_without_links", notice_id=notice.id, storage=name, error=str(error))
        files = [
            {**file, "link": link and {"url": link, "expires_at": until}}
            for file, link in zip(facts["files"], links, strict=True)
        ]
        return {**facts, "files": files}
