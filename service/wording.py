"""Sizes, spans and moments, as people read and write them. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from service.fields import moment

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))
_LETTERS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def size_text(size: float) -> str:
    """A number of bytes for people, in decimal units."""
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def span_text(seconds: float) -> str:
    """A span of time for people."""
    for factor, unit in _SPANS:
        if seconds >= factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment_text(at: float) -> str:
    """A moment for people, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def span_of(text: str) -> float | None:
    """The seconds that ``30d``, ``12h``, ``90min`` or ``2w`` are; None if it is no such span."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?) ?([a-z]+)", text.strip())
    if found is None or found[2] not in _LETTERS:
        return None
    return float(found[1]) * _LETTERS[found[2]]


def moment_of(text: str, *, now: float) -> float | None:
    """The moment that an ISO 8601 day or time means (UTC unless it says otherwise), or a span before ``now``.

    None if it is neither.
    """
    span_s = span_of(text)
    return moment(text) if span_s is None else now - span_s
