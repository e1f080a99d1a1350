"""Proves how a ledger's database is made, met unfit or out of reach, and left by what fails."""

import asyncio
import stat
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.errors import LedgerUnavailable, LedgerUnfit
from service.ledger import Database
from service.ledger.database import SCHEMA
from service.ledger.tables import deliveries, metadata, now
from service.model import Kind
from tests.contract.ledgers import Ledger, news, opened
from tests.doubles.ports import free_ports
from tests.doubles.postgres import Postgres


async def test_migrating_an_empty_database_twice_is_fine(empty_url: str) -> None:
    async with opened(empty_url) as ledger:
        await ledger.database.migrate()
        await ledger.hear(news(Kind.VIDEO))

        await ledger.database.migrate()

        await ledger.database.check()
        assert len(await ledger.rows("artifacts")) == 1


async def test_processes_that_start_at_once_on_an_empty_database_all_succeed(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    try:
        await asyncio.gather(*(database.migrate() for database in databases))
        for database in databases:
            await database.check()
    finally:
        for database in databases:
            await database.close()


async def test_a_new_file_is_opened_by_many_at_once_time_after_time(tmp_path: Path) -> None:
    for time_ in range(20):  # one alone seldom meets the moment in which two switch the file to WAL
        databases = [Database(f"sqlite:///{tmp_path}/{time_}.db") for _ in range(4)]
        try:
            await asyncio.gather(*(database.migrate() for database in databases))
        finally:
            for database in databases:
                await database.close()


async def test_the_migrated_schema_is_the_one_that_the_statements_are_written_for(empty_url: str) -> None:
    async with opened(empty_url) as ledger:
        await ledger.database.migrate()
        differences = await ledger.database.read(
            lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
        )

    assert differences == []


async def test_a_database_without_a_ledger_is_unfit(empty_url: str) -> None:
    async with opened(empty_url) as ledger:
        with pytest.raises(LedgerUnfit) as unfit:
            await ledger.database.check()
    assert unfit.value.mend


@pytest.mark.parametrize("version", ["9999-narrowed", "0001"], ids=["later", "before"])
async def test_a_ledger_of_another_version_is_unfit_and_left_alone(empty_url: str, version: str) -> None:
    async with opened(empty_url) as ledger:
        await ledger.database.migrate()
        await ledger.hear(news(Kind.VIDEO))
        another = sa.text("UPDATE alembic_version SET version_num = :version").bindparams(version=version)
        await ledger.database.write(lambda connection: connection.execute(another))
        before = await ledger.everything()

        with pytest.raises(LedgerUnfit) as unfit:
            await ledger.database.migrate()

        assert repr(version) in str(unfit.value)
        assert "version" in unfit.value.mend
        assert await ledger.everything() == before
        found = sa.text("SELECT version_num FROM alembic_version")
        left = await ledger.database.read(lambda connection: connection.execute(found).scalar())
    assert left == version


async def test_a_ledger_of_the_version_before_is_unfit_also_for_those_who_only_read(empty_url: str) -> None:
    def make(connection: sa.Connection) -> None:
        for statement in (
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
            "INSERT INTO alembic_version VALUES ('0001')",
            "CREATE TABLE artifacts (id TEXT NOT NULL, key TEXT)",
            "CREATE TABLE parts (artifact_id TEXT NOT NULL, number INTEGER NOT NULL)",
        ):
            connection.execute(sa.text(statement))

    async with opened(empty_url) as ledger:
        await ledger.database.write(make)

        for asking in (ledger.database.check, ledger.database.migrate):
            with pytest.raises(LedgerUnfit) as unfit:
                await asking()
            assert unfit.value.mend

        tables = await ledger.database.read(lambda connection: sa.inspect(connection).get_table_names())
    assert set(tables) == {"alembic_version", "artifacts", "parts"}


async def test_both_databases_have_the_same_idea_of_now(ledger: Ledger) -> None:
    told = await ledger.database.read(lambda connection: connection.execute(sa.select(now())).scalar_one())

    assert isinstance(told, float)
    assert abs(told - time.time()) < 60


async def test_what_fails_leaves_nothing(ledger: Ledger) -> None:
    row = {"received_at": 0, "provider": "dyte", "event_name": "x", "outcome": "noted"}

    def fail(connection: sa.Connection) -> None:
        connection.execute(deliveries.insert().values(**row))
        raise KeyError

    with pytest.raises(KeyError):
        await ledger.database.write(fail)

    assert await ledger.rows("deliveries") == []
    await ledger.hear(news(Kind.VIDEO))
    assert len(await ledger.rows("deliveries")) == 1


async def test_what_is_cancelled_ends_whole_and_blocks_nobody(ledger: Ledger) -> None:
    row = {"received_at": 0, "provider": "dyte", "event_name": "x", "outcome": "noted"}
    begun, going_on = threading.Event(), threading.Event()

    def wait(connection: sa.Connection) -> None:
        connection.execute(deliveries.insert().values(**row))
        begun.set()
        assert going_on.wait(30)

    waiting = asyncio.create_task(ledger.database.write(wait))
    await asyncio.to_thread(begun.wait, 30)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    going_on.set()

    await ledger.hear(news(Kind.VIDEO))
    assert len(await ledger.rows("deliveries")) == 2


def test_the_newest_migration_is_the_one_that_this_version_expects() -> None:
    config = Config()
    config.set_main_option("script_location", "service:ledger/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


async def test_a_postgresql_that_does_not_answer_is_unavailable() -> None:
    (port,) = free_ports(1)
    async with opened(f"postgresql://postgres@127.0.0.1:{port}/ledger") as ledger:
        for asking in (ledger.database.migrate(), ledger.database.check(), ledger.hear(news(Kind.VIDEO))):
            with pytest.raises(LedgerUnavailable):
                await asking


async def test_a_postgresql_that_goes_away_is_unavailable_until_it_is_back(
    postgres: Postgres, postgres_url: str
) -> None:
    async with opened(postgres_url) as ledger:
        await ledger.database.migrate()
        await ledger.hear(news(Kind.VIDEO))

        postgres.cut_off(postgres_url)
        with pytest.raises(LedgerUnavailable):
            await ledger.hear(news(Kind.VIDEO))
        with pytest.raises(LedgerUnavailable):
            await ledger.overview()

        postgres.let_in(postgres_url)
        await ledger.hear(news(Kind.VIDEO))
        assert len(await ledger.rows("deliveries")) == 2


async def test_an_sqlite_ledger_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'archiver.db'}") as ledger:
        await ledger.database.migrate()
        await ledger.hear(news(Kind.VIDEO))

        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert set(files) >= {"archiver.db", "archiver.db-wal"}
    assert set(files.values()) == {0o600}


async def test_an_sqlite_ledger_that_must_be_there_and_is_not_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"

    with pytest.raises(LedgerUnavailable):
        Database(f"sqlite:///{path}", create=False)

    assert not path.exists()


async def test_an_sqlite_file_that_is_something_else_is_unfit_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "archiver.db"
    content = b"this is not a database, but it is long enough to be looked at" * 100
    path.write_bytes(content)

    async with opened(f"sqlite:///{path}") as ledger:
        with pytest.raises(LedgerUnfit) as unfit:
            await ledger.database.migrate()

    assert unfit.value.mend
    assert path.read_bytes() == content
