"""What is told of an artifact: as it moves, and at its end in one line with all there is to know of it."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from service.model import Claim, Recording, State
from service.sibling import StoredCopy
from service.source import Opened
from service.tracing import Tracing
from service.transfer import Target

_LINES: Final = {
    "archived": (logging.INFO, "artifact_archived"),
    "stored": (logging.INFO, "artifact_archived"),
    "expired": (logging.ERROR, "artifact_expired"),
    "cancelled": (logging.WARNING, "artifact_cancelled"),
}

log = structlog.get_logger()


@dataclass(slots=True)
class Tally:
    """What one try came to so far; ``began_at`` in monotonic seconds."""

    began_at: float
    source_bytes: int = 0
    renewals: int = 0


@contextlib.contextmanager
def told(
    opened: Opened | StoredCopy, targets: Sequence[Target], tally: Tally, tracing: Tracing | None
) -> Iterator[None]:
    """Count what is read within; with ``tracing``, a span for each copy, which fails with it."""
    ends = []
    if tracing is not None:
        for target in targets:
            before = len(target.done)
            end = tracing.begin("transfer", storage=target.destination.name, parts_before=before)
            ends.append((target, end))
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        tally.source_bytes += opened.given_bytes
        for target, end in ends:
            size = target.stored.size if target.stored else None
            end(target.failure or failure, parts=len(target.done), size_bytes=size)


def ids_of(recording: Recording) -> dict[str, str]:
    """By what a recording's or session's lines are found: what of it the provider has told."""
    told = {
        "recording_id": recording.id,
        "meeting_id": recording.meeting_id,
        "session_id": recording.session_id,
        "app": recording.app,
    }
    return {name: value for name, value in told.items() if value is not None}


def tell_end(
    claim: Claim,
    targets: Sequence[Target],
    tally: Tally,
    outcome: str,
    *,
    now: float,
    error: Exception | None = None,
) -> None:
    """Log the one line of an artifact that ends, beside the ids that all lines of a try have.

    ``outcome``: ``archived``; ``stored``, whose manifest comes with other files; ``expired``, ``cancelled``.
    ``targets`` are the copies of this try; ``now`` is in monotonic seconds.
    """
    moved = {target.destination.name: target for target in targets if target.stored is not None}
    whole = (State.STORED, State.ARCHIVED)
    places: dict[str, tuple[str | None, int | None]] = {
        copy.storage: (copy.key, copy.size) for copy in claim.copies if copy.state in whole
    }
    places |= {name: (each.stored.key, each.stored.size) for name, each in moved.items() if each.stored}
    checksum = next((target.checksum for target in moved.values() if target.checksum), None)
    level, event = _LINES[outcome]
    log.log(
        level,
        event,
        kind=claim.artifact.kind,
        outcome=outcome,
        storages=sorted(places),
        keys=[places[name][0] for name in sorted(places)],
        size_bytes=next((size for _, size in places.values() if size is not None), claim.size),
        seconds_waiting=round(max(claim.now - claim.seen_at, 0.0), 3),
        seconds_moving=round(now - tally.began_at, 3),
        tries=claim.epoch,
        parts=max((len(target.done) for target in moved.values()), default=0),
        source_bytes=tally.source_bytes,
        renewals=tally.renewals,
        crc64nvme=checksum and f"{checksum.crc64nvme:016x}",
        crc32c=checksum and f"{checksum.crc32c:08x}",
        error=str(error) if error else None,
    )
