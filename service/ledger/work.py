"""The worker's side of the ledger: claims, leases, and how a try ends."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    update,
)

from service.errors import LeaseLost
from service.ledger.database import Database
from service.ledger.fence import UNHELD, fence, held, lock_recording
from service.ledger.notices import Notices
from service.ledger.sharing import next_due
from service.ledger.tables import artifacts, copies, failures, manifests, now, parts, recordings
from service.ledger.view import artifact_of, recording_of
from service.model import Claim, Copy, State

_ERROR_LENGTH = 500
"""Of what is part of a key."""
_FAILURES_KEPT = 20
"""Of a file with its source, or with one storage: those that came last."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a copy is not stored yet, and when it is tried again."""

    delay_s: float
    error: str
    mend: str
    was_tried: bool = True


class Work:
    """Claims for one worker, known to the others as ``owner``."""

    def __init__(
        self, database: Database, *, owner: str, lease_s: float, notices: Notices | None = None
    ) -> None:
        """``lease_s``: how long a silent claim holds. ``notices``: where it is told what comes of claims."""
        self._database = database
        self._owner = owner
        self._lease_s = lease_s
        self._notices = notices

    async def claim(
        self, limit: int, *, avoided: Collection[str] = (), doubted: Collection[str] = ()
    ) -> list[Claim]:
        """Lease up to ``limit`` artifacts that are due and nobody holds: :mod:`~service.ledger.sharing`.

        What has nothing to be stored now but in the ``avoided`` storages is left to others, and for some
        seconds so is what goes to the ``doubted`` ones.
        """
        leased = (
            update(artifacts)
            .where(artifacts.c.id.in_(bindparam("ids", expanding=True)))
            .values(
                owner=self._owner,
                lease_until=now() + self._lease_s,
                epoch=artifacts.c.epoch + 1,
                state=case((artifacts.c.state == State.WAITING, State.MOVING.value), else_=artifacts.c.state),
            )
            .returning(artifacts, now().label("now"))
        )

        def lease(connection: Connection) -> list[Claim]:
            ids = next_due(connection, limit, avoided=avoided, doubted=doubted)
            return _claims(connection, connection.execute(leased, {"ids": ids}).all()) if ids else []

        return sorted(await self._database.write(lease), key=lambda claim: claim.expires_at)

    async def renew(self, claim: Claim) -> None:
        """Hold the claim for another lease from now."""
        await self._database.write(lambda connection: fence(connection, claim, **self._renewed()))

    async def current(self, claim: Claim) -> Claim:
        """The claim with all that was settled since."""
        mine = select(artifacts, now().label("now")).where(*held(claim))

        def look(connection: Connection) -> Claim:
            rows = connection.execute(mine).all()
            if not rows:
                raise LeaseLost(claim.id)
            return _claims(connection, rows)[0]

        return await self._database.read(look)

    async def route(self, claim: Claim, storages: Iterable[str], *, drop: Collection[str] = ()) -> None:
        """Settle where the artifact goes; ``drop`` names storages where it is not stored and not to go to."""
        rows = [
            {"artifact_id": claim.id, "storage": name, "state": State.WAITING, "due_at": now(), "attempts": 0}
            for name in storages
        ]

        def settle(connection: Connection) -> None:
            fence(connection, claim, **self._renewed())
            for table in (parts, copies):
                connection.execute(
                    delete(table).where(table.c.artifact_id == claim.id, table.c.storage.in_(drop))
                )
            for row in rows:
                connection.execute(self._database.insert(copies).values(**row).on_conflict_do_nothing())

        await self._database.write(settle)

    async def settle(
        self, claim: Claim, troubles: Mapping[str, Trouble], *, expired: bool = False, again: bool = False
    ) -> list[str]:
        """Write how the try went; returns the storages in which the recording's manifest is to be written.

        Those are where nothing more of the recording is to come: of artifacts that settle together, at least
        one is told. The claim is still held, until :meth:`finish`. ``expired``: the artifact is gone at the
        source and stored nowhere. ``again``: where a manifest was written before counts too.
        """
        recording_id = claim.artifact.recording_id

        def settle(connection: Connection) -> list[str]:
            lock_recording(connection, claim)
            for storage, trouble in troubles.items():
                connection.execute(
                    update(copies)
                    .where(copies.c.artifact_id == claim.id, copies.c.storage == storage)
                    .values(
                        due_at=now() + trouble.delay_s,
                        attempts=copies.c.attempts + int(trouble.was_tried),
                        error=trouble.error,
                        mend=trouble.mend or None,
                    )
                )
                if trouble.was_tried:
                    self._note(connection, claim, storage, trouble)
            # A fresher link may have come meanwhile.
            gone = _unannounced(claim) if expired else false()
            state = case((gone, State.EXPIRED.value), else_=_state(State.MOVING))
            fence(connection, claim, state=state, **self._renewed())
            # Who gave one up knows.
            if self._notices and expired and not claim.is_cancelled:
                self._notices.expired(connection, claim.id)
            # What an expired artifact leaves behind names it, also where all else was archived before.
            return _ready(connection, recording_id, again=expired or again)

        return await self._database.write(settle)

    async def manifest_written(
        self, claim: Claim, storage: str, *, key: str, artifact_ids: Collection[str]
    ) -> bool:
        """Settle that the manifest in ``storage`` names exactly ``artifact_ids``: their copies are archived.

        False if more of the recording has been stored there meanwhile: then it has to be written again.
        """
        recording_id = claim.artifact.recording_id
        theirs = select(artifacts.c.id).where(artifacts.c.recording_id == recording_id)
        stored_there = select(copies.c.artifact_id).where(
            copies.c.storage == storage,
            copies.c.state.in_([State.STORED, State.ARCHIVED]),
            copies.c.artifact_id.in_(theirs),
        )
        unfinished = exists().where(copies.c.artifact_id == artifacts.c.id, copies.c.state != State.ARCHIVED)
        row = {"recording_id": recording_id, "storage": storage, "key": key, "written_at": now()}

        def settle(connection: Connection) -> bool:
            lock_recording(connection, claim)
            fence(connection, claim, **self._renewed())
            if set(connection.execute(stored_there).scalars()) != set(artifact_ids):
                return False
            connection.execute(
                self._database.insert(manifests)
                .values(**row)
                .on_conflict_do_update(
                    index_elements=[manifests.c.recording_id, manifests.c.storage], set_=row
                )
            )
            connection.execute(
                update(copies)
                .where(copies.c.storage == storage, copies.c.artifact_id.in_(artifact_ids))
                .values(state=State.ARCHIVED)
            )
            # Those that waited for this; one that is held ends by itself.
            waited = (
                artifacts.c.recording_id == recording_id,
                artifacts.c.state == State.STORED,
                artifacts.c.due_at.is_(None),
                ~unfinished,
            )
            connection.execute(update(artifacts).where(*waited).values(state=State.ARCHIVED))
            if self._notices:
                self._notices.archived(connection, recording_id, storage, key)
            return True

        return await self._database.write(settle)

    async def finish(self, claim: Claim) -> None:
        """Give the claim back, its source not at fault: due when its next open copy is, if there is one."""
        next_due = (
            select(func.min(copies.c.due_at))
            .where(copies.c.artifact_id == artifacts.c.id, copies.c.state == State.WAITING)
            .scalar_subquery()
        )

        def settle(connection: Connection) -> None:
            lock_recording(connection, claim)
            fence(
                connection,
                claim,
                state=_state(State.WAITING),
                due_at=case(
                    (artifacts.c.state == State.EXPIRED, None),
                    (_is_open(), func.coalesce(next_due, now())),
                    else_=None,
                ),
                stored_at=case((_is_open(), None), else_=func.coalesce(artifacts.c.stored_at, now())),
                attempts=0,
                error=None,
                mend=None,
                **UNHELD,
            )

        await self._database.write(settle)

    async def try_later(self, claim: Claim, trouble: Trouble) -> None:
        """Give the claim back after a failure; at once if a fresher link has come in the meantime."""
        same_link = _unannounced(claim)

        def give_back(connection: Connection) -> None:
            fence(
                connection,
                claim,
                state=_state(State.WAITING),
                due_at=case((same_link, now() + trouble.delay_s), else_=now()),
                attempts=artifacts.c.attempts + 1,
                error=trouble.error,
                mend=trouble.mend or None,
                **UNHELD,
            )
            self._note(connection, claim, "", trouble)

        # It may be the ledger that failed: it is waited for, since until then nobody goes on with the claim.
        await self._database.write_patiently(give_back, for_s=self._lease_s)

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back without a failure, due at once. Those that are lost already are left alone."""
        # In the order in which news of them is taken in: else each could wait for the other.
        in_order = sorted(claims, key=lambda claim: (claim.artifact.recording_id, claim.id))

        def give_back(connection: Connection) -> None:
            for claim in in_order:
                connection.execute(
                    update(artifacts).where(*held(claim)).values(state=_state(State.WAITING), **UNHELD)
                )

        await self._database.write(give_back)

    def _note(self, connection: Connection, claim: Claim, storage: str, trouble: Trouble) -> None:
        """Keep what went wrong, beside what did before; the same again is counted."""
        row = {
            "artifact_id": claim.id,
            "storage": storage,
            "error": trouble.error[:_ERROR_LENGTH],
            "mend": trouble.mend or None,
            "owner": self._owner,
            "count": 1,
            "first_at": now(),
            "last_at": now(),
        }
        again = {"mend": row["mend"], "owner": row["owner"], "count": failures.c.count + 1, "last_at": now()}
        new = self._database.insert(failures).values(**row)
        connection.execute(new.on_conflict_do_update(index_elements=list(failures.primary_key), set_=again))
        # What tells how many bytes there were is another each time.
        beside = (failures.c.artifact_id == claim.id, failures.c.storage == storage)
        newest = select(failures.c.error).where(*beside).order_by(failures.c.last_at.desc(), failures.c.error)
        old = newest.offset(_FAILURES_KEPT).scalar_subquery()
        connection.execute(delete(failures).where(*beside, failures.c.error.in_(old)))

    def _renewed(self) -> dict[str, Any]:
        return {"lease_until": now() + self._lease_s}


def _is_open() -> ColumnElement[bool]:
    """Whether an artifact is not routed yet or not stored in all its storages."""
    of_it = copies.c.artifact_id == artifacts.c.id
    return or_(~exists().where(of_it), exists().where(of_it, copies.c.state == State.WAITING))


def _unannounced(claim: Claim) -> ColumnElement[bool]:
    """Whether no delivery has brought a link since the claim; one that it renewed itself is none."""
    return artifacts.c.announced_at.is_not_distinct_from(claim.announced_at)


def _state(open_state: State) -> Any:
    """How far an artifact is, from its copies; ``open_state`` while one of them is open."""
    unarchived = exists().where(copies.c.artifact_id == artifacts.c.id, copies.c.state != State.ARCHIVED)
    return case(
        (artifacts.c.state == State.EXPIRED, State.EXPIRED.value),
        (_is_open(), open_state.value),
        (unarchived, State.STORED.value),
        else_=State.ARCHIVED.value,
    )


def _ready(connection: Connection, recording_id: str, *, again: bool) -> list[str]:
    siblings = select(artifacts.c.id).where(artifacts.c.recording_id == recording_id)
    living = siblings.where(artifacts.c.state != State.EXPIRED)
    unrouted = living.where(
        artifacts.c.state.in_([State.WAITING, State.MOVING]),
        ~exists().where(copies.c.artifact_id == artifacts.c.id),
    )
    if connection.execute(unrouted.limit(1)).first() is not None:
        return []
    whole = [State.STORED, State.ARCHIVED] if again else [State.STORED]
    to_come = select(copies.c.storage).where(
        copies.c.artifact_id.in_(living), copies.c.state == State.WAITING
    )
    there = select(copies.c.storage).where(
        copies.c.artifact_id.in_(siblings), copies.c.state.in_(whole), copies.c.storage.not_in(to_come)
    )
    return sorted(set(connection.execute(there).scalars()))


def _claims(connection: Connection, rows: Sequence[Row[Any]]) -> list[Claim]:
    of_them = select(recordings).where(recordings.c.id.in_({row.recording_id for row in rows}))
    theirs = (
        select(copies).where(copies.c.artifact_id.in_([row.id for row in rows])).order_by(copies.c.storage)
    )
    known = {found.id: recording_of(found) for found in connection.execute(of_them)}
    routed: dict[str, list[Row[Any]]] = {}
    for found in connection.execute(theirs):
        routed.setdefault(found.artifact_id, []).append(found)
    return [
        Claim(
            artifact=artifact_of(row),
            recording=known[row.recording_id],
            state=State(row.state),
            owner=row.owner,
            epoch=row.epoch,
            attempts=row.attempts,
            now=row.now,
            expires_at=row.expires_at,
            announced_at=row.announced_at,
            copies=tuple(_copy(found, row.now) for found in routed.get(row.id, ())),
            part_size=row.part_size,
            size=row.size,
            source_etag=row.source_etag,
            is_cancelled=row.cancelled_at is not None,
            is_link_doubted=row.renew_at is not None,
            seen_at=row.seen_at,
        )
        for row in rows
    ]


def _copy(row: Row[Any], at: float) -> Copy:
    return Copy(
        storage=row.storage,
        state=State(row.state),
        attempts=row.attempts,
        is_due=row.due_at <= at,
        key=row.key,
        upload_id=row.upload_id,
        size=row.size,
    )
