"""Reading the provider's JSON as it comes: a field is of use, or it is left out. Pure.

A recording must not be lost for an odd date, so nothing here raises.
"""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

_ID_LENGTH = 200
_TEXT_LENGTH = 2000
_LINK_LENGTH = 16_384
_MAX_NUMBER = 2**53
_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def fields(value: object) -> dict[str, Any]:
    """An object's fields; none if it is no object."""
    return value if isinstance(value, dict) else {}


def clean(text: str) -> str:
    """The text without what cannot be encoded (lone surrogates) or stored (NUL), and without controls."""
    return text if text.isprintable() else _UNFIT.sub("", text)  # nearly every one is


def identity(value: object) -> str | None:
    """An id: exactly as it is given, or not at all."""
    found = text(value)
    return found if found == value and len(found or "") <= _ID_LENGTH else None


def text(value: object) -> str | None:
    """A text that is not blank, cut to what is reasonable."""
    if not isinstance(value, str):
        return None
    return clean(value)[:_TEXT_LENGTH].strip() or None


def number(value: object) -> float | None:
    """A number that is not negative, given as one or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found <= _MAX_NUMBER else None


def whole(value: object) -> int | None:
    """A number without what follows its point."""
    found = number(value)
    return None if found is None else int(found)


def moment(value: object) -> float | None:
    """Both documented forms: ``2023-01-25 04:51:35.903816Z`` and ``2026-06-03T10:00:00.000Z``."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        # In UTC, so that it is one that can be written again: with an offset the first and last day are not.
        return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def link(value: object) -> str | None:
    """An absolute address, whether or not it may be followed."""
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    is_link = value == clean(value) and len(value) <= _LINK_LENGTH and parts.scheme and parts.netloc
    return value if is_link else None


def suffix(url: str) -> str:
    """The suffix of a link's path, with its dot; empty if it has none that a name may have."""
    found = PurePosixPath(urlsplit(url).path).suffix
    return found if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", found) else ""
