"""The provider's files, by links that are signed and expire."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from service.demo.telling import Teller
from service.wording import size_text


@dataclass(frozen=True, slots=True)
class _Offer:
    path: Path
    is_for_half: bool


class Files:
    """Gives a file only by a link that was made for it."""

    def __init__(self, tell: Teller) -> None:
        self._tell = tell
        self._offers: dict[str, _Offer] = {}

    def link(self, path: Path, *, is_for_half: bool = False) -> str:
        """Path and query of a new link; ``is_for_half``: it expires when the second half is asked for."""
        signature = secrets.token_hex(16)
        self._offers[signature] = _Offer(path, is_for_half)
        return f"/files/{path.name}?signature={signature}"

    async def give(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET, of a range too; 403 for a link that is none, or no longer."""
        signature = request.query.get("signature", "")
        offer = self._offers.get(signature)
        if offer is None:
            return web.Response(status=403, text="Request has expired")
        if offer.is_for_half:
            size, asked = offer.path.stat().st_size, request.http_range
            if asked.stop is None or asked.stop > size // 2:
                del self._offers[signature]
                place = f"byte {asked.start or 0} of {size_text(size)}"
                self._tell("link", f"to {offer.path.name} has expired: 403 at {place}")
                return web.Response(status=403, text="Request has expired")
        return web.FileResponse(offer.path)
