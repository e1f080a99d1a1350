"""What the pages show: all that is in the ledger, put so that it can be acted on, and nobody else's HTML."""

import re
import tomllib
from collections.abc import AsyncIterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from yarl import URL

from service.admin.offers import offered
from service.admin.rates import Rates
from service.admin.story import story
from service.admin.texts import rate, read, size, span, spelled
from service.choices import Order
from service.errors import OrderRefused
from service.ledger import Trouble
from service.ledger.life import life
from service.ledger.orders import Orders, _given
from service.model import Kind
from tests.contract.ledgers import HERE, LATER, THERE, Ledger, news, opened, store
from tests.test_house import ROOT
from tests.unit.admin_port import BEARER, admin_of, browsing
from tests.unit.public_port import Stage

HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
ODD_IDS = ["a/b?c#d%2Fe ü\"'<>", "..", ".", "~2F", "%2F", "a b", "\u202e", "x" * 600, "a\\b", "a:b", "//x"]


@pytest.fixture
async def http(stage: Stage, full: Ledger) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that is let in."""
    async with browsing(stage, admin_of(full.database)) as http:
        http.headers.update(BEARER)
        yield http


class Shown(HTMLParser):
    """The text of a page, its tags, and where its links and forms lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.places: list[str] = []
        self.buttons: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given: dict[str, Any] = dict(attrs)
        self.places += [given[name] for name in ("href", "src", "action", "data-live") if given.get(name)]
        if tag == "button" and given.get("name") == "order":
            self.buttons.append(given["value"])

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


async def shown(http: aiohttp.ClientSession, path: str, status: int = 200) -> Shown:
    url = URL(f"http://127.0.0.1:{http._base_url.port if http._base_url else 0}{path}", encoded=True)
    async with http.get(url) as response:
        assert response.status == status, await response.text()
        return Shown(await response.text())


async def test_the_overview_tells_at_a_glance_what_there_is_and_what_to_mend(
    http: aiohttp.ClientSession,
) -> None:
    page = await shown(http, "/")
    assert "One recording is failing. Nothing is lost" in page.text
    for told in (
        "1 Arriving",
        "1 Waiting",
        "1 Moving now",
        "1 Retrying",
        "2 Archived in 24 hours, 20 B",
        "1 Lost",
    ):
        assert told in page.text
    assert f"Why {LATER.error} To mend {LATER.mend}" in page.text
    assert "moving video to here 41 % 5 B of 12 B \u2013 MB/s" in page.text
    assert "errored it broke" in page.text
    assert "begun recording" in page.text
    assert page.tags.count("progress") == 1


async def test_a_file_that_may_be_lost_is_told_first(http: aiohttp.ClientSession, full: Ledger) -> None:
    (row,) = [row for row in await full.rows("artifacts") if row["id"] == "waiting/video"]
    soon = row["seen_at"] + 3600
    await full.hear(news(Kind.VIDEO, id="near", title="Board meeting", expires_at=soon))
    page = await shown(http, "/")
    assert "Act now: a file may be lost. One file is stored nowhere yet" in page.text
    assert re.search(r"Board meeting ! deleted in (59 min|1 h)", page.text)


async def test_an_empty_ledger_is_well(stage: Stage, ledger: Path) -> None:
    async with opened(f"sqlite:///{ledger}") as empty, browsing(stage, admin_of(empty.database)) as http:
        http.headers.update(BEARER)
        page = await shown(http, "/")
        assert "All is well. Everything that was announced is stored." in page.text
        assert "Nothing of the kind was found." in (await shown(http, "/recordings")).text


async def test_the_list_is_searched_filtered_and_paged(http: aiohttp.ClientSession) -> None:
    everything = await shown(http, "/recordings")
    assert len([place for place in everything.places if place.startswith("./recordings/")]) == 7
    found = await shown(http, "/recordings?text=WEEK&standing=waiting&sort=&app=&since=&until=")
    assert [place for place in found.places if place.startswith("./recordings/")] == ["./recordings/waiting"]

    ids: list[str] = []
    path = "/recordings?limit=2"
    while path:
        page = await shown(http, path)
        ids += [place for place in page.places if place.startswith("./recordings/")]
        assert len(ids) <= 7
        path = next((place[1:] for place in page.places if "cursor=" in place), "")
    assert len(set(ids)) == len(ids) == 7


@pytest.mark.parametrize(
    "query", ["since=yesterday", "sort=expires_at&standing=archived", "cursor=x", "limit=0", "standing=x"]
)
async def test_what_cannot_be_looked_for_is_said_on_the_page(http: aiohttp.ClientSession, query: str) -> None:
    page = await shown(http, f"/recordings?{query}", 422)
    assert "That cannot be looked for." in page.text
    assert query.partition("=")[0] in page.text.lower()


async def test_a_page_of_the_list_that_is_not_whole_says_so(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.ledger.walk._TURN", 1)
    monkeypatch.setattr("service.ledger.browse._WITHIN_S", -1.0)
    page = await shown(http, "/recordings?text=Weekly")
    assert "Not all was looked at." in page.text
    assert "Look further" in page.text


async def test_a_recording_s_life_files_and_copies_are_shown(http: aiohttp.ClientSession) -> None:
    page = await shown(http, "/recordings/archived")
    for told in ("fedcba9876543210", "89abcdef", "archived.video.json", "Video stored in here",
                 "Manifest written in here", "Delivery received", "provider.example"):  # fmt: skip
        assert told in page.text
    assert page.buttons == ["verify archived", "verify archived/video", "verify archived/audio"]
    assert "provider.example/first" not in page.text, "the link itself is a secret"


async def test_an_order_is_part_of_the_story(http: aiohttp.ClientSession, full: Ledger) -> None:
    await Orders(full.database).give(Order.RETRY, "failing", actor="page 10.0.0.1")
    page = await shown(http, "/recordings/failing")
    assert "Ordered: retry for every file, by page 10.0.0.1" in page.text
    assert "Video failed, once" in page.text


async def test_what_a_verification_found_is_shown(http: aiohttp.ClientSession, full: Ledger) -> None:
    found = sa.text("UPDATE copies SET verified_at = 1800000000, fault = 'its checksum is another'")
    await full.database.write(lambda connection: connection.execute(found))
    page = await shown(http, "/recordings/archived")
    assert "Video in here is not what was archived its checksum is another" in page.text


@pytest.mark.parametrize("hostile", [HOSTILE, "'; DROP TABLE x; --", "a\u2028b\x1b[31m"])
async def test_whatever_others_call_their_things_is_shown_as_text(
    http: aiohttp.ClientSession, full: Ledger, hostile: str
) -> None:
    await full.hear(
        news(
            Kind.VIDEO, id=hostile, title=hostile, link="https://h.example/a", meeting_id=hostile, app=hostile
        ),
        news(id="lost", status="ERRORED", title=hostile, stop_reason=hostile),
    )
    (claim,) = [each for each in await full.work("looks").claim(9) if each.artifact.recording_id == hostile]
    await full.work("looks").try_later(claim, Trouble(3600.0, hostile, hostile))
    plain = {"/": None, "/recordings": None, f"/recordings/{spelled(hostile)}": None,
             f"/recordings/{spelled(hostile)}?confirm=cancel": None}  # fmt: skip
    for path in plain:
        page = await shown(http, path)
        assert page.tags.count("script") == 1, path
        assert page.tags.count("img") == 1, "the icon"
        assert " ".join(hostile.split()) in page.text, path
        assert "49" not in page.text.partition("{{")[2][:6]


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
async def test_an_id_may_hold_any_character(http: aiohttp.ClientSession, full: Ledger, odd: str) -> None:
    assert read(spelled(odd)) == odd
    assert re.fullmatch(r"[A-Za-z0-9_~.-]+", spelled(odd))
    assert spelled(odd) not in (".", "..")
    await full.hear(news(Kind.VIDEO, id=odd))
    page = await shown(http, f"/recordings/{spelled(odd)}")
    assert any(place.startswith(f"../recordings/{spelled(odd)}?confirm=pause") for place in page.places)


async def test_every_place_that_a_page_leads_to_is_below_it_wherever_a_proxy_has_put_that(
    http: aiohttp.ClientSession,
) -> None:
    seen = set()
    for path in ("/", "/recordings", "/recordings/failing", "/recordings/failing?confirm=cancel", "/nowhere",
                 "/login", "/recordings/archived"):  # fmt: skip
        page = await shown(http, path, 404 if path == "/nowhere" else 200)
        here = URL(f"http://proxy.example/archiver{path}")
        for place in page.places:
            target = here.join(URL(place, encoded=True))
            assert target.host == "proxy.example", place
            assert target.path.startswith("/archiver/") or place == "#main", (path, place)
            seen.add(target.path)
    assert {
        "/archiver/",
        "/archiver/recordings",
        "/archiver/live",
        "/archiver/login",
        "/archiver/static/page.css",
    } <= seen


async def test_what_is_not_there_leads_on(http: aiohttp.ClientSession) -> None:
    assert "There is no such recording" in (await shown(http, "/recordings/nobody", 404)).text
    assert "There is no such recording" in (await shown(http, "/recordings/a%00b", 404)).text
    assert "There is nothing here" in (await shown(http, "/no/where", 404)).text
    assert "../recordings" in (await shown(http, "/no/where", 404)).places


# ---- what is offered


@pytest.mark.parametrize(
    "name", ["archived", "expired", "failing", "moving", "waiting", "paused", "cancelled"]
)
async def test_an_order_is_offered_exactly_where_it_is_taken(full: Ledger, name: str) -> None:
    orders = Orders(full.database)
    if name in ("paused", "cancelled"):
        await orders.give(Order.PAUSE if name == "paused" else Order.CANCEL, "waiting", actor="somebody")
        name = "waiting"
    seen = await life(full.database, name)
    for order in Order:
        try:
            taken = await full.database.write(partial(_tried, order, name))
        except OrderRefused:
            taken = False
        is_idle = (
            order is Order.RETRY
            and name == "waiting"
            and not any(file.is_paused or file.cancelled_at for file in seen.files)
        )
        assert (order in offered(seen.files, now=seen.now)) == (taken and not is_idle), order


def _tried(order: Order, target: str, connection: sa.Connection) -> bool:
    nested = connection.begin_nested()
    try:
        _given(order, target, "nobody", connection)
    finally:
        nested.rollback()
    return True


async def test_the_story_is_told_the_newest_first(full: Ledger) -> None:
    entries = story(await life(full.database, "archived"))
    assert [entry.at for entry in entries] == sorted((entry.at for entry in entries), reverse=True)
    assert entries[0].title == "Manifest written in here"


async def test_copies_in_two_storages_are_both_shown(http: aiohttp.ClientSession, full: Ledger) -> None:
    await full.hear(news(Kind.VIDEO, id="two"))
    (claim,) = [each for each in await full.work().claim(9) if each.artifact.recording_id == "two"]
    await store(full, claim, HERE, THERE)
    page = await shown(http, "/recordings/two")
    assert "In here: stored" in page.text
    assert "In there: stored" in page.text


def test_the_package_has_every_template_and_asset() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folder = ROOT / "service" / "admin"
    packed = {path for pattern in settings["package-data"]["service.admin"] for path in folder.glob(pattern)}
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == packed
    assert len(there) > 10


# ---- words and numbers


def test_sizes_spans_and_rates_are_put_for_people() -> None:
    plain = str.maketrans("\u00a0", " ")
    assert [size(each).translate(plain) for each in (0, 999, 1000, 3.2e9, None)] == [
        "0 B", "999 B", "1.0 kB", "3.2 GB", "size not known",
    ]  # fmt: skip
    assert [span(each).translate(plain) for each in (-1, 59, 61, 3600, 3700, 90000, 86400 * 3)] == [
        "0 s", "59 s", "1 min", "1 h", "1 h 1 min", "1 d 1 h", "3 d",
    ]  # fmt: skip
    assert [rate(each).translate(plain) for each in (None, 0.0, 12.34e6)] == [
        "\u2013 MB/s",
        "0.0 MB/s",
        "12.3 MB/s",
    ]


def test_a_rate_is_what_moved_over_the_time_that_passed() -> None:
    rates, copy = Rates(), ("one/video", "here")
    assert rates.see(copy, 100, at=1000.0) is None
    assert rates.see(copy, 150, at=1000.2) is None, "too soon to say"
    assert rates.see(copy, 300, at=1002.0) == 100.0
    for second in range(3, 60):
        told = rates.see(copy, 300 + 50 * (second - 2), at=1000.0 + second)
    assert told == pytest.approx(50.0, rel=0.05), "of the last half minute"
    assert rates.see(copy, 0, at=1060.0) is None, "begun anew"
    assert rates.see(copy, 10, at=2000.0) is None, "nobody looked meanwhile"
    rates.forget(before=3000.0)
    assert rates.see(copy, 20, at=2001.0) is None
