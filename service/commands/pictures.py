"""How files and recordings look on a screen: a table where there is room for one, else a block each."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.admin.documents import CopyLine, Recording
from service.choices import Standing
from service.deadlines import ALARM_S
from service.fields import clean
from service.model import ONLY, State
from service.wording import moment_text, size_text, span_text

COLOURS: Final = {
    "waiting": "yellow",
    "failing": "red",
    "paused": "magenta",
    "moving": "cyan",
    "stored": "green",
    "archived": "green",
    "cancelled": "magenta",
    "expired": "bold red",
    "errored": "bold red",
    "expected": "",
}
"""Of states and standings."""

_NARROW: Final = 90
"""Columns below which a table is no help."""
_FINISHED: Final = (State.STORED, State.ARCHIVED)


class Rows:
    """Rows of a table, the last cell of which takes what width there is; blocks where that is little."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> None:
        self._columns = columns
        self._rows = [*rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < _NARROW:
            yield from self._blocks()
            return
        table = Table(box=None, header_style="bold", expand=True)
        for name in self._columns[:-1]:
            table.add_column(name, no_wrap=True)
        table.add_column(self._columns[-1], overflow="fold", ratio=1)
        for row in self._rows:
            table.add_row(*row)
        yield table

    def _blocks(self) -> Iterator[RenderableType]:
        for state, *facts, story in self._rows:
            told = [Text.assemble(state if isinstance(state, Text) else "")]
            for name, fact in zip(self._columns[1:], facts, strict=False):
                shown = Text(f"{fact.percentage_completed:.0f} %") if isinstance(fact, ProgressBar) else fact
                if isinstance(shown, Text) and shown:
                    told.append(Text.assemble((f"{name} ", "dim"), shown))
            yield Text("")
            yield Group(Text("  ").join(told), story)


def files_shown(lines: Iterable[CopyLine]) -> RenderableType:
    """A row for each copy of a file."""
    return Rows(["state", "size", "moved", "link ends in", "file"], map(_file, lines))


def recordings_shown(recordings: Iterable[Recording]) -> RenderableType:
    """A row for each recording or session."""
    return Rows(
        ["stands", "first heard (UTC)", "size", "link ends in", "recording"], map(_recording, recordings)
    )


def stood(word: str) -> Text:
    """A state or a standing in its colour."""
    return Text(word, style=COLOURS[word])


def left(seconds: float) -> Text:
    """The time that the provider leaves; an alarm where it is little."""
    return Text(span_text(seconds), style="bold red" if seconds < ALARM_S else "")


def failure_story(line: CopyLine) -> Text:
    """What went wrong with a copy, what to mend, and when it is tried again; empty if nothing did."""
    story = Text()
    if line.state is State.STORED:
        story.append("waits for the recording's other files, then for the manifest")
    if line.cancelled:
        story.append("was cancelled. ")
    elif line.state is State.EXPIRED:
        story.append("is gone at the source and was not stored. ", style="bold red")
    if line.paused:
        story.append("is paused until it is resumed. ", style=COLOURS["paused"])
    if line.fault:
        story.append(f"is not whole any more: {clean(line.fault)}. ", style="bold red")
    if line.error and line.state is not State.ARCHIVED:
        story.append(clean(line.error), style="red")
        if line.mend:
            story.append(f". To mend: {clean(line.mend)}", style="bold")
        if line.state is State.WAITING and line.next_try_in_seconds is not None:
            again = f"in {span_text(line.next_try_in_seconds)}" if line.next_try_in_seconds > 0 else "now"
            story.append(f". Try {line.attempts + 1} {again}")
    return story


def _file(line: CopyLine) -> list[RenderableType]:
    moved: RenderableType = Text("")
    if line.state is State.MOVING and line.size_bytes:
        done = min(line.moved_bytes, line.size_bytes)
        moved = ProgressBar(total=line.size_bytes, completed=done, width=12)
    elif line.size_bytes and line.moved_bytes:
        moved = Text(f"{100 * line.moved_bytes / line.size_bytes:.0f} %")
    name = Text(clean(line.key or line.name))
    if line.storage not in (None, ONLY):
        name.append(f"  in {line.storage}", style="italic")
    if line.title:
        name.append(f"  {clean(line.title)}", style="dim")
    name.append(f"  {clean(line.file_id)}", style="dim italic")
    story = failure_story(line)
    return [
        stood(_word(line)),
        Text("" if line.size_bytes is None else size_text(line.size_bytes), justify="right"),
        moved,
        Text("") if line.state in (*_FINISHED, State.EXPIRED) else left(line.deleted_in_seconds),
        Text("\n").join([name, story]) if story else name,
    ]


def _word(line: CopyLine) -> str:
    if line.cancelled and line.state in (State.WAITING, State.EXPIRED):
        return "cancelled"
    return "paused" if line.paused else line.state


def _recording(recording: Recording) -> list[RenderableType]:
    copies = recording.copies
    sizes = {copy.file_id: copy.size_bytes for copy in copies if copy.size_bytes is not None}
    total = sum(sizes.values()) if sizes else recording.announced_bytes
    open_s = [copy.deleted_in_seconds for copy in copies if copy.state in (State.WAITING, State.MOVING)]
    name = Text(clean(recording.title or recording.output_file_name or recording.scope))
    name.append(f"  {clean(recording.id)}", style="dim italic")
    stories = [story for copy in copies if (story := _copy_story(copy))]
    if recording.standing is Standing.ERRORED:
        why = f": {clean(recording.stop_reason)}" if recording.stop_reason else ""
        stories = [Text(f"there is no file{why}", style="red")]
    return [
        stood(recording.standing),
        Text(moment_text(recording.received_at)),
        Text("" if total is None else size_text(total), justify="right"),
        left(min(open_s)) if open_s else Text(""),
        Text("\n").join([name, *stories]),
    ]


def _copy_story(copy: CopyLine) -> Text | None:
    story = failure_story(copy)
    if not story:
        return None
    place = "" if copy.storage in (None, ONLY) else f" in {copy.storage}"
    return Text(f"{copy.kind}{place}: ").append_text(story)
