"""What a verification says while it goes on: a line a file, on a terminal with bytes and what is left."""

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from service.fields import clean
from service.wording import size_text


class Findings:
    """Prints and counts what was found; a context manager, which sums it up at its end.

    ``count`` and ``size`` are how many files and bytes there are, where that is known before.
    """

    def __init__(self, console: Console, *, count: int | None = None, size: int | None = None) -> None:
        self.checked = 0
        self.faults = 0
        self._console = console
        self._count = count
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._all = self._progress.add_task(self._title, total=size)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._console.print(
            f"{self.checked - self.faults} of {self.checked} files are whole.", highlight=False
        )
        if error is not None:
            self._console.print(
                "It was broken off: those are known to the ledger, --older-than leaves them out next time.",
                highlight=False,
            )

    @contextlib.contextmanager
    def reading(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        """While a file is read: gives what is to be told of every chunk's size."""
        task = self._progress.add_task(f"{clean(name)} ({size_text(size)})", total=size)

        def on_bytes(count: int) -> None:
            self._progress.advance(task, count)
            self._progress.advance(self._all, count)

        try:
            yield on_bytes
        finally:
            self._progress.remove_task(task)

    def passed(self, size: int) -> None:
        """So many bytes were read by somebody else."""
        self._progress.advance(self._all, size)

    def whole(self, name: str) -> None:
        """A file is as it was archived."""
        self._tell("whole", "green", clean(name))

    def wrong(self, name: str, fault: str) -> None:
        """A file is not, or could not be read."""
        self.faults += 1
        self._tell("wrong", "bold red", f"{clean(name)}: {clean(fault)}")

    def _tell(self, word: str, style: str, story: str) -> None:
        self.checked += 1
        self._console.print(Text.assemble((word, style), f"  {story}"), soft_wrap=True)
        self._progress.update(self._all, description=self._title)

    @property
    def _title(self) -> str:
        return f"{self.checked} of {self._count} files" if self._count else f"{self.checked} files"
