"""How the page puts sizes, spans, moments and ids."""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

_GAP: Final = "\u00a0"
"""A number stays with its unit."""
_NONE: Final = "\u2013"
_UNITS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS: Final = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_SPELLED = re.compile(rb"~([0-9A-Fa-f]{2})")


def size(count: float | None) -> str:
    """A number of bytes, in decimal units."""
    if count is None:
        return "size not known"
    for factor, unit in _UNITS:
        if count >= factor:
            return f"{count / factor:.1f}{_GAP}{unit}"
    return f"{count:.0f}{_GAP}B"


def rate(bytes_per_second: float | None) -> str:
    """How fast bytes move; a dash where nobody has watched for long enough."""
    return f"{_NONE if bytes_per_second is None else f'{bytes_per_second / 1e6:.1f}'}{_GAP}MB/s"


def span(seconds: float) -> str:
    """A span of time in its two largest units, the second one left out where it is nothing or little."""
    seconds = max(seconds, 0.0)
    for factor, unit, less, smaller in _SPANS:
        if seconds >= factor:
            whole, rest = divmod(seconds, factor)
            fraction = int(rest // less)
            is_told = fraction and unit != "min"
            told = f"{whole:.0f}{_GAP}{unit}"
            return f"{told} {fraction}{_GAP}{smaller}" if is_told else told
    return f"{seconds:.0f}{_GAP}s"


def moment(at: float) -> str:
    """A moment, in UTC as the ledger and the logs have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stamp(at: float) -> str:
    """The same for machines."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def spelled(text: str) -> str:
    """An id as one segment of a path, whatever it holds; :func:`read` takes it back.

    Percent-encoded, but with a tilde for the percent: proxies decode ``%2F``, and browsers take ``%2E%2E``
    for the folder above. A tilde nobody touches (RFC 3986, 2.3).
    """
    encoded = quote(text, safe="", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    return encoded.replace(".", "~2E") if set(text) <= {"."} else encoded


def read(segment: str) -> str:
    """The id that a segment spells; one that is merely percent-encoded is taken too."""
    raw = _SPELLED.sub(lambda found: bytes.fromhex(found[1].decode()), segment.encode("utf-8", "replace"))
    return raw.decode("utf-8", "replace")


def plain(value: str) -> str:
    """A word of the code for people: ``not_offered`` as ``not offered``."""
    return value.replace("_", " ").lower()
