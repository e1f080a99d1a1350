"""What may be seen of the API's documents and messages. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.fields import clean

_HIDDEN = "***"
_FIELDS = {"access_key", "secret", "secret_key", "session_token", "password", "private_key"}
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"<>]*)\?[^\s\"<>]*", re.IGNORECASE)
_LEAST = 4
_PIECE = 8


def shown(value: Any, *, links: bool, secrets: Sequence[str]) -> Any:
    """A document of the API without any secret, and, unless ``links``, with links cut at their query."""
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN if name in _FIELDS and inner else shown(inner, links=links, secrets=secrets)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [shown(inner, links=links, secrets=secrets) for inner in value]
    if not isinstance(value, str):
        return value
    for secret in sorted(secrets, key=len, reverse=True):
        value = value.replace(secret, _HIDDEN) if len(secret) >= _LEAST else value
    return value if links else _QUERY.sub(rf"\1?{_HIDDEN}", value)


def without_secrets(text: str, secrets: Sequence[str]) -> str:
    """A message in which no piece of a secret is left, not even of one that was cut or written otherwise."""
    ways = {way for secret in secrets for way in (secret, clean(secret), json.dumps(secret)[1:-1])}
    ways = {way for way in ways if len(way) >= _LEAST}
    hidden = [False] * len(text)
    for way in ways:
        size = min(len(way), _PIECE)
        for at in range(len(text) - size + 1):
            if text[at : at + size] in way:
                hidden[at : at + size] = [True] * size
    kept = "".join("\0" if is_hidden else letter for letter, is_hidden in zip(text, hidden, strict=True))
    return re.sub("\0+", _HIDDEN, kept)
