"""Proves what a ledger on PostgreSQL does while the server is silent, refuses, or only reads."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from service.errors import LedgerRefused, LedgerUnavailable, LedgerUnfit
from service.ledger import Database, Intake
from service.ledger.intake import Outcome
from service.ledger.tables import recordings
from service.model import Kind
from tests.contract.ledgers import DELIVERY, news, opened
from tests.doubles.bad_line import BadLine, threaded


@pytest.fixture
def line(postgres_url: str) -> Iterator[BadLine]:
    """A line to an empty database."""
    with threaded(BadLine(postgres_url)) as line:
        yield line


@pytest.fixture
def plain_url(postgres_url: str) -> Iterator[str]:
    """The same database's for a user who needs a password, and may not make tables."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        (rules,) = admin.execute("SHOW hba_file").fetchone() or ("",)
        before = Path(rules).read_text()
        admin.execute("CREATE ROLE plain LOGIN PASSWORD 'right'")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        Path(rules).write_text(f"host all plain 127.0.0.1/32 scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield postgres_url.replace("postgres@", "plain:right@")
        finally:
            Path(rules).write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP ROLE plain")


async def test_a_process_stopped_in_a_transaction_holds_the_others_up_for_seconds_only(
    postgres_url: str,
) -> None:
    begun, going_on = threading.Event(), threading.Event()

    def stop(connection: sa.Connection) -> None:
        connection.execute(sa.update(recordings).values(title="never"))
        begun.set()
        assert going_on.wait(60)  # as under SIGSTOP: the server hears nothing of it

    async with opened(postgres_url) as stopped, opened(postgres_url) as other:
        await stopped.database.migrate()
        await stopped.hear(news(Kind.VIDEO))
        stopping = asyncio.create_task(stopped.database.write(stop, within_s=None))
        await asyncio.to_thread(begun.wait, 30)
        try:
            # Others' recordings are not concerned.
            await other.hear(news(Kind.VIDEO, id="another"))
            assert len(await other.work().claim(9)) == 2
            began_at = time.monotonic()
            heard: list[Outcome] = []
            while not heard and time.monotonic() < began_at + 40:
                try:
                    heard = await other.hear(news(Kind.AUDIO))
                except LedgerUnavailable:
                    continue
            assert heard == [Outcome.ANNOUNCED]
        finally:
            going_on.set()
        with pytest.raises(LedgerUnavailable):
            await stopping
        assert [row["title"] for row in await other.rows("recordings")] == [None, None]
        assert len(await stopped.rows("artifacts")) == 3


async def test_what_a_silent_server_holds_is_let_go_of_and_the_ledger_closes(
    line: BadLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(line.url)
    await database.migrate()
    patient, intake = Intake(database), Intake(database, within_s=0.2)
    tasks = len(asyncio.all_tasks())
    await patient.record(DELIVERY, news(Kind.VIDEO))
    monkeypatch.setattr("service.ledger.database._WITHIN_S", 1.0)
    monkeypatch.setattr("service.ledger.database._CLOSE_S", 0.2)
    line.silence()
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await intake.record(DELIVERY, news(Kind.VIDEO))
    with pytest.raises(LedgerUnavailable):
        await database.check_ready()
    async with asyncio.timeout(30):
        while database._turns or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.02)

    line.mend()
    monkeypatch.setattr("service.ledger.database._WITHIN_S", 15.0)
    await patient.record(DELIVERY, news(Kind.AUDIO))

    monkeypatch.setattr("service.ledger.database._WITHIN_S", 1.0)
    line.silence()
    with pytest.raises(LedgerUnavailable):
        await intake.record(DELIVERY, news(Kind.CHAT))
    async with asyncio.timeout(20):
        await database.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("ledger")]


async def test_who_has_the_patience_goes_on_when_the_server_is_back(line: BadLine) -> None:
    note = sa.insert(recordings).values(id="one", provider="dyte", status="NEW", status_rank=0, seen_at=0)
    async with opened(line.url) as ledger:
        await ledger.database.migrate()
        line.tear()
        with pytest.raises(LedgerUnavailable):
            await ledger.database.write_patiently(lambda connection: connection.execute(note), for_s=0)
        waiting = asyncio.create_task(
            ledger.database.write_patiently(lambda connection: connection.execute(note), for_s=30)
        )
        await asyncio.sleep(0.1)
        assert not waiting.done()
        line.mend()
        await waiting
        assert len(await ledger.rows("recordings")) == 1


async def test_a_standby_is_unavailable_and_left_for_another(postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    send_away = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with opened(postgres_url) as ledger:
        await ledger.database.migrate()
        await ledger.database.check_ready()
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            admin.execute(f"{send_away} AND pid <> pg_backend_pid()".encode())
        with pytest.raises(LedgerUnavailable):
            await ledger.hear(news(Kind.VIDEO))
        with pytest.raises(LedgerUnavailable):
            await ledger.database.check_ready()
        await ledger.database.check()  # it can be read

        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        # What led to the standby may fail once more.
        with pytest.raises(LedgerUnavailable):
            await ledger.hear(news(Kind.VIDEO))
        await ledger.hear(news(Kind.VIDEO))
        await ledger.database.check_ready()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("plain:right@", "plain:wrong@"), "password authentication failed"),
        (("plain:right@", "plain@"), "no password supplied"),
        (("plain:right@", "nobody@"), "does not exist"),
        (("/ledger_", "/nowhere_"), "does not exist"),
    ],
    ids=["password", "no-password", "user", "database"],
)
async def test_who_is_not_let_in_is_told_so(wrong: tuple[str, str], told: str, plain_url: str) -> None:
    async with opened(plain_url.replace(*wrong)) as ledger:
        with pytest.raises(LedgerRefused, match=told) as refused:
            await ledger.database.migrate()
    assert refused.value.mend


async def test_who_may_not_make_tables_is_told_so(plain_url: str) -> None:
    async with opened(plain_url) as ledger:
        with pytest.raises(LedgerUnfit, match="permission denied") as unfit:
            await ledger.database.migrate()
    assert unfit.value.mend
