"""The page lets in who knows the token, takes orders from its own forms alone, and leads to nowhere else."""

import subprocess
import sys
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from service.admin.sessions import LASTS_S
from service.ledger import Database
from tests.contract.ledgers import Ledger
from tests.unit.admin_port import BEARER, TOKEN, admin_of, browsing, log_in
from tests.unit.public_port import Stage


@pytest.fixture
async def http(stage: Stage, full: Ledger) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser at the port of a service with a token, not logged in."""
    async with browsing(stage, admin_of(full.database)) as http:
        yield http


async def form_token(http: aiohttp.ClientSession, path: str = "/recordings/failing") -> str:
    async with http.get(path) as response:
        return (await response.text()).partition('name="form_token" value="')[2].partition('"')[0]


async def posted(
    http: aiohttp.ClientSession, path: str, *, site: str = "same-origin", **form: str
) -> tuple[int, str]:
    async with http.post(
        path, data=form, headers={"Sec-Fetch-Site": site}, allow_redirects=False
    ) as response:
        return response.status, response.headers.get("Location", await response.text())


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "./login"),
        ("/recordings", "./login?next=recordings"),
        ("/recordings?text=a&sort=x", "./login?next=recordings%3Ftext%3Da%26sort%3Dx"),
        ("/recordings/a~2Fb", "../login?next=recordings%2Fa~2Fb"),
        ("/metrics", "./login?next=metrics"),
        ("/a/b/c", "../../login?next=a%2Fb%2Fc"),
    ],
)
async def test_a_browser_is_led_to_the_login_and_told_where_to_go_after_it(
    http: aiohttp.ClientSession, path: str, location: str
) -> None:
    async with http.get(path, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, location)


async def test_whoever_is_no_browser_gets_the_problem(http: aiohttp.ClientSession) -> None:
    async with http.get("/", headers={"Accept": "*/*"}, allow_redirects=False) as response:
        assert response.status == 401
        assert response.content_type == "application/problem+json"
    assert (await posted(http, "/recordings/failing", order="retry failing"))[0] == 401
    assert (await posted(http, "/logout"))[0] == 401


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("", "./"),
        ("recordings", "./recordings"),
        ("recordings/a~2Fb?confirm=x&file=a%2Fb", "./recordings/a~2Fb?confirm=x&file=a%2Fb"),
        ("?x=1", "./?x=1"),
        ("//evil.example", "./"),
        ("https://evil.example", "./"),
        ("recordings/../../other", "./"),
        ("recordings/..", "./"),
        ("\\evil.example", "./"),
        ("recordings\r\nX: y", "./"),
        ("metrics", "./"),
    ],
)  # fmt: skip
async def test_after_the_login_one_is_where_one_wanted_to_be_if_that_is_a_page_of_ours(
    http: aiohttp.ClientSession, wanted: str, location: str
) -> None:
    assert await posted(http, "/login", token=TOKEN, next=wanted) == (303, location)


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [({}, False), ({"X-Forwarded-Proto": "http"}, False), ({"X-Forwarded-Proto": "https"}, True),
     ({"X-Forwarded-Proto": "HTTPS, http"}, True)],
)  # fmt: skip
async def test_the_cookie_is_for_this_site_s_pages_alone_and_no_script_reads_it(
    http: aiohttp.ClientSession,
    headers: dict[str, str],
    is_secure: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with http.post("/login", data={"token": TOKEN}, headers=headers, allow_redirects=False) as response:
        (cookie,) = SimpleCookie(response.headers["Set-Cookie"]).values()
        assert response.headers.getall("Set-Cookie") == [response.headers["Set-Cookie"]]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "")
    assert (bool(cookie["secure"]), cookie["max-age"]) == (is_secure, str(LASTS_S))
    assert TOKEN not in cookie.value


async def test_who_is_logged_in_sees_everything_until_the_logout(http: aiohttp.ClientSession) -> None:
    await log_in(http)
    for path in ("/", "/recordings", "/recordings/failing", "/metrics", "/api/overview"):
        async with http.get(path, allow_redirects=False) as response:
            assert response.status == 200, path
    assert await posted(http, "/logout", form_token=await form_token(http)) == (303, "./login")
    async with http.get("/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "./login")


async def test_a_wrong_token_is_answered_late_and_logged_without_it(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.admin.entrance._PAUSE_S", 0.3)
    with capture_logs() as lines:
        status, text = await posted(http, "/login", token=f"{TOKEN}x", next="recordings")
    assert status == 403
    assert "That is not the token" in text
    assert 'value="recordings"' in text
    assert TOKEN not in text + str(lines)
    assert [(line["event"], line["address"]) for line in lines] == [("login_refused", "127.0.0.1")]
    async with http.get("/", allow_redirects=False) as response:
        assert response.status == 303


# ---- forms


async def audit(full: Ledger) -> list[tuple[str, str]]:
    return [(row["actor"], row["action"]) for row in await full.rows("audit")]


async def test_an_order_from_the_page_s_own_form_is_carried_out(
    http: aiohttp.ClientSession, full: Ledger
) -> None:
    await log_in(http)
    own = await form_token(http)
    done = await posted(http, "/recordings/failing", order="retry failing", form_token=own)
    assert done == (303, "./failing?done=retry")
    assert await audit(full) == [("page 127.0.0.1", "retry")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_form_that_another_site_sends_does_nothing(
    http: aiohttp.ClientSession, full: Ledger, site: str
) -> None:
    await log_in(http)
    form = {"order": "retry failing", "form_token": await form_token(http)}
    status, text = await posted(http, "/recordings/failing", site=site, **form)
    assert (status, "came from another site" in text) == (403, True)
    for path in ("/login", "/logout"):
        assert (await posted(http, path, site=site, **form, token=TOKEN))[0] == 403
    assert await audit(full) == []


@pytest.mark.parametrize("given", [{}, {"form_token": ""}, {"form_token": "x" * 64}])
async def test_a_form_without_its_token_does_nothing(
    http: aiohttp.ClientSession, full: Ledger, given: dict[str, str]
) -> None:
    await log_in(http)
    for path in ("/recordings/failing", "/logout"):
        status, text = await posted(http, path, order="retry failing", **given)
        assert (status, "The form was refused" in text) == (403, True), path
    assert await audit(full) == []
    async with http.get("/", allow_redirects=False) as response:
        assert response.status == 200, "nobody was logged out"


async def test_with_the_token_sent_by_a_proxy_forms_need_theirs_too(
    http: aiohttp.ClientSession, full: Ledger
) -> None:
    http.headers.update(BEARER)
    form = {"order": "retry failing"}
    assert (await posted(http, "/recordings/failing", **form))[0] == 403
    assert await audit(full) == []
    form["form_token"] = await form_token(http)
    assert (await posted(http, "/recordings/failing", **form))[0] == 303


async def test_what_is_no_small_form_is_refused(http: aiohttp.ClientSession, full: Ledger) -> None:
    await log_in(http)
    own = await form_token(http)
    assert (await posted(http, "/recordings/failing", form_token=own, order="x" * 20_000))[0] == 403
    async with http.post(
        "/recordings/failing", json={"form_token": own, "order": "retry failing"}
    ) as response:
        assert response.status == 403
    assert await audit(full) == []


async def test_the_api_takes_no_order_by_cookie_alone(http: aiohttp.ClientSession, full: Ledger) -> None:
    await log_in(http)
    order = {"order": "retry", "target": "failing"}
    async with http.post("/api/orders", json=order) as response:
        assert response.status == 403
        assert "Bearer" in (await response.json(content_type="application/problem+json"))["detail"]
    assert await audit(full) == []
    async with http.post("/api/orders", json=order, headers=BEARER) as response:
        assert response.status == 200


@pytest.mark.parametrize("order", ["pause", "cancel"])
async def test_what_may_lose_a_file_is_confirmed_on_a_page_of_its_own(
    http: aiohttp.ClientSession, full: Ledger, order: str
) -> None:
    await log_in(http)
    path = "/recordings/failing"
    form = {"order": f"{order} failing/video", "form_token": await form_token(http)}
    status, text = await posted(http, path, **form)
    assert (status, "has to be confirmed" in text) == (409, True)
    assert await audit(full) == []

    async with http.get(f"{path}?confirm={order}&file=failing/video") as response:
        text = await response.text()
    assert (response.status, f'value="{order} failing/video"' in text) == (200, True)
    assert (await posted(http, path, **form, confirmed="yes"))[0] == 303
    assert await audit(full) == [("page 127.0.0.1", order)]


@pytest.mark.parametrize(
    "order", ["", "retry", "retry other", "explode failing", "retry archived/video", "verify failing"]
)
async def test_an_order_that_does_not_fit_is_refused_on_the_page(
    http: aiohttp.ClientSession, full: Ledger, order: str
) -> None:
    await log_in(http)
    own = await form_token(http)
    status, text = await posted(http, "/recordings/failing", order=order, form_token=own)
    assert (status, "Not done." in text) == (409, True)
    assert await audit(full) == []


# ---- without a token, and whatever is shown


async def test_without_a_token_all_is_shown_and_nothing_can_be_ordered(stage: Stage, full: Ledger) -> None:
    async with browsing(stage, admin_of(full.database, None)) as http:
        for path in ("/", "/recordings", "/recordings/failing"):
            async with http.get(path) as response:
                text = await response.text()
            assert response.status == 200
            assert "ARCHIVER_ADMIN_TOKEN" in text
            assert "form_token" not in text
            assert "confirm=" not in text
        for path in ("/recordings/failing", "/login", "/logout"):
            assert (await posted(http, path, order="retry failing", token="x"))[0] in (404, 405)
    assert await audit(full) == []


async def test_every_page_forbids_what_pages_may_be_made_to_do(http: aiohttp.ClientSession) -> None:
    await log_in(http)
    for path in ("/", "/recordings", "/recordings/failing", "/login", "/nowhere", "/recordings/nobody"):
        async with http.get(path) as response:
            policy = dict(
                each.strip().split(" ", 1) for each in response.headers["Content-Security-Policy"].split(";")
            )
            assert policy["default-src"] == "'none'", path
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"
            text = await response.text()
        assert "style=" not in text
        assert "://" not in text
        assert text.count("<script") == 1


def test_nothing_is_loaded_until_a_page_is_asked_for() -> None:
    look = "import sys, service.serve; print([name for name in sys.modules if name.startswith('jinja2')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_ledger_that_is_away_is_told_on_a_page(stage: Stage, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none/new.db")
    async with browsing(stage, admin_of(database)) as http:
        http.headers.update(BEARER)
        async with http.get("/") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert "The ledger is away" in await response.text()
    await database.close()


async def test_the_assets_are_there_and_nothing_beside_them(
    http: aiohttp.ClientSession, stage: Stage
) -> None:
    for name, kind in (
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        async with http.get(f"/static/{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
    await log_in(http)
    for path in ("/static/other", "/static/", "/static/..%2Fgate.py", "/static/%2e%2e/login"):
        async with http.get(URL(f"http://127.0.0.1:{stage.port}{path}", encoded=True)) as response:
            assert response.status == 404, path
