"""What goes wrong at the provider's API: limits, failures, answers that never come; and what was asked."""

import math
import time
from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

__all__ = ["Asked", "Failure", "Fault", "Trouble"]

Fault = int | Literal["drop", "stall", "page", "lost"]
"""A status that is answered; `drop`: the connection is cut; `stall`: nothing ever comes; `page`: a page of
HTML with 200; `lost`: it is done, and the connection cut before the answer."""


@dataclass
class Asked:
    """One request and what became of it.

    `path` is below the account's base and as it was quoted; `provider` is whose base that is, `account` whose
    the credentials are too. `status` is None until it is answered; `is_honest` False if that was trouble.
    """

    method: str
    path: str
    query: dict[str, str]
    json: Any
    at: float = 0.0
    provider: str | None = None
    account: object = None
    status: int | None = None
    answer: Any = None
    is_honest: bool = True


@dataclass
class Failure:
    """So many times, for the paths that fit, `fault` in place of an answer."""

    times: int
    fault: Fault
    path: str
    method: str | None
    retry_after_s: float | None

    def strikes(self, asked: Asked) -> bool:
        """Whether this request is one of them; it is counted then."""
        fits = fnmatchcase(asked.path, self.path) and self.method in (None, asked.method)
        if not fits or self.times <= 0:
            return False
        self.times -= 1
        return True


class Trouble:
    """Decides what happens to a request before anybody looks at it; keeps count of all."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.window_s = 50.0
        self._limit: int | None = None
        self._taken: deque[float] = deque()
        self._failures: list[Failure] = []

    def limit(self, requests: int | None, window_s: float) -> None:
        """Take at most so many requests in any such window from now on; None: any number."""
        self._limit, self.window_s = requests, window_s
        self._taken.clear()

    def fail(self, failure: Failure) -> None:
        """Have it beside what else goes wrong; of several that fit the first strikes."""
        self._failures.append(failure)

    def recover(self) -> None:
        """Have no failures and no limit any more."""
        self._failures.clear()
        self._limit = None

    def next(self, asked: Asked) -> Failure | None:
        """Remember the request; what happens to it in place of an honest answer."""
        asked.at = time.monotonic()
        self.asked.append(asked)
        if (wait_s := self._wait_s(asked.at)) is not None:
            return Failure(0, 429, "*", None, wait_s)
        return next((failure for failure in self._failures if failure.strikes(asked)), None)

    @property
    def peak(self) -> int:
        """The most requests that came in any window, refused ones too."""
        moments = [asked.at for asked in self.asked]
        first, most = 0, 0
        for last, at in enumerate(moments):
            while moments[first] <= at - self.window_s:
                first += 1
            most = max(most, last - first + 1)
        return most

    def _wait_s(self, now: float) -> int | None:
        """Whole seconds until one more is taken; None if this one is."""
        if self._limit is None:
            return None
        while self._taken and self._taken[0] <= now - self.window_s:
            self._taken.popleft()
        if len(self._taken) < self._limit:
            self._taken.append(now)
            return None
        return math.ceil(self._taken[0] + self.window_s - now)
