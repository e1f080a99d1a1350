"""``dyte-archiver check``: whether all that the service depends on is there and lets it do its work."""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import make_url

from service.apps import App
from service.check.probe import StorageProbe
from service.check.rehearsal import Rehearsal
from service.check.steps import Note, Outcome, Row, Steps
from service.choices import Role
from service.keys import fetch_key, key_session, key_urls
from service.model import ONLY
from service.provider import Pace, ProviderApi, api_session
from service.settings import PREFIX, Settings
from service.signature import load_keys, parse_key_document
from service.storage import StorageConfig
from service.telemetry import Redaction

STEP_S: Final = 30.0
"""A step that takes longer has failed."""
SKEW_S: Final = 300.0
"""How far the clock may be off; at 15 minutes S3 and Azure refuse every signature."""

_COLOURS = {Outcome.PASS: "green", Outcome.NOTE: "yellow", Outcome.FAULT: "bold red"}

log = structlog.get_logger()


async def check(
    settings: Settings, console: Console, *, as_json: bool = False, step_s: float = STEP_S
) -> int:
    """Try the storages, the database and the webhook's key; print a row a step, return the number of faults.

    What the role does not use is left out. If a step did not end in time, the process ends here.
    """
    checks = _Checks(settings, step_s)
    with console.status("checking") if console.is_terminal else contextlib.nullcontext():
        rows = await checks.run()
    faults = _faults(rows)
    if as_json:
        _say(console, Text(json.dumps({"faults": faults, "rows": [asdict(row) for row in rows]})))
    else:
        _show(console, rows)
    checks.end_if_late()
    return faults


async def check_and_log(settings: Settings, *, step_s: float = STEP_S) -> int:
    """The same for a service that is about to start: a log line a step; returns the number of faults."""
    checks = _Checks(settings, step_s)
    rows = await checks.run()
    for row in rows:
        told = {name: value for name, value in asdict(row).items() if name != "outcome" and value != ""}
        match row.outcome:
            case Outcome.PASS:
                log.info("check_passed", **told)
            case Outcome.NOTE:
                log.warning("check_passed", **told)
            case Outcome.FAULT:
                log.error("check_failed", **told)
    checks.end_if_late()
    return _faults(rows)


class _Checks:
    """All that is checked for these settings: everything at once, the rows in a fixed order."""

    def __init__(self, settings: Settings, step_s: float) -> None:
        self._settings = settings
        self._step_s = step_s
        self._every: list[Steps] = []

    async def run(self) -> list[Row]:
        """The rows of every subject, without a secret in any."""
        role, subjects = self._settings.role, []
        if role is not Role.RECEIVER:
            subjects += [self._storage(*named) for named in self._settings.storages.items()]
        subjects.append(self._database())
        if role is not Role.WORKER:
            keyed = {(app.public_key, app.key_url): app for app in reversed(self._settings.apps)}
            subjects += [self._keys(app) for app in reversed(keyed.values())]
        subjects += [self._api(app) for app in self._settings.apps if app.authorization is not None]
        if role is not Role.RECEIVER and (url := self._settings.notice_url):
            subjects.append(self._notices(urlsplit(url.get_secret_value())))
        redaction = Redaction(self._settings.secrets)
        rows = [row for found in await asyncio.gather(*subjects) for row in found]
        return [
            replace(row, **redaction(None, "", {"subject": row.subject, "told": row.told, "mend": row.mend}))
            for row in rows
        ]

    def end_if_late(self) -> None:
        """End the process, with 1, if a thread may hang in the system (a dead mount): it is never joined."""
        if any(steps.ran_late for steps in self._every):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def _steps(self, subject: str, *, mend: str) -> Steps:
        steps = Steps(subject, mend=mend, limit_s=self._step_s)
        self._every.append(steps)
        return steps

    async def _storage(self, name: str, config: StorageConfig) -> Sequence[Row]:
        mend = (
            "let `path` be a folder that this user can write to"
            if config.type == "local"
            else "let this machine reach the storage, or correct its address in the storage config"
        )
        steps = self._steps(f"storage {name} ({config.label})", mend=mend)
        await StorageProbe(config, steps).run()
        return steps.rows

    async def _database(self) -> Sequence[Row]:
        text = self._settings.database_url.get_secret_value()
        url = make_url(text)
        file = None
        if url.get_backend_name() == "sqlite":
            file = Path(url.database) if url.database and url.database != ":memory:" else None
            name, mend = f"{url.database}", f"let this user write to {(file or Path()).absolute().parent}"
        else:
            name = f"{url.host or 'localhost'}/{url.database}"
            mend = "let the server run and this machine reach it, or correct its user, password, host or name"
        steps = self._steps(f"database {name}", mend=f"{mend} ({PREFIX}DATABASE_URL)")
        await Rehearsal(text, file=file, steps=steps).run()
        return steps.rows

    async def _keys(self, app: App) -> Sequence[Row]:
        whose = "" if app.name == ONLY else f" of {app.name}"
        if pinned := app.public_key:
            steps = self._steps(f"webhook key{whose}", mend=f"correct {PREFIX}WEBHOOK_PUBLIC_KEY")

            async def read() -> str:
                return _counted(load_keys(pinned))

            await steps.run("read", read)
            return steps.rows
        async with key_session() as session:
            urls = dict.fromkeys(key_urls(app).values())
            asked = await asyncio.gather(*(self._key(session, url) for url in urls))
        rows = [row for row, _ in asked]
        if _faults(rows) < len(rows):
            rows = [_excused(row) for row in rows]
        return rows + [_clock(off_s) for _, off_s in asked if off_s is not None][:1]

    async def _api(self, app: App) -> Sequence[Row]:
        """Whether the provider's API takes the credentials."""
        steps = self._steps(
            f"provider's API {app.api_url}",
            mend=f"let this machine reach that address (HTTPS_PROXY is honoured), or correct {PREFIX}API_URL",
        )

        async def ask() -> str:
            async with api_session() as session:
                pace = Pace(clock=time.monotonic, sleep=asyncio.sleep)
                await ProviderApi(app, session, pace=pace, jitter=random.random).check()
            return ""

        await steps.run("ask", ask)
        return steps.rows

    async def _notices(self, url: SplitResult) -> Sequence[Row]:
        """Whether the receiver of notices can be reached. It is asked nothing: it might act on that."""
        steps = self._steps(
            f"notices to {url.hostname}",
            mend=f"let this machine reach that address, or correct {PREFIX}NOTICE_URL; if its certificate is "
            "not from a public authority, name that in SSL_CERT_FILE",
        )

        async def connect() -> str | Note:
            assert url.hostname
            if url.scheme in getproxies() and not proxy_bypass(url.hostname):
                return Note("not tried: it is behind a proxy")
            port = url.port or (443 if url.scheme == "https" else 80)
            _, writer = await asyncio.open_connection(url.hostname, port, ssl=url.scheme == "https")
            writer.close()
            with contextlib.suppress(OSError):  # it is there, however it says good-bye
                await writer.wait_closed()
            return ""

        await steps.run("connect", connect)
        return steps.rows

    async def _key(self, session: aiohttp.ClientSession, url: str) -> tuple[Row, float | None]:
        """The row of one key document, and by how much its server's clock differs from this one."""
        off_s = None
        steps = self._steps(
            f"webhook key {url}",
            mend="let this machine reach that address (HTTPS_PROXY is honoured), correct "
            f"{PREFIX}WEBHOOK_KEY_URL, or give the key itself in {PREFIX}WEBHOOK_PUBLIC_KEY",
        )

        async def fetch() -> str:
            nonlocal off_s
            answer = await fetch_key(session, url)
            off_s = answer.told_at - time.time() if answer.told_at is not None else None
            return _counted(parse_key_document(answer.document))

        await steps.run("fetch", fetch)
        return steps.rows[0], off_s


def _clock(off_s: float) -> Row:
    told = f"{abs(off_s):.0f} s {'behind' if off_s > 0 else 'ahead of'} the clock of the webhook key's server"
    if abs(off_s) <= SKEW_S:
        return Row(Outcome.PASS, "clock", "compare", 0.0)
    return Row(
        Outcome.FAULT, "clock", "compare", 0.0, told, "set this machine's clock: signatures fail by it"
    )


def _excused(row: Row) -> Row:
    """A key that cannot be had, while the other provider's can: most have but one of the two."""
    if row.outcome is not Outcome.FAULT:
        return row
    told = f"{row.told}. Only deliveries from there would wait for it"
    return replace(row, outcome=Outcome.NOTE, told=told, mend="")


def _counted(keys: Sequence[object]) -> str:
    return "1 key" if len(keys) == 1 else f"{len(keys)} keys"


def _faults(rows: Sequence[Row]) -> int:
    return sum(row.outcome is Outcome.FAULT for row in rows)


def _show(console: Console, rows: Sequence[Row]) -> None:
    if console.is_terminal:
        console.print(_table(rows))
    else:  # a log or a pipe has no width: no column is cut
        for row in rows:
            _say(console, _line(row))
    faults = _faults(rows)
    _say(console, Text(f"{faults} of {len(rows)} steps failed." if faults else "Nothing is wrong."))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, header_style="bold", expand=True)
    table.add_column("", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=2)
    table.add_column("step", overflow="fold", ratio=3)
    table.add_column("time", justify="right", no_wrap=True)
    subject = ""
    for row in rows:
        repeated, subject = row.subject == subject, row.subject
        step = Text(row.step)
        if row.told:
            step.append(f": {row.told}", style="" if row.outcome is Outcome.PASS else _COLOURS[row.outcome])
        if row.mend:
            step.append(f". To mend: {row.mend}", style="bold")
        what = Text("" if repeated else subject)
        table.add_row(Text(row.outcome, style=_COLOURS[row.outcome]), what, step, f"{row.seconds:.1f} s")
    return table


def _line(row: Row) -> Text:
    told = f": {row.told}" if row.told else ""
    mend = f". To mend: {row.mend}" if row.mend else ""
    return Text(f"{row.outcome:5}  {row.subject}: {row.step}{told}{mend}  ({row.seconds:.1f} s)")


def _say(console: Console, text: Text) -> None:
    console.print(text, highlight=False, soft_wrap=True)
