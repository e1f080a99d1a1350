"""What the endpoints have in common: reading a request, refusing it, giving a list a page at a time."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote

from tests.doubles.provider_account import Account

__all__ = ["Answer", "Call", "Refusal", "Route", "check_guid", "good"]

_T = TypeVar("_T")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Refusal(Exception):
    """The request is not taken."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Call:
    """A request as its endpoint sees it; `page_limit` is how many items a page has at most."""

    account: Account
    query: Mapping[str, str]
    json: Any
    page_limit: int

    @property
    def body(self) -> dict[str, Any]:
        """The object that was sent."""
        if not isinstance(self.json, dict):
            raise Refusal(400, "BAD_REQUEST: the body must be of type object")
        return self.json

    def field(self, name: str, kind: type[_T], *, is_needed: bool = False) -> _T | None:
        """A field of the body; null is as if it were not there."""
        value = self.body.get(name)
        if value is None:
            if is_needed:
                raise Refusal(400, f'BAD_REQUEST: "{name}" is required')
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Refusal(400, f'BAD_REQUEST: "{name}" must be a {kind.__name__}')
        return value

    def choice(self, name: str, *choices: str) -> str | None:
        """A parameter that is one of these."""
        value = self.query.get(name)
        if value is not None and value not in choices:
            raise Refusal(400, f'BAD_REQUEST: "{name}" must be one of [{", ".join(choices)}]')
        return value

    def moment(self, name: str) -> float | None:
        """A parameter that is a time in ISO format."""
        value = self.query.get(name)
        try:
            return None if value is None else datetime.fromisoformat(value).timestamp()
        except ValueError:
            raise Refusal(400, f'BAD_REQUEST: "{name}" must be a valid ISO 8601 date') from None

    def number(self, name: str, default: int) -> int:
        """A parameter that is a number."""
        value = self.query.get(name) or str(default)
        if not value.isdigit():
            raise Refusal(400, f'BAD_REQUEST: "{name}" must be a number')
        return int(value)

    def sorted(self, found: Sequence[_T], key: Callable[[_T], float]) -> list[_T]:
        """The newest first, unless it was asked for the other way; what came later is newer."""
        order = self.choice("sort_order", "ASC", "DESC")
        ascending = [each for _, each in sorted(enumerate(found), key=lambda it: (key(it[1]), it[0]))]
        return ascending if order == "ASC" else ascending[::-1]

    def page(
        self, found: Sequence[_T], document: Callable[[_T], Any], *, is_under: str | None = None
    ) -> dict[str, Any]:
        """A page of what was found, with its place in the whole; pages are counted from 1."""
        number = max(1, self.number("page_no", 1))
        size = min(self.page_limit, self.number("per_page", 10) or 10)
        start = (number - 1) * size
        items = [document(item) for item in found[start : start + size]]
        paging = {
            "total_count": len(found),
            "start_offset": start + 1 if items else start,
            "end_offset": start + len(items),
        }
        return good({is_under: items} if is_under else items, paging=paging)


Answer = tuple[int, Any]
"""Status and document."""


@dataclass(frozen=True)
class Route:
    """An endpoint: what is in braces in its path is given to it by name."""

    method: str
    path: str
    endpoint: Callable[..., Answer]

    def match(self, path: str) -> dict[str, str] | None:
        """The ids in this path; None if it is another one."""
        found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path), path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def good(data: Any, **more: Any) -> dict[str, Any]:
    """The envelope of both providers."""
    return {"success": True, "data": data, **more}


def check_guid(name: str, value: str, known: Mapping[str, Any]) -> None:
    """Refuse what is no id at all; a test may have given any text as one."""
    if value not in known and not _GUID.fullmatch(value):
        raise Refusal(400, f'BAD_REQUEST: "{name}" must be a valid GUID')
