"""Where the keys that sign deliveries are published, and reading that within limits."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
import structlog

from service.apps import App
from service.errors import KeyUnavailable
from service.model import Provider
from service.receiver import KeyRing
from service.signature import KEY_URLS, FetchedKeys, PinnedKeys, load_keys

_FETCH_S = 2.0
_LIMIT = 64 * 1024
_TRUST = "if that address's certificate is not from a public authority, name that in SSL_CERT_FILE"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What lies at a key's address; ``told_at`` is the moment that the answer itself names, if it does."""

    document: bytes
    told_at: float | None


def key_urls(app: App) -> Mapping[Provider, str]:
    """Where the keys that sign an app's deliveries are fetched, for either family of headers."""
    return dict.fromkeys(KEY_URLS, app.key_url) if app.key_url else KEY_URLS


@contextlib.asynccontextmanager
async def key_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that keys are fetched in: soon or not at all, and through the environment's proxy."""
    timeout = aiohttp.ClientTimeout(total=_FETCH_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        yield session


def key_rings(
    apps: Sequence[App], session: aiohttp.ClientSession, *, clock: Callable[[], float]
) -> Mapping[KeyRing, Sequence[App]]:
    """The apps by the keys that sign for them, those of one key together. ``clock``: monotonic seconds."""

    async def fetch(url: str) -> bytes:
        document = (await fetch_key(session, url)).document
        log.info("key_fetched", url=url)
        return document

    by_key: dict[tuple[str | None, str | None], list[App]] = {}
    for app in apps:
        by_key.setdefault((app.public_key, app.key_url), []).append(app)
    return {
        PinnedKeys(load_keys(pem)) if pem else FetchedKeys(key_urls(theirs[0]), fetch, clock=clock): theirs
        for (pem, _), theirs in by_key.items()
    }


async def fetch_key(session: aiohttp.ClientSession, url: str) -> KeyAnswer:
    """Read a key document, which nobody has looked at yet. Raises :class:`KeyUnavailable`."""
    try:
        async with session.get(url) as response:
            if response.status != 200:
                raise KeyUnavailable(f"the key's address answered {response.status}")
            document = b""
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > _LIMIT:
                    raise KeyUnavailable("the key document is too large")
            return KeyAnswer(document, _told_at(response.headers))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        mend = _TRUST if isinstance(error, aiohttp.ClientSSLError) else ""
        raise KeyUnavailable(
            f"the key's address cannot be read ({type(error).__name__})", mend=mend
        ) from error


def _told_at(headers: Mapping[str, str]) -> float | None:
    # A cache hands on the origin's Date, and tells in Age how long ago that was (RFC 9111, 4.2.3).
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp() + int(headers.get("Age", "0"))
    except (KeyError, ValueError):
        return None
