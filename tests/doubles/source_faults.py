"""What may be wrong with a recording's link: the vocabulary of `FaultySource`."""

from dataclasses import dataclass
from typing import Literal, TypedDict

__all__ = ["Answer", "Faults", "Framing", "Request", "parse_range"]

Framing = Literal["length", "chunked", "close"]


class Faults(TypedDict, total=False):
    """Each is absent by default: an honest server.

    Names ending in `_first` limit their fault to that many occurrences, `status_after` lets that many
    requests pass before; both count from when the faults were set.
    """

    ranges: bool
    """False: a Range is ignored and answered with 200 and everything."""
    etag: bool
    """False: no ETag is sent, and If-Match is not looked at."""
    framing: Framing
    """How the end of a body is told: `length` (default), `chunked`, or `close` (HTTP/1.0)."""

    status: int
    """Refuse with this status: 503, 429, 403, 404, 410; also 200 with an error page in `body`."""
    status_first: int
    status_after: int
    retry_after: str
    """The Retry-After of a refusal."""
    body: bytes
    """The body of a refusal; by default S3's XML error."""
    redirect: str
    """Answer 302 to this URL."""

    no_answer: Literal["close", "stall"]
    """Take the request and close the connection, or keep it open, without a single byte."""
    no_answer_first: int
    cut_after: int
    """Close the connection after this many bytes of a body."""
    cut_first: int
    cut_by_reset: bool
    """Cut with RST instead of FIN: what was sent but not yet read may be lost."""
    stall_after: int
    """Send nothing more after this many bytes of a body, and keep the connection open."""
    stall_first: int
    rate: int
    """Bytes a second on each connection."""

    total: int | Literal["*"]
    """State this as the whole size in Content-Range."""
    shift: int
    """Answer 206 with the range that begins this many bytes after the asked one, and say so."""
    surplus: int
    """Send this many bytes more (negative: fewer) than Content-Range says; Content-Length is right."""
    changes_after: int
    """Once this many bytes were sent in all, be another file of the same size, with another ETag."""


@dataclass
class Request:
    """One request as received and what became of it; `sent` counts bytes of body and grows while they go.

    `query` is what follows the question mark, as it was quoted.
    """

    method: str
    range: str
    if_match: str
    status: int = 0
    sent: int = 0
    query: str = ""


@dataclass
class Answer:
    """What to send, and where to break it off; offsets are of the content, `page` is sent in its place."""

    status: int
    fields: dict[str, str]
    start: int = 0
    end: int = 0
    page: bytes | None = None
    framing: Framing = "length"
    cut_after: int | None = None
    stall_after: int | None = None

    @property
    def length(self) -> int:
        """Bytes of body."""
        return self.end - self.start if self.page is None else len(self.page)


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """Return first and end offset of a single byte range (RFC 9110, 14.1.2); None: unsatisfiable."""
    first, _, last = value.removeprefix("bytes=").partition("-")
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    start, end = int(first), min(int(last) + 1 if last else size, size)
    return (start, end) if start < end else None
