"""What can be asked of an organisation's (Dyte) or an app's (RealtimeKit) REST API.

Both have the same paths: https://docs.dyte.io/api and
https://developers.cloudflare.com/api/resources/realtime_kit.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
import structlog

from service.apps import App
from service.errors import ProviderMissing, ProviderUnavailable
from service.model import Artifact, Event, Kind, Provider, Recording
from service.provider import answers
from service.provider.answers import Page, Webhook
from service.provider.asking import Asking
from service.provider.pace import Pace
from service.provider.pages import pages

log = structlog.get_logger()

_T = TypeVar("_T")

_PER_PAGE = "100"
_SESSION_FILES: Final[Mapping[Kind, str]] = {
    Kind.CHAT: "chat",
    Kind.TRANSCRIPT: "transcript",
    Kind.SUMMARY: "summary",
}


@contextlib.asynccontextmanager
async def api_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that the API is asked in: an answer within 30 s, and through the environment's proxy."""
    timeout = aiohttp.ClientTimeout(total=30, sock_connect=10)
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        headers={"Accept": "application/json", "User-Agent": "dyte-archiver"},
        trust_env=True,
    ) as session:
        yield session


class ProviderApi:
    """One app's REST API.

    Everything raises :class:`~service.errors.ProviderError`: ``ProviderUnavailable`` if it cannot be asked
    now, ``ProviderRefused`` for the credentials, ``ProviderMissing`` for an id that is not there (any more),
    ``ProviderRejected`` with the API's own message for all else that it does not take.
    """

    def __init__(
        self,
        app: App,
        session: aiohttp.ClientSession,
        *,
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float],
    ) -> None:
        """``pace`` is shared by all who ask one provider; ``jitter`` is random in [0, 1)."""
        self.app = app
        self._asking = Asking(app, session, pace=pace, sleep=sleep, jitter=jitter)
        # Without a provider there are no credentials either, and whatever is asked is refused.
        self._provider = app.provider or Provider.DYTE

    # ---- reading

    async def recordings(self, *, meeting_id: str | None = None) -> AsyncIterator[list[Event]]:
        """Every recording of whatever status, a page at a time, the one invoked last first."""
        async for items in self._recording_pages({"meeting_id": meeting_id}):
            yield self._usable(
                [answers.recording_event(item, self.app, self._provider) for item in items], "recordings"
            )

    async def recording(self, recording_id: str) -> Event:
        """One recording as it is now, its links fresh. Raises ``ProviderMissing``."""
        document = await self.recording_document(recording_id)
        event = answers.recording_event(document, self.app, self._provider)
        return _expected(event, "recording")

    async def sessions(self) -> AsyncIterator[list[Recording]]:
        """Every session (scope ``SESSION``), live or ended, a page at a time, the one created last first."""
        query = {"sort_by": "createdAt", "sort_order": "DESC"}
        async for items in pages(self._pages_of("/sessions", query)):
            yield self._usable(
                [answers.session(item, self.app, self._provider) for item in items], "sessions"
            )

    async def session_file(self, session_id: str, kind: Kind) -> Artifact | None:
        """A session's chat, transcript or summary; None if it has none, or the feature is not enabled."""
        path = f"/sessions/{_segment(session_id)}/{_SESSION_FILES[kind]}"
        document = await self._asking.ask("GET", path, none_for=(400, 403, 404))
        return answers.file_of_session(document, session_id, kind)

    async def check(self) -> None:
        """Ask for next to nothing; raise why that would not work."""
        await self._pages_of("/recordings", {"per_page": "1"})(1)

    # ---- setting up

    async def webhooks(self) -> list[Webhook]:
        """The subscriptions."""
        page = _expected(answers.page(await self._asking.ask("GET", "/webhooks")), "list of webhooks")
        return self._usable([answers.webhook(item) for item in page.items], "webhooks")

    async def add_webhook(self, *, name: str, url: str, events: Sequence[str]) -> Webhook:
        """Subscribe ``url`` to ``events``."""
        body = {"name": name, "url": url, "events": list(events), "enabled": True}
        return _webhook(await self._asking.ask("POST", "/webhooks", body=body))

    async def change_webhook(
        self, webhook_id: str, *, name: str, url: str, events: Sequence[str], enabled: bool = True
    ) -> Webhook:
        """Replace all that a subscription says. Raises ``ProviderMissing``."""
        body = {"name": name, "url": url, "events": list(events), "enabled": enabled}
        return _webhook(await self._asking.ask("PUT", f"/webhooks/{_segment(webhook_id)}", body=body))

    async def delete_webhook(self, webhook_id: str) -> None:
        """End a subscription. Raises ``ProviderMissing``."""
        await self._asking.ask("DELETE", f"/webhooks/{_segment(webhook_id)}")

    async def create_meeting(
        self, *, title: str | None, record_on_start: bool, region: str | None
    ) -> Mapping[str, Any]:
        """A new meeting, as the API describes it; ``region`` is where its media is handled."""
        body = _given({"title": title, "record_on_start": record_on_start, "preferred_region": region})
        return _object(await self._asking.ask("POST", "/meetings", body=body), "meeting")

    async def start_recording(self, meeting_id: str, **options: Any) -> Mapping[str, Any]:
        """Start recording a meeting with the API's own options; those that are None are not sent."""
        body = _given({"meeting_id": meeting_id, **options})
        return _object(await self._asking.ask("POST", "/recordings", body=body), "recording")

    async def stop_recording(self, recording_id: str) -> Mapping[str, Any]:
        """Stop it; its file follows. Raises ``ProviderMissing``."""
        path = f"/recordings/{_segment(recording_id)}"
        return _object(await self._asking.ask("PUT", path, body={"action": "stop"}), "recording")

    async def recording_document(self, recording_id: str) -> Mapping[str, Any]:
        """One recording as the API describes it. Raises ``ProviderMissing``."""
        return _object(await self._asking.ask("GET", f"/recordings/{_segment(recording_id)}"), "recording")

    async def recording_documents(
        self, *, meeting_id: str | None = None, status: str | None = None
    ) -> AsyncIterator[list[Mapping[str, Any]]]:
        """Every recording as the API describes it, a page at a time; ``status``: one, or some by commas."""
        async for items in self._recording_pages({"meeting_id": meeting_id, "status": status}):
            yield [item for item in items if isinstance(item, dict)]

    # ---- lists

    def _recording_pages(self, query: Mapping[str, str | None]) -> AsyncIterator[list[Any]]:
        order = {"sort_by": "invokedTime", "sort_order": "DESC"}
        return pages(self._pages_of("/recordings", {**order, **_given(query)}))

    def _pages_of(self, path: str, query: Mapping[str, str]) -> Callable[[int], Awaitable[Page]]:
        async def read(number: int) -> Page:
            asked = {"page_no": str(number), "per_page": _PER_PAGE, **query}
            document = await self._asking.ask("GET", path, query=asked)
            return _expected(answers.page(document), "list")

        return read

    def _usable(self, found: Sequence[_T | None], what: str) -> list[_T]:
        usable = [each for each in found if each is not None]
        if len(usable) < len(found):
            log.warning("items_left_out", app=self.app.name, what=what, count=len(found) - len(usable))
        return usable


def _segment(identity: str) -> str:
    """An id as a part of a path. Raises ``ProviderMissing`` if it would lead elsewhere."""
    if not identity.strip(". "):
        raise ProviderMissing(f"{identity!r} is no id")
    return quote(identity, safe="")


def _given(options: Mapping[str, _T | None]) -> dict[str, _T]:
    return {name: value for name, value in options.items() if value is not None}


def _object(document: Any, name: str) -> dict[str, Any]:
    return _expected(answers.one(document, name), name)


def _webhook(document: Any) -> Webhook:
    return _expected(answers.webhook(answers.one(document, "webhook")), "webhook")


def _expected(found: _T | None, what: str) -> _T:
    if found is None:
        raise ProviderUnavailable(f"it answered something else than a {what}")
    return found
