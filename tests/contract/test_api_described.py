"""Proves with schemathesis that the API is what its OpenAPI document says, whatever it is asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from service.admin import Admin
from service.admin.api import Api
from service.ledger import Database
from service.model import Kind
from service.server import Server, listen
from service.telemetry import Metrics
from tests.contract.ledgers import HERE, LATER, Ledger, archive, begin, expire, news
from tests.doubles.threaded import threaded

TOKEN = "s3cret-of-the-admin-port"
SENT = {"Authorization": f"Bearer {TOKEN}"}
NOT_DESCRIBED: dict[str, list[Any]] = {"GET /recordings": [positive_data_acceptance]}
"""No schema says what a cursor may be, nor which order goes with which standing."""

KNOWN = ["archived", "archived/video", "expired", "failing", "moving", "moving/video", "errored", "a/b?c#d"]


async def fill(ledger: Ledger) -> None:
    """Recordings of which there is something to be told for every field."""
    await ledger.database.migrate()
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, Kind.CHAT, id="archived"), HERE)
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="expired")
    await expire(ledger, gone)
    (failed,) = await ledger.claimed(work, Kind.VIDEO, id="failing")
    await begin(ledger, failed)
    await work.try_later(failed, LATER)
    (moving,) = await ledger.claimed(work, Kind.VIDEO, id="moving")
    await begin(ledger, moving)
    await ledger.hear(
        news(id="errored", status="ERRORED", stop_reason="it broke"),
        news(Kind.VIDEO, id="a/b?c#d", title="Weekly 🎬", meeting_id="m", file_size=10, duration_s=0.5),
    )


@asynccontextmanager
async def served(url: str) -> AsyncIterator[str]:
    """The admin port over a ledger; gives the API's address."""
    listener = listen("127.0.0.1", 0)
    database = Database(url)
    await fill(Ledger(database))
    admin = Admin(
        check=database.check, draining=lambda: False, metrics=Metrics(), database=database, token=TOKEN
    )
    server = Server(admin.app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    finally:
        server.end()
        await serving
        await database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API over a ledger of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'archiver.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    with threaded(served(url)) as address:
        yield address


@pytest.mark.parametrize(
    "operation", ["GET /overview", "GET /recordings", "GET /recordings/{id}", "POST /orders"]
)
@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_whatever_is_asked_the_answer_is_one_that_is_described(
    api: str, operation: str, mode: schemathesis.GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{api}/openapi.json", headers=SENT)
    schema.config.update(base_url=api)
    method, path = operation.split()
    described = schema[path][method]
    told: Counter[int] = Counter()

    @hypothesis.settings(max_examples=60, derandomize=True, database=None, deadline=None)
    @hypothesis.given(case=described.as_strategy(generation_mode=mode), known=st.sampled_from(KNOWN))
    def ask(case: schemathesis.Case[Any], known: str) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            if case.path_parameters and len(known) % 2:
                case.path_parameters["id"] = quote(known, safe="")
            if isinstance(case.body, dict):
                case.body["target"] = known
        response = case.call(headers=SENT, session=session)
        case.validate_response(response, excluded_checks=NOT_DESCRIBED.get(operation, []))
        told[response.status_code] += 1

    with requests.Session() as session:
        ask()
    assert told[200] if mode is schemathesis.GenerationMode.POSITIVE else told.keys() - {200}


def test_the_document_describes_every_path_and_nothing_else(api: str) -> None:
    document = requests.get(f"{api}/openapi.json", headers=SENT, timeout=30).json()
    routes = Api(Database("sqlite:///none.db"), takes_orders=True).app.routes
    there = {route.path.replace(":path}", "}") for route in routes if isinstance(route, Route)}
    assert there == {*document["paths"], "/openapi.json"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or "enum" in schema, name
