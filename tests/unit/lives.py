"""One storage, and one process after another over it, each of which knows nothing of it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.doubles.source import FaultySource
from tests.unit.workshop import Workshop, workshop


class Lives:
    """One folder, and one process after another over it, each with a ledger that knows nothing."""

    def __init__(self, empty_ledger: Path, folder: Path, source: FaultySource) -> None:
        self._empty = empty_ledger
        self._folder = folder
        self._source = source
        self._count = 0

    @asynccontextmanager
    async def another(self, **options: Any) -> AsyncIterator[Workshop]:
        """The next process."""
        self._count += 1
        ledger = Path(shutil.copy(self._empty, self._folder / f"ledger-{self._count}.db"))
        async with workshop(ledger, self._folder, self._source, **options) as shop:
            yield shop
