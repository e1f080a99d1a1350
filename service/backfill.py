"""``dyte-archiver backfill``: into the ledger with all that the provider still has."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from service.errors import ProviderError, SettingsError
from service.fields import moment
from service.ledger import Database, Intake, View
from service.model import Event, Kind
from service.provider import Pace, ProviderApi, api_session
from service.reconcile import WINDOW_S, Span, by_expiry, listed
from service.settings import NO_ACCESS, Settings
from service.wording import span_text

_BATCH = 50


async def backfill(
    settings: Settings,
    console: Console,
    *,
    since: str | None,
    until: str | None,
    meeting_id: str | None,
    dry_run: bool,
    clock: Callable[[], float] = time.time,
) -> None:
    """Have every recording that the provider still keeps in the ledger, from where the service archives it.

    ``since`` and ``until`` are ISO 8601 days or times of when recordings began. ``dry_run``: say what is new,
    and change nothing.

    Raises :class:`~service.errors.ArchiverError`.
    """
    span = Span(
        since=_moment("--since", since) if since else clock() - WINDOW_S,
        until=_moment("--until", until) if until else math.inf,
        meeting_id=meeting_id,
    )
    apps = [app for app in settings.apps if app.authorization is not None]
    if not apps:
        raise SettingsError("there are no credentials for the provider's API", mend=NO_ACCESS)
    failures: list[ProviderError] = []
    database = Database(settings.database_url.get_secret_value(), create=not dry_run)
    try:
        await (database.check() if dry_run else database.migrate())
        async with api_session() as session:
            for app in apps:
                pace = Pace(clock=time.monotonic, sleep=asyncio.sleep)
                api = ProviderApi(app, session, pace=pace, jitter=random.random)
                with _bar(console) as progress:
                    events, failure = await _found(api, span, progress, now=clock())
                    wanted = [_wanted(event, settings.wanted) for event in events]
                    new = await _new(database, wanted)
                    if not dry_run:
                        intake = Intake(database, kinds=settings.wanted)
                        task = progress.add_task("noting", total=len(events))
                        for start in range(0, len(events), _BATCH):
                            await intake.learn(events[start : start + _BATCH])
                            progress.update(task, completed=min(start + _BATCH, len(events)))
                _tell(console, app.name, wanted, new, dry_run=dry_run, now=clock())
                if failure is not None:
                    failures.append(failure)
    finally:
        await database.close()
    if failures:
        raise failures[0]


def _moment(option: str, text: str) -> float:
    found = moment(text)
    if found is None:
        raise SettingsError(f"{option} is not an ISO 8601 day or time such as 2026-11-01")
    return found


def _bar(console: Console) -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


async def _found(
    api: ProviderApi, span: Span, progress: Progress, *, now: float
) -> tuple[list[Event], ProviderError | None]:
    """What the API lists, soonest expiry first, and why it is not all, if it is not."""
    events: list[Event] = []
    task = progress.add_task("asking the provider", total=None)
    try:
        async for page in listed(api, span, now=now):
            events += page
            progress.update(task, completed=len(events))
    except ProviderError as error:
        return by_expiry(events), error
    return by_expiry(events), None


def _wanted(event: Event, kinds: Collection[Kind]) -> Event:
    return replace(event, artifacts=tuple(file for file in event.artifacts if file.kind in kinds))


async def _new(database: Database, events: list[Event]) -> set[str]:
    """The ids of the artifacts that the ledger does not have."""
    ids = {artifact.id for event in events for artifact in event.artifacts}
    return ids - await View(database).known(ids)


def _tell(
    console: Console, app: str, events: list[Event], new: set[str], *, dry_run: bool, now: float
) -> None:
    files = sum(len(event.artifacts) for event in events)
    recordings = len({event.recording.id for event in events if event.recording and event.artifacts})
    errored = sum(event.recording is not None and event.recording.status == "ERRORED" for event in events)
    told = (
        f"{app}: {recordings} recordings with {files} files that the provider keeps, {len(new)} of them new"
    )
    console.print(f"{told}; {errored} ended without a file." if errored else f"{told}.", highlight=False)
    if dry_run and new:
        table = Table(box=None, header_style="bold")
        for column in ("recording", "file", "deleted in", "title"):
            table.add_column(column, overflow="fold")
        for event in events:
            for artifact in event.artifacts:
                if artifact.id in new:
                    left = span_text(artifact.expires_at - now) if artifact.expires_at else ""
                    title = event.recording.title if event.recording else None
                    cells = (artifact.recording_id, artifact.name, left, title or "")
                    table.add_row(*map(Text, cells))
        console.print(table)
        console.print("Nothing was changed.")
    elif new:
        console.print("The service archives them, soonest expiry first: see dyte-archiver status.")
