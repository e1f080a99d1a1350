"""The list of recordings, searched, filtered and sorted, however many there are.

What no index answers is looked for in turns of some thousand rows, for less than a tenth of a second: then
the page is what was found by then, and its cursor goes on from there.
"""

import base64
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    and_,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from service.choices import Sort, Standing
from service.errors import SettingsError
from service.ledger.database import Database
from service.ledger.overview import Line, lines_of
from service.ledger.tables import PAUSED, artifacts, copies, now, recordings
from service.ledger.view import recording_of
from service.ledger.walk import Walk, Wanted
from service.model import Recording, Scope, State

MOST: Final = 200
"""How many recordings a page has at most."""

_WITHIN_S = 0.08
_SAME_ID = 700
_NAMED = 1000
"""Of what has the same meeting or session: the newest."""
_FEW = 20_000
"""As many files can be looked at for one page."""
_CURSOR_LENGTH = 2000


class CursorInvalid(SettingsError):
    """The cursor is not one of this list."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; None: whatever it is. Moments are those of the first news.

    ``text`` is an id of the recording, its meeting or its session, or else part of its title or file's name,
    in whatever case. ``standing``: a file stands there.
    """

    text: str | None = None
    standing: Standing | None = None
    app: str | None = None
    since: float | None = None
    until: float | None = None
    sort: Sort = Sort.NEWEST
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Found:
    """A recording or session, and a line for each copy of each of its files."""

    recording: Recording
    received_at: float
    is_pruned: bool
    lines: tuple[Line, ...]

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        held = {standing_of(line) for line in self.lines}
        if self.lines:
            return next(standing for standing in Standing if standing in held)
        if self.is_pruned:
            return Standing.ARCHIVED
        return Standing.ERRORED if self.recording.status == "ERRORED" else Standing.EXPECTED


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. ``cursor`` leads to the next part; None: that was all.

    ``is_whole``: the page is as long as was asked for, or the last; else there was no time to look further.
    """

    found: tuple[Found, ...]
    cursor: str | None
    is_whole: bool = True


def sorts_of(standing: Standing | None) -> frozenset[Sort]:
    """The orders that a list of what stands there has: what is over has no deadline."""
    if standing in (Standing.ARCHIVED, Standing.ERRORED, Standing.EXPECTED):
        return frozenset({Sort.NEWEST, Sort.OLDEST})
    return frozenset(Sort)


async def browse(database: Database, search: Search) -> Page:
    """A page of the list. Raises :class:`CursorInvalid`, :class:`~service.errors.LedgerUnavailable`."""
    return await database.read(partial(_browsed, search))


async def named(database: Database, ids: Sequence[str]) -> list[Found]:
    """Those of these recordings that the ledger has, in this order.

    Raises :class:`~service.errors.LedgerUnavailable`.
    """
    return await database.read(partial(_loaded, ids=ids))


def _browsed(search: Search, connection: Connection) -> Page:
    after = _key_of(search) if search.cursor else None
    ids = _named(connection, search.text) if search.text else []
    if search.sort is not Sort.DEADLINE:
        walk = _by_arrival(search, ids, are_few=_are_few(connection, search.standing))
    elif search.standing in _FILELESS:
        return Page((), None)
    else:
        walk = _by_deadline(search, ids)
    return _walked(connection, search, walk, after)


def _walked(connection: Connection, search: Search, walk: Walk, after: Sequence[Any] | None) -> Page:
    ids: list[str] = []
    by_deadline = search.sort is Sort.DEADLINE
    until = time.monotonic() + _WITHIN_S
    while True:
        end = connection.execute(walk.end(after)).first() if walk.is_picky else None
        rows = connection.execute(walk.matches(after, search.limit + 1 - len(ids))).all()
        for row in rows:
            if len(ids) == search.limit:
                return Page(tuple(_loaded(connection, ids)), _cursor(search, after))
            after = tuple(row[:2])
            ids.append(row.recording_id if by_deadline else row.id)
        if end is None:
            return Page(tuple(_loaded(connection, ids)), None)
        after = tuple(end)
        if time.monotonic() > until:
            is_whole = len(ids) == search.limit
            return Page(tuple(_loaded(connection, ids)), _cursor(search, after), is_whole=is_whole)


def _named(connection: Connection, text: str) -> list[str]:
    """What has the text as its id, its meeting's or its session's."""
    if len(text) > _SAME_ID:
        return []
    # One statement each: an OR would have the planner read everything. Sorted as a sum, of which there is no
    # index: else it may go back through all that there is, to find the newest of one meeting.
    newest = (recordings.c.seen_at + 0.0).desc()
    return [
        recording_id
        for name in ("id", "meeting_id", "session_id")
        for recording_id in connection.execute(
            select(recordings.c.id).where(recordings.c[name] == text).order_by(newest).limit(_NAMED)
        ).scalars()
    ]


def _are_few(connection: Connection, standing: Standing | None) -> bool:
    """Whether the files among which those are that stand there can all be looked at."""
    if standing is None or standing in _FILELESS:
        return False
    some = select(artifacts.c.id).where(*_among(standing, artifacts)).limit(_FEW + 1).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() <= _FEW


def _by_arrival(search: Search, ids: Sequence[str], *, are_few: bool) -> Walk:
    base = _span(search, recordings)
    wanted: list[Wanted] = [] if ids else _text(search)
    if ids:
        base.append(recordings.c.id.in_(ids))
    if search.app is not None:
        wanted.append(lambda turn: turn.c.app == search.app)
    match search.standing:
        case None:
            pass
        case Standing.ERRORED:
            base += [recordings.c.scope == Scope.RECORDING, recordings.c.status == "ERRORED"]
            wanted += [lambda turn: turn.c.closed_at.is_(None), lambda turn: _count_of(turn) == 0]
        case Standing.EXPECTED:
            wanted += [
                lambda turn: and_(turn.c.closed_at.is_(None), turn.c.status != "ERRORED"),
                lambda turn: _count_of(turn) == 0,
            ]
        case Standing.ARCHIVED:
            wanted += [
                lambda turn: or_(turn.c.closed_at.is_not(None), _count_of(turn) > 0),
                lambda turn: _count_of(turn, artifacts.c.state != State.ARCHIVED) == 0,
            ]
        case standing if are_few:
            theirs = select(artifacts.c.recording_id).where(*_are(standing, artifacts))
            base.append(recordings.c.id.in_(theirs))
        case standing:
            wanted.append(lambda turn: _count_of(turn, *_are(standing, artifacts)) > 0)
    key = (recordings.c.seen_at, recordings.c.id)
    return Walk(key, search.sort is not Sort.OLDEST, tuple(base), tuple(wanted))


def _by_deadline(search: Search, ids: Sequence[str]) -> Walk:
    base = _are(search.standing, artifacts)
    if ids:
        base = (*base, artifacts.c.recording_id.in_(ids))
    sibling = artifacts.alias()

    def is_first(turn: FromClause) -> ColumnElement[bool]:
        """Each recording once, where its first such file is."""
        before = tuple_(sibling.c.expires_at, sibling.c.id) < tuple_(turn.c.expires_at, turn.c.id)
        same = sibling.c.recording_id == turn.c.recording_id
        return _count(same, before, *_are(search.standing, sibling)) == 0

    def is_of_those(turn: FromClause) -> ColumnElement[bool]:
        plain = [] if search.app is None else [recordings.c.app == search.app]
        named = [] if ids else [condition(recordings) for condition in _text(search)]
        same = recordings.c.id == turn.c.recording_id
        return _count(same, *plain, *named, *_span(search, recordings)) > 0

    is_any = search.app is None and (not search.text or bool(ids)) and not _span(search, recordings)
    wanted = (is_first,) if is_any else (is_first, is_of_those)
    return Walk((artifacts.c.expires_at, artifacts.c.id), False, base, wanted)


def _count(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).where(*conditions).scalar_subquery()


def _count_of(turn: FromClause, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """How many files of a recording are so."""
    return _count(artifacts.c.recording_id == turn.c.id, *conditions)


def _span(search: Search, rows: FromClause) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if search.since is not None:
        conditions.append(rows.c.seen_at >= search.since)
    if search.until is not None:
        conditions.append(rows.c.seen_at < search.until)
    return conditions


def _text(search: Search) -> list[Wanted]:
    if not search.text:
        return []
    text = search.text.lower()

    def is_called_so(rows: FromClause) -> ColumnElement[bool]:
        names = (rows.c.title, rows.c.output_file_name)
        return or_(*(func.lower(name).contains(text, autoescape=True) for name in names))

    return [is_called_so]


def _loaded(connection: Connection, ids: Sequence[str]) -> list[Found]:
    if not ids:
        return []
    rows = {row.id: row for row in connection.execute(select(recordings).where(recordings.c.id.in_(ids)))}
    lines = lines_of(connection, ids)
    return [
        Found(
            recording_of(rows[each]),
            rows[each].seen_at,
            rows[each].closed_at is not None,
            tuple(lines.get(each, ())),
        )
        for each in ids
        if each in rows
    ]


def standing_of(line: Line) -> Standing:
    """Where one copy of a file stands."""
    if line.is_cancelled and line.state in (State.WAITING, State.EXPIRED):
        return Standing.CANCELLED
    if line.is_paused:
        return Standing.PAUSED
    if line.state is State.WAITING and line.error:
        return Standing.FAILING
    return Standing(line.state)


def _cursor(search: Search, key: Sequence[Any] | None) -> str:
    text = json.dumps([search.sort, *(key or ())])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _key_of(search: Search) -> tuple[float, str]:
    cursor = search.cursor or ""
    try:
        if len(cursor) > _CURSOR_LENGTH:
            raise ValueError
        sort, moment, name = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if sort != search.sort or not isinstance(moment, float) or not math.isfinite(moment):
            raise ValueError
        if "\0" in name or not name.encode():  # the database's driver takes neither this nor half a character
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CursorInvalid("take the one that the page before gave") from error
    return moment, name


def _among(standing: Standing | None, files: FromClause) -> tuple[ColumnElement[bool], ...]:
    """What an index answers of :func:`_are`: with the state as a literal, so that the planner sees it."""
    if standing in (Standing.STORED, Standing.EXPIRED):
        return (files.c.state != _ARCHIVED, files.c.state == literal_column(f"'{standing.value}'"))
    if standing is Standing.CANCELLED:
        ended = files.c.state.in_([literal_column("'waiting'"), literal_column("'expired'")])
        return (files.c.state != _ARCHIVED, ended)
    return (files.c.due_at.is_not(None),)


def _are(standing: Standing | None, files: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Whether files stand there; for None, every open one."""
    column, among = files.c, _among(standing, files)
    of_it = (copies.c.artifact_id == column.id, copies.c.state == State.WAITING, copies.c.error.is_not(None))
    failed = or_(column.error.is_not(None), _count(*of_it) > 0)
    waits = and_(column.state == State.WAITING, column.due_at != PAUSED, column.cancelled_at.is_(None))
    match standing:
        case Standing.MOVING:
            return (*among, column.state == State.MOVING)
        case Standing.PAUSED:
            return (*among, column.due_at == PAUSED)
        case Standing.WAITING:
            return (*among, waits, ~failed)
        case Standing.FAILING:
            # While one of its copies moves, another may be put off.
            put_off = and_(column.state == State.MOVING, _count(*of_it, copies.c.due_at > now()) > 0)
            return (*among, or_(and_(waits, failed), put_off))
        case Standing.EXPIRED:
            return (*among, column.cancelled_at.is_(None))
        case Standing.CANCELLED:
            return (*among, column.cancelled_at.is_not(None))
    return among


_ARCHIVED: Final[ColumnElement[str]] = literal_column(f"'{State.ARCHIVED}'")
_FILELESS: Final = (Standing.ARCHIVED, Standing.ERRORED, Standing.EXPECTED)
"""Where a recording is of which no file is open, stored, or lost."""
