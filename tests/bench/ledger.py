"""`python -m tests.bench.ledger`: what the ledger costs, after little and after much was archived.

The same waits in both: the older ledger only has more behind it. PostgreSQL and SQLite both flush their
writes to the disk. Each figure is of whole transactions, as a process of the service makes them.
"""

import argparse
import asyncio
import contextlib
import json
import math
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import mkdtemp
from typing import Any

import psycopg
import sqlalchemy as sa

from service.choices import Sort, Standing
from service.ledger import Intake
from service.ledger.browse import Search, browse
from service.ledger.life import life
from service.model import Kind
from tests.contract.full_ledger import fill
from tests.contract.ledgers import DELIVERY, Ledger, news, opened
from tests.doubles.servers import Postgres

CUSTOMERS = 200
SLOTS = 4
_WARM = 5
_DAY_S = 24 * 3600.0

Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Figure:
    """Milliseconds of one thing done again and again, in a ledger of a size."""

    database: str
    archived: int
    mib: float
    what: str
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Measure, and print a table for the README."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ledger",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--archived", default="10000,1000000", help="sizes, comma-separated")
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=200, help="how often each thing is done")
    parser.add_argument("--only", default="sqlite,postgresql")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    found: list[Figure] = []
    try:
        for name in options.only.split(","):
            for archived in map(int, options.archived.split(",")):
                sys.stderr.write(f"{name}: {archived} archived, {options.waiting} waiting\n")
                with _database(name) as (url, size_bytes):
                    measured = _measured(url, archived, options.waiting, options.times)
                    figures = asyncio.run(measured)
                    mib = size_bytes() / (1 << 20)
                found += [
                    Figure(name, archived, mib, what, median(took), quantiles(took, n=100)[98])
                    for what, took in figures.items()
                ]
    finally:
        sys.stdout.write(_table(found))
        if options.json is not None:
            content = json.dumps([asdict(figure) for figure in found], indent=1)
            options.json.write_text(f"{content}\n", "utf-8")


@contextlib.contextmanager
def _database(name: str) -> Iterator[tuple[str, Callable[[], float]]]:
    """The URL of an empty database, and how many bytes it has on the disk."""
    if name == "sqlite":
        folder = Path(mkdtemp(prefix="bench-ledger-"))
        try:
            yield f"sqlite:///{folder}/archiver.db", lambda: (folder / "archiver.db").stat().st_size
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        with Postgres(is_durable=True) as server:
            url = server.create_database()

            def size_bytes() -> float:
                with psycopg.connect(url) as connection:
                    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
                assert row is not None
                return float(row[0])

            yield url, size_bytes


async def _measured(url: str, archived: int, waiting: int, times: int) -> dict[str, list[float]]:
    """The milliseconds of everything, by what it is."""
    async with opened(url) as ledger:
        database = ledger.database
        await database.migrate()
        await database.write(
            lambda connection: fill(connection, archived=archived, waiting=waiting, customers=CUSTOMERS),
            within_s=None,
        )
        await asyncio.to_thread(_settle, url)
        steps = _steps(ledger)
        took: dict[str, list[float]] = {what: [] for what in steps}
        # In turns, so that a bad moment of the machine is everybody's.
        for number in range(-_WARM, times):
            for what, step in steps.items():
                began_at = time.perf_counter()
                await step()
                if number >= 0:
                    took[what].append((time.perf_counter() - began_at) * 1e3)
        took["claim + finish"] = [sum(pair) for pair in zip(took["claim"], took["finish"], strict=True)]
        return took


def _settle(url: str) -> None:
    """What a server does by itself in time; SQLite's file is left as it is."""
    if not url.startswith("sqlite"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        return
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def _steps(ledger: Ledger) -> dict[str, Step]:
    work, view, intake, numbers = ledger.work(), ledger.view, Intake(ledger.database), count()
    held = []

    async def claim() -> None:
        held.extend(await work.claim(SLOTS))
        assert len(held) == SLOTS

    async def finish() -> None:
        while held:
            await work.finish(held.pop())

    async def enqueue() -> None:
        number = next(numbers)
        told = news(Kind.VIDEO, id=f"new-{number}", organization_id=f"organization-{number % CUSTOMERS}")
        await intake.record(DELIVERY, told)

    async def status() -> None:
        await view.overview(limit=50, lost_limit=5, within_s=_DAY_S, near_limit=10_000)

    async def nearest() -> None:
        await view.deadlines(within_s=math.inf, limit=1)

    def listed(**search: Any) -> Step:
        async def look() -> None:
            await browse(ledger.database, Search(**search))

        return look

    async def told() -> None:
        (found,) = (await browse(ledger.database, Search(limit=1, sort=Sort.OLDEST))).found
        await life(ledger.database, found.recording.id)

    return {
        "list": listed(),
        "list of failing": listed(standing=Standing.FAILING, sort=Sort.DEADLINE),
        "list of archived, oldest": listed(standing=Standing.ARCHIVED, sort=Sort.OLDEST),
        "search, found": listed(text="weekly of 2"),
        "search, rare": listed(text="weekly of 199999"),
        "search, nothing": listed(text="no such title"),
        "search by id": listed(text="no-such-id-0123456789"),
        "a recording": told,
        "claim": claim,
        "finish": finish,
        "enqueue": enqueue,
        "status": status,
        "nearest deadline": nearest,
    }


def _table(figures: list[Figure]) -> str:
    shown = {
        "claim": f"claim of {SLOTS}",
        "claim + finish": "and giving them back",
        "enqueue": "a delivery",
        "status": "`status`",
    }
    looked = [
        "list", "list of failing", "list of archived, oldest", "search, found", "search, rare",
        "search, nothing", "search by id", "a recording",
    ]  # fmt: skip
    return _rows(figures, shown) + "\n" + _rows(figures, {what: what for what in looked})


def _rows(figures: list[Figure], shown: Mapping[str, str]) -> str:
    lines = [
        f"| ledger | archived | MiB | {' | '.join(shown.values())} |",
        f"|---|---|---|{'---|' * len(shown)}",
    ]
    for database, archived in dict.fromkeys((figure.database, figure.archived) for figure in figures):
        own = {each.what: each for each in figures if (each.database, each.archived) == (database, archived)}
        cells = [f"{own[what].p50_ms:.1f} / {own[what].p99_ms:.1f}" for what in shown]
        mib = next(iter(own.values())).mib
        lines.append(f"| {database} | {archived:,} | {mib:,.0f} | {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
