"""The secrets that sign notices, in the form of Standard Webhooks: ``whsec_`` and base64. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64


def parse_secrets(text: str) -> tuple[str, ...]:
    """Read one secret, or several with commas between. Raises ValueError, without any of them."""
    secrets = tuple(part.strip() for part in text.split(",") if part.strip())
    if not secrets:
        raise ValueError("is empty")
    for secret in secrets:
        if not secret.startswith(_PREFIX):
            raise ValueError(f"does not begin with {_PREFIX}")
        try:
            bare = secret.removeprefix(_PREFIX).rstrip("=")
            # The receivers' libraries take it without its padding too.
            size = len(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
        except (binascii.Error, ValueError):
            raise ValueError(f"is not base64 after {_PREFIX}; it may be cut off") from None
        if not _LEAST <= size <= _MOST:
            raise ValueError(f"has {size} bytes, not {_LEAST} to {_MOST}")
    return secrets
