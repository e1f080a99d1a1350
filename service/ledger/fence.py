"""What makes a worker that lost its lease harmless: every write for a claim begins here.

A claim sets owner, lease and ``epoch + 1`` in one statement, on the database's clock. Every later write names
owner and epoch and raises :class:`~service.errors.LeaseLost` if they no longer stand: a worker that hung, or
came back from the dead, changes nothing.
"""

from typing import Any

from sqlalchemy import Connection, select, update

from service.errors import LeaseLost
from service.ledger.tables import artifacts, recordings
from service.model import Claim

UNHELD: dict[str, Any] = {"owner": None, "lease_until": None}
"""The values of an artifact that nobody holds."""


def held(claim: Claim) -> tuple[Any, ...]:
    """The conditions under which ``claim`` stands."""
    return (
        artifacts.c.id == claim.id,
        artifacts.c.owner == claim.owner,
        artifacts.c.epoch == claim.epoch,
    )


def fence(connection: Connection, claim: Claim, **values: Any) -> None:
    """Set ``values`` on the artifact, and lock its row against another claim until the transaction ends."""
    if connection.execute(update(artifacts).where(*held(claim)).values(**values)).rowcount != 1:
        raise LeaseLost(claim.id)


def lock_recording(connection: Connection, claim: Claim) -> None:
    """Lock out the recording's other artifacts; of two that finish together, one sees the other's end."""
    # First, and its artifacts after it, as news is taken in: else each could wait for the other.
    connection.execute(
        select(recordings.c.id).where(recordings.c.id == claim.artifact.recording_id).with_for_update()
    )
