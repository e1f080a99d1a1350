"""Every run of the model, breadth first: the shortest way to a broken invariant, or how much was seen."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.protocol import FOR_EVER, Protocol
from tests.model.states import AUDIO, VIDEO, State
from tests.model.steps import known

__all__ = ["ARCHIVED", "MANIFEST", "STORED", "TIDY", "Broken", "search"]

STORED = "what the ledger calls stored lies there whole, with the content that it says"
ARCHIVED = "in the end all is archived"
MANIFEST = "in the end the manifest says what the ledger says"
TIDY = "in the end no upload is open"


@dataclass(frozen=True)
class Broken:
    """An invariant that does not hold, and how it comes to that; ``states`` is how many were seen."""

    invariant: str
    trace: tuple[str, ...]
    states: int

    def __str__(self) -> str:
        lines = [f"{number:3}  {line}" for number, line in enumerate(self.trace, 1)]
        return "\n".join([f"NOT TRUE: {self.invariant}", *lines])


def search(protocol: Protocol, *, but: frozenset[str] = frozenset()) -> Broken | int:
    """Try everything; the first broken invariant other than ``but``, or the number of states.

    Every run ends: no state is reached from itself. Those in which nothing can happen any more are the ends.
    """
    start = protocol.limits.start
    numbers = {start: 0}
    came: list[tuple[int, str]] = [(0, "")]
    entered = [0]
    following: list[list[int]] = []
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        here = len(following)
        following.append([])
        for words, found in protocol.moves(state):
            after = found._replace(fault="") if found.fault in but else found
            number = numbers.setdefault(after, len(came))
            if number == len(came):
                came.append((here, words))
                entered.append(0)
                waiting.append(after)
                broken = next((each for each in _broken(after) if each not in but), None)
                if broken is not None:
                    return Broken(broken, _trace(came, number), len(came))
            entered[number] += 1
            following[here].append(number)
        if not following[here]:
            broken = next((each for each in _broken_at_the_end(state) if each not in but), None)
            if broken is not None:
                return Broken(broken, _trace(came, here), len(came))
    if (circle := _circle(following, entered)) is not None and FOR_EVER not in but:
        return Broken(FOR_EVER, _trace(came, circle), len(came))
    return len(came)


def _broken(state: State) -> Iterator[str]:
    if state.fault:
        yield state.fault
    for artifact, wholes in ((VIDEO, (11, 22)), (AUDIO, (1, 2))):
        row = state.rows[artifact]
        if row.copy != "waiting":
            there = dict(state.objects[artifact]).get(row.name)
            if there != row.content or there not in wholes:
                yield STORED


def _broken_at_the_end(state: State) -> Iterator[str]:
    rows = state.rows if state.is_told else state.rows[:1]
    if any(row.copy != "archived" or not row.ended for row in rows):
        yield ARCHIVED
    if state.manifest != known(state):
        yield MANIFEST
    if any(upload.is_open for upload in state.uploads):
        yield TIDY


def _circle(following: list[list[int]], entered: list[int]) -> int | None:
    """A state that is reached from itself, if there is one: what is left when all others are taken away."""
    left, free = list(entered), [0]
    taken = 0
    while free:
        taken += 1
        for number in following[free.pop()]:
            left[number] -= 1
            if not left[number]:
                free.append(number)
    return None if taken == len(following) else next(index for index, count in enumerate(left) if count)


def _trace(came: list[tuple[int, str]], number: int) -> tuple[str, ...]:
    lines: list[str] = []
    while number:
        number, words = came[number]
        lines.append(words)
    return tuple(reversed(lines))
