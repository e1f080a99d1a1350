"""What may happen next in the model: the next step of any worker, and what befalls it.

Between two steps of one worker anything else may happen, for ever so long.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model.states import AUDIO, VIDEO, Claimed, Limits, Row, Rules, State
from tests.model.steps import SENT, Steps, bare, fresh, with_row
from tests.model.store import holds

__all__ = ["FOR_EVER", "Protocol"]

WORKERS = 2
MOST_CLAIMS = 5
FOR_EVER = "every run ends"

_TO_THEIR_END = {"begin", "note begun", "abort own"}
_MANIFEST = {"read ledger", "put manifest", "note manifest"}

Moves = Iterator[tuple[str, State]]


@dataclass(frozen=True)
class Protocol:
    """The protocol with these protections, within these limits."""

    rules: Rules = field(default_factory=Rules)
    limits: Limits = field(default_factory=Limits)

    @property
    def steps(self) -> Steps:
        """What a worker does."""
        return Steps(self.rules, self.limits)

    def moves(self, state: State) -> Moves:
        """Everything that may happen next, with a line that tells it."""
        for artifact in (VIDEO, AUDIO):
            yield from self._claims(state, artifact)
        for worker in state.workers:
            others = tuple(other for other in state.workers if other is not worker)
            for words, (after, going_on) in self.steps.of(state, worker):
                there = others if going_on is None else (*others, going_on)
                yield f"{_who(worker)}: {words}", after._replace(workers=tuple(sorted(there)))
            yield from self._ends(state._replace(workers=others), worker, state.rows[worker.artifact])
        yield from self._surroundings(state)

    def _claims(self, state: State, artifact: int) -> Moves:
        row, budget = state.rows[artifact], state.budget
        is_known = artifact == VIDEO or state.is_told
        if not is_known or row.ended or _is_awaited(state, artifact) or len(state.workers) == WORKERS:
            return
        words = f"claim {row.epoch + 1} of {_name(artifact)}"
        if row.held and any(worker.artifact == artifact and holds(row, worker) for worker in state.workers):
            if not budget.steals:
                return
            budget = budget._replace(steals=budget.steals - 1)
            words += ", the lease of the one before has run out"
        row = row._replace(held=True, epoch=row.epoch + 1)
        worker = fresh(Claimed("load", artifact, row.epoch), row)
        if row.copy != "waiting":
            worker = worker._replace(step="settle")
        after = with_row(state, artifact, row)._replace(
            budget=budget,
            workers=tuple(sorted((*state.workers, worker))),
            fault=state.fault or (FOR_EVER if row.epoch > MOST_CLAIMS + self.limits.orders else ""),
        )
        yield words, after

    def _ends(self, without: State, worker: Claimed, row: Row) -> Moves:
        """Its end in the midst of it: it dies, or is told that its lease is lost and cancels what it does."""
        budget, who = without.budget, _who(worker)
        is_sending = worker.step in SENT and budget.late > 0 and without.late is None
        less_late = budget._replace(late=budget.late - 1)
        if budget.crashes and (holds(row, worker) or self.limits.zombies_die):
            dead = without._replace(budget=budget._replace(crashes=budget.crashes - 1))
            yield f"{who}: dies before it can {worker.step}", dead
            if is_sending:
                late = less_late._replace(crashes=budget.crashes - 1)
                sent = without._replace(budget=late, late=(worker, not self.limits.zombies_die))
                yield f"{who}: dies as it has sent: {worker.step}", sent
        is_bound = self.rules.ends_its_beginning and worker.step in _TO_THEIR_END
        if holds(row, worker) or is_bound or worker.step.startswith("again"):
            return
        left: tuple[Claimed, ...] = without.workers
        if worker.step in _MANIFEST and self.rules.makes_good:
            left = tuple(sorted((*left, bare(worker, "again: read ledger"))))
            is_sending = is_sending and not self.rules.ends_its_manifest
        cancelled = without._replace(workers=left)
        yield f"{who}: is told of the lost lease, and stops before it can {worker.step}", cancelled
        if is_sending:
            words = f"{who}: is told of the lost lease, and stops as it has sent: {worker.step}"
            yield words, cancelled._replace(budget=less_late, late=(worker, False))

    def _surroundings(self, state: State) -> Moves:
        for artifact, row in enumerate(state.rows if state.is_told else state.rows[:1]):
            if row.held and state.budget.orders and not row.ended and not _is_awaited(state, artifact):
                budget = state.budget._replace(orders=state.budget.orders - 1)
                freed = with_row(state, artifact, row._replace(held=False, epoch=row.epoch + 1))
                yield f"the {_name(artifact)} is paused and resumed", freed._replace(budget=budget)
        if self.limits.audio and not state.is_told:
            yield "the audio is announced", state._replace(is_told=True)
        for artifact in self.limits.changes if state.budget.changes else ():
            source = (2, state.source[1]) if artifact == VIDEO else (state.source[0], 2)
            budget = state.budget._replace(changes=0)
            words = f"the {_name(artifact)} is another file at the source"
            yield words, state._replace(source=source, budget=budget)
        if state.late is not None:
            worker, _ = state.late
            words = f"the store does what {_who(worker)} had sent: {worker.step}"
            for _, (after, _) in self.steps.requests(state._replace(late=None), worker):
                yield words, after


def _is_awaited(state: State, artifact: int) -> bool:
    """Whether what a dead one had sent is still on its way, and its lease not over."""
    return state.late is not None and state.late[1] and state.late[0].artifact == artifact


def _name(artifact: int) -> str:
    return ("video", "audio")[artifact]


def _who(worker: Claimed) -> str:
    return f"claim {worker.epoch} of {_name(worker.artifact)}"
