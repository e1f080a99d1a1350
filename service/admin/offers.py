"""Which orders a file can be given now: what :mod:`service.ledger.orders` takes and has an effect."""

from collections.abc import Sequence

from service.choices import Order
from service.ledger.life import File
from service.model import State


def offered(files: Sequence[File], *, now: float) -> list[Order]:
    """The orders that at least one of these files can be given at the moment ``now``."""
    return [order for order in Order if any(_applies(order, file, now) for file in files)]


def _applies(order: Order, file: File, now: float) -> bool:
    is_held = file.lease_until is not None and file.lease_until > now
    is_unstored = (file.due_at is not None or file.state is State.EXPIRED) and not is_held
    match order:
        case Order.RETRY:
            has_tried = bool(file.attempts or file.error or file.failures)
            return is_unstored and (
                has_tried or file.is_paused or file.cancelled_at is not None or file.state is State.EXPIRED
            )
        case Order.RENEW:
            return is_unstored
        case Order.PAUSE:
            return file.due_at is not None and not file.is_paused and file.cancelled_at is None
        case Order.RESUME:
            return file.is_paused
        case Order.CANCEL:
            is_open = file.due_at is not None and file.state in (State.WAITING, State.MOVING)
            return is_open and file.cancelled_at is None
        case Order.VERIFY:
            return any(place.state in (State.STORED, State.ARCHIVED) for place in file.places)
