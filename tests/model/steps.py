"""The steps of a worker, as the code takes them.

Each is one transaction of the ledger or one request to the store, done at one moment. What only reads, or is
one worker's own, goes with the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model import store
from tests.model.states import AUDIO, NONE, VIDEO, Claimed, Limits, Row, Rules, State
from tests.model.store import holds

__all__ = ["SENT", "WRONG_WRITE", "Next", "Steps", "bare", "fresh", "known", "with_row"]

TRIES = 2
WRONG_WRITE = "the ledger takes the holder's writes alone"

SENT = {"begin", "abort own", "abort former", "abort", "put part", "complete", "put", "put manifest"}
"""The steps that are a request to the store which changes something."""

Next = tuple[State, Claimed | None]


@dataclass(frozen=True)
class Steps:
    """What a worker with these protections does."""

    rules: Rules
    limits: Limits

    def of(self, state: State, worker: Claimed) -> Iterator[tuple[str, Next]]:
        """What it does next, with words for it: how that may end, and what it does then, if anything."""
        if worker.step in SENT:
            yield from self.requests(state, worker)
            return
        answer = self._step(state, worker)
        if answer is None:
            yield f"{worker.step}: refused, the lease is lost", (state, self._when_lost(worker))
        else:
            yield worker.step, answer

    def _when_lost(self, worker: Claimed) -> Claimed | None:
        if worker.step == "note begun":
            return worker._replace(step="abort own")
        if worker.step == "note manifest" and self.rules.makes_good:
            return bare(worker, "again: read ledger")
        return None

    def requests(self, state: State, worker: Claimed) -> Iterator[tuple[str, Next]]:
        """A request to the store, and what the worker makes of the answer."""
        words = worker.step
        match worker.step:
            case "begin":
                after, upload = store.begin(state, worker.name)
                yield words, (after, worker._replace(step="note begun", upload=upload))
                if state.budget.losses and (holds(state.rows[VIDEO], worker) or self.limits.zombies_die):
                    budget = state.budget._replace(losses=state.budget.losses - 1)
                    again = worker._replace(step="list" if self.rules.lists_again else "begin")
                    yield f"{words}, and does not hear the answer", (after._replace(budget=budget), again)
            case "abort own":
                yield words, (store.abort(state, worker.upload, worker), None)
            case "abort former":
                former, *rest = worker.listed
                step = "abort former" if rest else "begin"
                after = store.abort(state, former, worker)
                yield f"{words} {former}", (after, worker._replace(step=step, listed=tuple(rest)))
            case "abort":
                step = "forget" if not self.rules.forgets_before_abort else _after_free(worker)
                yield words, (store.abort(state, worker.upload, worker), worker._replace(step=step))
            case "put part":
                number = worker.done.index(NONE)
                after, is_there = store.put_part(state, worker.upload, number, worker.version)
                if is_there:
                    yield f"{words} {number + 1}", (after, worker._replace(step="keep part"))
                else:
                    yield f"{words}: no such upload", (after, self._anew(worker))
            case "complete":
                after, answer = store.complete(state, worker, self.limits)
                yield f"{words}: {answer}", (after, self._settled(worker, answer))
            case "put":
                after, answer = store.put(state, worker.name, worker.version, self.limits)
                yield f"{words}: {answer}", (after, self._settled(worker, answer))
            case _:
                after = store.put_manifest(state, worker.entries)
                yield f"{words} {worker.entries}", (after, worker._replace(step="note manifest"))

    def _step(self, state: State, worker: Claimed) -> Next | None:
        """A transaction or a look; None: refused, the lease is lost."""
        row = state.rows[worker.artifact]
        match worker.step:
            case "load":
                return state, self._loaded(state, worker, row)
            case "open":
                return state, self._opened(state, worker)
            case "list":
                listed = _open_under(state, worker.name)
                step = "renew" if self.rules.renews_before_abort else "abort former"
                return state, worker._replace(step=step if listed else "begin", listed=listed)
            case "read source":
                return state, worker._replace(step="put", version=state.source[AUDIO])
            case "read ledger":
                return state, worker._replace(step="put manifest", entries=known(state))
            case "again: read ledger":
                return state, worker._replace(step="again: put manifest", entries=known(state))
            case "again: put manifest":
                if state.manifest == worker.entries:
                    return state, None
                return store.put_manifest(state, worker.entries), bare(worker, "again: read ledger")
            case _:
                return self._write(state, worker, row)

    def _write(self, state: State, worker: Claimed, row: Row) -> Next | None:
        if not holds(row, worker):
            if self.rules.fence or worker.step == "look again":
                return None
            state = state._replace(fault=state.fault or WRONG_WRITE)
        going_on: Claimed | None = None
        match worker.step:
            case "forget parts":
                row = row._replace(receipts=worker.done)
                going_on = worker._replace(step="open")
            case "reserve":
                name = 10 + worker.epoch if worker.was_refused and self.rules.leaves_names else 1
                row = row._replace(name=name)
                step = "open" if worker.artifact == VIDEO else "read source"
                going_on = worker._replace(step=step, name=name)
            case "renew":
                going_on = worker._replace(step="abort former")
            case "note begun":
                row = row._replace(upload=worker.upload, version=worker.version)
                going_on = worker._replace(step="put part")
            case "keep part":
                number = worker.done.index(NONE)
                row = row._replace(receipts=_with(row.receipts, number, worker.version))
                done = _with(worker.done, number, worker.version)
                is_all = NONE not in done
                going_on = worker._replace(step="complete" if is_all else "open", done=done)
            case "note stored":
                whole = store.content_of(worker.done) if worker.artifact == VIDEO else worker.version
                row = row._replace(copy="stored", content=whole, upload=NONE, receipts=(NONE, NONE))
                going_on = bare(worker, "settle")
            case "forget":
                row = row._replace(upload=NONE, receipts=(NONE, NONE))
                is_sent = worker.upload != NONE and self.rules.forgets_before_abort
                going_on = worker._replace(step="abort" if is_sent else _after_free(worker))
            case "drop name":
                row = row._replace(name=NONE)
                going_on = worker._replace(step="forget source" if worker.has_changed else "look again")
            case "forget source":
                row = row._replace(version=NONE, upload=NONE, receipts=(NONE, NONE))
                going_on = worker._replace(step="look again")
            case "look again":
                again = fresh(bare(worker, "load"), row)._replace(
                    restarts=worker.restarts + 1, was_refused=worker.was_refused or not worker.keeps_name
                )
                going_on = again if again.restarts < TRIES else bare(worker, "give back")
            case "give back":
                row = row._replace(held=False)
            case "settle":
                going_on = bare(worker, "read ledger" if self._is_ready(state) else "finish")
            case "note manifest":
                return self._manifest_noted(state, worker)
            case "finish":
                row = row._replace(held=False, ended=True)
        return with_row(state, worker.artifact, row), going_on

    def _loaded(self, state: State, worker: Claimed, row: Row) -> Claimed:
        if worker.upload == NONE:
            if worker.name == NONE:
                return worker._replace(step="reserve")
            return worker._replace(step="open" if worker.artifact == VIDEO else "read source")
        if NONE not in row.receipts:
            return worker._replace(step="complete", done=row.receipts)
        session = state.uploads[worker.upload - 1]
        if not session.is_open:
            return self._anew(worker)
        pairs = zip(row.receipts, session.parts, strict=True)
        first, second = (kept if kept == there else NONE for kept, there in pairs)
        is_stale = (first, second) != row.receipts
        return worker._replace(step="forget parts" if is_stale else "open", done=(first, second))

    def _opened(self, state: State, worker: Claimed) -> Claimed:
        """The source, before the session is begun and before each part (``If-Match``)."""
        version = state.source[VIDEO]
        if worker.version not in (NONE, version):
            return self._anew(worker, has_changed=True)
        step = "put part" if worker.upload else "list" if worker.is_doubtful else "begin"
        return worker._replace(step=step, version=version)

    def _settled(self, worker: Claimed, answer: str) -> Claimed:
        if answer == "done":
            return worker._replace(step="note stored")
        return self._anew(worker, keeps_name=answer == "lost")

    def _anew(self, worker: Claimed, *, keeps_name: bool = True, has_changed: bool = False) -> Claimed:
        is_first = not self.rules.forgets_before_abort and worker.upload != NONE
        step = "abort" if is_first else "forget"
        return worker._replace(step=step, keeps_name=keeps_name, has_changed=has_changed)

    def _is_ready(self, state: State) -> bool:
        known = state.rows if state.is_told else state.rows[:1]
        whole = ("stored", "archived") if self.rules.looks_again else ("stored",)
        return all(row.copy != "waiting" for row in known) and any(row.copy in whole for row in known)

    def _manifest_noted(self, state: State, worker: Claimed) -> Next:
        named = {artifact for artifact, _ in worker.entries}
        if named != {artifact for artifact, _ in known(state)}:
            return state, bare(worker, "read ledger")
        rows = [
            row._replace(copy="archived") if artifact in named else row
            for artifact, row in enumerate(state.rows)
        ]
        return state._replace(rows=(rows[0], rows[1])), bare(worker, "finish")


def _after_free(worker: Claimed) -> str:
    if not worker.keeps_name:
        return "drop name"
    return "forget source" if worker.has_changed else "look again"


def fresh(worker: Claimed, row: Row) -> Claimed:
    """The worker with what the ledger says of its claim."""
    has_name = row.name != NONE
    return worker._replace(name=row.name, upload=row.upload, version=row.version, is_doubtful=has_name)


def bare(worker: Claimed, step: str) -> Claimed:
    return Claimed(step, worker.artifact, worker.epoch, restarts=worker.restarts)


def known(state: State) -> tuple[tuple[int, int], ...]:
    """What a manifest has to say: every artifact that is stored, and its content."""
    rows = enumerate(state.rows)
    return tuple((artifact, row.content) for artifact, row in rows if row.copy != "waiting")


def _open_under(state: State, name: int) -> tuple[int, ...]:
    numbered = enumerate(state.uploads, 1)
    return tuple(number for number, upload in numbered if upload.is_open and upload.name == name)


def _with(pair: tuple[int, int], place: int, value: int) -> tuple[int, int]:
    return (value, pair[1]) if place == 0 else (pair[0], value)


def with_row(state: State, artifact: int, row: Row) -> State:
    rows = state.rows
    return state._replace(rows=(row, rows[1]) if artifact == VIDEO else (rows[0], row))
