"""A ledger in which recordings stand in several ways, and a screen to look at it."""

from io import StringIO

from rich.console import Console

from service.desk.ledger import LedgerDesk
from service.ledger import Trouble
from service.model import Kind
from tests.contract.ledgers import HERE, THERE, Ledger, archive, begin, expire, news

BROKEN = Trouble(3600.0, "PutObject was answered AccessDenied", "let this key do s3:PutObject")


async def filled(ledger: Ledger) -> LedgerDesk:
    """The desk of a ledger with something in every standing that matters."""
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="archived"), HERE, THERE)
    (gone,) = await ledger.claimed(work, Kind.VIDEO, id="expired")
    await expire(ledger, gone)
    (failed,) = await ledger.claimed(work, Kind.VIDEO, id="failing")
    await begin(ledger, failed)
    await work.settle(failed, {HERE: BROKEN}, expired=False)
    await work.finish(failed)
    (moving,) = await ledger.claimed(work, Kind.VIDEO, id="moving")
    await begin(ledger, moving)
    await ledger.hear(
        news(id="errored", status="ERRORED", stop_reason="it broke"),
        news(Kind.VIDEO, id="waiting", title='=Weekly, "sync"', meeting_id="a-meeting", duration_s=60.5),
    )
    return LedgerDesk(ledger.database, actor="command tester@here")


def screen(width: int = 200) -> Console:
    """A screen of so many columns, without colours."""
    return Console(file=StringIO(), width=width, highlight=False)


def text_of(console: Console) -> str:
    """What is on it, blanks and line ends as one blank."""
    return " ".join(lines_of(console))


def lines_of(console: Console) -> list[str]:
    """Its lines, blanks as one blank."""
    shown: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [" ".join(line.split()) for line in shown.splitlines()]
