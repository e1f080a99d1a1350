"""Addresses of objects that are signed by a service account's key, as V4 of Google's signatures has it.

Source: https://cloud.google.com/storage/docs/authentication/signatures
"""

import hashlib
from datetime import datetime
from urllib.parse import quote, urlsplit

from google.oauth2.service_account import Credentials

_ALGORITHM = "GOOG4-RSA-SHA256"


def signed_link(account: Credentials, url: str, *, valid_s: float, at: datetime) -> str:
    """``url``, whose path is encoded, for reading from ``at`` (UTC) on for so many seconds."""
    parts = urlsplit(url)
    scope = f"{at:%Y%m%d}/auto/storage/goog4_request"
    moment = f"{at:%Y%m%dT%H%M%SZ}"
    told = {
        "X-Goog-Algorithm": _ALGORITHM,
        "X-Goog-Credential": f"{account.service_account_email}/{scope}",
        "X-Goog-Date": moment,
        "X-Goog-Expires": str(int(valid_s)),
        "X-Goog-SignedHeaders": "host",
    }
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(told.items()))
    asked = "\n".join(["GET", parts.path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(asked.encode()).hexdigest()])
    signature: bytes = account.sign_bytes(to_sign.encode())
    return f"{url}?{query}&X-Goog-Signature={signature.hex()}"
