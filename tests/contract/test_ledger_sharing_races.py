"""Proves that workers who claim at the same moment share everything and leave nothing, on both databases."""

import asyncio
import contextlib
import time

import pytest
import sqlalchemy as sa

from service.errors import LedgerUnavailable
from service.ledger.sharing import next_due
from service.model import Claim
from tests.contract.ledgers import Ledger, opened
from tests.contract.test_ledger_sharing import announced, customer_of, names, of

ONLY_POSTGRESQL = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
"""Of a database with several writers at once."""


async def everything(ledger: Ledger, owner: str, limit: int) -> list[Claim]:
    """What a worker gets, who goes on until there is nothing, also where the others kept it from writing."""
    found: list[Claim] = []
    more = None
    while more != []:
        with contextlib.suppress(LedgerUnavailable):
            more = await ledger.work(owner).claim(limit)
            assert len(more) <= limit
            found += more
    return found


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_what_many_claim_at_once_is_claimed_once_and_none_is_left(
    ledger: Ledger, ledger_url: str, limit: int
) -> None:
    soon = time.time() + 3600
    told = [of(f"c{customer}", number) for customer in range(7) for number in range(customer * 3)]
    told += [of("urgent", number, expires_at=soon) for number in range(10)]
    await announced(ledger, told)

    async with opened(ledger_url) as other:
        pods = [
            (pod, f"{name}{number}") for name, pod in (("a", ledger), ("b", other)) for number in range(3)
        ]
        shares = await asyncio.gather(*(everything(pod, owner, limit) for pod, owner in pods))

    # A worker who found all that was due locked at that moment has ended early; the next look finds it.
    found = [name for share in shares for name in names(share)]
    found += names(await everything(ledger, "last", limit))
    assert sorted(found) == sorted(event.recording.id for event in told if event.recording)


@ONLY_POSTGRESQL
async def test_who_comes_while_another_chooses_gets_others_of_the_same_customers(
    ledger: Ledger, ledger_url: str
) -> None:
    soon = time.time() + 3600
    await announced(ledger, [of("urgent", number, expires_at=soon) for number in range(3)])
    await announced(ledger, [of(name, number) for name in ("a", "b") for number in range(4)])
    engine = ledger.database._engine

    def chosen(connection: sa.Connection, limit: int) -> set[str]:
        return {name.partition("/")[0] for name in next_due(connection, limit)}

    def race() -> list[set[str]]:
        with engine.connect() as first, engine.connect() as second, engine.connect() as third:
            return [chosen(first, 5), chosen(second, 4), chosen(third, 9)]

    shares = await asyncio.to_thread(race)

    # The first takes what is urgent and one of each; the others what is next in the order, to the last.
    assert shares[0] == {"urgent-000", "urgent-001", "urgent-002", "a-000", "b-000"}
    assert shares[1] == {"a-001", "a-002", "b-001", "b-002"}
    assert shares[2] == {"a-003", "b-003"}


@ONLY_POSTGRESQL
async def test_who_finds_a_customer_s_all_locked_goes_on_to_the_next(ledger: Ledger) -> None:
    await announced(ledger, [of("few", number) for number in range(2)])
    await announced(ledger, [of("many", 900 + number) for number in range(9)])
    engine = ledger.database._engine

    def race() -> tuple[list[str], list[str]]:
        with engine.connect() as first, engine.connect() as second:
            return next_due(first, 4), next_due(second, 4)

    former, latter = await asyncio.to_thread(race)

    assert [name.partition("-")[0] for name in former].count("few") == 2
    # The other's locks are not seen as held, only passed over: the round after gives their share away.
    assert [name.partition("-")[0] for name in latter] == ["many"] * 4
    assert not set(former) & set(latter)


async def test_claims_go_on_while_news_comes(ledger: Ledger, ledger_url: str) -> None:
    async with opened(ledger_url) as other:

        async def told() -> None:
            for wave in range(5):
                await announced(other, (of(f"c{number % 5}", wave * 40 + number) for number in range(40)))

        async def claimed() -> list[Claim]:
            found: list[Claim] = []
            async with asyncio.timeout(60):
                while len(found) < 200:
                    found += await ledger.work().claim(9)
            return found

        _, claims = await asyncio.gather(told(), claimed())

    assert len({claim.id for claim in claims}) == 200
    assert {customer_of(claim) for claim in claims} == {f"c{number}" for number in range(5)}
