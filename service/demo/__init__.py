"""The whole service once, for somebody who wants to see it: real processes, real HTTP, a real signature."""

import tempfile
from pathlib import Path

from rich.console import Console

from service.demo.life import whole_life
from service.demo.plain import one_delivery
from service.demo.sample import parse_size
from service.demo.telling import DemoFailed, Teller
from service.model import Provider

__all__ = ["DemoFailed", "parse_size", "run"]


async def run(size: str, *, keep: bool, console: Console, provider: Provider | None = None) -> None:
    """Archive a sample recording of ``size`` (``300MB``): say where it is, how fast it went, if it is whole.

    With ``provider``, show all that a meeting goes through there and what it leaves behind. With ``keep``, go
    on serving until interrupted.

    Raises :class:`DemoFailed`.
    """
    total = parse_size(size)
    folder = Path(tempfile.mkdtemp(prefix="dyte-archiver-demo-"))
    tell = Teller(console)
    tell("folder", str(folder))
    if provider is None:
        await one_delivery(folder, total, tell, keep=keep)
    else:
        await whole_life(provider, folder, total, tell, keep=keep)
