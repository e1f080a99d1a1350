"""What the customer's own system is to be told: put in together with what it tells of, or by looking for it.

A notice's id comes of its news alone, so that what runs twice is told once.
"""

import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Text,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)

from service.artifacts import RETENTION_S
from service.ledger.database import Database
from service.ledger.overview import SAFE
from service.ledger.tables import MOMENT, PAUSED, artifacts, copies, failures, notices, now, recordings
from service.ledger.view import artifact_of, holding, recording_of
from service.model import Scope, State, Topic
from service.notice import (
    Facts,
    Failing,
    Where,
    archived_facts,
    errored_facts,
    file_facts,
    notice_id,
)

_AT_ONCE = 200
_FAILURES = 10


class Notices:
    """Puts in notices of these ``topics``; of others there are none."""

    def __init__(
        self, database: Database, *, topics: Collection[Topic], where: Callable[[str], Where]
    ) -> None:
        """``where`` says of a storage, by its name, what a notice tells of it."""
        self._database = database
        self._topics = frozenset(topics)
        self._where = where

    # ---- within the transaction that makes it true

    def archived(self, connection: Connection, recording_id: str, storage: str, manifest: str) -> None:
        """A manifest names what is there. The same files again, in another ledger too, are the same news."""
        if Topic.ARCHIVED not in self._topics:
            return
        found = holding(connection, recording_id, storage)
        where = self._where(storage)
        files = sorted(
            (each.artifact_id, each.key, each.size, each.checksum.crc64nvme) for each in found.archived
        )
        self._put(
            connection,
            Topic.ARCHIVED,
            recording_id,
            None,
            archived_facts(found.recording, where, found.archived, found.expired, manifest),
            storage,
            where.label,
            files,
        )

    def expired(self, connection: Connection, artifact_id: str) -> None:
        """A file may have expired: told if it has."""
        if Topic.EXPIRED not in self._topics:
            return
        gone = _files(Topic.EXPIRED).where(artifacts.c.id == artifact_id, artifacts.c.state == State.EXPIRED)
        for row in connection.execute(gone).all():
            self._put_file(connection, Topic.EXPIRED, row)

    # ---- what no single write makes true

    async def look(self, *, failing_s: float, near_s: float) -> int:
        """Put in what is to be told by now and was not; returns how much that was.

        Files that have failed for ``failing_s`` seconds, files that are stored nowhere and that the provider
        deletes within ``near_s``, and recordings that the provider could not make; each once.
        """
        looks: dict[Topic, Callable[[Connection], int]] = {
            Topic.FAILING: partial(self._put_files, Topic.FAILING, _failing(failing_s)),
            Topic.DEADLINE_NEAR: partial(self._put_files, Topic.DEADLINE_NEAR, _near(near_s)),
            Topic.ERRORED: self._put_errored,
        }
        total = 0
        for topic, look in looks.items():
            while topic in self._topics and (count := await self._database.write(look)):
                total += count
        return total

    def _put_files(self, topic: Topic, found: Select[Any], connection: Connection) -> int:
        rows = connection.execute(found.limit(_AT_ONCE)).all()
        for row in rows:
            self._put_file(connection, topic, row)
        return len(rows)

    def _put_errored(self, connection: Connection) -> int:
        rows = connection.execute(_ERRORED.limit(_AT_ONCE)).all()
        for row in rows:
            self._put(connection, Topic.ERRORED, row.id, None, errored_facts(recording_of(row)), row.id)
        return len(rows)

    def _put_file(self, connection: Connection, topic: Topic, row: Row[Any]) -> None:
        found = connection.execute(select(recordings).where(recordings.c.id == row.recording_id)).one()
        # Not as `count`, which every row has as a method.
        theirs = select(failures, failures.c["count"].label("times")).join_from(
            failures, artifacts, artifacts.c.id == failures.c.artifact_id
        )
        theirs = theirs.where(failures.c.artifact_id == row.id, _IS_CURRENT)
        wrong = connection.execute(theirs.order_by(failures.c.last_at.desc()).limit(_FAILURES)).all()
        facts = file_facts(
            recording_of(found),
            artifact_of(row),
            expires_at=row.expires_at,
            error=row.error,
            failures=[
                Failing(each.storage or None, each.error, each.mend, each.times, each.first_at, each.last_at)
                for each in wrong
            ],
        )
        self._put(connection, topic, row.recording_id, row.id, facts, row.id)

    def _put(
        self,
        connection: Connection,
        topic: Topic,
        recording_id: str,
        artifact_id: str | None,
        facts: Facts,
        *identity: object,
    ) -> None:
        row = {
            "id": notice_id(topic, recording_id, *identity),
            "type": topic,
            "recording_id": recording_id,
            "artifact_id": artifact_id,
            "body": json.dumps(facts, ensure_ascii=False),
            "made_at": now(),
            "due_at": now(),
            "attempts": 0,
        }
        connection.execute(self._database.insert(notices).values(**row).on_conflict_do_nothing())


def _files(topic: Topic) -> Select[Any]:
    """The files of which this was not told."""
    # Counted, since for a NOT EXISTS PostgreSQL may read all notices that there are.
    told = (
        select(func.count())
        .where(
            notices.c.recording_id == artifacts.c.recording_id,
            notices.c.artifact_id == artifacts.c.id,
            notices.c.type == topic,
        )
        .scalar_subquery()
    )
    return select(artifacts).where(told == 0).order_by(artifacts.c.expires_at, artifacts.c.id)


def _near(near_s: float) -> Select[Any]:
    soon = artifacts.c.expires_at < MOMENT + near_s
    return _files(Topic.DEADLINE_NEAR).where(_IS_OPEN, SAFE == 0, soon)


def _failing(failing_s: float) -> Select[Any]:
    theirs = and_(failures.c.artifact_id == artifacts.c.id, _IS_CURRENT)
    first_at = select(func.min(failures.c.first_at)).where(theirs).scalar_subquery()
    last_at = select(func.max(failures.c.last_at)).where(theirs).scalar_subquery()
    # One that moves may be well since: it has failed for as long as is known of.
    until = case((artifacts.c.state == State.MOVING, last_at), else_=now())
    is_tried = and_(_IS_OPEN, artifacts.c.due_at != PAUSED)
    return _files(Topic.FAILING).where(is_tried, until - first_at >= failing_s)


_IS_OPEN = and_(
    artifacts.c.due_at.is_not(None), artifacts.c.state != State.EXPIRED, artifacts.c.cancelled_at.is_(None)
)
_IS_CURRENT = or_(
    and_(failures.c.storage == "", artifacts.c.error.is_not(None)),
    exists().where(
        copies.c.artifact_id == failures.c.artifact_id,
        copies.c.storage == failures.c.storage,
        copies.c.state == State.WAITING,
        copies.c.error.is_not(None),
    ),
)
"""Whether a failure is of what still fails: of the source (or the manifest), or of a copy."""
_ERRORED_TOLD = (
    select(func.count())
    .where(notices.c.recording_id == recordings.c.id, notices.c.type == literal(Topic.ERRORED.value, Text))
    .scalar_subquery()
)
_ERRORED = (
    select(recordings)
    .where(recordings.c.scope == Scope.RECORDING, recordings.c.status == "ERRORED", _ERRORED_TOLD == 0)
    # The first news of a recording is a day older than its end at most: what is older is no news.
    .where(recordings.c.seen_at > MOMENT - 2 * RETENTION_S)
    .order_by(recordings.c.seen_at, recordings.c.id)
)
