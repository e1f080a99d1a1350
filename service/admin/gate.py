"""Who may see the admin port: whoever sends its token, or has logged in with it."""

from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admin.problems import Problem
from service.admin.sessions import Sessions

OPEN: Final = ("/healthz", "/readyz", "/login", "/static/page.css", "/static/page.js", "/static/icon.svg")
"""What a kubelet asks for, which has no token to send, and what it takes to log in."""


class Gate:
    """Before the routes rather than on each: what is added later, and what is not there, is behind it too.

    A request that a cookie let in has it as ``admin_session`` in its scope.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, show the way to the login, or refuse it."""
        session = self._sessions.found_in(scope["headers"])
        if self._is_bearer(scope) or scope["path"] in OPEN:
            refusal = None
        elif session is None:
            refusal = _asked_to_log_in(scope)
        else:
            refusal = _refused_to_cookies(scope)
        if refusal is not None:
            return await refusal(scope, receive, send)
        return await self._app({**scope, "admin_session": session}, receive, send)

    def _is_bearer(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and self._sessions.is_token(token.strip())


def root_of(scope: Scope) -> str:
    """The way from this request's path to the admin port's root, wherever a proxy has put that."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return "../" * (raw.partition(b"?")[0].count(b"/") - 1) or "./"


def _asked_to_log_in(scope: Scope) -> Response:
    if scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
        raw: bytes = scope.get("raw_path") or b""
        wanted = raw.decode("latin-1").partition("?")[0].lstrip("/")
        if query := scope["query_string"].decode("latin-1"):
            wanted += f"?{query}"
        target = f"{root_of(scope)}login" + (f"?next={quote(wanted, safe='')}" if wanted else "")
        return Response(status_code=303, headers={"Location": target, "Cache-Control": "no-store"})
    problem = Problem(401, "The admin token is asked for: Authorization: Bearer <ARCHIVER_ADMIN_TOKEN>")
    return problem.response({"WWW-Authenticate": "Bearer"})


def _refused_to_cookies(scope: Scope) -> Response | None:
    """A browser sends its cookie with whatever it is made to send: the pages' forms guard against that."""
    if scope["path"].startswith("/api") and scope["method"] not in ("GET", "HEAD"):
        return Problem(
            403, "The API takes orders with Authorization: Bearer alone, not with a cookie"
        ).response()
    return None
