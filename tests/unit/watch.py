"""A reconciler with a real ledger, and an API whose answers are made up."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from service.ledger import Duties, Intake
from service.ledger.tables import duties, recordings
from service.model import Artifact, Event, Kind, Provider, Recording, Scope
from service.news import News
from service.reconcile import Reconciler
from service.telemetry import Metrics
from tests.contract.ledgers import DELIVERY, Ledger
from tests.unit.workshop import Offers

HOUR = 3600.0
DAY = 24 * HOUR


def ago(seconds: float) -> float:
    return time.time() - seconds


class Asked(asyncio.Event):
    """What wakes a reconciler; `idle` is set when it waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = asyncio.Event()

    async def wait(self) -> Any:
        self.idle.set()
        return await super().wait()


@dataclass
class Watch:
    """A reconciler over a ledger, and what became known by it."""

    ledger: Ledger
    apis: Sequence[tuple[str, Offers]]
    owner: str = "watch"
    kinds: Sequence[Kind] = tuple(Kind)
    every_s: float = 900.0
    lease_s: float = 60.0
    told: list[Event] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    woken: Asked = field(default_factory=Asked)

    def reconciler(self) -> Reconciler:
        """A process's own."""
        news = News(self.metrics, to_ask=self.woken.set)

        def tell(event: Event) -> None:
            self.told.append(event)
            news(event)

        return Reconciler(
            self.apis,
            Duties(self.ledger.database, owner=self.owner, lease_s=self.lease_s),
            Intake(self.ledger.database, kinds=self.kinds),
            kinds=self.kinds,
            every_s=self.every_s,
            news=tell,
            metrics=self.metrics,
            clock=time.time,
            woken=self.woken,
        )

    async def once(self) -> None:
        """Run until it has nothing more to do now."""
        self.woken.idle.clear()
        running = asyncio.create_task(self.reconciler().run())
        idle = asyncio.create_task(self.woken.idle.wait())
        await asyncio.wait([running, idle], timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert not running.done(), running.exception()
        assert idle.done(), "it goes on for ever"
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def later(self) -> None:
        """Once more, when everything is due again."""

        def pass_by(connection: sa.Connection) -> None:
            connection.execute(sa.update(duties).values(due_at=0.0))
            asked = recordings.c.ask_at.is_not(None)
            connection.execute(sa.update(recordings).where(asked).values(ask_at=0.0))

        await self.ledger.database.write(pass_by)
        await self.once()

    async def artifacts(self) -> list[str]:
        """The ids of all that is to be archived."""
        return [row["id"] for row in await self.ledger.rows("artifacts")]

    async def duty(self, name: str) -> dict[str, Any]:
        """What the ledger says of a duty; ``due_at`` as seconds from now."""
        row = next(row for row in await self.ledger.rows("duties") if row["name"] == name)
        return row | {"due_at": row["due_at"] - time.time()}

    async def ask_in_s(self, recording_id: str) -> float | None:
        """In how many seconds the API is asked for a recording or session; None: never."""
        rows = await self.ledger.rows("recordings")
        ask_at: float | None = next(row["ask_at"] for row in rows if row["id"] == recording_id)
        return None if ask_at is None else ask_at - time.time()


def video(
    recording_id: str, *, left_s: float | None = 5 * DAY, kind: Kind = Kind.VIDEO, **told: Any
) -> Artifact:
    expires_at = None if left_s is None else time.time() + left_s
    link = f"https://provider.example/{recording_id}/{kind}"
    return Artifact(recording_id, kind, link, f"{recording_id}.{kind}", expires_at=expires_at, **told)


def session(session_id: str, *, ended_s_ago: float = HOUR, status: str = "ENDED", **told: Any) -> Recording:
    ended_at = time.time() - ended_s_ago
    return Recording(
        session_id,
        Provider.DYTE,
        status,
        Scope.SESSION,
        started_at=ended_at - HOUR,
        stopped_at=ended_at,
        session_id=session_id,
        **told,
    )


async def heard(watch: Watch, recording_id: str, *artifacts: Artifact, **told: Any) -> None:
    """A delivery of a recording that was uploaded."""
    facts = {"status": "UPLOADED", **told}
    known = Recording(recording_id, Provider.DYTE, **facts)
    await Intake(watch.ledger.database, kinds=watch.kinds).record(
        DELIVERY, Event("delivery", known, artifacts)
    )
