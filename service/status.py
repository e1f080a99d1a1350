"""What waits, moves, fails and is archived, as a table for people."""

import asyncio

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.deadlines import ALARM_S
from service.ledger import Database, View
from service.ledger.overview import Line, Lost
from service.model import ONLY, State
from service.settings import Settings

_EVERY_S = 1.0
_LOST = 5
_NEAR = 10_000
_COLOURS = {
    State.WAITING: "yellow",
    State.MOVING: "cyan",
    State.STORED: "green",
    State.ARCHIVED: "green",
    State.EXPIRED: "bold red",
}
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))


async def show(settings: Settings, *, watch: bool, limit: int, console: Console) -> None:
    """Print the ledger's open artifacts and the newest finished ones; with ``watch``, until interrupted.

    Raises :class:`~service.errors.ArchiverError` if there is no ledger to read.
    """
    database = Database(settings.database_url.get_secret_value(), create=False)
    try:
        await database.check()
        view = View(database)
        if not watch:
            console.print(await _rendered(view, limit))
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(await _rendered(view, limit), refresh=True)
                await asyncio.sleep(_EVERY_S)
    finally:
        await database.close()


def size_text(size: float) -> str:
    """A number of bytes for people, in decimal units."""
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def span_text(seconds: float) -> str:
    """A span of time for people."""
    for factor, unit in _SPANS:
        if seconds >= factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{max(seconds, 0):.0f} s"


async def _rendered(view: View, limit: int) -> RenderableType:
    shown = await view.overview(limit=limit, lost_limit=_LOST, within_s=ALARM_S, near_limit=_NEAR)
    told = "  ".join(f"{count} {state}" for state, count in shown.counts.items())
    summary = Text(told.replace("archived", "archived in 24 h"), style="bold")
    if shown.statuses:
        told = "  ".join(f"{count} {status.lower()}" for status, count in sorted(shown.statuses.items()))
        summary.append(f"\nrecordings without a file: {told}", style="not bold")
    for lost in shown.lost:
        summary.append(f"\n{_lost_story(lost)}", style="bold red")
    if near := shown.deadlines:
        soonest = span_text(near[0].expires_in_s)
        told = f"{len(near)} files are stored nowhere and have less than 24 h left, the first {soonest}"
        summary.append(f"\n{told}", style="bold red")
    if not shown.lines:
        return Group(summary, Text("Nothing is to be archived yet."))
    table = Table(box=None, header_style="bold", expand=True)
    table.add_column("state", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("moved", min_width=12)
    table.add_column("link ends in", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold", ratio=1)
    for line in shown.lines:
        table.add_row(*_cells(line))
    return Group(summary, table)


def _lost_story(lost: Lost) -> str:
    named = f"{lost.recording_id} ({lost.title})" if lost.title else lost.recording_id
    why = f": {lost.reason}" if lost.reason else ""
    return f"errored {span_text(lost.seen_s_ago)} ago, there is no file: {named}{why}"


def _cells(line: Line) -> list[RenderableType]:
    finished = line.state in (State.STORED, State.ARCHIVED)
    moved: RenderableType = ""
    if line.state is State.MOVING and line.size:
        moved = ProgressBar(total=line.size, completed=min(line.moved, line.size), width=12)
    elif line.size and line.moved:
        moved = f"{100 * line.moved / line.size:.0f} %"
    story = _story(line)
    name = Text(line.key or line.name)
    if line.storage not in (None, ONLY):
        name.append(f"  in {line.storage}", style="italic")
    if line.title:
        name.append(f"  {line.title}", style="dim")
    return [
        Text(line.state, style=_COLOURS[line.state]),
        size_text(line.size) if line.size is not None else "",
        moved,
        "" if finished or line.state is State.EXPIRED else _left(line.expires_in_s),
        Text("\n").join([name, story]) if story else name,
    ]


def _left(seconds: float) -> Text:
    return Text(span_text(seconds), style="bold red" if seconds < ALARM_S else "")


def _story(line: Line) -> Text:
    story = Text()
    if line.state is State.STORED:
        story.append("waits for the recording's other files, then for the manifest")
    if line.state is State.EXPIRED:
        story.append("is gone at the source and was not stored. ", style="bold red")
    if line.error and line.state is not State.ARCHIVED:
        story.append(line.error, style="red")
        if line.mend:
            story.append(f". To mend: {line.mend}", style="bold")
        if line.state is State.WAITING and line.due_in_s is not None:
            again = f"in {span_text(line.due_in_s)}" if line.due_in_s > 0 else "now"
            story.append(f". Try {line.attempts + 1} {again}")
    return story
