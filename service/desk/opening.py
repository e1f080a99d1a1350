"""Which desk the settings mean."""

import contextlib
import getpass
import os
import socket
from collections.abc import AsyncIterator

from service.desk.ledger import LedgerDesk
from service.desk.port import Desk
from service.ledger import Database
from service.settings import Settings


@contextlib.asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """The desk of the service at ``admin_url``, or, without one, of the ledger's own database.

    Raises :class:`~service.errors.LedgerUnavailable` or :class:`~service.errors.LedgerUnfit` if there is no
    ledger; a service is not asked yet.
    """
    if settings.admin_url:
        from service.desk.api import ApiDesk, admin_session

        token = settings.admin_token.get_secret_value() if settings.admin_token else None
        async with admin_session(token) as session:
            yield ApiDesk(settings.admin_url, session)
        return
    database = Database(settings.database_url.get_secret_value(), create=False)
    try:
        await database.check()
        yield LedgerDesk(database, actor=f"command {_user()}@{socket.gethostname()}")
    finally:
        await database.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as pods have
        return str(os.getuid())
