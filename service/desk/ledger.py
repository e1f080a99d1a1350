"""The desk straight on the ledger's database."""

from service.admin.asked import Asked
from service.admin.documents import OrderDone, RecordingLife, RecordingList, Summary
from service.choices import Order, Sort
from service.deadlines import ALARM_S
from service.errors import ServiceRejected
from service.ledger import Database, View
from service.ledger.browse import CursorInvalid, Search, browse, sorts_of
from service.ledger.life import life
from service.ledger.orders import Orders

_LINES = 200


class LedgerDesk:
    """A desk on a database that somebody else opens and closes. ``actor`` is who the audit trail names."""

    is_service = False

    def __init__(self, database: Database, *, actor: str) -> None:
        self._database = database
        self._actor = actor

    async def overview(self) -> Summary:
        """See :class:`~service.desk.Desk`."""
        overview = await View(self._database).overview(
            limit=_LINES, lost_limit=_LINES, within_s=ALARM_S, near_limit=_LINES
        )
        return Summary.of(overview)

    async def recordings(self, asked: Asked) -> RecordingList:
        """See :class:`~service.desk.Desk`."""
        sort = asked.sort or Sort.NEWEST
        if sort not in sorts_of(asked.standing):
            raise ServiceRejected(f"sort: {sort} is of no use with standing {asked.standing}")
        given = asked.model_dump(exclude={"sort"})
        try:
            return RecordingList.of(await browse(self._database, Search(**given, sort=sort)))
        except CursorInvalid as error:
            raise ServiceRejected(f"cursor: {error.detail}") from error

    async def life(self, recording_id: str) -> RecordingLife:
        """See :class:`~service.desk.Desk`."""
        return RecordingLife.of(await life(self._database, recording_id))

    async def order(self, order: Order, target: str) -> OrderDone:
        """See :class:`~service.desk.Desk`."""
        done = await Orders(self._database).give(order, target, actor=self._actor)
        return OrderDone(order=order, target=target, file_ids=done)
