"""The provider: Dyte's API and RealtimeKit's, the files behind their links, and their signed deliveries."""

import base64
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests.doubles.provider_account import Account
from tests.doubles.provider_deliveries import Deliveries, Post, Sent
from tests.doubles.provider_recording import RecordingDouble
from tests.doubles.provider_server import CLOUDFLARE, DYTE, KEY_PATH, ApiServer
from tests.doubles.provider_things import EVENTS, SessionDouble, SessionKind, WebhookDouble
from tests.doubles.provider_trouble import Asked, Failure, Fault, Trouble
from tests.doubles.sender import Family, Sender
from tests.doubles.source import FaultySource
from tests.doubles.spec import Spec
from tests.doubles.threaded import threaded

__all__ = [
    "EVENTS",
    "Account",
    "Asked",
    "Deliveries",
    "Fault",
    "ProviderDouble",
    "RecordingDouble",
    "Sent",
    "SessionDouble",
    "SessionKind",
    "WebhookDouble",
    "threaded",
]


class ProviderDouble:
    """Both providers at once, on one port; the files are on another, `files`, a `FaultySource`.

    `async with ProviderDouble() as provider`, or `with threaded(ProviderDouble()) as provider` in a
    synchronous test, which may then read and change everything directly. Each organisation or app is an
    account of its own, and sees nothing of the others.
    """

    def __init__(self, *, sender: Sender | None = None, clock: Callable[[], float] = time.time) -> None:
        self.sender = sender or Sender()
        self.files = FaultySource()
        # As exact as what the API tells, so that what it told can be asked for.
        self._clock = lambda: round(clock(), 3)
        self._trouble = Trouble()
        self._server = ApiServer(trouble=self._trouble, public_pem=self.sender.public_pem)
        self._post = Post()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._open:
            await self._open.enter_async_context(self.files)
            await self._open.enter_async_context(self._post)
            await self._open.enter_async_context(self._server)
            self._open = self._open.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, where both APIs are."""
        return self._server.url

    @property
    def page_limit(self) -> int:
        """How many items a page has at most, whatever is asked for; 50 unless it is changed."""
        return self._server.page_limit

    @page_limit.setter
    def page_limit(self, items: int) -> None:
        self._server.page_limit = items

    # ---- accounts

    def dyte(
        self, *, org_id: str | None = None, api_key: str = "dyte-api-key", sender: Sender | None = None
    ) -> Account:
        """An organisation at Dyte; `sender` is another one whose key its deliveries are signed with."""
        org_id = org_id or str(uuid4())
        settings = {"provider": "dyte", "api_url": self.url + DYTE, "org_id": org_id, "api_key": api_key}
        credentials = base64.b64encode(f"{org_id}:{api_key}".encode()).decode()
        return self._add("dyte", org_id, settings, DYTE, f"Basic {credentials}", sender)

    def realtimekit(
        self,
        *,
        account_id: str = "account-1",
        app_id: str | None = None,
        api_token: str = "cloudflare-api-token",
        sender: Sender | None = None,
    ) -> Account:
        """An app of RealtimeKit; apps of one Cloudflare account may have one token."""
        app_id = app_id or str(uuid4())
        settings = {
            "provider": "realtimekit",
            "api_url": self.url + CLOUDFLARE,
            "account_id": account_id,
            "app_id": app_id,
            "api_token": api_token,
        }
        path = f"{CLOUDFLARE}/accounts/{account_id}/realtime/kit/{app_id}"
        return self._add("rtk", app_id, settings, path, f"Bearer {api_token}", sender)

    @property
    def key_url(self) -> str:
        """Where the key of all accounts without a sender of their own is published."""
        return f"{self.url}{KEY_PATH}"

    # ---- trouble

    def limit(self, requests: int | None, window_s: float = 50.0) -> None:
        """Answer 429 with Retry-After to more requests than these in any such window; None: to none."""
        self._trouble.limit(requests, window_s)

    def fail(
        self,
        times: int,
        status: Fault = 503,
        *,
        path: str = "*",
        method: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Let so many requests go wrong in this way, if `path` is given only those to paths like it.

        Paths are below the account's base, as `/recordings/*`. Several of these are in force together, the
        earliest first.
        """
        self._trouble.fail(Failure(times, status, path, method, retry_after_s))

    def recover(self) -> None:
        """Let nothing go wrong any more, and have no limit."""
        self._trouble.recover()

    # ---- what was asked

    @property
    def requests(self) -> list[Asked]:
        """Every request to the API, in the order they came; those to files are with the files."""
        return self._trouble.asked

    @property
    def peak_in_window(self) -> int:
        """The most requests that came within the window of the limit, or 50 s."""
        return self._trouble.peak

    def check_against_spec(self) -> None:
        """Fail on the first exchange that the specification does not allow.

        It does nothing where the specification is not to be had. An answer that was trouble is not looked
        at, nor a request that was refused with 400 as malformed.
        """
        spec = Spec.load()
        for asked in self.requests if spec is not None else ():
            assert spec is not None
            assert asked.provider is not None, f"{asked.method} {asked.path} is below no account's base"
            if asked.status != 400 or not asked.is_honest:
                spec.check_request(asked.method, asked.path, asked.query, asked.json, provider=asked.provider)
            if asked.is_honest and asked.status is not None:
                spec.check_answer(
                    asked.method, asked.path, asked.status, asked.answer, provider=asked.provider
                )

    def _add(
        self,
        family: Family,
        organization_id: str,
        settings: dict[str, str],
        base_path: str,
        authorization: str,
        sender: Sender | None,
    ) -> Account:
        account = Account(
            family=family,
            organization_id=organization_id,
            settings=settings,
            base_path=base_path,
            folder=f"{len(self._server.accounts)}-{organization_id}",
            authorization=authorization,
            sender=sender or self.sender,
            source=self.files,
            post=self._post,
            clock=self._clock,
        )
        self._server.accounts.append(account)
        return account
