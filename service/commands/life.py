"""``show``: the life of one recording or session, as a person reads it."""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.admin.documents import (
    FailureLine,
    Recording,
    RecordingFile,
    RecordingLife,
    StoredCopy,
)
from service.commands.pictures import left, stood
from service.desk import Desk
from service.errors import NotInLedger
from service.fields import clean
from service.model import ONLY, State
from service.wording import moment_text, size_text, span_text

_INSET = (0, 0, 0, 2)


async def show(desk: Desk, console: Console, *, target: str, as_json: bool) -> None:
    """Print all of the recording or session, or of that to which the file belongs.

    Raises :class:`~service.errors.NotInLedger`, and what else the desk does.
    """
    life = await _found(desk, target)
    if as_json:
        sys.stdout.write(life.model_dump_json(indent=2) + "\n")
        return
    told = life.recording
    title = Text(f"{told.scope} {clean(told.id)}", style="bold")
    if told.title:
        title.append(f"  {clean(told.title)}")
    console.print(title)
    console.print(_inset(_facts(_of_recording(life))))
    for file in life.files:
        console.print(Text(f"\n{file.kind} {clean(file.id)}  ", style="bold").append_text(_stands(file)))
        console.print(_inset(_facts(_of_file(file, life.now))))
    if told.pruned:
        console.print(Text("\nThe ledger forgot its files: all were archived long ago."))
    if moments := sorted(_moments(life), key=lambda each: each[0]):
        console.print(Text("\nwhat happened (UTC)", style="bold"))
        table = _grid()
        for at, story in moments:
            table.add_row(Text(moment_text(at), style="dim"), Text(clean(story)))
        console.print(_inset(table))


async def _found(desk: Desk, target: str) -> RecordingLife:
    """What goes by that id, or what the file belongs to: its id is the other's, then the kind and track."""
    name = target
    while True:
        try:
            return await desk.life(name)
        except NotInLedger:
            name, slash, _ = name.rpartition("/")
            if not slash or not name:
                raise NotInLedger(target) from None


def _of_recording(life: RecordingLife) -> Iterator[tuple[str, Text | str | None]]:
    told = life.recording
    yield "stands", stood(told.standing)
    yield "at the provider", f"{told.status}{_because(told)} ({told.provider})"
    yield "app", None if told.app == ONLY else told.app
    yield "organisation", told.organization_id
    yield "meeting", told.meeting_id
    yield "session", told.session_id if told.session_id != told.id else None
    yield "recorded (UTC)", _recorded(told)
    yield "first heard (UTC)", _ago(told.received_at, life.now)
    yield "announced size", None if told.announced_bytes is None else _bytes(told.announced_bytes)


def _because(told: Recording) -> str:
    return f", {told.stop_reason}" if told.stop_reason else ""


def _recorded(told: Recording) -> str | None:
    moments = [moment_text(at) for at in (told.started_at, told.stopped_at) if at is not None]
    if told.duration_seconds is not None:
        moments.append(f"({span_text(told.duration_seconds)})")
    return " to ".join(moments).replace(" to (", " (") or None


def _stands(file: RecordingFile) -> Text:
    if file.cancelled_at is not None and file.state in (State.WAITING, State.EXPIRED):
        return stood("cancelled")
    return stood("paused" if file.paused else file.state)


def _of_file(file: RecordingFile, now: float) -> Iterator[tuple[str, Text | str | None]]:
    is_open = file.state in (State.WAITING, State.MOVING)
    yield "name", file.name
    yield "from", file.source_host
    size = file.size_bytes if file.size_bytes is not None else file.announced_bytes
    yield "size", None if size is None else _bytes(size)
    yield "cancelled (UTC)", None if file.cancelled_at is None else _ago(file.cancelled_at, now)
    if file.stored_at is None or is_open:
        deadline = Text.assemble("in ", left(file.deleted_at - now), f" ({moment_text(file.deleted_at)} UTC)")
        yield (
            "provider deletes",
            deadline if file.deleted_at > now else f"since {moment_text(file.deleted_at)}",
        )
    yield "moved by", file.process if file.state is State.MOVING else None
    if file.error and is_open:
        yield "went wrong", _wrong(file.error, file.mend, file.attempts)
    if file.next_try_at is not None and file.state is State.WAITING:
        wait_s = file.next_try_at - now
        yield "next try", "now" if wait_s <= 0 else f"in {span_text(wait_s)}"
    for copy in file.copies:
        yield f"in {copy.storage}", _copy(copy, size, now)
    for failure in file.failures:
        yield "failed before", _failure(failure, now)


def _copy(copy: StoredCopy, size: int | None, now: float) -> Text:
    story = stood(copy.state)
    if copy.key:
        story.append(f"  {clean(copy.key)}")
    if copy.state is State.WAITING:
        if copy.moved_bytes:
            of = "" if size is None else f" of {size_text(size)}"
            parts = "1 part" if copy.parts == 1 else f"{copy.parts} parts"
            story.append(f"\n{size_text(copy.moved_bytes)}{of} moved, in {parts}")
        if copy.error:
            story.append("\n").append_text(_wrong(copy.error, copy.mend, copy.attempts))
            if copy.next_try_at is not None and copy.next_try_at > now:
                story.append(f". Next try in {span_text(copy.next_try_at - now)}")
        return story
    if copy.stored_at is not None:
        story.append(f"\nstored {_ago(copy.stored_at, now)}", style="dim")
    sums = {"crc64nvme": copy.crc64nvme, "crc32c": copy.crc32c, "etag": copy.etag}
    if told := "  ".join(f"{name} {clean(value)}" for name, value in sums.items() if value):
        story.append(f"\n{told}", style="dim")
    if copy.fault:
        story.append(f"\nis not whole any more: {clean(copy.fault)}", style="bold red")
    elif copy.verified_at is not None:
        story.append(f"\nverified {_ago(copy.verified_at, now)}: whole", style="green")
    if copy.verification_due_at is not None:
        story.append("\nis to be verified", style="cyan")
    return story


def _wrong(error: str, mend: str | None, attempts: int) -> Text:
    story = Text(clean(error), style="red")
    if mend:
        story.append(f". To mend: {clean(mend)}", style="bold")
    return story.append(f" ({attempts} tries)" if attempts != 1 else " (1 try)", style="not bold")


def _failure(failure: FailureLine, now: float) -> Text:
    where = "at the source" if failure.storage is None else f"in {failure.storage}"
    times = "once" if failure.count == 1 else f"{failure.count} times"
    story = Text(f"{times} {where}, last {_ago(failure.last_at, now)}: {clean(failure.error)}")
    if failure.mend:
        story.append(f". To mend: {clean(failure.mend)}", style="bold")
    return story


def _moments(life: RecordingLife) -> Iterator[tuple[float, str]]:
    """What happened and when."""
    for status in life.statuses:
        yield status.seen_at, f"the provider says {status.status}"
    for heard in life.deliveries:
        yield heard.received_at, f"delivery {heard.event_name} {heard.status or ''}: {heard.outcome}"
    for file in life.files:
        name = file.kind if file.track is None else f"{file.kind} {file.track}"
        for failure in file.failures:
            where = "" if failure.storage is None else f" in {failure.storage}"
            yield failure.first_at, f"{name}: failed{where}: {failure.error}"
        for copy in file.copies:
            if copy.stored_at is not None:
                yield copy.stored_at, f"{name}: stored in {copy.storage} as {copy.key}"
            if copy.verified_at is not None:
                found = copy.fault or "whole"
                yield copy.verified_at, f"{name}: verified in {copy.storage}: {found}"
    for manifest in life.manifests:
        yield manifest.written_at, f"manifest in {manifest.storage}: {manifest.key}"
    for order in life.orders:
        what = "" if order.file_id is None else f" of {order.file_id}"
        yield order.at, f"order {order.order}{what}, by {order.actor}"
    for notice in life.notices:
        if notice.taken_at is not None:
            yield notice.taken_at, f"notice {notice.type}: taken"
        else:
            tried = f", {notice.attempts} tries: {notice.error}" if notice.error else ""
            yield notice.made_at, f"notice {notice.type}: not taken yet{tried}"


def _facts(facts: Iterator[tuple[str, Text | str | None]]) -> Table:
    table = _grid()
    for name, value in facts:
        if value:
            shown = value if isinstance(value, Text) else Text(clean(value))
            table.add_row(Text(name, style="dim"), shown)
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _inset(table: Table) -> Padding:
    return Padding(table, _INSET)


def _ago(at: float, now: float) -> str:
    return f"{moment_text(at)} ({span_text(now - at)} ago)"


def _bytes(size: int) -> str:
    return f"{size_text(size)} ({size:,} bytes)" if size >= 1000 else size_text(size)
