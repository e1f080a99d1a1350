"""Proves that `backfill` brings all that the provider has into the ledger, and a dry run nothing."""

import base64
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.backfill import backfill
from service.errors import LedgerUnavailable, ProviderError, ProviderUnavailable, SettingsError
from service.settings import load_settings
from tests.unit.scripted_api import KEY, Answer, Asked, ScriptedApi, bad, paged

NOW = float(int(time.time()))
DAY = 86400.0


def moment(ago_s: float) -> str:
    return datetime.fromtimestamp(NOW - ago_s, UTC).isoformat().replace("+00:00", "Z")


def document(
    recording_id: str, *, ago_s: float = 3600.0, status: str = "UPLOADED", **more: Any
) -> dict[str, Any]:
    """A recording as the API lists it, with video and audio."""
    link = f"https://files.example.com/{recording_id}"
    files = {"download_url": f"{link}.mp4?X=secret", "audio_download_url": f"{link}.mp3?X=secret"}
    return {
        "id": recording_id,
        "status": status,
        "output_file_name": f"{recording_id}.mp4",
        "invoked_time": moment(ago_s),
        "stopped_time": moment(ago_s - 60),
        "download_url_expiry": moment(ago_s - 60 - 7 * DAY),
        **(files if status == "UPLOADED" else {}),
        **more,
    }


class Run:
    """The command over one ledger, and an API whose answers a test writes."""

    def __init__(self, api: ScriptedApi, ledger: Path) -> None:
        self.api = api
        self.ledger = ledger
        self.settings: dict[str, Any] = {
            "provider": "dyte",
            "org_id": "org-1",
            "api_key": KEY,
            "api_url": api.url,
        }

    def has(self, *documents: dict[str, Any], at_most: int = 100) -> None:
        """What the API lists."""
        self.api.script = paged(documents, at_most=at_most)

    async def __call__(self, *, dry_run: bool = False, **options: str | None) -> str:
        """Run it; returns what is printed."""
        given = {"since": None, "until": None, "meeting_id": None} | options
        settings = load_settings({}, database_url=f"sqlite:///{self.ledger}", **self.settings)
        console = Console(file=StringIO(), width=200)
        try:
            await backfill(settings, console, dry_run=dry_run, clock=lambda: NOW, **given)
        finally:
            self.printed = console.file.getvalue()  # type: ignore[attr-defined]
        return str(self.printed)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.ledger)) as connection:
            return connection.execute(query).fetchall()

    @property
    def artifacts(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT id FROM artifacts")}


@pytest.fixture
async def run(ledger: Path) -> AsyncIterator[Run]:
    async with ScriptedApi() as api:
        yield Run(api, ledger)


def both(names: Iterable[str]) -> set[str]:
    return {f"{name}/{kind}" for name in names for kind in ("video", "audio")}


async def test_all_that_is_kept_comes_into_the_ledger_soonest_expiry_first(run: Run) -> None:
    names = [f"r{number:03}" for number in range(60)]
    run.has(*(document(name, ago_s=number * 600) for number, name in enumerate(names)), at_most=25)

    printed = await run()

    assert run.artifacts == both(names)
    assert "60 recordings with 120 files that the provider keeps, 120 of them new" in printed
    order = [row[0] for row in run.rows("SELECT recording_id FROM artifacts ORDER BY rowid")]
    assert order.index("r059") < order.index("r000")


async def test_what_is_known_is_not_new(run: Run) -> None:
    run.has(document("one"))
    await run()
    run.has(document("two"), document("one"))

    printed = await run()

    assert "2 recordings with 4 files that the provider keeps, 2 of them new" in printed


async def test_a_dry_run_tells_what_is_new_and_changes_nothing(run: Run) -> None:
    run.has(document("one", title="Weekly"), document("two"), document("lost", status="ERRORED"))
    before = run.ledger.read_bytes()

    printed = await run(dry_run=True)

    assert run.ledger.read_bytes() == before
    assert not list(run.ledger.parent.glob("ledger.db-*"))
    assert "4 of them new; 1 ended without a file" in printed
    assert "Nothing was changed" in printed
    assert "6.9 d" in printed or "7.0 d" in printed
    for name in ("one.mp4", "one.mp3", "two.mp4", "two.mp3"):
        assert name in printed
    assert "secret" not in printed


async def test_a_dry_run_makes_no_ledger(run: Run, tmp_path: Path) -> None:
    run.has(document("one"))
    run.ledger = tmp_path / "none.db"

    with pytest.raises(LedgerUnavailable):
        await run(dry_run=True)

    assert not run.ledger.exists()


async def test_without_a_ledger_one_is_made(run: Run, tmp_path: Path) -> None:
    run.has(document("one"))
    run.ledger = tmp_path / "new" / "archiver.db"

    await run()

    assert run.artifacts == both(["one"])


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, {"r0", "r1", "r2", "r3"}),
        (2.5, None, {"r0", "r1", "r2"}),
        (None, 1.5, {"r2", "r3"}),
        (2.5, 1.5, {"r2"}),
        (0.5, None, {"r0"}),
        (20, 10, set()),
    ],
)
async def test_only_what_began_between_the_moments_is_taken(
    run: Run, since: float | None, until: float | None, expected: set[str]
) -> None:
    run.has(*(document(f"r{number}", ago_s=number * DAY) for number in range(4)))

    await run(
        since=None if since is None else moment(since * DAY),
        until=None if until is None else moment(until * DAY),
    )

    assert run.artifacts == both(expected)


async def test_a_recording_that_began_by_a_clock_ahead_of_ours_is_not_missed(run: Run) -> None:
    run.has(document("one", ago_s=-90))

    await run()

    assert run.artifacts == both(["one"])


async def test_a_day_is_a_moment_too(run: Run) -> None:
    run.has(document("one"))

    await run(since=datetime.fromtimestamp(NOW - 2 * DAY, UTC).date().isoformat())

    assert run.artifacts == both(["one"])


@pytest.mark.parametrize("option", ["since", "until"])
async def test_what_is_no_moment_is_refused_before_anything_is_asked(run: Run, option: str) -> None:
    with pytest.raises(SettingsError, match=f"--{option} is not an ISO 8601"):
        await (run(since="yesterday") if option == "since" else run(until="yesterday"))

    assert run.api.asked == []


async def test_one_meetings_recordings_are_asked_for_as_such(run: Run) -> None:
    run.has(document("one"))

    await run(meeting_id="m1")

    assert {asked.query["meeting_id"] for asked in run.api.asked} == {"m1"}


async def test_without_credentials_it_is_said_what_to_set(run: Run) -> None:
    run.settings = {}

    with pytest.raises(SettingsError) as failure:
        await run()

    assert "ARCHIVER_API_KEY" in failure.value.mend
    assert "ARCHIVER_API_TOKEN" in failure.value.mend


async def test_of_an_api_that_fails_half_way_what_came_is_kept(run: Run) -> None:
    every = [document(f"r{number}", ago_s=number * 600) for number in range(6)]
    whole = paged(every, at_most=2)
    run.api.script = lambda asked: bad(400, "odd page") if asked.query["page_no"] == "3" else whole(asked)

    with pytest.raises(ProviderError, match="odd page"):
        await run()

    assert run.artifacts == both([f"r{number}" for number in range(4)])
    assert "4 recordings with 8 files" in run.printed


async def several(run: Run, tmp_path: Path) -> None:
    """Two organisations at one API, told apart by their credentials."""
    apps = {
        name: {"provider": "dyte", "org_id": name, "api_key": KEY, "api_url": run.api.url}
        for name in ("staging", "production")
    }
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    run.settings = {"apps_file": tmp_path / "apps.json"}


def by_organisation(scripts: dict[str, Any]) -> Any:
    def script(asked: Asked) -> Answer:
        scheme, _, value = asked.headers["Authorization"].partition(" ")
        assert scheme == "Basic"
        answer: Answer = scripts[base64.b64decode(value).decode().partition(":")[0]](asked)
        return answer

    return script


async def test_every_app_is_asked_and_every_file_knows_whose_it_is(run: Run, tmp_path: Path) -> None:
    await several(run, tmp_path)
    run.api.script = by_organisation({name: paged([document(name)]) for name in ("staging", "production")})

    printed = await run()

    assert sorted(run.rows("SELECT id, app FROM recordings")) == [
        ("production", "production"),
        ("staging", "staging"),
    ]
    assert "staging: 1 recordings" in printed
    assert "production: 1 recordings" in printed


async def test_an_app_that_refuses_keeps_nothing_from_the_next(run: Run, tmp_path: Path) -> None:
    await several(run, tmp_path)
    run.api.script = by_organisation(
        {"staging": lambda _: bad(401, "no"), "production": paged([document("one")])}
    )

    with pytest.raises(ProviderError) as failure:
        await run()

    assert not isinstance(failure.value, ProviderUnavailable)
    assert run.artifacts == both(["one"])


async def test_only_the_kinds_that_are_wanted_are_new(run: Run) -> None:
    run.settings |= {"kinds": "audio"}
    run.has(document("one"))

    assert "1 of them new" in await run()
    assert run.artifacts == {"one/audio"}
    assert "0 of them new" in await run()


async def test_a_recording_of_which_no_kind_is_wanted_is_not_one_that_is_not_offered(run: Run) -> None:
    run.settings |= {"kinds": "chat"}
    run.has(document("one"))

    await run()

    assert run.rows("SELECT id, ask_at, offered_at IS NULL FROM recordings") == [("one", None, 0)]


async def test_a_recording_that_errored_is_noted(run: Run) -> None:
    run.has(document("lost", status="ERRORED"))

    assert "1 ended without a file" in await run()
    assert run.rows("SELECT id, status FROM recordings") == [("lost", "ERRORED")]
