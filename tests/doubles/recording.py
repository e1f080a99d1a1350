"""One recording behind a link: what it holds, what is wrong with it now, and what was asked of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Unpack

from tests.doubles.content import Content
from tests.doubles.source_faults import Answer, Faults, Request, parse_range

__all__ = ["Recording"]

ERROR_PAGE = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%d</Code><Message>refused</Message></Error>'
)


@dataclass
class Recording:
    """Answers as its faults say; everything here may be read and changed while it is being served.

    `gate` says with what status a request is refused, None to let it pass; it is asked again while the body
    goes, which ends where it does not pass any more.

    `occurrences` counts how often each fault came into effect, by its name in `Faults` (`cut_after`,
    `status`, ...), since the recording was added; `active` and `peak` are the requests being answered now and
    the most ever.
    """

    name: str
    url: str
    content: Content
    faults: Faults = field(default_factory=Faults)
    content_type: str = "video/mp4"
    gate: Callable[[Request], int | None] | None = None
    requests: list[Request] = field(default_factory=list)
    occurrences: Counter[str] = field(default_factory=Counter)
    active: int = 0
    peak: int = 0
    _seen: int = 0
    _spent: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Bytes of body over all requests, as handed to the system: a client that left may have got fewer."""
        return sum(request.sent for request in self.requests)

    def fail(self, **faults: Unpack[Faults]) -> None:
        """Have these faults from the next request on, in place of all earlier ones."""
        self.faults, self._seen, self._spent = faults, 0, Counter()

    def recover(self) -> None:
        """Be honest from the next request on; answers on their way keep what is wrong with them."""
        self.fail()

    def replace(self, *, seed: int, size: int | None = None) -> None:
        """Be another file, with another ETag, from the next request on."""
        self.content = Content(seed, self.content.size if size is None else size)

    def answer(self, request: Request) -> Answer | None:
        """Decide what `request` gets; None is no answer at all."""
        if self.gate is not None and (status := self.gate(request)) is not None:
            return Answer(status, {"Content-Type": "application/xml"}, page=ERROR_PAGE % status)
        self._seen += 1
        faults = self.faults
        if "no_answer" in faults and self._strikes("no_answer", faults.get("no_answer_first")):
            return None
        if "changes_after" in faults and self.sent >= faults["changes_after"]:
            self.occurrences["changes_after"] += 1
            self.replace(seed=self.content.seed + 1)
            faults.pop("changes_after")
        if "redirect" in faults:
            self.occurrences["redirect"] += 1
            return Answer(302, {"Location": faults["redirect"]}, page=b"")
        refused = "status" in faults and self._seen > faults.get("status_after", 0)
        if refused and self._strikes("status", faults.get("status_first")):
            return self._refusal(faults["status"])
        return self._broken_off(self._honest(request))

    def _refusal(self, status: int) -> Answer:
        page = self.faults.get("body", ERROR_PAGE % status)
        kind = (
            "text/html" if page.lstrip().lower().startswith((b"<html", b"<!doctype")) else "application/xml"
        )
        fields = {"Content-Type": kind}
        if "retry_after" in self.faults:
            fields["Retry-After"] = self.faults["retry_after"]
        return Answer(status, fields, page=page)

    def _honest(self, request: Request) -> Answer:
        faults, size = self.faults, self.content.size
        fields = {"Content-Type": self.content_type}
        if faults.get("etag", True):
            fields["ETag"] = self.content.etag()
            if request.if_match and fields["ETag"] not in request.if_match and request.if_match != "*":
                return Answer(412, fields, page=ERROR_PAGE % 412)
        framing = faults.get("framing", "length")
        if not faults.get("ranges", True):
            self.occurrences["ranges"] += bool(request.range)
            return Answer(200, fields, 0, size, framing=framing)
        fields["Accept-Ranges"] = "bytes"
        if not request.range:
            return Answer(200, fields, 0, size, framing=framing)
        found = parse_range(request.range, size)
        if found is None:
            return Answer(416, fields | {"Content-Range": f"bytes */{size}"}, page=ERROR_PAGE % 416)
        start, end = (min(offset + faults.get("shift", 0), size) for offset in found)
        fields["Content-Range"] = f"bytes {start}-{end - 1}/{faults.get('total', size)}"
        for lie in ("shift", "total", "surplus"):
            self.occurrences[lie] += lie in faults
        return Answer(206, fields, start, max(start, end + faults.get("surplus", 0)), framing=framing)

    def _broken_off(self, answer: Answer) -> Answer:
        faults, length = self.faults, answer.length
        if answer.page is not None:
            return answer
        cut, stall = faults.get("cut_after", length), faults.get("stall_after", length)
        if cut < length and self._strikes("cut_after", faults.get("cut_first")):
            return replace(answer, cut_after=cut)
        if stall < length and self._strikes("stall_after", faults.get("stall_first")):
            return replace(answer, stall_after=stall)
        return answer

    def _strikes(self, fault: str, limit: int | None) -> bool:
        if limit is not None and self._spent[fault] >= limit:
            return False
        self._spent[fault] += 1
        self.occurrences[fault] += 1
        return True
