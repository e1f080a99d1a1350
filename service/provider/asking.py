"""One request to the API: in its turn, tried again where that helps, its failure told as one of ours."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from service.apps import App
from service.errors import (
    ProviderError,
    ProviderMissing,
    ProviderRefused,
    ProviderRejected,
    ProviderUnavailable,
)
from service.fields import number
from service.model import ONLY, Provider
from service.provider.answers import fault, is_failure, read
from service.provider.pace import Pace
from service.retry import range_delay_s

ANSWER_LIMIT: Final = 8 << 20
"""Bytes; a page of the API is a few hundred KiB."""

_PATIENCE_S = 60.0
_MESSAGE_LENGTH = 300
_PASSING = (408, 425, 429)
_NOT_TAKEN = (429, 503)
# Cloudflare's codes for a token that is malformed (it answers 400 then), unknown, or without the permission.
_CREDENTIALS = frozenset({6003, 6111, 9106, 9109, 10000, 10001})
_TRUST = "if the API's certificate is not from a public authority, name that in SSL_CERT_FILE"
_KEYS = {
    Provider.DYTE: ("ARCHIVER_ORG_ID", "ARCHIVER_API_KEY"),
    Provider.REALTIMEKIT: ("ARCHIVER_ACCOUNT_ID", "ARCHIVER_APP_ID", "ARCHIVER_API_TOKEN"),
}
_UNSAID = ("ARCHIVER_PROVIDER", "ARCHIVER_API_KEY", "ARCHIVER_API_TOKEN")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after_s: float | None
    body: bytes


class Asking:
    """Makes the requests of one app's API."""

    def __init__(
        self,
        app: App,
        session: aiohttp.ClientSession,
        *,
        pace: Pace,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float],
    ) -> None:
        """``jitter`` is random in [0, 1), for the pauses between tries."""
        self._app = app
        self._session = session
        self._pace = pace
        self._sleep = sleep
        self._jitter = jitter

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        none_for: Collection[int] = (),
    ) -> Any:
        """The answer's JSON; None if it is empty, or its status is among ``none_for``.

        ``path`` begins with a slash and is quoted already. GET, PUT and DELETE are tried up to
        :data:`~service.retry.PART_ATTEMPTS` times while the API is unavailable, POST only if it certainly was
        not taken. Raises :class:`~service.errors.ProviderError`.
        """
        if self._app.api_url is None or self._app.authorization is None:
            of = "" if self._app.name == ONLY else f" of {self._app.name}"
            raise ProviderRefused(f"no credentials{of} are given", mend=f"set {self._keys()}")
        try:
            url = URL(
                self._app.api_url + path + (f"?{urlencode(query, safe=',')}" if query else ""), encoded=True
            )
        except ValueError as error:
            raise ProviderUnavailable("its address is none", mend="look at ARCHIVER_API_URL") from error
        attempts = 0
        while True:
            attempts += 1
            await self._pace.turn()
            answer = failure = None
            try:
                answer = await self._sent(method, url, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = error
            if answer is not None and not _is_passing(answer.status):
                if answer.status == 404 and method == "DELETE" and attempts > 1:
                    return None  # an earlier try, whose answer was lost, has done it
                return self._judged(answer, none_for)
            delay_s = self._delay_s(method, answer, failure, attempts)
            if delay_s is None:
                raise self._unavailable(method, answer, failure) from failure
            await self._sleep(delay_s)

    async def _sent(self, method: str, url: URL, body: Mapping[str, Any] | None) -> _Answer:
        async def authorize(
            request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # Not among the headers that are given: beside an entry of ~/.netrc those are refused.
            request.headers["Authorization"] = self._app.authorization or ""
            try:
                return await send(request)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                # As itself, the library would send the request once more at once, out of its turn.
                raise aiohttp.ClientConnectionError(str(error)) from error

        async with self._session.request(
            method, url, json=body, allow_redirects=False, middlewares=(authorize,)
        ) as response:
            received = bytearray()
            async for chunk in response.content.iter_any():
                received += chunk
                if len(received) > ANSWER_LIMIT:
                    raise ProviderUnavailable(f"its answer is larger than {ANSWER_LIMIT >> 20} MiB")
            return _Answer(response.status, _retry_after_s(response.headers), bytes(received))

    def _delay_s(
        self, method: str, answer: _Answer | None, failure: Exception | None, attempts: int
    ) -> float | None:
        retry_after_s = answer.retry_after_s if answer else None
        if isinstance(failure, aiohttp.ClientSSLError) or (retry_after_s or 0.0) > _PATIENCE_S:
            return None
        if method == "POST" and not _was_not_taken(answer, failure):
            return None
        return range_delay_s(attempts, jitter=self._jitter(), retry_after_s=retry_after_s)

    def _unavailable(
        self, method: str, answer: _Answer | None, failure: Exception | None
    ) -> ProviderUnavailable:
        mend = _TRUST if isinstance(failure, aiohttp.ClientSSLError) else ""
        if method == "POST" and not _was_not_taken(answer, failure):
            mend = "look whether it was done, before it is asked again"
        if answer is None:
            return ProviderUnavailable(f"it cannot be reached ({type(failure).__name__})", mend=mend)
        detail = self._detail(answer, _document(answer.body))
        return ProviderUnavailable(detail, mend=mend, retry_after_s=answer.retry_after_s)

    def _judged(self, answer: _Answer, none_for: Collection[int]) -> Any:
        """The document, or the error that the answer is."""
        is_good = 200 <= answer.status < 300
        if is_good and not answer.body.strip():
            return None
        try:
            document = read(answer.body)
        except ValueError as error:
            if is_good:
                detail = "it answered a page, not JSON"
                raise ProviderUnavailable(detail, mend="look at ARCHIVER_API_URL") from error
            document = None
        if is_good and not is_failure(document):
            return document
        # A page instead of JSON comes from something before the API, which does not know what there is.
        is_told = answer.status == 404 or (document is not None and not _is_about_credentials(document))
        if answer.status in none_for and is_told:
            return None
        raise self._refusal(answer, document)

    def _refusal(self, answer: _Answer, document: Any) -> ProviderError:
        detail, status = self._detail(answer, document), answer.status
        if 300 <= status < 400:
            return ProviderUnavailable(
                f"{detail}, which is not followed", mend="ARCHIVER_API_URL must be the API's own address"
            )
        if status in (401, 403) or _is_about_credentials(document):
            return ProviderRefused(
                detail, mend=f"look at {self._keys()}: they may be wrong, or not allow this"
            )
        if status in (404, 410):
            return ProviderMissing(detail, mend="look at the id; if that is right, at ARCHIVER_API_URL")
        return ProviderRejected(detail)

    def _detail(self, answer: _Answer, document: Any) -> str:
        message = fault(document).message
        for secret in self._app.secrets:
            message = message.replace(secret, "***") if secret else message
        return f"it answered {answer.status}" + (f": {message[:_MESSAGE_LENGTH]}" if message else "")

    def _keys(self) -> str:
        """The settings that the credentials are in."""
        *others, last = _UNSAID if self._app.provider is None else _KEYS[self._app.provider]
        names = f"{', '.join(others)} and {last}"
        return names if self._app.name == ONLY else f"what {self._app.name} has for {names}"


def _is_about_credentials(document: Any) -> bool:
    return not _CREDENTIALS.isdisjoint(fault(document).codes)


def _is_passing(status: int) -> bool:
    return status >= 500 or status in _PASSING


def _was_not_taken(answer: _Answer | None, failure: Exception | None) -> bool:
    """Whether the request certainly changed nothing."""
    if answer is not None:
        return answer.status in _NOT_TAKEN
    return isinstance(failure, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _document(body: bytes) -> Any:
    try:
        return read(body)
    except ValueError:
        return None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or a moment that is counted from the answer's own ``Date`` (RFC 9110, section 10.2.3)."""
    told = headers.get("Retry-After", "")
    if (seconds := number(told)) is not None:
        return seconds
    try:
        then, now = parsedate_to_datetime(told), parsedate_to_datetime(headers["Date"])
        return max(0.0, (then - now).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
