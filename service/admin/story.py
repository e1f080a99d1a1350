"""A recording's life as a time line: what was heard, done, ordered, and what went wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from service.admin.texts import plain, size, span
from service.ledger.life import File, Life


class Tone(StrEnum):
    """How an entry is marked, beside its words."""

    TOLD = "told"
    DONE = "done"
    WRONG = "wrong"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened ``at`` a moment."""

    at: float
    tone: Tone
    title: str
    text: str = ""
    mend: str = ""


def story(life: Life) -> list[Entry]:
    """All that happened, the newest first."""
    entries = [*_told(life), *_ordered(life)]
    for file in life.files:
        entries += _of_file(file)
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _told(life: Life) -> Iterator[Entry]:
    recording = life.found.recording
    if recording.started_at is not None:
        yield Entry(recording.started_at, Tone.TOLD, "The recording began", "as the provider tells")
    if recording.stopped_at is not None:
        why = (
            f"as the provider tells: {recording.stop_reason}"
            if recording.stop_reason
            else "as the provider tells"
        )
        yield Entry(recording.stopped_at, Tone.TOLD, "The recording stopped", why)
    for status, at in life.statuses:
        tone = Tone.WRONG if status == "ERRORED" else Tone.TOLD
        yield Entry(at, tone, f"First heard of as {status}")
    for heard in life.deliveries:
        named = f", delivery {heard.delivery_id}" if heard.delivery_id else ""
        text = (
            f"{heard.event_name}{f' {heard.status}' if heard.status else ''}: {plain(heard.outcome)}{named}"
        )
        yield Entry(heard.received_at, Tone.TOLD, "Delivery received", text)
    for manifest in life.manifests:
        yield Entry(manifest.written_at, Tone.DONE, f"Manifest written in {manifest.storage}", manifest.key)


def _ordered(life: Life) -> Iterator[Entry]:
    for order in life.orders:
        whose = "for every file" if order.artifact_id is None else f"for {order.artifact_id}"
        yield Entry(order.at, Tone.ORDERED, f"Ordered: {plain(order.action)}", f"{whose}, by {order.actor}")
    for notice in life.notices:
        yield Entry(notice.made_at, Tone.TOLD, f"Notice made: {notice.type}", notice.id)
        if notice.taken_at is not None:
            yield Entry(notice.taken_at, Tone.DONE, f"Notice taken: {notice.type}", notice.id)
        elif notice.error:
            tries = f"{notice.attempts} tries" if notice.attempts != 1 else "one try"
            yield Entry(
                notice.made_at, Tone.WRONG, f"Notice not taken: {notice.type}", f"{tries}: {notice.error}"
            )


def _of_file(file: File) -> Iterator[Entry]:
    yield Entry(file.seen_at, Tone.TOLD, f"{file.kind.capitalize()} announced", file.name)
    for failure in file.failures:
        where = f" in {failure.storage}" if failure.storage else ""
        times = (
            "once"
            if failure.count == 1
            else f"{failure.count} times in {span(failure.last_at - failure.first_at)}"
        )
        title = f"{file.kind.capitalize()} failed{where}, {times}"
        yield Entry(failure.last_at, Tone.WRONG, title, failure.error, failure.mend or "")
    for place in file.places:
        if place.stored_at is not None:
            text = f"{place.key or file.name}, {size(place.size)}"
            yield Entry(
                place.stored_at, Tone.DONE, f"{file.kind.capitalize()} stored in {place.storage}", text
            )
        if place.verified_at is None:
            continue
        if place.fault:
            title = f"{file.kind.capitalize()} in {place.storage} is not what was archived"
            yield Entry(place.verified_at, Tone.WRONG, title, place.fault)
        else:
            title = f"{file.kind.capitalize()} in {place.storage} verified: it is whole"
            yield Entry(place.verified_at, Tone.DONE, title)
