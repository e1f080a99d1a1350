"""What goes wrong and when: made of a seed alone."""

import random
from dataclasses import dataclass
from enum import StrEnum


class What(StrEnum):
    """What is done to whom."""

    KILL = "kill -9"
    STOP = "SIGSTOP, then SIGCONT"
    TERM = "SIGTERM"
    DATABASE_KILL = "database killed"
    DATABASE_FREEZE = "database frozen"
    STORE = "store faults"
    SOURCE = "source faults"


_WEIGHTS = {
    What.KILL: 5, What.STOP: 4, What.TERM: 3, What.DATABASE_KILL: 1, What.DATABASE_FREEZE: 1, What.STORE: 4,
    What.SOURCE: 4,
}  # fmt: skip
_MEAN_GAP_S = 1.5


@dataclass(frozen=True, slots=True)
class Blow:
    """At ``at_s`` seconds from the beginning; ``whom`` is a process's name, or empty; it lasts ``for_s``."""

    at_s: float
    what: What
    whom: str
    for_s: float

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s  {self.what} {self.whom} {self.for_s:.1f} s".rstrip()


def make_plan(seed: int, *, seconds: float, processes: list[str], lease_s: float) -> list[Blow]:
    """The blows of a run, in their order; the same for the same arguments."""
    chance = random.Random(seed)
    plan: list[Blow] = []
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(1 / _MEAN_GAP_S)) < seconds:
        (what,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        whom = chance.choice(processes) if what in (What.KILL, What.STOP, What.TERM) else ""
        # Half of those that are stopped come back after their lease.
        for_s = chance.uniform(0.5, 2 * lease_s) if what is What.STOP else chance.uniform(0.5, 4.0)
        plan.append(Blow(at_s, what, whom, for_s))
    return plan
