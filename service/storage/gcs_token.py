"""The access token that requests to Google carry: fetched once for all of them, and anew ahead of its end.

``google-auth`` knows the kinds of credential and how each gets its token: a service account's key by a signed
assertion to its own ``token_uri`` (RFC 7523), the pod's identity from the metadata server (GKE's Workload
Identity Federation, Compute Engine, Cloud Run), or a file that ``GOOGLE_APPLICATION_CREDENTIALS`` names. It
waits where it asks, so it runs in a thread; what it sends goes through this service's own HTTP client.
"""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import google.auth
import google.auth.transport
from google.auth.credentials import Credentials, TokenState, with_scopes_if_required
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.oauth2 import service_account

from service.errors import SettingsError, StorageError, StorageRefused, StorageThrottled, StorageUnavailable

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_TIMEOUT_S = 30.0
_NOBODY = (
    "give a service account's JSON as `secret` in the storage config, or run where the metadata server knows"
    " the pod (GKE: Workload Identity Federation), or name a file in GOOGLE_APPLICATION_CREDENTIALS"
)
_NO_ACCOUNT = "let the pod's Kubernetes service account act as one that has rights in the bucket"
_CLOCK = "set this machine's clock"
_FEDERATION = "let the file that GOOGLE_APPLICATION_CREDENTIALS names be one that is in force"
_KEY = "the key was deleted or disabled: create another and give its JSON as `secret` in the storage config"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as ``google-auth`` reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


Ask = Callable[[str, str, bytes | None, Mapping[str, str]], Awaitable[Answer]]
"""Sends method, address, body and headers. Raises ``StorageUnavailable`` where nothing answers."""


class Bearer:
    """The headers that say who asks.

    While a token nears its end one refresh runs and requests go on with the old one; without a valid token
    they all wait for the same refresh.
    """

    def __init__(self, info: Mapping[str, Any] | None, ask: Ask) -> None:
        """``info`` is a service account's key; None: the pod's own identity, looked for when it is needed.

        Raises ``SettingsError`` if the key cannot be read.
        """
        self._is_key = info is not None
        self._credentials = _account(info) if info is not None else None
        self._request = _Request(ask)
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def account(self) -> service_account.Credentials | None:
        """The service account whose key there is, which signs by itself."""
        return self._credentials if isinstance(self._credentials, service_account.Credentials) else None

    async def headers(self) -> dict[str, str]:
        """What goes along with a request. Raises the families of :class:`~service.errors.StorageError`."""
        state = self._state()
        if state is not TokenState.FRESH and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())
            # With an old token that is still good, nobody waits for what this one says.
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        if state is TokenState.INVALID:
            assert self._refreshing is not None
            await asyncio.shield(self._refreshing)
        assert self._credentials is not None
        headers: dict[str, str] = {}
        self._credentials.apply(headers)  # type: ignore[no-untyped-call]  # it has no types
        return headers

    def forget(self, headers: Mapping[str, str]) -> None:
        """The token in ``headers`` was refused: the next request fetches another."""
        credentials = self._credentials
        if credentials is not None and headers.get("authorization") == f"Bearer {credentials.token}":
            credentials.token = None

    async def close(self) -> None:
        """Give up what is under way."""
        self._request.close()
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _state(self) -> TokenState:
        return TokenState.INVALID if self._credentials is None else self._credentials.token_state

    async def _refresh(self) -> None:
        self._credentials = await asyncio.to_thread(
            _refreshed, self._credentials, self._request, is_key=self._is_key
        )


class _Request(google.auth.transport.Request):
    """Lets ``google-auth``, in its thread, send through the event loop's HTTP client."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._sending: concurrent.futures.Future[Answer] | None = None
        self._is_closed = False

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_options: Any,
    ) -> Answer:
        if self._is_closed:
            raise TransportError("closed")  # type: ignore[no-untyped-call]
        self._sending = asyncio.run_coroutine_threadsafe(
            self._send(url, method, body, headers or {}, min(timeout or _TIMEOUT_S, _TIMEOUT_S)), self._loop
        )
        try:
            answer = self._sending.result()
        except (StorageUnavailable, TimeoutError, concurrent.futures.CancelledError) as error:
            raise TransportError(type(error.__cause__ or error).__name__) from error  # type: ignore[no-untyped-call]
        # The library would try these again by itself; that is the caller's business.
        if answer.status == 429 or answer.status >= 500:
            kind = StorageThrottled if answer.status in (429, 503) else StorageUnavailable
            raise kind(f"the token's server answered {answer.status}")
        return answer

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        if self._sending is not None:
            self._sending.cancel()

    async def _send(
        self, url: str, method: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        async with asyncio.timeout(timeout_s):
            return await self._ask(method, url, body, headers)


def _account(info: Mapping[str, Any]) -> Credentials:
    try:
        return service_account.Credentials.from_service_account_info(info, scopes=_SCOPES)  # type: ignore[no-any-return, no-untyped-call]
    except (GoogleAuthError, ValueError) as error:
        raise SettingsError(
            "the private_key of the service account cannot be read",
            mend="give the whole JSON file as `secret`",
        ) from error


def _refreshed(credentials: Credentials | None, request: _Request, *, is_key: bool) -> Credentials:
    """The credentials with a new token. Runs in a thread."""
    try:
        if credentials is None:
            # Scopes are given afterwards: with them, the library would ask for the project's number too.
            found, _ = google.auth.default(request=request)
            credentials = with_scopes_if_required(found, _SCOPES)  # type: ignore[no-untyped-call]
            assert credentials is not None
        credentials.refresh(request)
        return credentials
    except DefaultCredentialsError as error:
        raise StorageRefused("there is nothing that says who this pod is", mend=_NOBODY) from error
    except TransportError as error:
        raise StorageUnavailable(f"the token's server does not answer: {error}") from error
    except RefreshError as error:
        raise _translated(error, is_key=is_key) from error
    except (GoogleAuthError, OSError, ValueError) as error:
        # Of a file that is named, what it names in turn, or an answer that is none.
        raise StorageRefused(f"credentials: {type(error).__name__}", mend=_NOBODY) from error


def _translated(error: RefreshError, *, is_key: bool) -> StorageError:
    """The family of a refusal by the token's server (RFC 6749, section 5.2) or the metadata server."""
    if isinstance(error.__cause__, TransportError):
        if len(error.__cause__.args) < 2:  # no answer is told beside it
            return StorageUnavailable("the metadata server does not answer")
        return StorageRefused("the metadata server has no token for this pod", mend=_NO_ACCOUNT)
    told = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    code, description = str(told.get("error", "")), str(told.get("error_description", ""))
    detail = f"the token's server answered {code or 'without a token'}"
    if error.retryable:
        return StorageUnavailable(detail)
    if "iat" in description or "short-lived" in description:
        return StorageRefused(detail, mend=_CLOCK)
    return StorageRefused(detail, mend=_KEY if is_key else _FEDERATION)
