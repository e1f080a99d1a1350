"""What a database means to do for each statement: its plans, caught while the ledger's own methods run."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from service.ledger.tables import metadata
from tests.contract.ledgers import Ledger

MOST_READ = 2000
"""PostgreSQL: more rows than this are not those that wait or are asked for."""

_EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Plan:
    """One statement's; `faults` are what makes it slower with everything that was ever archived."""

    statement: str
    faults: tuple[str, ...]
    told: str

    def __str__(self) -> str:
        return f"{'; '.join(self.faults)}\n{self.statement}\n{self.told}"


@contextmanager
def caught(ledger: Ledger) -> Iterator[dict[str, Plan]]:
    """The plan of every statement that is run within, by its text."""
    plans: dict[str, Plan] = {}
    plan = _plan_of_sqlite if ledger.database.is_sqlite else _plan_of_postgresql

    def look(
        connection: sa.Connection,
        cursor: Any,
        statement: str,
        given: Any,
        *_rest: object,
    ) -> None:
        if statement not in plans and statement.lstrip().startswith(_EXPLAINED):
            beside = cursor.connection.cursor()
            try:
                plans[statement] = plan(beside, statement, given[0] if isinstance(given, list) else given)
            finally:
                beside.close()

    engine = ledger.database._engine
    sa.event.listen(engine, "before_cursor_execute", look)
    try:
        yield plans
    finally:
        sa.event.remove(engine, "before_cursor_execute", look)


def _plan_of_sqlite(cursor: Any, statement: str, given: Any) -> Plan:
    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", given)
    steps = [row[3] for row in cursor.fetchall()]
    faults = [step for step in steps if step.startswith("SCAN ") and not _is_of_few(step)]
    if " LIMIT " in statement:
        faults = [step for step in faults if not step.endswith(_LISTED)]
    if any(column in step for step in steps for column in _OF_ALL):
        # Rows that come in order but for equal ones are sorted as they come.
        faults += [step for step in steps if step.startswith("USE TEMP B-TREE FOR ORDER BY")]
    return Plan(statement, tuple(faults), "\n".join(steps))


def _is_of_few(step: str) -> bool:
    of = re.sub(r"_\d+$", "", step.split()[1])
    return of not in metadata.tables.keys() - _OF_WORK or any(index in step for index in _OF_OPEN)


_OF_OPEN = ("artifacts_claim", "artifacts_held", "artifacts_open", "artifacts_due", "recordings_ask")
"""Indexes in which nothing is that was archived."""

_LISTED = ("INDEX recordings_seen", "INDEX sqlite_autoindex_copies_1")
"""What is listed in these orders is read as far as it is asked for."""

_OF_ALL = ("(stored_at", "(received_at")
"""Ranges that may be all that there is."""

_OF_WORK = {"duties", "parts"}
"""Tables in which nothing is that was archived."""


def _plan_of_postgresql(cursor: Any, statement: str, given: Any) -> Plan:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", given)
    (told,) = cursor.fetchone()
    root = told[0]["Plan"]
    return Plan(statement, tuple(_faults(root, is_limited=False)), json.dumps(root, indent=1))


def _faults(node: Mapping[str, Any], *, is_limited: bool) -> Iterator[str]:
    """``is_limited``: whether the node is asked for a few rows only."""
    kind, of = node["Node Type"], node.get("Relation Name")
    if kind == "Seq Scan" and of not in _OF_WORK:
        yield f"reads all of {of}"
    inner = node.get("Plans", [])
    is_first_to_read_all = kind in ("Sort", "Hash", "Materialize", "Aggregate", "Bitmap Heap Scan")
    is_limited = (is_limited or kind == "Limit") and not is_first_to_read_all
    rows = max((each["Plan Rows"] for each in inner), default=node["Plan Rows"])
    if rows > MOST_READ and not is_limited and (is_first_to_read_all or "Index" in kind):
        yield f"{kind} of {rows} rows{f' of {of}' if of else ''}"
    for each in inner:
        yield from _faults(each, is_limited=is_limited)
