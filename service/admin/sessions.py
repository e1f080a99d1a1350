"""Who has logged in to the page, told by a cookie that any process with the same token understands.

Nothing is kept of a session: the cookie is its end and a signature over that, keyed by the admin token. So it
holds for twelve hours, or until the token is another; to log out is to forget it.
"""

import hmac
from collections.abc import Callable, Iterable
from hashlib import sha256

LASTS_S = 12 * 3600
"""How long a login holds."""


class Sessions:
    """Issues and recognises the cookie's values, and the tokens that forms carry."""

    def __init__(self, token: str, *, clock: Callable[[], float]) -> None:
        """``token`` is the admin token; ``clock`` tells seconds since the epoch."""
        self._token = token.encode()
        self._clock = clock
        # By the token: deployments on one host, as port-forwards are, do not take each other's cookie away.
        self.cookie = f"dyte-archiver-{self._signed('name', '')[:8]}"

    def is_token(self, given: str | bytes) -> bool:
        """Whether it is the admin token."""
        # In constant time: an answer's delay tells nothing of how much of a guess was right.
        raw = given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(raw, self._token)

    def issue(self) -> str:
        """The value of a new session's cookie."""
        until = str(round(self._clock() + LASTS_S))
        return f"{until}.{self._signed('session', until)}"

    def is_valid(self, session: str) -> bool:
        """Whether it is the value of a cookie that was issued and has not ended."""
        until, _, signature = session.partition(".")
        if not _is_same(signature, self._signed("session", until)):
            return False
        return float(until) > self._clock()

    def found_in(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The session that a request's cookies tell, if there is one that holds."""
        for name, value in headers:
            if name != b"cookie":
                continue
            # Below two paths of one host there may be two cookies of this name: one of them has to hold.
            for cookie in value.decode("latin-1").split(";"):
                given, _, session = cookie.strip().partition("=")
                if given == self.cookie and self.is_valid(session):
                    return session
        return None

    def form_token(self, session: str | None) -> str:
        """What the forms of this session carry, so that no other site can send them."""
        return self._signed("form", session or "")

    def is_form_token(self, session: str | None, given: str) -> bool:
        """Whether a form carried what it was given in this session."""
        return _is_same(given, self.form_token(session))

    def _signed(self, use: str, value: str) -> str:
        return hmac.new(self._token, f"{use}:{value}".encode("utf-8", "surrogatepass"), sha256).hexdigest()


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
