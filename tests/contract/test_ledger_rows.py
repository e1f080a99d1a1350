"""Proves on both databases that rows given as one parameter arrive as they were given."""

import random
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Connection, Double, Text, select
from sqlalchemy.types import TypeEngine

from service.ledger.rows import given, rows_of
from tests.contract.ledgers import Ledger

TYPES: dict[str, TypeEngine[Any]] = {"t": Text(), "n": BigInteger(), "x": Double(), "b": Boolean()}


async def arrived(ledger: Ledger, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the database takes the rows for."""
    table = rows_of(TYPES, is_sqlite=ledger.database.is_sqlite)

    def read(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in connection.execute(select(table), given(rows))]

    return await ledger.database.read(read)


async def test_every_value_arrives_as_it_was_given(ledger: Ledger) -> None:
    chance = random.Random(20261123)
    texts = ["", " a ", "null", "true", "1", "1e5", "[1]", '{"a": "b"}', "'\"\\", "\\u0041", "$.t"]
    texts += ["%s %(t)s :t", "é日本語😀", "x" * 16_384]
    wholes = [0, 1, -1, 2**53, 2**63 - 1]
    moments = [chance.uniform(1.7e9, 1.8e9) for _ in range(500)]
    moments += [round(chance.uniform(0, 2e9), 6), 0.0, 3.0]
    rows: list[dict[str, Any]] = [
        *({"t": each, "n": None, "x": None, "b": True} for each in texts),
        *({"t": None, "n": each, "x": None, "b": False} for each in wholes),
        *({"t": None, "n": None, "x": each, "b": None} for each in moments),
    ]

    assert await arrived(ledger, rows) == rows
    assert await arrived(ledger, [{"t": "a"}]) == [{"t": "a", "n": None, "x": None, "b": None}]
    assert await arrived(ledger, []) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_before_it_is_sent(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        given([{"x": value}])
