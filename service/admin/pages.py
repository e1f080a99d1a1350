"""The pages for the person on call, below the admin port's root; they work without JavaScript too."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.admin.asked import Asked
from service.admin.entrance import Entrance, FormRefused, address_of, form_of
from service.admin.live import Live
from service.admin.look import HEADERS, Look
from service.admin.offers import offered
from service.admin.problems import Problem
from service.admin.scenes import Scene, Scenes, Subject
from service.admin.sessions import Sessions
from service.admin.texts import read, spelled
from service.choices import Order, Sort, Standing
from service.errors import ArchiverError
from service.ledger import Database
from service.ledger.browse import MOST, CursorInvalid, Page, Search, browse
from service.ledger.life import Life
from service.ledger.orders import Orders

_ASKED_TWICE = (Order.PAUSE, Order.CANCEL)
"""Orders after which a file may be lost: they are confirmed."""
_ROWS = 50


class Pages:
    """The pages over one ledger. ``app`` is the ASGI app."""

    def __init__(
        self, database: Database, *, draining: Callable[[], bool], sessions: Sessions | None
    ) -> None:
        """``sessions``: None where nobody has to say who they are: then all is only shown."""
        self._database = database
        self._orders = Orders(database)
        self._look = Look(sessions)
        self._scenes = Scenes(database, self._look, takes_orders=sessions is not None)
        self._live = Live(self._scenes, draining)
        self._entrance = Entrance(self._look, sessions) if sessions else None
        routes = [
            Route("/", self._overview),
            Route("/recordings", self._recordings),
            Route("/recordings/{id:path}", self._recording),
            Route("/live", _Stream(self._live)),
            Route("/static/{name}", self._asset),
        ]
        if self._entrance:
            routes += [
                Route("/login", self._entrance.login, methods=["GET", "POST"]),
                Route("/logout", self._entrance.logout, methods=["POST"]),
                Route("/recordings/{id:path}", self._order, methods=["POST"]),
            ]
        self.app: ASGIApp = Starlette(
            routes=routes,
            exception_handlers={
                ArchiverError: self._fault,
                FormRefused: self._fault,
                404: self._missing,
                405: self._missing,
            },
        )
        # It would lead to where a proxy that hides a path does not have it.
        self.app.router.redirect_slashes = False

    async def _overview(self, request: Request) -> Response:
        parts = await self._scenes.parts(Subject(Scene.OVERVIEW))
        return self._look.page(request, "overview", parts=parts, live=f"live?scene={Scene.OVERVIEW}")

    async def _recordings(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        asked, faults = _asked(given)
        try:
            page = Page((), None) if faults else await browse(self._database, asked)
        except CursorInvalid as error:
            page, faults = Page((), None), {"cursor": error.detail}
        ids = [("id", found.recording.id) for found in page.found]
        further = urlencode({**given, "cursor": page.cursor}) if page.cursor else None
        return self._look.page(
            request,
            "recordings",
            422 if faults else 200,
            parts=self._scenes.rows(list(page.found)),
            page=page,
            given=given,
            faults=faults,
            first=urlencode({name: value for name, value in given.items() if name != "cursor"}),
            further=further,
            sorts=Sort,
            live=f"live?{urlencode([('scene', Scene.ROWS), *ids])}" if ids else None,
        )

    async def _recording(self, request: Request) -> Response:
        life = await self._scenes.life(read(request.path_params["id"]))
        if "confirm" in request.query_params:
            return self._confirmation(request, life)
        return self._shown(request, life, done=request.query_params.get("done"))

    def _confirmation(self, request: Request, life: Life) -> Response:
        file_id = request.query_params.get("file")
        files = [file for file in life.files if file_id in (None, file.id)]
        order = next((each for each in _ASKED_TWICE if each == request.query_params["confirm"]), None)
        if order is None or order not in offered(files, now=life.now):
            return self._shown(request, life, 409, refusal="That cannot be done with it now.")
        # Those that it would be for.
        files = [file for file in files if order in offered([file], now=life.now)]
        return self._look.page(
            request, "confirm", order=order, life=life, files=files, target=file_id or life.found.recording.id
        )

    async def _order(self, request: Request) -> Response:
        assert self._entrance is not None
        form = await form_of(request)
        self._entrance.check(request, form)
        life = await self._scenes.life(read(request.path_params["id"]))
        name, _, target = form.get("order", "").partition(" ")
        targets = [life.found.recording.id, *(file.id for file in life.files)]
        order = next((each for each in Order if each == name), None)
        if order is None or target not in targets:
            return self._shown(request, life, 409, refusal="There is no such order for it.")
        if order in _ASKED_TWICE and form.get("confirmed") != "yes":
            return self._shown(request, life, 409, refusal="That has to be confirmed.")
        try:
            await self._orders.give(order, target, actor=f"page {address_of(request)}")
        except ArchiverError as error:
            return self._shown(
                request, life, Problem.of(error).status, refusal=f"{error.detail.capitalize()}."
            )
        place = f"./{spelled(life.found.recording.id)}?done={order}"
        return Response(status_code=303, headers={**HEADERS, "Location": place})

    def _shown(
        self, request: Request, life: Life, status: int = 200, *, done: str | None = None, refusal: str = ""
    ) -> Response:
        recording = life.found.recording
        return self._look.page(
            request,
            "recording",
            status,
            parts=self._scenes.recording(life),
            recording=recording,
            done=next((order for order in Order if order == done), None),
            refusal=refusal,
            live=f"live?{urlencode({'scene': Scene.RECORDING, 'id': recording.id})}",
        )

    async def _asset(self, request: Request) -> Response:
        return self._look.asset(request.path_params["name"]) or await self._missing(request, None)

    async def _fault(self, request: Request, error: Exception) -> Response:
        if isinstance(error, FormRefused):
            detail = f"{error}. Nothing was done. Go back, load the page again, and try once more."
            return self._look.page(request, "fault", 403, title="The form was refused", detail=detail)
        assert isinstance(error, ArchiverError)
        status = Problem.of(error).status
        title = {404: "There is no such recording", 503: "The ledger is away"}.get(status, "It went wrong")
        response = self._look.page(request, "fault", status, title=title, detail=f"{error}.")
        if status == 503:
            response.headers["Retry-After"] = "5"
        return response

    async def _missing(self, request: Request, _error: Exception | None) -> Response:
        detail = "The address leads to no page. The overview leads to all that there are."
        status = getattr(_error, "status_code", 404)
        return self._look.page(request, "fault", status, title="There is nothing here", detail=detail)


class _Stream:
    """The route of the streams, as an ASGI app: they are written as things happen."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Request(scope).query_params
        ids = tuple(given.getlist("id"))
        scene = next((scene for scene in Scene if scene == given.get("scene")), None)
        fits = {Scene.OVERVIEW: not ids, Scene.ROWS: 0 < len(ids) <= MOST, Scene.RECORDING: len(ids) == 1}
        if scene is None or not fits[scene] or any("\0" in each for each in ids):
            return await Problem(422, "There is no such scene").response()(scope, receive, send)
        return await self._live.stream(Subject(scene, ids), scope, receive, send)


def _asked(given: dict[str, str]) -> tuple[Search, dict[str, str]]:
    """What a list's form asks for, and its faults by field."""
    try:
        asked: dict[str, Any] = Asked.model_validate({"limit": _ROWS, **given}).model_dump()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        return Search(), {
            ".".join(map(str, fault["loc"])): fault["msg"].removeprefix("Value error, ") for fault in faults
        }
    asked["sort"] = asked["sort"] or Sort.NEWEST
    ended = (Standing.ARCHIVED, Standing.ERRORED, Standing.EXPECTED)
    if asked["sort"] is Sort.DEADLINE and asked["standing"] in ended:
        return Search(), {"sort": "What is shown has no deadline any more, or none yet: sort it by arrival"}
    return Search(**asked), {}
