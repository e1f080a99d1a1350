"""The admin port on loopback, over a ledger with recordings that stand in several ways."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from service.admin import Admin
from service.ledger import Database
from service.model import Kind
from service.telemetry import Metrics
from tests.contract.ledgers import HERE, LATER, archive, begin, expire, news, opened
from tests.unit.public_port import Stage

_PATIENCE = aiohttp.ClientTimeout(total=30)

TOKEN = "s3cret-of-the-admin-port"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "same-origin"}


def admin_of(
    database: Database, token: str | None = TOKEN, *, draining: Callable[[], bool] = lambda: False
) -> Admin:
    """The admin port's app; its ledger answers."""
    return Admin(check=database.check, draining=draining, metrics=Metrics(), database=database, token=token)


async def fill(ledger: Path) -> None:
    """Recordings that stand in several ways, each named after its own."""
    async with opened(f"sqlite:///{ledger}") as full:
        work = full.work()
        await archive(full, await full.claimed(work, Kind.VIDEO, Kind.AUDIO, id="archived"), HERE)
        (gone,) = await full.claimed(work, Kind.VIDEO, id="expired")
        await expire(full, gone)
        (failed,) = await full.claimed(work, Kind.VIDEO, id="failing")
        await work.try_later(failed, LATER)
        (moved,) = await full.claimed(work, Kind.VIDEO, id="moving")
        await begin(full, moved)
        await full.hear(
            news(Kind.VIDEO, id="waiting", title="Weekly", meeting_id="a-meeting", duration_s=60.5),
            news(id="errored", status="ERRORED", stop_reason="it broke"),
            news(id="begun", status="RECORDING"),
        )


@asynccontextmanager
async def browsing(stage: Stage, admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser at the admin port, not logged in; it follows no redirect by itself."""
    async with stage.serving(admin.app):
        jar = aiohttp.CookieJar(unsafe=True)  # also of an address that is no name
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{stage.port}", cookie_jar=jar, headers=BROWSER, timeout=_PATIENCE
        ) as http:
            yield http


async def log_in(http: aiohttp.ClientSession, root: str = "/") -> None:
    """Log in; the browser keeps the cookie."""
    async with http.post(f"{root}login", data={"token": TOKEN}, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
