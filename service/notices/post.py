"""One notice as one HTTP request: signed as Standard Webhooks has it, or for one of Slack's webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from standardwebhooks.webhooks import Webhook
from yarl import URL

from service.errors import NoticeNotTaken, NoticeUnwanted
from service.notice import CLOUDEVENTS_TYPE, Notice, cloud_event, slack_message

TIMEOUT_S: Final = 15.0
"""How long a receiver may take to answer, as Standard Webhooks advises."""

_MOST_RETRY_AFTER_S = 24 * 3600.0


@contextlib.asynccontextmanager
async def notice_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that notices are sent in, through the environment's proxy."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"User-Agent": "dyte-archiver"},
        trust_env=True,
    ) as session:
        yield session


class Post:
    """The way to the one receiver."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        secrets: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        """``secrets`` (``whsec_...``) sign, each for itself; without any it is one of Slack's webhooks.

        ``clock`` counts seconds since the epoch.
        """
        self._session = session
        self._url = URL(url)
        self._keys = [Webhook(secret) for secret in secrets]
        self._clock = clock

    async def send(self, notice: Notice) -> None:
        """Return when the receiver has taken it.

        Raises :class:`~service.errors.NoticeNotTaken`, :class:`~service.errors.NoticeUnwanted`.
        """
        body = cloud_event(notice) if self._keys else slack_message(notice)
        headers = self._headers(notice.id, body)
        try:
            # Whoever is told where files lie is who was named, not whom that one names.
            async with self._session.post(
                self._url, data=body.encode(), headers=headers, allow_redirects=False
            ) as answer:
                status, told = answer.status, answer.headers.copy()
        except TimeoutError as error:
            raise NoticeNotTaken(f"no answer within {TIMEOUT_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Their texts may have the address in them, which is a secret.
            raise NoticeNotTaken(f"no answer ({type(error).__name__})") from error
        if status == 410:
            raise NoticeUnwanted("it answered 410")
        if not 200 <= status < 300:
            raise NoticeNotTaken(f"it answered {status}", retry_after_s=_retry_after_s(told, self._clock()))

    def _headers(self, notice_id: str, body: str) -> dict[str, str]:
        if not self._keys:
            return {"Content-Type": "application/json"}
        at = datetime.fromtimestamp(int(self._clock()), UTC)
        return {
            "Content-Type": CLOUDEVENTS_TYPE,
            "webhook-id": notice_id,
            "webhook-timestamp": f"{at.timestamp():.0f}",
            "webhook-signature": " ".join(key.sign(notice_id, at, body) for key in self._keys),
        }


def _retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, or a moment (RFC 9110, section 10.2.3)."""
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        # However many digits there are.
        return min(float(told[:9]), _MOST_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(told).timestamp() - now
    except ValueError:
        return None
    return min(max(0.0, seconds), _MOST_RETRY_AFTER_S)
