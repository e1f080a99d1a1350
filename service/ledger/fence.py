"""What makes a worker that lost its lease harmless: every write for a claim begins here.

A claim sets owner, lease and ``epoch + 1`` in one statement, on the database's clock. Every later write names
owner and epoch and raises :class:`~service.errors.LeaseLost` if they no longer stand: a worker that hung, or
came back from the dead, changes nothing in the ledger. What it may still send to a storage, case by case
(``tests/model`` tries every order of it, ``tests/e2e/test_zombies.py`` real processes):

- It writes to the ledger: refused; also what waited in the database, since it looks when its turn comes.
- Its clock is wrong: leases are on the database's clock, waiting on the monotonic one; a store that refuses
  the signature's time fails the copy for this try, and a worker whose clock is right makes it.
- It puts a part: the session is the new owner's too, then the bytes are the same (``If-Match``; the receipt
  is of the content), or it has ended, then the part is refused. Of another content there is another session.
- It completes a session: only whoever noted every part can. The next claim then finds all of them noted,
  completes too, before it looks at the source, and settles by looking at the object.
- It lists sessions and aborts them: after the list it renews its lease, so none of them is of a later claim.
- It frees a session of its own: it is forgotten in the ledger first, under the fence: nobody goes on with it.
- It begins a session: what it then notes is refused, and it aborts that one; neither can be cancelled
  between. If the answer is lost, it lists (as above) before it asks again.
- It puts a small file: the name is taken by then (``If-None-Match``); the same content is as good as its own,
  another is left to the owner. Its own old content under the name sends the owner to the next name.
- It puts a manifest that is old by now: the put is let end, its note is refused, and then it puts what the
  ledger says until that lies there. Only the ledger's word is ever put, so two that do this end alike.
- It was to end with a manifest put and not noted, and died: the next claim finds all stored, and looks again.
- Its file is paused or cancelled: that is an epoch more without an owner, and to it a lease that was lost.
- It is cut off from the database alone: it cannot renew, and stops by its own clock a lease after its last
  renewal was sent. From the storage alone: the lease is its own, the copy is given back and tried again.

What is left; the first two only if it dies within its last request, a lease too late or as an order took the
file from it (the first also if the answer to it is lost, or the abort after it fails):

- An upload that it had begun stays open; parts cost until the bucket's rule for incomplete uploads ends them.
- A manifest that it had sent may name less than the ledger; ``verify`` reads manifests, not the ledger.
- Where the store guards no names (no ``If-None-Match``), a small file that changed at its source meanwhile
  may be replaced by what it was before; the manifest's checksum tells.
"""

from typing import Any

from sqlalchemy import Connection, Float, bindparam, select, update

from service.errors import LeaseLost
from service.ledger.tables import artifacts, now, recordings
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


# Made once: a file of 24 hours runs it a thousand times.
_HOLD = (
    update(artifacts)
    .where(
        artifacts.c.id == bindparam("held"),
        artifacts.c.owner == bindparam("held_by"),
        artifacts.c.epoch == bindparam("held_since"),
    )
    .values(lease_until=now() + bindparam("lease_s", type_=Float))
)


def hold(connection: Connection, claim: Claim, *, lease_s: float) -> None:
    """As :func:`fence`, and no more than to hold the claim for another ``lease_s`` seconds."""
    mine = {"held": claim.id, "held_by": claim.owner, "held_since": claim.epoch, "lease_s": lease_s}
    if connection.execute(_HOLD, mine).rowcount != 1:
        raise LeaseLost(claim.id)


def lock_recording(connection: Connection, claim: Claim) -> None:
    """Lock out the recording's other artifacts; of two that finish together, one sees the other's end."""
    # First, and its artifacts after it, as news is taken in: else each could wait for the other.
    connection.execute(
        select(recordings.c.id).where(recordings.c.id == claim.artifact.recording_id).with_for_update()
    )
