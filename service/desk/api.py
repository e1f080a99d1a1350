"""The desk of a running service, by the API on its admin port."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError
from yarl import URL

from service import __version__
from service.admin.asked import Asked, Given
from service.admin.documents import (
    Document,
    OrderDone,
    ProblemDetails,
    RecordingLife,
    RecordingList,
    Summary,
)
from service.choices import Order
from service.errors import (
    ArchiverError,
    LedgerUnavailable,
    NotInLedger,
    OrderRefused,
    ServiceError,
    ServiceRefused,
    ServiceRejected,
    ServiceUnavailable,
    ServiceUnknown,
)
from service.settings import PREFIX

_WITHIN_S: Final = 30.0
_URL: Final = f"{PREFIX}ADMIN_URL"
_TOKEN: Final = f"{PREFIX}ADMIN_TOKEN"
_REACH = f"is {_URL} the admin port of a service that runs? Without {_URL} the database itself is asked"
_ADDRESS = f"{_URL} has to lead to a service's admin port, with the path that a reverse proxy gives it"
_SAME = "use the dyte-archiver of the service's own version"
_TRUST = "if the certificate is not from a public authority, name that in SSL_CERT_FILE"
_T = TypeVar("_T", bound=Document)


@contextlib.asynccontextmanager
async def admin_session(token: str | None) -> AsyncIterator[aiohttp.ClientSession]:
    """The session that a service is asked in: with its token, through the environment's proxy."""
    headers = {"Accept": "application/json", "User-Agent": f"dyte-archiver/{__version__}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_WITHIN_S, sock_connect=10),
        headers=headers,
        trust_env=True,
    ) as session:
        yield session


class ApiDesk:
    """A desk of the service whose admin port is at ``url``; ``session`` carries the token."""

    is_service = True

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def overview(self) -> Summary:
        """See :class:`~service.desk.Desk`."""
        return await self._asked(Summary, "/overview")

    async def recordings(self, asked: Asked) -> RecordingList:
        """See :class:`~service.desk.Desk`."""
        given = asked.model_dump(exclude_none=True)
        query = {name: _moment(value) if name in _MOMENTS else str(value) for name, value in given.items()}
        return await self._asked(RecordingList, "/recordings", query=query)

    async def life(self, recording_id: str) -> RecordingLife:
        """See :class:`~service.desk.Desk`."""
        _could_be(recording_id)
        path = f"/recordings/{quote(recording_id, safe='')}"
        return await self._asked(RecordingLife, path, target=recording_id)

    async def order(self, order: Order, target: str) -> OrderDone:
        """See :class:`~service.desk.Desk`."""
        _could_be(target)
        body = {"order": order.value, "target": target}
        return await self._asked(OrderDone, "/orders", body=body, target=target)

    async def _asked(
        self,
        kind: type[_T],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
        target: str = "",
    ) -> _T:
        status, text = await self._sent(path, query, body)
        if status != 200:
            raise await self._failure(status, text, target)
        try:
            # Fields that a later version added are of no harm.
            return kind.model_validate_json(text, extra="ignore")
        except ValidationError as error:
            raise await self._unknown("its answer is not one that this version knows") from error

    async def _sent(
        self, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        url = URL(f"{self._url}/api{path}", encoded=True).with_query(query)
        method = "GET" if body is None else "POST"
        try:
            # A redirection would lead the token, or an order, somewhere else.
            async with self._session.request(method, url, json=body, allow_redirects=False) as response:
                if 300 <= response.status < 400:
                    raise ServiceUnknown(
                        f"{self._url} leads to {response.headers.get('Location', 'nowhere')}", mend=_ADDRESS
                    )
                return response.status, await response.read()
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"{self._url} did not answer within {_WITHIN_S:g} s", mend=_REACH
            ) from error
        except aiohttp.ClientSSLError as error:
            raise ServiceUnavailable(f"{self._url}: {error}", mend=_TRUST) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceUnavailable(f"{self._url}: {error or type(error).__name__}", mend=_REACH) from error

    async def _failure(self, status: int, text: bytes, target: str) -> ArchiverError:
        try:
            problem = ProblemDetails.model_validate_json(text, extra="ignore")
        except ValidationError:
            problem = None
        if status == 401:
            return ServiceRefused(
                f"it asks for its admin token, and {_TOKEN} is not that",
                mend=f"set {_TOKEN} to what the service was started with",
            )
        if problem is None and status >= 500:
            return ServiceUnavailable(f"{self._url} answered {status}", mend=_REACH)
        if problem is None:
            return await self._unknown(f"{self._url}/api answered {status}")
        detail = problem.detail
        match status:
            case 403:
                return ServiceRefused(detail)
            case 404 if target:
                return NotInLedger(target)
            case 404:
                return await self._unknown(detail)
            case 409:
                return _told(OrderRefused, detail)
            case 503:
                return _told(LedgerUnavailable, detail)
        faults = "; ".join(f"{fault.field}: {fault.fault}" for fault in problem.errors or ())
        return ServiceRejected(faults or detail) if status < 500 else ServiceUnavailable(detail)

    async def _unknown(self, detail: str) -> ServiceError:
        """What to say of an answer that is not understood: most likely of another version, if it is one."""
        version = None
        with contextlib.suppress(ServiceError, ValueError, KeyError, TypeError):
            _, text = await self._sent("/openapi.json")
            version = json.loads(text)["info"]["version"]
        if version in (None, __version__):
            return ServiceUnknown(detail, mend=_ADDRESS if version is None else "")
        return ServiceUnknown(f"{detail}: it is version {version}, this is {__version__}", mend=_SAME)


_MOMENTS: Final = ("since", "until")


def _could_be(target: str) -> None:
    try:
        Given(order=Order.VERIFY, target=target)
    except ValidationError:
        raise NotInLedger(target) from None


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _told(kind: type[ArchiverError], detail: str) -> ArchiverError:
    """The error that the service met, whose message begins with what the class says by itself."""
    return kind(detail.removeprefix(f"{kind()}: "))
