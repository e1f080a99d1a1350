"""What a command says of a service that cannot be asked, refuses, or answers what nobody understands."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from service import __version__
from service.admin.asked import Asked
from service.choices import Order
from service.desk import pages, patiently
from service.desk.api import ApiDesk, admin_session
from service.errors import (
    ArchiverError,
    LedgerUnavailable,
    NotInLedger,
    OrderRefused,
    ServiceRefused,
    ServiceRejected,
    ServiceUnavailable,
    ServiceUnknown,
)
from tests.doubles.ports import free_ports
from tests.doubles.tls import Authority
from tests.unit.scripted_api import Answer, ScriptedApi

TOKEN = "s3cret-of-the-admin-port"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi() as server:
        yield server


@pytest.fixture
async def desk(server: ScriptedApi) -> AsyncIterator[ApiDesk]:
    async with admin_session(TOKEN) as session:
        yield ApiDesk(server.url, session)


def problem(status: int, detail: str, **more: Any) -> Answer:
    body = {"type": "about:blank", "title": "", "status": status, "detail": detail, **more}
    return Answer(status, body)


def page(**more: Any) -> Mapping[str, Any]:
    return {"recordings": [], "next_cursor": None, "is_whole": True, **more}


@pytest.mark.parametrize(
    ("answer", "error", "told", "mend"),
    [
        (
            problem(401, "The admin token is asked for"),
            ServiceRefused,
            "its admin token",
            "set ARCHIVER_ADMIN_TOKEN to what the service was started with",
        ),
        (Answer(401, b"<html>"), ServiceRefused, "its admin token", "ARCHIVER_ADMIN_TOKEN"),
        (problem(403, "Set ARCHIVER_ADMIN_TOKEN: or else"), ServiceRefused, "ADMIN_TOKEN: or else", ""),
        (problem(404, "no"), NotInLedger, "The ledger has nothing by that id: some/id$", ""),
        (problem(409, "That cannot be done with it now: why"), OrderRefused, "with it now: why$", ""),
        (
            problem(503, "The ledger cannot be reached or written now: it is away"),
            LedgerUnavailable,
            "written now: it is away$",
            "",
        ),
        (
            problem(422, "no", errors=[{"field": "order", "fault": "is odd"}]),
            ServiceRejected,
            "order: is odd",
            "",
        ),
        (problem(500, "it broke"), ServiceUnavailable, "it broke", ""),
        (Answer(502, b"bad gateway"), ServiceUnavailable, "answered 502", "ARCHIVER_ADMIN_URL"),
        (Answer(404, b"<html>"), ServiceUnknown, "answered 404", "ARCHIVER_ADMIN_URL"),
        (Answer(200, b"<html>"), ServiceUnknown, "not one that this version knows", "ARCHIVER_ADMIN_URL"),
        (Answer(200, {"order": "retry"}), ServiceUnknown, "not one that this version knows", ""),
        (
            Answer(302, b"", {"Location": "https://login.example.com/"}),
            ServiceUnknown,
            "leads to https://login.example.com/",
            "ARCHIVER_ADMIN_URL",
        ),
        (Answer(is_drop=True), ServiceUnavailable, "127.0.0.1", "Without ARCHIVER_ADMIN_URL"),
    ],
)
async def test_each_failure_says_what_it_is_and_what_to_mend(
    desk: ApiDesk, server: ScriptedApi, answer: Answer, error: type[ArchiverError], told: str, mend: str
) -> None:
    server.answers(answer)

    with pytest.raises(error, match=told) as failed:
        await desk.order(Order.RETRY, "some/id")

    assert mend in failed.value.mend
    assert TOKEN not in f"{failed.value} {failed.value.mend}"


async def test_nobody_there_is_told_with_the_address() -> None:
    (port,) = free_ports(1)
    async with admin_session(None) as session:
        with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port}"):
            await ApiDesk(f"http://127.0.0.1:{port}", session).overview()


async def test_a_service_of_another_version_is_named(desk: ApiDesk, server: ScriptedApi) -> None:
    other = {"openapi": "3.1.0", "info": {"version": "9.9.9"}}
    server.script = lambda asked: Answer(200, other if "openapi" in asked.path else {"files": 1})

    with pytest.raises(ServiceUnknown, match=f"it is version 9.9.9, this is {__version__}") as failed:
        await desk.overview()

    assert failed.value.mend == "use the dyte-archiver of the service's own version"


async def test_what_a_later_version_added_is_of_no_harm(desk: ApiDesk, server: ScriptedApi) -> None:
    server.answers(Answer(200, page(invented="later")))

    found = await desk.recordings(Asked.model_validate({}))

    assert found.model_dump() == page()


async def test_the_token_and_the_filters_are_sent_below_the_path(desk: ApiDesk, server: ScriptedApi) -> None:
    server.answers(Answer(200, page()))

    await desk.recordings(
        Asked.model_validate({"text": "a b&c=ü", "since": "2026-06-03T10:00:00Z", "standing": "failing"})
    )

    (asked,) = server.asked
    assert asked.path == "/api/recordings"
    assert asked.query == {
        "text": "a b&c=ü",
        "since": "2026-06-03T10:00:00+00:00",
        "standing": "failing",
        "limit": "50",
    }
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


async def test_a_redirection_is_not_followed_with_the_token(desk: ApiDesk, server: ScriptedApi) -> None:
    server.answers(Answer(307, b"", {"Location": f"{server.url}/elsewhere"}))

    with pytest.raises(ServiceUnknown):
        await desk.order(Order.CANCEL, "one")

    assert "/elsewhere" not in {asked.path for asked in server.asked}


async def test_a_private_authority_is_trusted_once_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(page())

    application = web.Application()
    application.router.add_get("/below/api/recordings", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.context("127.0.0.1")).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/below"
    try:
        async with admin_session(TOKEN) as session:
            with pytest.raises(ServiceUnavailable) as refused:
                await ApiDesk(url, session).recordings(Asked.model_validate({}))
        assert "SSL_CERT_FILE" in refused.value.mend
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setattr(
            "aiohttp.connector._SSL_CONTEXT_VERIFIED", __import__("ssl").create_default_context()
        )
        async with admin_session(TOKEN) as session:
            found = await ApiDesk(url, session).recordings(Asked.model_validate({}))
        assert found.recordings == []
    finally:
        await runner.cleanup()


async def test_a_service_that_goes_away_between_pages_is_asked_again(
    desk: ApiDesk, server: ScriptedApi
) -> None:
    server.answers(
        Answer(200, page(next_cursor="next")), Answer(502, b""), Answer(502, b""), Answer(200, page())
    )

    found = [each async for each in pages(desk, Asked.model_validate({}), sleep=server.sleep)]

    assert len(found) == 2
    assert server.pauses == [1.0, 2.0]
    assert [asked.query.get("cursor") for asked in server.asked] == [None, "next", "next", "next"]


async def test_a_service_that_was_never_there_is_told_at_once(desk: ApiDesk, server: ScriptedApi) -> None:
    server.answers(Answer(502, b""))

    with pytest.raises(ServiceUnavailable):
        await anext(pages(desk, Asked.model_validate({}), sleep=server.sleep))

    assert server.pauses == []


async def test_patience_ends(server: ScriptedApi, desk: ApiDesk) -> None:
    server.answers(Answer(502, b""))

    with pytest.raises(ServiceUnavailable):
        await patiently(desk.overview, sleep=server.sleep)

    assert sum(server.pauses) == 15.0
