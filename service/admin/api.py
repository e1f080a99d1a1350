"""``/api``: what the page and the command line can see and do; ``/api/openapi.json`` describes it."""

import json
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.admin.asked import Asked, Given, Nothing
from service.admin.documents import Document, OrderDone, RecordingLife, RecordingList, Summary
from service.admin.openapi import document
from service.admin.problems import Problem, answer_problem
from service.choices import Sort
from service.errors import ArchiverError, NotInLedger
from service.ledger import Database, View
from service.ledger.browse import CursorInvalid, Search, browse, sorts_of
from service.ledger.life import life
from service.ledger.orders import Orders

_DAY_S = 24 * 3600.0
_LINES = 200
_BODY_BYTES = 10_000
_T = TypeVar("_T", bound=BaseModel)


class Api:
    """The API over one ledger. ``app`` is the ASGI app, to be mounted below ``/api``."""

    def __init__(self, database: Database, *, takes_orders: bool) -> None:
        """``takes_orders``: False where nobody has to say who they are: then all is only shown."""
        self._database = database
        self._view = View(database)
        self._orders = Orders(database)
        self._takes_orders = takes_orders
        routes = {
            "/overview": self._overview,
            "/recordings": self._recordings,
            "/recordings/{id:path}": self._recording,
            "/openapi.json": self._openapi,
        }
        self.app = Starlette(
            routes=[
                *(Route(path, answer) for path, answer in routes.items()),
                Route("/orders", self._order, methods=["POST"]),
            ],
            exception_handlers={
                Problem: answer_problem,
                ArchiverError: answer_problem,
                404: partial(_refused, 404, "there is nothing here; /api/openapi.json says what there is"),
                405: partial(_refused, 405, "that is not done with this"),
            },
        )

    async def _overview(self, request: Request) -> Response:
        _read(Nothing, _parameters(request))
        overview = await self._view.overview(
            limit=_LINES, lost_limit=_LINES, within_s=_DAY_S, near_limit=_LINES
        )
        return _answer(Summary.of(overview))

    async def _recordings(self, request: Request) -> Response:
        asked = _read(Asked, _parameters(request))
        sort = asked.sort or Sort.NEWEST
        if sort not in sorts_of(asked.standing):
            raise Problem(
                422,
                "The request does not fit: sort",
                faults=[("sort", f"{sort} is of no use with standing {asked.standing}")],
            )
        given = asked.model_dump(exclude={"sort"})
        try:
            page = await browse(self._database, Search(**given, sort=sort))
        except CursorInvalid as error:
            raise Problem(
                422, "The request does not fit: cursor", faults=[("cursor", error.detail)]
            ) from error
        return _answer(RecordingList.of(page))

    async def _recording(self, request: Request) -> Response:
        _read(Nothing, _parameters(request))
        recording_id = request.path_params["id"]
        if "\0" in recording_id:
            raise NotInLedger(recording_id)  # a database would not even be asked that
        return _answer(RecordingLife.of(await life(self._database, recording_id)))

    async def _order(self, request: Request) -> Response:
        if not self._takes_orders:
            raise Problem(
                403, "Set ARCHIVER_ADMIN_TOKEN: without it whoever reaches this port could give orders"
            )
        given = _read(Given, await _json_of(request))
        actor = f"api {request.client.host if request.client else ''}".strip()
        done = await self._orders.give(given.order, given.target, actor=actor)
        return _answer(OrderDone(order=given.order, target=given.target, file_ids=done))

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(document())


def _answer(document: Document) -> Response:
    return Response(document.model_dump_json(), media_type="application/json")


def _parameters(request: Request) -> dict[str, Any]:
    given = request.query_params.multi_items()
    names = [name for name, _ in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Problem(
            422,
            f"The request does not fit: {', '.join(twice)}",
            faults=[(name, "is given twice") for name in twice],
        )
    return dict(given)


async def _json_of(request: Request) -> Any:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        # Also what keeps a form on somebody's page from being one.
        raise Problem(415, "Send the order as application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES:
            raise Problem(413, f"The body has more than {_BODY_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON") from None


def _read(kind: type[_T], given: Any) -> _T:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        faults = [
            (".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
            for fault in error.errors(include_url=False, include_input=False)
        ]
        named = ", ".join(dict.fromkeys(field or "the body" for field, _ in faults))
        raise Problem(422, f"The request does not fit: {named}", faults=faults) from None


async def _refused(status: int, detail: str, _request: Request, _error: Exception) -> Response:
    return Problem(status, detail).response()
