"""The port, and what both of its adapters give: the API's documents."""

from typing import Protocol

from service.admin.asked import Asked
from service.admin.documents import OrderDone, RecordingLife, RecordingList, Summary
from service.choices import Order


class Desk(Protocol):
    """What there is in the archive, and orders for it.

    Everything raises :class:`~service.errors.LedgerUnavailable` while the database is away, and of a running
    service :class:`~service.errors.ServiceError`.
    """

    is_service: bool
    """Whether a running service is asked, not the database."""

    async def overview(self) -> Summary:
        """What there is at this moment: 200 files of each list at most."""
        ...

    async def recordings(self, asked: Asked) -> RecordingList:
        """A page of recordings and sessions. Raises :class:`~service.errors.ServiceRejected`."""
        ...

    async def life(self, recording_id: str) -> RecordingLife:
        """All of one recording or session. Raises :class:`~service.errors.NotInLedger`."""
        ...

    async def order(self, order: Order, target: str) -> OrderDone:
        """Give an order for a recording, a session or one file; it is kept in the audit trail.

        Raises :class:`~service.errors.NotInLedger`, and :class:`~service.errors.OrderRefused` if there is
        nothing that it could be for.
        """
        ...
