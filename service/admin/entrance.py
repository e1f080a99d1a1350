"""Logging in and out of the page."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import Response

from service.admin.look import HEADERS, Look
from service.admin.sessions import LASTS_S, Sessions

_PAUSE_S = 1.0
"""After a wrong token, so that guessing takes its time."""
_BODY_BYTES: Final = 10_000
_PLACE = re.compile(r"(recordings(/[\w~%.-]*[\w~%-][\w~%.-]*)?)?(\?[\w~%.&=+:-]*)?", re.ASCII)
"""Where one may be sent after the login: a page of ours."""

log = structlog.get_logger()


class FormRefused(Exception):
    """A form that did not come from one of our pages; the detail is for whoever sent it."""


class Entrance:
    """Lets in who knows the token, for as long as a session lasts."""

    def __init__(
        self, look: Look, sessions: Sessions, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._look = look
        self._sessions = sessions
        self._sleep = sleep

    async def login(self, request: Request) -> Response:
        """The form; with the token, a session."""
        if request.method != "POST":
            return self._form(request, request.query_params.get("next", ""))
        form = await form_of(request)
        wanted = form.get("next", "")
        if not self._sessions.is_token(form.get("token", "")):
            log.warning("login_refused", address=address_of(request))
            await self._sleep(_PAUSE_S)
            return self._form(request, wanted, status=403, is_wrong=True)
        log.info("login_accepted", address=address_of(request))
        response = _to(f"./{wanted if _PLACE.fullmatch(wanted) else ''}")
        self._give(request, response, self._sessions.issue(), LASTS_S)
        return response

    async def logout(self, request: Request) -> Response:
        """Forget the session. Raises :class:`FormRefused`."""
        self.check(request, await form_of(request))
        response = _to("./login")
        self._give(request, response, "", 0)
        return response

    def check(self, request: Request, form: dict[str, str]) -> None:
        """Raises :class:`FormRefused` unless the form is one that this session was given."""
        if not self._sessions.is_form_token(request.scope.get("admin_session"), form.get("form_token", "")):
            raise FormRefused("It did not come from a page of this session")

    def _form(self, request: Request, wanted: str, *, status: int = 200, is_wrong: bool = False) -> Response:
        return self._look.page(request, "login", status, wanted=wanted, is_wrong=is_wrong)

    def _give(self, request: Request, response: Response, session: str, lasts_s: int) -> None:
        proto = request.headers.get("x-forwarded-proto", request.url.scheme)
        response.set_cookie(
            self._sessions.cookie,
            session,
            max_age=lasts_s,
            # None: for this folder and below, which is the admin port's root, below whatever path that is.
            path=None,
            secure=proto.partition(",")[0].strip().lower() == "https",
            httponly=True,
            samesite="strict",
        )


async def form_of(request: Request) -> dict[str, str]:
    """A form's fields. Raises :class:`FormRefused` for one that another site sent, or that is none."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FormRefused("It came from another site")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise FormRefused("It is not a form of these pages")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES:
            raise FormRefused("It is too large")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def address_of(request: Request) -> str:
    """Who asks, as far as the connection tells."""
    return request.client.host if request.client else "nowhere"


def _to(place: str) -> Response:
    return Response(status_code=303, headers={**HEADERS, "Location": place})
