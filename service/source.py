"""Reading a recording: guarded, ranged, and resumed at its byte."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from service.budget import Gate
from service.direct import Cut, read_body
from service.errors import (
    SourceChanged,
    SourceError,
    SourceGone,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from service.guard import Guard, GuardedResolver
from service.retry import range_delay_s

_REDIRECTS = 5
_BUFFER = 64 * 1024
_TRUST = "if the source's certificate is not from a public authority, name that in SSL_CERT_FILE"
_PAGES = ("text/html", "application/xml", "text/xml", "application/xhtml+xml")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Identity:
    """What must stay the same on every answer: the size and the ETag, as far as the source tells them."""

    size: int | None
    etag: str | None

    def conditions(self) -> dict[str, str]:
        """The request headers that make the source refuse another file (a weak ETag never matches)."""
        return {"If-Match": self.etag} if self.etag and not self.etag.startswith("W/") else {}

    def check(self, other: Self) -> None:
        """Raise :class:`SourceChanged` if ``other`` is certainly another file."""
        if None not in (self.size, other.size) and self.size != other.size:
            raise SourceChanged(f"{other.size} bytes, {self.size} before")
        if None not in (self.etag, other.etag) and self.etag != other.etag:
            raise SourceChanged("its ETag is another")


class Source:
    """Opens links. ``sleep`` and ``jitter`` (random in [0, 1)) are given for the pauses between tries.

    ``clock`` counts monotonic seconds.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        stall_s: float = 30.0,
        at_once: int = 256,
    ) -> None:
        """``stall_s``: a connection that gives nothing for so long counts as dropped.

        ``at_once``: how many ranges of one host are read at once; fewer while it asks for less.
        """
        self.stall_s = stall_s
        self._guard = guard
        self._clock = clock
        self._at_once = at_once
        self._gates: dict[str, Gate] = {}
        self._sleep = sleep
        self._jitter = jitter
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=GuardedResolver(guard), ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=stall_s),
            headers={"Accept-Encoding": "identity", "User-Agent": "dyte-archiver"},
            auto_decompress=False,
            read_bufsize=_BUFFER,
        )

    async def open(self, link: str, *, start: int, length: int, expected: Identity | None = None) -> "Opened":
        """Ask for ``length`` bytes from ``start`` on, and learn from the answer what the source can do.

        Raises :class:`SourceError`: ``SourceChanged`` if it is not the ``expected`` file.
        """
        conditions = expected.conditions() if expected else {}
        response = await self._asked(link, {"Range": f"bytes={start}-{start + length - 1}", **conditions})
        opened = Opened(self, link, response, start)
        try:
            if (opened.ranged and opened.identity.size is None) or response.status == 416:
                empty = response.status == 416 and _content_range(response)[1] == 0
                if not empty:
                    # A source that does not say how much there is: then all of it, in one go.
                    response.close()
                    response = await self._asked(link, conditions)
                    opened = Opened(self, link, response, start)
                    if response.status != 200:
                        raise SourceUnavailable(f"it answered {response.status} where no range was asked for")
            if expected is not None:
                expected.check(opened.identity)
        except BaseException:
            response.close()
            raise
        return opened

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def now(self) -> float:
        """The clock's monotonic seconds."""
        return self._clock()

    def gate(self, link: str) -> Gate:
        """What bounds the requests to the link's host."""
        host = URL(link, encoded=True).host or ""
        if host not in self._gates:
            self._gates[host] = Gate(self._at_once, clock=self._clock)
        return self._gates[host]

    async def _asked(self, link: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """The answer to a GET, asked again while the source is unavailable, up to the limit."""
        attempts = 0
        while True:
            try:
                return await self.get(link, headers)
            except SourceUnavailable as error:
                attempts += 1
                await self.pause(error, attempts)

    async def pause(self, error: SourceUnavailable, attempts: int) -> None:
        """Wait before the next try after ``attempts`` vain ones; raise ``error`` when they are enough."""
        delay_s = range_delay_s(attempts, jitter=self._jitter(), retry_after_s=error.retry_after_s)
        if delay_s is None:
            raise error
        await self._sleep(delay_s)

    async def get(self, link: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """One GET, redirects followed by hand so that each is checked. Raises :class:`SourceError`."""
        with _translated():
            url = URL(link, encoded=True)
        for _ in range(_REDIRECTS + 1):
            with _translated():
                self._guard.check_link(url)
                response = await self._session.get(url, headers=headers, allow_redirects=False)
            if response.status not in (301, 302, 303, 307, 308):
                return _accepted(response)
            response.close()
            try:
                url = url.join(URL(response.headers["Location"], encoded=True))
            except (KeyError, ValueError) as error:
                raise SourceUnavailable("it redirects to nowhere") from error
        raise SourceUnavailable("it redirects without end")


class Opened:
    """A link that answered. ``ranged``: any range can be read, several at once; else it is one stream.

    ``given_bytes`` is how much has been read, what had to be read twice included.
    """

    def __init__(self, source: Source, link: str, response: aiohttp.ClientResponse, start: int) -> None:
        self._source = source
        self._link = link
        self._first: aiohttp.ClientResponse | None = response
        self._start = start
        self._gate = source.gate(link)
        self._ahead: dict[tuple[int, int], asyncio.Task[aiohttp.ClientResponse]] = {}
        self.ranged = response.status == 206
        self.given_bytes = 0
        counted = response.status in (206, 416)
        size = _content_range(response)[1] if counted else response.content_length
        self.identity = Identity(size, response.headers.get("ETag"))
        # Without a length and without chunks an end cannot be told from a cut.
        self.end_is_certain = size is not None or "Transfer-Encoding" in response.headers

    def place(self) -> AbstractAsyncContextManager[object]:
        """A place for one :meth:`read_into`, among all that read from the same host."""
        return self._gate.request()

    def ask_ahead(self, start: int, length: int) -> None:
        """Ask for what :meth:`read_into` will read: its first bytes travel while something else is done.

        Not of a host that has asked for fewer requests. Nothing is raised: a failure is the reading's.
        """
        if not self._gate.is_narrowed:
            last = start + length - 1
            self._ahead[start, last] = asyncio.create_task(self._asked(start, last))

    async def read_into(self, start: int, view: memoryview) -> None:
        """Fill ``view`` with the bytes from ``start`` on; a dropped connection goes on at its byte.

        Raises :class:`SourceError` when that fails :data:`~service.retry.PART_ATTEMPTS` times without one
        byte between.
        """
        got = attempts = 0
        while got < len(view):
            before, began_at = got, self._source.now()
            try:
                async with self._range(start + got, start + len(view) - 1) as response:
                    async for count in self._read(response, view[got:]):
                        got += count
                        self.given_bytes += count
                if got < len(view):
                    raise SourceUnavailable(f"it stopped after {got} of {len(view)} bytes")
            except SourceUnavailable as error:
                if isinstance(error, SourceThrottled):
                    self._gate.narrow(began_at)
                attempts = attempts + 1 if got == before else 1
                await self._source.pause(error, attempts)
        self._gate.widen()

    async def _read(self, response: aiohttp.ClientResponse, view: memoryview) -> AsyncIterator[int]:
        """Fill the beginning of ``view`` with a body; gives how many bytes came each time."""
        length = response.content_length
        if (length or 0) > len(view):
            raise SourceUnavailable("it gives more than it was asked for")
        if length is not None:
            try:
                with _translated():
                    yield await read_body(response, view, stall_s=self._source.stall_s)
            except SourceUnavailable as error:
                if isinstance(error.__cause__, Cut):
                    yield error.__cause__.got
                raise
            return
        got = 0
        async for chunk in _chunks(response):
            if got + len(chunk) > len(view):
                raise SourceUnavailable("it gives more than it was asked for")
            view[got : got + len(chunk)] = chunk
            got += len(chunk)
            yield len(chunk)

    async def stream(self, size: int) -> AsyncGenerator[memoryview, None]:
        """The whole file in pieces of at most ``size`` bytes, from its first byte. Once only.

        Raises :class:`SourceError`; a stream cannot be resumed.
        """
        response, self._first = self._first, None
        if response is None or response.status == 206:
            raise SourceUnavailable("the stream has been read")
        async with response:
            async for chunk in _chunks(response):
                view = memoryview(chunk)
                self.given_bytes += len(view)
                for start in range(0, len(view), size):
                    yield view[start : start + size]

    def close(self) -> None:
        """Drop what was not read."""
        if self._first is not None:
            self._first.close()
            self._first = None
        for asked in self._ahead.values():
            _drop(asked)
        self._ahead.clear()

    async def _asked(self, first: int, last: int) -> aiohttp.ClientResponse:
        headers = {"Range": f"bytes={first}-{last}", **self.identity.conditions()}
        return await self._source.get(self._link, headers)

    @contextlib.asynccontextmanager
    async def _range(self, first: int, last: int) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._first is not None and self._start == first:
            response, self._first = self._first, None
        elif (asked := self._ahead.pop((first, last), None)) is not None:
            try:
                response = await asked
            except asyncio.CancelledError:
                _drop(asked)
                raise
        else:
            response = await self._asked(first, last)
        async with response:
            if response.status != 206:
                raise SourceUnavailable("it no longer gives ranges")
            given, total = _content_range(response)
            self.identity.check(Identity(total, response.headers.get("ETag")))
            # It may give less than asked for, and then the rest is asked for; but from the right byte.
            if given is None or given[0] != first or given[1] > last:
                raise SourceUnavailable("it gives another range than it was asked for")
            yield response


def _drop(asked: asyncio.Task[aiohttp.ClientResponse]) -> None:
    """Close the answer, also one that comes in the same moment."""
    asked.cancel()
    asked.add_done_callback(
        lambda done: None if done.cancelled() or done.exception() else done.result().close()
    )


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # As received: `readany` would join what has come in the meantime, at the price of a copy.
    while True:
        with _translated():
            chunk, _ = await response.content.readchunk()
        if not chunk and response.content.at_eof():
            return
        yield chunk


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except aiohttp.InvalidURL as error:
        raise SourceRefused("the link is not one that can be asked") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:  # a wrong certificate is a ValueError too
        mend = _TRUST if isinstance(error, aiohttp.ClientSSLError) else ""
        raise SourceUnavailable(type(error).__name__, mend=mend) from error
    except ValueError as error:  # what yarl makes of odd links
        raise SourceRefused("the link is not one that can be asked") from error


def _accepted(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The response if it carries the file (or says with 416 that there is no such range)."""
    status = response.status
    if (status in (200, 206) and response.content_type not in _PAGES) or status == 416:
        return response
    response.close()
    detail = f"it answered {status}"
    if status in (200, 206):
        raise SourceUnavailable(f"it answered a page ({response.content_type}), not a file")
    if status == 412:
        raise SourceChanged(detail)
    if status in (400, 401, 403):
        raise SourceRefused(detail)
    if status in (404, 410):
        raise SourceGone(detail)
    told = response.headers.get("Retry-After", "")
    family = SourceThrottled if status in (429, 503) else SourceUnavailable
    raise family(detail, retry_after_s=float(told) if told.isdecimal() else None)


def _content_range(response: aiohttp.ClientResponse) -> tuple[tuple[int, int] | None, int | None]:
    """First and last byte, and the whole size, of a ``Content-Range`` (RFC 9110, section 14.4)."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None:
        return None, None
    first, last, total = found.groups()
    return (
        None if first is None else (int(first), int(last)),
        None if total == "*" else int(total),
    )
