"""What changes on the pages, sent to those who look at them: server-sent events, straight from the ledger.

One task of the process looks once a second, and only while somebody listens; what it renders goes to all who
look at the same. Since the ledger is shared, any process shows the work of all.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from service.admin.look import HEADERS
from service.admin.problems import Problem
from service.admin.scenes import Scenes, Subject
from service.errors import ArchiverError, LedgerUnavailable

MOST: Final = 100
"""Pages at once; further ones are shown, but stand still."""

_EVERY_S = 1.0
_TURN_S = 0.2
"""How soon it is seen that the service stops, which an open stream would hold up."""
_SIGN_S = 15.0
"""Proxies cut off what is silent for long."""
_LASTS_S = 900.0
"""Then the page asks anew: whether its login still holds is looked at again."""
_LAST_WORD_S = 0.5


class _Listener:
    """One open stream, and what it has still to be told."""

    def __init__(self) -> None:
        self.news: dict[str, str] = {}
        self.has_news = asyncio.Event()
        self.is_over = asyncio.Event()

    def tell(self, parts: dict[str, str]) -> None:
        """The newest only: who takes it slowly misses what was between."""
        self.news |= parts
        self.has_news.set()


class Live:
    """The streams of a process, and the one task that feeds them."""

    def __init__(self, scenes: Scenes, draining: Callable[[], bool]) -> None:
        """``draining``: once it is true all streams end, and none begins."""
        self._scenes = scenes
        self._draining = draining
        self._listeners: dict[Subject, set[_Listener]] = {}
        self._shown: dict[Subject, dict[str, str]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def stream(self, subject: Subject, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with what changes of a subject, until it leaves or the service stops."""
        if self._draining() or sum(map(len, self._listeners.values())) >= MOST:
            why = "It stops" if self._draining() else f"{MOST} pages are open already"
            await Problem(503, why).response({"Retry-After": "10"})(scope, receive, send)
            return
        headers = {**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        listener = self._enter(subject)
        tasks = [
            asyncio.ensure_future(each)
            for each in (_write(listener, send), _left(receive), listener.is_over.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=_LASTS_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(subject, listener)
            for task in tasks:
                task.cancel()
        for task in done:
            task.result()  # raises what went wrong with it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):  # it may not take even that
                await send({"type": "http.response.body"})
        if self._looking is not None and self._looking.done() and not self._looking.cancelled():
            self._looking.result()  # likewise

    def _enter(self, subject: Subject) -> _Listener:
        listener = _Listener()
        self._listeners.setdefault(subject, set()).add(listener)
        if subject in self._shown:
            listener.tell(self._shown[subject])
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return listener

    def _leave(self, subject: Subject, listener: _Listener) -> None:
        listeners = self._listeners.get(subject, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(subject, None)
            self._shown.pop(subject, None)

    async def _look(self) -> None:
        try:
            while self._listeners and not self._draining():
                for subject in list(self._listeners):
                    await self._look_at(subject)
                for _ in range(round(_EVERY_S / _TURN_S)):
                    await asyncio.sleep(0 if self._draining() else _TURN_S)
        finally:
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.is_over.set()

    async def _look_at(self, subject: Subject) -> None:
        try:
            parts: dict[str, str] = {**await self._scenes.parts(subject), "trouble-of-page": ""}
        except LedgerUnavailable as error:
            parts = {"trouble-of-page": f"{error}. What is shown may be old."}
        except ArchiverError:  # it is not there any more
            for listener in self._listeners.get(subject, ()):
                listener.is_over.set()
            return
        if subject not in self._listeners:
            return
        shown = self._shown.setdefault(subject, {})
        changed = {name: part for name, part in parts.items() if shown.get(name) != part}
        shown |= changed
        if changed:
            for listener in self._listeners[subject]:
                listener.tell(changed)


async def _write(listener: _Listener, send: Send) -> None:
    await _send(send, "retry: 3000\n\n")
    while True:
        try:
            async with asyncio.timeout(_SIGN_S):
                await listener.has_news.wait()
        except TimeoutError:
            await _send(send, ": still here\n\n")
            continue
        listener.has_news.clear()
        news, listener.news = listener.news, {}
        await _send(send, f"data: {json.dumps(news)}\n\n")


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
