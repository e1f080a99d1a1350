"""Answers that say what was wrong, as RFC 9457 has it: ``application/problem+json``."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.errors import ArchiverError, LedgerUnavailable, NotInLedger, OrderRefused

_STATUSES: Mapping[type[ArchiverError], int] = {
    NotInLedger: 404,
    OrderRefused: 409,
    LedgerUnavailable: 503,
}


class Problem(Exception):
    """What is answered: a status, what was wrong, and for fields of a request their faults by name."""

    def __init__(self, status: int, detail: str, *, faults: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = faults

    @classmethod
    def of(cls, error: ArchiverError) -> "Problem":
        """One for an error of the service."""
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
        return cls(status, str(error))

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            body["errors"] = [{"field": field, "fault": fault} for field, fault in self.faults]
        return JSONResponse(body, self.status, dict(headers or {}), "application/problem+json")


async def answer_problem(_request: Request, error: Exception) -> Response:
    """For Starlette: a problem, or an error of the service, as an answer."""
    if isinstance(error, ArchiverError):
        error = Problem.of(error)
    assert isinstance(error, Problem)
    return error.response({"Retry-After": "5"} if error.status == 503 else {})
