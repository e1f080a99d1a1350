"""The API shows what is in the ledger and takes orders, and says of every fault where it lies."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from service.admin import Admin
from service.admin.openapi import document
from service.choices import Order
from service.ledger import Database
from service.model import Kind, State
from service.telemetry import Metrics
from tests.contract.ledgers import HERE, LATER, Ledger, archive, expire, news, opened
from tests.test_house import ROOT
from tests.unit.public_port import Stage

TOKEN = "s3cret-of-the-admin-port"
SENT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def filled(ledger: Path) -> AsyncIterator[Ledger]:
    """A ledger with recordings that stand in several ways."""
    async with opened(f"sqlite:///{ledger}") as filled:
        work = filled.work()
        await archive(filled, await filled.claimed(work, Kind.VIDEO, Kind.AUDIO, id="archived"), HERE)
        (gone,) = await filled.claimed(work, Kind.VIDEO, id="expired")
        await expire(filled, gone)
        (failed,) = await filled.claimed(work, Kind.VIDEO, id="failing")
        await work.try_later(failed, LATER)
        await filled.claimed(work, Kind.VIDEO, id="moving")
        await filled.hear(
            news(Kind.VIDEO, id="waiting", title="Weekly <b>", meeting_id="a-meeting", duration_s=60.5),
            news(id="errored", status="ERRORED", stop_reason="it broke"),
            news(id="begun", status="RECORDING"),
        )
        yield filled


@pytest.fixture
async def http(stage: Stage, filled: Ledger) -> AsyncIterator[aiohttp.ClientSession]:
    """A session on the admin port of a service with a token."""
    async with stage.serving(admin_of(filled.database, token=TOKEN).app) as http:
        http.headers.update(SENT)
        yield http


def admin_of(database: Database, token: str | None) -> Admin:
    return Admin(
        check=database.check, draining=lambda: False, metrics=Metrics(), database=database, token=token
    )


async def got(
    http: aiohttp.ClientSession, path: str, status: int = 200, *, query: Mapping[str, str] | None = None
) -> dict[str, Any]:
    async with http.get(f"/api{path}", params=query) as response:
        return await read(response, status)


async def ordered(http: aiohttp.ClientSession, status: int = 200, **order: str) -> dict[str, Any]:
    async with http.post("/api/orders", json=order) as response:
        return await read(response, status)


async def read(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    assert response.status == status, await response.text()
    assert response.content_type == ("application/json" if status == 200 else "application/problem+json")
    found = await response.json(content_type=response.content_type)
    assert isinstance(found, dict)
    if status != 200:
        assert found["status"] == status
        assert found["type"] == "about:blank"
        assert found["title"]
    return found


async def test_the_overview_tells_what_moves_and_what_fails_and_why(http: aiohttp.ClientSession) -> None:
    overview = await got(http, "/overview")

    assert overview["files"] == {
        "waiting": 2, "moving": 1, "stored": 0, "archived": 2, "expired": 1,
    }  # fmt: skip
    assert [line["file_id"] for line in overview["moving"]] == ["moving/video"]
    (failing,) = overview["failing"]
    assert (failing["file_id"], failing["error"], failing["mend"]) == (
        "failing/video", LATER.error, LATER.mend,
    )  # fmt: skip
    assert 3000 < failing["next_try_in_seconds"] <= 3600
    assert [each["reason"] for each in overview["errored"]] == ["it broke"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["begun", "errored", "waiting", "moving", "failing", "expired", "archived"]),
        (
            {"sort": "received_at"},
            ["archived", "expired", "failing", "moving", "waiting", "errored", "begun"],
        ),
        ({"sort": "expires_at"}, ["failing", "moving", "waiting"]),
        ({"standing": "failing"}, ["failing"]),
        ({"standing": "moving"}, ["moving"]),
        ({"standing": "waiting"}, ["waiting"]),
        ({"standing": "archived"}, ["archived"]),
        ({"standing": "expired"}, ["expired"]),
        ({"standing": "expired", "sort": "expires_at"}, ["expired"]),
        ({"standing": "errored"}, ["errored"]),
        ({"standing": "expected"}, ["begun"]),
        ({"standing": "paused"}, []),
        ({"text": "WEEKLY"}, ["waiting"]),
        ({"text": "a-meeting"}, ["waiting"]),
        ({"text": "moving"}, ["moving"]),
        ({"text": "%"}, []),
        ({"app": "another"}, []),
        ({"since": "2100-01-01T00:00:00Z"}, []),
        ({"until": "2000-01-01"}, []),
    ],
)
async def test_recordings_are_searched_filtered_and_sorted(
    http: aiohttp.ClientSession, query: dict[str, str], found: list[str]
) -> None:
    page = await got(http, "/recordings", query=query)
    assert [recording["id"] for recording in page["recordings"]] == found
    assert (page["next_cursor"], page["is_whole"]) == (None, True)
    if len(found) == 1 and "standing" in query:
        assert page["recordings"][0]["standing"] == query["standing"]


@pytest.mark.parametrize("sort", ["-received_at", "received_at", "expires_at"])
async def test_pages_lead_through_all_of_it_once(http: aiohttp.ClientSession, sort: str) -> None:
    whole = [each["id"] for each in (await got(http, "/recordings", query={"sort": sort}))["recordings"]]
    paged: list[str] = []
    query = {"sort": sort, "limit": "2"}
    while True:
        page = await got(http, "/recordings", query=query)
        paged += [each["id"] for each in page["recordings"]]
        if page["next_cursor"] is None:
            break
        assert len(page["recordings"]) == 2
        query["cursor"] = page["next_cursor"]
    assert paged == whole


async def test_a_recording_s_life_is_told(http: aiohttp.ClientSession) -> None:
    life = await got(http, "/recordings/archived")

    assert life["recording"]["standing"] == "archived"
    assert [status["status"] for status in life["statuses"]] == ["UPLOADED"]
    assert [delivery["outcome"] for delivery in life["deliveries"]] == ["announced"]
    assert [file["id"] for file in life["files"]] == ["archived/video", "archived/audio"]
    (copy,) = life["files"][0]["copies"]
    assert (copy["storage"], copy["key"], copy["crc64nvme"]) == (HERE, "archived.video", "fedcba9876543210")
    assert copy["size_bytes"] == copy["moved_bytes"] == 10
    assert datetime.fromisoformat(copy["stored_at"]).utcoffset() is not None
    assert [manifest["key"] for manifest in life["manifests"]] == ["archived.video.json"]


async def test_what_went_wrong_is_told_with_what_to_mend_and_without_the_link(
    http: aiohttp.ClientSession,
) -> None:
    life = await got(http, "/recordings/failing")
    (file,) = life["files"]
    (failure,) = file["failures"]
    assert (failure["error"], failure["mend"], failure["count"]) == (LATER.error, LATER.mend, 1)
    assert (file["state"], file["source_host"]) == ("waiting", "provider.example")
    assert "provider.example/" not in json.dumps(life)


async def test_an_order_is_carried_out_and_kept_in_the_audit_trail(
    http: aiohttp.ClientSession, filled: Ledger
) -> None:
    assert await ordered(http, order="retry", target="failing") == {
        "order": "retry", "target": "failing", "file_ids": ["failing/video"],
    }  # fmt: skip
    assert {claim.id for claim in await filled.work().claim(9)} == {"waiting/video", "failing/video"}

    await ordered(http, order="cancel", target="failing/video")
    life = await got(http, "/recordings/failing")
    assert [(line["order"], line["file_id"]) for line in life["orders"]] == [
        ("retry", None), ("cancel", "failing/video"),
    ]  # fmt: skip
    assert life["orders"][0]["actor"] == "api 127.0.0.1"
    assert life["recording"]["standing"] == "cancelled"


async def test_an_order_that_cannot_be_is_a_conflict(http: aiohttp.ClientSession, filled: Ledger) -> None:
    problem = await ordered(http, 409, order="pause", target="archived")
    assert "nothing to be paused" in problem["detail"]
    assert (await ordered(http, 404, order="pause", target="nobody"))["detail"].endswith(": nobody")
    assert await filled.rows("audit") == []


async def test_without_a_token_everything_is_shown_and_no_order_taken(stage: Stage, filled: Ledger) -> None:
    async with stage.serving(admin_of(filled.database, None).app) as http:
        assert (await got(http, "/recordings/failing"))["recording"]["id"] == "failing"
        problem = await ordered(http, 403, order="retry", target="failing")
    assert "ARCHIVER_ADMIN_TOKEN" in problem["detail"]
    (file,) = (row for row in await filled.rows("artifacts") if row["id"] == "failing/video")
    assert file["attempts"] == 1


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"limit": "0"}, ["limit"]),
        ({"limit": "many", "standing": "lost"}, ["standing", "limit"]),
        ({"since": "yesterday"}, ["since"]),
        ({"since": "2026-11-31", "until": "1e9"}, ["since", "until"]),
        ({"text": "a\0"}, ["text"]),
        ({"sort": "title"}, ["sort"]),
        ({"sort": "expires_at", "standing": "archived"}, ["sort"]),
        ({"cursor": "x"}, ["cursor"]),
        ({"cursor": "WzEsMl0"}, ["cursor"]),
        ({"text": ""}, ["text"]),
        ({"colour": "red"}, ["colour"]),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_fault(
    http: aiohttp.ClientSession, query: dict[str, str], fields: list[str]
) -> None:
    problem = await got(http, "/recordings", 422, query=query)
    assert [each["field"] for each in problem["errors"]] == fields
    assert all(each["fault"] for each in problem["errors"])


async def test_a_parameter_that_is_given_twice_is_a_fault(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/recordings?limit=1&limit=2") as response:
        problem = await read(response, 422)
    assert problem["errors"] == [{"field": "limit", "fault": "is given twice"}]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[" * 9000, "application/json", 400),
        (b'"x"', "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"order": "delete", "target": "failing"}', "application/json", 422),
        (b'{"order": "retry", "target": "failing", "force": true}', "application/json", 422),
        (b'{"order": "retry", "target": "\\ud800"}', "application/json", 422),
        (b'{"order": "retry", "target": "a\\u0000"}', "application/json", 422),
        (b'{"order": "retry", "target": "failing"}', "text/plain", 415),
        (b"order=retry&target=failing", "application/x-www-form-urlencoded", 415),
        (b'{"order": "' + b"x" * 20_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_wrong_order_is_answered_by_what_is_wrong(
    http: aiohttp.ClientSession, body: bytes, content_type: str, status: int
) -> None:
    async with http.post("/api/orders", data=body, headers={"Content-Type": content_type}) as response:
        await read(response, status)


async def test_what_is_not_there_is_a_problem_too(http: aiohttp.ClientSession) -> None:
    await got(http, "/nowhere", 404)
    await got(http, "/recordings/a%00b", 404)
    assert (await got(http, "/recordings/nobody", 404))["detail"].endswith(": nobody")
    await got(http, "/orders", 405)
    async with http.post("/api/overview") as response:
        await read(response, 405)


async def test_an_id_may_hold_any_character(http: aiohttp.ClientSession, filled: Ledger) -> None:
    odd = "a/b?c#d%2Fe ü\"'<>"
    await filled.hear(news(Kind.VIDEO, id=odd))
    async with http.get("/api/recordings/a%2Fb%3Fc%23d%252Fe%20%C3%BC%22%27%3C%3E") as response:
        assert (await read(response, 200))["recording"]["id"] == odd
    await ordered(http, order="pause", target=odd)
    assert (await got(http, "/recordings", query={"text": odd}))["recordings"][0]["standing"] == "paused"


async def test_without_its_ledger_the_api_says_so(stage: Stage, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/new.db")
    async with stage.serving(admin_of(database, TOKEN).app) as http:
        http.headers.update(SENT)
        async with http.get("/api/overview") as response:
            assert response.headers["Retry-After"] == "5"
            problem = await read(response, 503)
    assert "ledger" in problem["detail"].lower()
    await database.close()


async def test_a_pruned_recording_is_archived(http: aiohttp.ClientSession, filled: Ledger) -> None:
    for table in ("parts", "failures", "copies", "artifacts"):
        column = "id" if table == "artifacts" else "artifact_id"
        forget = sa.text(f"DELETE FROM {table} WHERE {column} LIKE 'archived/%'")
        await filled.database.write(partial(sa.Connection.execute, statement=forget))
    closed = sa.text("UPDATE recordings SET closed_at = 1 WHERE id = 'archived'")
    await filled.database.write(partial(sa.Connection.execute, statement=closed))

    (recording,) = (await got(http, "/recordings", query={"standing": "archived"}))["recordings"]
    assert (recording["id"], recording["pruned"], recording["copies"]) == ("archived", True, [])


def test_every_state_of_a_file_is_a_standing_of_its_recording() -> None:
    from service.choices import Standing

    assert {state.value for state in State} <= {standing.value for standing in Standing}


def test_the_readme_names_every_path_parameter_and_order() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("### The API")[2].partition("\n### ")[0]
    described = document()["paths"]
    told = dict(re.findall(r"^\| `([A-Z]+ /api/[^`]*)` \| (.*) \|$", section, re.MULTILINE))
    assert set(told) == {f"{method.upper()} /api{path}" for path in described for method in described[path]}
    parameters = {each["name"] for each in described["/recordings"]["get"]["parameters"]}
    assert set(re.findall(r"`(\w+)`", told["GET /api/recordings"])) == parameters
    assert set(re.findall(r"\b\w+\b", told["POST /api/orders"])) >= set(Order)
