"""The page's templates, its two assets, and the headers that every page has."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from service import __version__
from service.admin import texts
from service.admin.gate import root_of
from service.admin.sessions import Sessions
from service.choices import Order, Standing
from service.ledger.browse import standing_of

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Nothing of anybody else's is loaded, nobody shows a page in theirs, and nothing is kept."""

_ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

_STANDINGS: Final[Mapping[Standing, tuple[str, str]]] = {
    Standing.FAILING: ("Failing", "!"),
    Standing.MOVING: ("Moving", "→"),
    Standing.WAITING: ("Waiting", "…"),
    Standing.PAUSED: ("Paused", "‖"),
    Standing.STORED: ("Stored, manifest to come", "✓"),
    Standing.EXPIRED: ("Lost at the provider", "✕"),
    Standing.CANCELLED: ("Given up", "∅"),
    Standing.ARCHIVED: ("Archived", "✓"),
    Standing.ERRORED: ("Errored, there is no file", "✕"),
    Standing.EXPECTED: ("Arriving", "↓"),
}
_ORDERS: Final[Mapping[Order, str]] = {
    Order.RETRY: "Retry now",
    Order.RENEW: "Renew link",
    Order.PAUSE: "Pause",
    Order.RESUME: "Resume",
    Order.CANCEL: "Give up",
    Order.VERIFY: "Verify",
}


class Look:
    """Renders pages and parts of them."""

    def __init__(self, sessions: Sessions | None) -> None:
        """``sessions``: None where nobody can log in."""
        self._sessions = sessions
        folder = files("service.admin") / "static"
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        self._templates = Environment(
            loader=PackageLoader("service.admin"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for text in (
            texts.size,
            texts.rate,
            texts.span,
            texts.moment,
            texts.stamp,
            texts.spelled,
            texts.plain,
        ):
            self._templates.filters[text.__name__] = text
        self._templates.globals |= {
            "standings": _STANDINGS,
            "standing_of": standing_of,
            "orders": _ORDERS,
            "version": __version__,
            # So that a browser that has kept the former ones asks for these.
            "edition": sha256(b"".join(self._assets.values())).hexdigest()[:12],
        }

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """A whole page."""
        session = request.scope.get("admin_session")
        common = {
            "root": root_of(request.scope),
            "is_open": self._sessions is None,
            "has_session": session is not None,
            "form_token": self._sessions.form_token(session) if self._sessions else "",
            "live": None,
        }
        text = self._templates.get_template(f"{name}.html").render(common | values)
        return Response(text, status, HEADERS, "text/html")

    def part(self, name: str, **values: Any) -> Markup:
        """A part of a page, as HTML."""
        return Markup(self._templates.get_template(f"parts/{name}.html").render(values))  # noqa: S704 - its own

    def asset(self, name: str) -> Response | None:
        """An asset; None if there is none of that name."""
        if name not in _ASSETS:
            return None
        kept = {**HEADERS, "Cache-Control": "public, max-age=86400"}
        return Response(self._assets[name], headers=kept, media_type=_ASSETS[name])
