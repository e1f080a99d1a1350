"""The store of the model: each request is done at one moment, whoever sent it and whether it is heard."""

from tests.model.states import AUDIO, NONE, VIDEO, Claimed, Limits, Row, State, Upload

__all__ = ["abort", "begin", "complete", "content_of", "holds", "put", "put_manifest", "put_part", "taken"]

WRONG_ABORT = "an abort spares what the ledger or its holder has"


def begin(state: State, name: int) -> tuple[State, int]:
    """Open a session; its number."""
    return state._replace(uploads=(*state.uploads, Upload(name))), len(state.uploads) + 1


def put_part(state: State, upload: int, number: int, version: int) -> tuple[State, bool]:
    """Store a part; whether there was a session for it."""
    session = state.uploads[upload - 1]
    if not session.is_open:
        return state, False
    parts = (version, session.parts[1]) if number == 0 else (session.parts[0], version)
    return _with_upload(state, upload, session._replace(parts=parts)), True


def complete(state: State, worker: Claimed, limits: Limits) -> tuple[State, str]:
    """Make an object of a session: ``done``, ``lost`` or ``taken``; what is not clear the object tells."""
    session, wanted = state.uploads[worker.upload - 1], content_of(worker.done)
    found = taken(state, VIDEO, session.name)
    is_it = found == wanted or (found != NONE and not limits.tells_checksum)
    if not session.is_open or session.parts != worker.done:
        return state, "done" if is_it else "lost"
    if found != NONE and limits.guards_names:
        return state, "done" if is_it else "taken"
    state = _with_upload(state, worker.upload, session._replace(is_open=False))
    return _with_object(state, VIDEO, session.name, wanted), "done"


def put(state: State, name: int, content: int, limits: Limits) -> tuple[State, str]:
    """Put the small file whole: ``done`` or ``taken``."""
    found = taken(state, AUDIO, name)
    if found != NONE and limits.guards_names:
        return state, "done" if found == content or not limits.tells_checksum else "taken"
    return _with_object(state, AUDIO, name, content), "done"


def abort(state: State, upload: int, worker: Claimed) -> State:
    """End a session. One that is not the worker's to end, by the ledger or by its holder, is a fault."""
    row = state.rows[VIDEO]
    is_held = any(
        other.upload == upload and other.artifact == VIDEO and holds(row, other) and other != worker
        for other in state.workers
    )
    if state.uploads[upload - 1].is_open and (row.upload == upload or is_held):
        state = state._replace(fault=WRONG_ABORT)
    return _with_upload(state, upload, state.uploads[upload - 1]._replace(is_open=False))


def put_manifest(state: State, entries: tuple[tuple[int, int], ...]) -> State:
    """Replace the manifest."""
    return state._replace(manifest=entries)


def holds(row: Row, worker: Claimed) -> bool:
    """Whether the ledger takes this worker's writes."""
    return row.held and row.epoch == worker.epoch


def taken(state: State, artifact: int, name: int) -> int:
    """What lies under a name."""
    return dict(state.objects[artifact]).get(name, NONE)


def content_of(parts: tuple[int, int]) -> int:
    """The whole that these parts make."""
    return 10 * parts[0] + parts[1]


def _with_upload(state: State, upload: int, session: Upload) -> State:
    uploads = state.uploads
    return state._replace(uploads=(*uploads[: upload - 1], session, *uploads[upload:]))


def _with_object(state: State, artifact: int, name: int, content: int) -> State:
    there = tuple(sorted((dict(state.objects[artifact]) | {name: content}).items()))
    objects = (there, state.objects[1]) if artifact == VIDEO else (state.objects[0], there)
    return state._replace(objects=objects)
