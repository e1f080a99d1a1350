"""The pages are told what changes, whoever changed it, and hold nothing up."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from yarl import URL

from service.admin import Admin
from service.admin.live import Live
from service.admin.look import Look
from service.admin.scenes import Scene, Scenes, Subject
from service.choices import Order
from service.errors import LedgerUnavailable
from service.ledger.orders import Orders
from service.ledger.tables import parts
from service.model import Kind
from service.server import Server, listen
from tests.contract.ledgers import Ledger, news
from tests.doubles.sub_path import SubPath
from tests.unit.admin_port import BEARER, BROWSER, TOKEN, admin_of, browsing
from tests.unit.public_port import Stage

PATIENCE_S = 30.0


class Told:
    """What a page has been told so far: the newest of each part."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.parts: dict[str, str] = {}
        self.times = 0

    async def until(self, holds: Callable[[dict[str, str]], bool]) -> None:
        """Read on until that holds of the parts."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(self.parts):
                line = (await self._response.content.readline()).decode()
                assert line, "the stream ended"
                if line.startswith("data: "):
                    self.times += 1
                    self.parts |= json.loads(line[6:])

    async def to_its_end(self) -> None:
        """Read until the stream ends."""
        async with asyncio.timeout(PATIENCE_S):
            await self._response.content.read()


@asynccontextmanager
async def listening(http: aiohttp.ClientSession, query: str, root: str = "/") -> AsyncIterator[Told]:
    async with http.get(f"{root}live?{query}", timeout=aiohttp.ClientTimeout(total=None)) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Told(response)


@pytest.fixture
async def http(stage: Stage, full: Ledger) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that is let in."""
    async with browsing(stage, admin_of(full.database)) as http:
        http.headers.update(BEARER)
        yield http


async def moves_on(full: Ledger) -> None:
    """Another process stores a part of what moves."""
    values = {"artifact_id": "moving/video", "storage": "here", "number": 2, "size": 4,
              "crc64nvme": "0", "crc32c": "0", "receipt": "x"}  # fmt: skip
    await full.database.write(lambda connection: connection.execute(sa.insert(parts).values(**values)))


async def test_the_overview_is_told_what_another_process_moves(
    http: aiohttp.ClientSession, full: Ledger
) -> None:
    async with listening(http, "scene=overview") as told:
        await told.until(lambda parts: 'value="5"' in parts.get("moving", ""))
        assert set(told.parts) == {"summary", "moving", "trouble", "lately", "trouble-of-page"}
        await moves_on(full)
        await told.until(lambda parts: 'value="9"' in parts["moving"])
        await told.until(lambda parts: "0.0\u00a0MB/s" in parts["moving"])


async def test_a_recording_is_told_what_was_ordered_and_the_list_its_rows(
    http: aiohttp.ClientSession, full: Ledger
) -> None:
    async with (
        listening(http, "scene=recording&id=failing") as one,
        listening(http, "scene=rows&id=failing&id=moving&id=nobody") as rows,
    ):
        await one.until(lambda parts: "Failing" in parts.get("head", ""))
        await rows.until(lambda parts: "Failing" in parts.get("rows", ""))
        await Orders(full.database).give(Order.PAUSE, "failing", actor="somebody else")
        await one.until(lambda parts: "by somebody else" in parts["story"] and "Paused" in parts["head"])
        await rows.until(lambda parts: "Paused" in parts["rows"])
        assert "form_token" not in str(one.parts), "what all see is nobody's own"


async def test_what_did_not_change_is_not_told_again(http: aiohttp.ClientSession, full: Ledger) -> None:
    async with listening(http, "scene=rows&id=archived") as told:
        await told.until(lambda parts: "rows" in parts)
        await asyncio.sleep(2.5)
        await full.database.write(
            lambda connection: connection.execute(sa.text("UPDATE recordings SET title = 'Renamed'"))
        )
        await told.until(lambda parts: "Renamed" in parts["rows"])
    assert told.times == 2


@pytest.mark.parametrize(
    "query",
    ["", "scene=x", "scene=overview&id=a", "scene=rows", "scene=recording", "scene=recording&id=a%00"],
)
async def test_a_stream_of_nothing_there_is_refused(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"/live?{query}") as response:
        assert response.status == 422


async def test_streams_are_bounded_and_the_pages_are_still_shown(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.admin.live.MOST", 1)
    async with listening(http, "scene=overview") as told:
        await told.until(bool)
        async with http.get("/live?scene=overview") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
        async with http.get("/") as response:
            assert response.status == 200


async def test_nothing_is_asked_of_the_ledger_while_nobody_listens(full: Ledger) -> None:
    asked = []

    class Counted(Scenes):
        async def parts(self, subject: Any) -> Any:
            asked.append(subject)
            return await super().parts(subject)

    look = Look(None)
    live = Live(Counted(full.database, look, takes_orders=False), lambda: False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await live.stream(Subject(Scene.OVERVIEW), scope, receive, send)

    listener = listen("127.0.0.1", 0)
    server = Server(app)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
        for _ in range(2):
            async with listening(http, "", root="/") as told:
                await told.until(bool)
            assert live._looking is not None
            await asyncio.wait([live._looking], timeout=PATIENCE_S)
            assert live._looking.done()
            assert live._listeners == {}
            before = len(asked)
            await asyncio.sleep(1.3)
            assert len(asked) == before
    server.end()
    await running


async def test_a_ledger_that_is_away_is_told_and_what_was_shown_stays(
    http: aiohttp.ClientSession, full: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(http, "scene=rows&id=archived") as told:
        await told.until(lambda parts: "rows" in parts)
        with monkeypatch.context() as patch:

            async def away(*_: Any) -> None:
                raise LedgerUnavailable("it is gone")

            patch.setattr("service.admin.scenes.named", away)
            await told.until(lambda parts: "may be old" in parts["trouble-of-page"])
            assert "Archived" in told.parts["rows"]
        await told.until(lambda parts: parts["trouble-of-page"] == "")


async def test_streams_end_as_soon_as_the_service_drains_and_hold_no_server_up(full: Ledger) -> None:
    draining = asyncio.Event()
    admin: Admin = admin_of(full.database, draining=draining.is_set)
    listener = listen("127.0.0.1", 0)
    server = Server(admin.app)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession(url, headers=BEARER | BROWSER) as http:
        async with (
            listening(http, "scene=overview") as told,
            listening(http, "scene=rows&id=moving") as other,
        ):
            await told.until(bool)
            await other.until(bool)
            draining.set()
            await told.to_its_end()
            await other.to_its_end()
        async with http.get("/live?scene=overview") as response:
            assert response.status == 503
    server.end()
    async with asyncio.timeout(PATIENCE_S):
        await running


# ---- below a path of a proxy's


async def test_below_a_path_of_a_proxy_s_all_of_it_works(stage: Stage, full: Ledger) -> None:
    odd = "a/b?c#d%2Fe \u00fc"
    await full.hear(news(Kind.VIDEO, id=odd, title="Odd one"))
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        browsing(stage, admin_of(full.database)),
        SubPath("/archiver/", f"http://127.0.0.1:{stage.port}") as proxy,
        aiohttp.ClientSession(cookie_jar=jar, headers=BROWSER) as http,
    ):
        async with http.get(f"{proxy.url}recordings?text=Odd") as response:
            assert response.url.path == "/archiver/login"
            page = await response.text()
        form = {"token": TOKEN, "next": "recordings?text=Odd"}
        assert 'value="recordings?text=Odd"' in page
        async with http.post(response.url.join(_place(page, "action")), data=form) as response:
            assert response.url.path_qs == "/archiver/recordings?text=Odd"
            page = await response.text()
        async with http.get(response.url.join(_link(page, "Odd one"))) as response:
            assert response.status == 200
            assert response.url.path.startswith("/archiver/recordings/")
            page = await response.text()
        for name in ("page.css", "page.js", "icon.svg"):
            async with http.get(response.url.join(_place(page, "href", "src", of=name))) as asset:
                assert asset.status == 200
        form = {"order": f"renew {odd}", "form_token": _form_token(page)}
        order = response.url.join(_place(page, "action", of="recordings/"))
        async with http.post(order, data=form) as response:
            assert (response.status, response.url.query["done"]) == (200, "renew")
            page = await response.text()
        assert "Ordered: Renew link." in page
        async with http.get(response.url.join(_place(page, "data-live"))) as events:
            await Told(events).until(lambda parts: "Odd one" in parts.get("head", ""))
        logout = response.url.join(_place(page, "action", of="logout"))
        async with http.post(logout, data={"form_token": _form_token(page)}) as response:
            assert response.url.path == "/archiver/login"
        async with http.get(proxy.url) as response:
            assert response.url.path == "/archiver/login", "the cookie of the sub-path is gone"


def _place(page: str, *names: str, of: str = "") -> URL:
    found = re.findall(rf'(?:{"|".join(names)})="([^"]+)"', page)
    return next(URL(html.unescape(each), encoded=True) for each in found if of in each)


def _link(page: str, title: str) -> URL:
    return _place(page.rpartition(f">{title}</a>")[0].rpartition("<a ")[2], "href")


def _form_token(page: str) -> str:
    return page.partition('form_token" value="')[2].partition('"')[0]
