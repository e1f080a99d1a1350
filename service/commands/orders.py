"""``retry``, ``renew``, ``pause``, ``resume`` and ``cancel``."""

import sys
from collections.abc import Callable, Sequence
from typing import Final

from service.choices import Order
from service.desk import Desk
from service.errors import (
    ArchiverError,
    LedgerUnavailable,
    NotConfirmed,
    NotInLedger,
    ServiceRefused,
    ServiceUnavailable,
    ServiceUnknown,
)
from service.fields import clean

ASKED: Final = {
    Order.PAUSE: "While it is paused nothing of it is archived, and the provider's time goes on.",
    Order.CANCEL: "What is not stored yet is given up: it is not archived unless it is retried.",
}
"""The orders of which it is asked whether they are meant, and what they come to."""

_DONE: Final = {
    Order.RETRY: "is tried again now",
    Order.RENEW: "gets a fresh link, and is tried again now",
    Order.PAUSE: "is paused",
    Order.RESUME: "goes on",
    Order.CANCEL: "is cancelled",
    Order.VERIFY: "is to be verified",
}
_HOPELESS: Final = (LedgerUnavailable, ServiceRefused, ServiceUnavailable, ServiceUnknown)


def confirm(order: Order, ids: Sequence[str], *, ask: Callable[[str], bool] | None) -> None:
    """Ask whether an order of :data:`ASKED` is meant. ``ask`` is None where there is no terminal.

    Raises :class:`~service.errors.NotConfirmed`.
    """
    if ask is None:
        raise NotConfirmed("there is no terminal to ask on", mend="say --yes if it is meant")
    named = clean(ids[0] if len(ids) == 1 else f"{len(ids)} recordings or files ({', '.join(ids)})")
    if not ask(f"{order.capitalize()} {named}? {ASKED[order]}"):
        raise NotConfirmed


async def give(desk: Desk, order: Order, ids: Sequence[str], *, find: str) -> int:
    """Give an order for each id, and say what came of it; returns for how many it could not be done.

    ``find`` says to people how ids are found. Raises what keeps every order from being given.
    """
    failed = 0
    for target in ids:
        try:
            done = await desk.order(order, target)
        except _HOPELESS:
            raise
        except ArchiverError as error:
            failed += 1
            sys.stderr.write(f"dyte-archiver: {clean(target)}: {clean(str(error))}\n")
            if mend := find if isinstance(error, NotInLedger) else error.mend:
                sys.stderr.write(f"  to mend: {mend}\n")
            continue
        for file_id in done.file_ids:
            sys.stdout.write(f"{clean(file_id)} {_DONE[order]}\n")
    return failed
