"""What the model remembers: the ledger, the store, the source, the workers; and what it may do at all."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["AUDIO", "NONE", "VIDEO", "Budget", "Claimed", "Limits", "Row", "Rules", "State", "Upload"]

VIDEO, AUDIO = 0, 1
"""The two artifacts of the recording: one of two parts, and one so small that it is put whole."""
NONE = 0
"""No upload, name, part or content."""


class Row(NamedTuple):
    """An artifact in the ledger, with its one copy.

    ``copy`` is ``waiting``, ``stored`` or ``archived``; ``ended`` once it is due no more. Names are numbers:
    1 is the plain one, 10 and the number of a claim the last candidate of that claim. A content is the number
    of the version that each part was read from: 11 is the whole of the first, 21 is a mixture.
    """

    copy: str = "waiting"
    ended: bool = False
    held: bool = False
    epoch: int = 0
    name: int = NONE
    upload: int = NONE
    version: int = NONE
    receipts: tuple[int, int] = (NONE, NONE)
    content: int = NONE


class Upload(NamedTuple):
    """A session at the store, known by its place in the list, from 1."""

    name: int
    parts: tuple[int, int] = (NONE, NONE)
    is_open: bool = True


class Claimed(NamedTuple):
    """A worker with its claim, known by artifact and epoch; ``step`` is what it does next."""

    step: str
    artifact: int
    epoch: int
    name: int = NONE
    upload: int = NONE
    version: int = NONE
    done: tuple[int, int] = (NONE, NONE)
    listed: tuple[int, ...] = ()
    is_doubtful: bool = False
    was_refused: bool = False
    restarts: int = 0
    keeps_name: bool = True
    has_changed: bool = False
    entries: tuple[tuple[int, int], ...] = ()


class Budget(NamedTuple):
    """How often each may still happen."""

    steals: int
    crashes: int
    losses: int
    changes: int
    late: int
    orders: int


class State(NamedTuple):
    """Everything. ``late`` is a request whose sender is gone, still on its way; ``fault`` what went wrong."""

    rows: tuple[Row, Row]
    workers: tuple[Claimed, ...]
    uploads: tuple[Upload, ...]
    objects: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
    manifest: tuple[tuple[int, int], ...]
    source: tuple[int, int]
    is_told: bool
    late: tuple[Claimed, bool] | None
    budget: Budget
    fault: str = ""


@dataclass(frozen=True)
class Rules:
    """The protections, each of which can be left out to see what it is there for."""

    fence: bool = True
    """A write names owner and epoch, and changes nothing if they no longer stand (``ledger.fence``)."""
    renews_before_abort: bool = True
    """Sessions that were listed are aborted only if the claim stands after it (``Mover._abort_former``)."""
    forgets_before_abort: bool = True
    """A session is forgotten in the ledger before it is aborted (``Mover.free``)."""
    makes_good: bool = True
    """Who lost its lease over a manifest has it say what the ledger says (``Archivist._make_good``)."""
    ends_its_beginning: bool = True
    """From beginning a session to noting or aborting it nothing is cancelled (``Mover._begin``)."""
    ends_its_manifest: bool = True
    """Nor is putting a manifest, so that making good comes after it (``Archivist._write_manifest``)."""
    looks_again: bool = True
    """A claim that finds all stored looks at the manifest before it ends (``Archivist._conclude``)."""
    lists_again: bool = True
    """Before a session is asked for again, one whose answer was lost is looked for (``Mover._begin``)."""
    leaves_names: bool = True
    """A name that was refused is left for the next, also if what lies there is ours (``Placing.place``)."""


@dataclass(frozen=True)
class Limits:
    """How much may happen in a run, and what the store is like."""

    steals: int = 1
    """Claims of what a living worker holds: it was stopped for longer than its lease."""
    crashes: int = 1
    losses: int = 0
    """Answers to beginning a session that get lost, so that it is asked for again."""
    changes: tuple[int, ...] = ()
    """The artifacts of which one becomes another file at the source, at any moment."""
    late: int = 1
    """Requests that the store takes although their sender is gone, at any later moment."""
    orders: int = 0
    """Pauses that are over at once: whoever holds an artifact loses it, and nobody has it before the next."""
    audio: bool = False
    """Whether the second artifact is announced, at any moment."""
    guards_names: bool = True
    """Whether the store refuses a name that is taken (``If-None-Match``)."""
    tells_checksum: bool = True
    """Whether it tells what is in an object; all versions are of one size."""
    zombies_die: bool = False
    """Whether one dies too that has lost its lease, and what the dead sent may take longer than a lease."""

    @property
    def start(self) -> State:
        """Nothing has been done, the video is announced."""
        changes = bool(self.changes)
        budget = Budget(self.steals, self.crashes, self.losses, changes, self.late, self.orders)
        return State((Row(), Row()), (), (), ((), ()), (), (1, 1), False, None, budget)
