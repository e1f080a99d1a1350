"""``status``: what waits, moves, fails and is archived."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from service.admin.asked import Asked
from service.admin.documents import CopyLine, ErroredRecording, RecordingList, Summary
from service.commands.pictures import files_shown, recordings_shown
from service.desk import Desk, pages
from service.errors import LedgerUnavailable, ServiceUnavailable
from service.fields import clean
from service.wording import span_text

_EVERY_S = 1.0
_LOST = 5


async def show(
    desk: Desk,
    console: Console,
    *,
    asked: Asked | None,
    most: int,
    watch: bool,
    as_json: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Print the open files and the newest finished ones, ``most`` of each, or the recordings ``asked`` for.

    With ``watch``, until it is interrupted. With ``as_json``, one document of the API's. Raises what the desk
    does; while it is watched, a desk that is away is asked again.
    """
    if as_json:
        document = await (_listed(desk, asked, most) if asked else desk.overview())
        sys.stdout.write(document.model_dump_json(indent=2) + "\n")
        return

    async def picture() -> RenderableType:
        return _list(await _listed(desk, asked, most)) if asked else _overview(await desk.overview(), most)

    if not watch:
        console.print(await picture())
        return
    with _screen(console) as shown:
        async for seen in _pictures(picture, sleep):
            shown(seen)


async def _listed(desk: Desk, asked: Asked, most: int) -> RecordingList:
    """All the pages that it takes, as one."""
    found = [page async for page in pages(desk, asked, most=most)]
    recordings = [recording for page in found for recording in page.recordings]
    return found[-1].model_copy(update={"recordings": recordings})


async def _pictures(
    picture: Callable[[], Awaitable[RenderableType]], sleep: Callable[[float], Awaitable[None]]
) -> AsyncIterator[RenderableType]:
    shown = last = await picture()
    while True:
        yield shown
        await sleep(_EVERY_S)
        try:
            shown = last = await picture()
        except (LedgerUnavailable, ServiceUnavailable) as error:
            shown = Group(Text(f"{error}. This is what there was before:", style="bold red"), last)


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Callable[[RenderableType], None]]:
    if not console.is_terminal:
        yield console.print
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda picture: live.update(picture, refresh=True)


def _overview(shown: Summary, most: int) -> RenderableType:
    told = "  ".join(f"{count} {state}" for state, count in shown.files.items())
    summary = Text(told.replace("archived", "archived in 24 h"), style="bold")
    if without := shown.recordings_without_files:
        told = "  ".join(f"{count} {status.lower()}" for status, count in sorted(without.items()))
        summary.append(f"\nrecordings without a file: {told}", style="not bold")
    for lost in shown.errored[:_LOST]:
        summary.append(f"\n{_lost_story(lost)}", style="bold red")
    if near := shown.near_deadlines:
        soonest = span_text(near[0].deleted_in_seconds)
        told = f"{len(near)} files are stored nowhere and have less than 24 h left, the first {soonest}"
        summary.append(f"\n{told}", style="bold red")
    lines = [*_soonest_first([*shown.moving, *shown.failing, *shown.waiting])[:most], *shown.finished[:most]]
    return Group(summary, files_shown(lines) if lines else Text("Nothing is to be archived yet."))


def _soonest_first(lines: list[CopyLine]) -> list[CopyLine]:
    return sorted(lines, key=lambda line: (line.deleted_in_seconds, line.file_id, line.storage or ""))


def _lost_story(lost: ErroredRecording) -> str:
    named = f"{lost.recording_id} ({lost.title})" if lost.title else lost.recording_id
    why = f": {lost.reason}" if lost.reason else ""
    return clean(f"errored {span_text(lost.seen_seconds_ago)} ago, there is no file: {named}{why}")


def _list(found: RecordingList) -> RenderableType:
    if not found.recordings:
        return Text("There is no such recording.")
    more = [Text("There are more: see --limit.", style="dim")] if found.next_cursor else []
    return Group(recordings_shown(found.recordings), *more)
