"""What may go wrong between an S3 client and its store: the vocabulary of `FaultyStore`."""

import re
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal
from urllib.parse import parse_qs

__all__ = ["Fault", "Injection", "Operation", "Traffic", "classify", "render_error"]

Operation = Literal[
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "ListMultipartUploads",
    "PutObject",
    "GetObject",
    "HeadObject",
    "DeleteObject",
    "ListObjects",
    "HeadBucket",
    "Other",
]


class Fault(Enum):
    """What happens to a request, and whether the store has done what was asked when it does."""

    REFUSE = "not forwarded; an error answer"
    FAIL_AFTER = "done by the store; an error answer all the same"
    ERROR_BODY = "not forwarded; 200 with an error as its body"
    ERROR_BODY_AFTER = "done by the store; 200 with an error as its body"
    DROP = "not forwarded; the connection is closed when the request's head is there"
    DROP_AFTER = "done by the store; the connection is closed without an answer"
    STALL = "not forwarded; no answer, the connection stays open"
    STALL_AFTER = "done by the store; no answer, the connection stays open"

    @property
    def after(self) -> bool:
        """Whether the store does what was asked."""
        return self.name.endswith("_AFTER")


@dataclass
class Injection:
    """One fault put before an operation; `occurrences` counts how often it came into effect.

    It lets `skip` requests pass, then takes every `every`-th, and rests after `first` occurrences. `status`,
    `code` and `retry_after` are what an error answer says; an error body has only the code.
    """

    operation: Operation
    fault: Fault
    first: int | None = None
    every: int = 1
    skip: int = 0
    status: int = 503
    code: str = "SlowDown"
    retry_after: str | None = None
    seen: int = 0
    occurrences: int = 0

    def strikes(self, operation: Operation) -> bool:
        """Count a request and say whether this fault takes it."""
        if operation != self.operation:
            return False
        self.seen += 1
        if self.first is not None and self.occurrences >= self.first:
            return False
        if self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        self.occurrences += 1
        return True


@dataclass
class Traffic:
    """What came for one operation: `peak` is the most at once, `received` the bytes of request bodies."""

    requests: int = 0
    active: int = 0
    peak: int = 0
    received: int = 0
    statuses: list[int] = field(default_factory=list)
    targets: deque[str] = field(default_factory=lambda: deque(maxlen=10_000))


def classify(method: str, target: str) -> Operation:
    """Return the S3 operation that a path-style request means, from its method and query."""
    path, _, query = target.partition("?")
    names = set(parse_qs(query, keep_blank_values=True))
    on_object = re.fullmatch(r"/[^/]+/.+", path) is not None
    match method:
        case "POST" if "uploads" in names:
            return "CreateMultipartUpload"
        case "POST" if "uploadId" in names:
            return "CompleteMultipartUpload"
        case "PUT" if "partNumber" in names:
            return "UploadPart"
        case "PUT" if on_object and not names - {"x-id"}:
            return "PutObject"
        case "DELETE" if "uploadId" in names:
            return "AbortMultipartUpload"
        case "DELETE" if on_object:
            return "DeleteObject"
        case "GET" if "uploadId" in names:
            return "ListParts"
        case "GET" if "uploads" in names:
            return "ListMultipartUploads"
        case "GET" if on_object:
            return "GetObject"
        case "GET" if not names or "list-type" in names:
            return "ListObjects"
        case "HEAD":
            return "HeadObject" if on_object else "HeadBucket"
    return "Other"


def render_error(injection: Injection, *, status: int) -> bytes:
    """Return a whole answer with S3's XML error for its body."""
    page = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{injection.code}</Code><Message>injected</Message>"
        "<RequestId>0123456789ABCDEF</RequestId><HostId>double</HostId></Error>"
    ).encode()
    lines = [f"HTTP/1.1 {status} Injected", "Content-Type: application/xml", f"Content-Length: {len(page)}"]
    if injection.retry_after is not None and status >= 400:
        lines.append(f"Retry-After: {injection.retry_after}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + page
