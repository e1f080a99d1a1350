"""Proves on both databases that this version works on a later one's schema, and that migrations only add."""

import ast
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.ledger import migrations
from service.ledger.database import SCHEMA
from service.ledger.tables import metadata
from service.model import Kind, State
from tests.contract.ledgers import HERE, LATER, Ledger, conclude, news, opened, store

SCRIPTS = sorted((Path(migrations.__file__).parent / "versions").glob("[0-9]*.py"))


def added(connection: sa.Connection) -> None:
    """All that the rule lets a later version do, to every table."""
    for table in metadata.tables:
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN later TEXT",
            f"ALTER TABLE {table} ADD COLUMN later_still TEXT NOT NULL DEFAULT 'meant before'",
            f"CREATE INDEX {table}_later ON {table} (later)",
        ):
            connection.execute(sa.text(statement))
    connection.execute(sa.text("CREATE TABLE later_things (id TEXT NOT NULL PRIMARY KEY)"))
    connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{int(SCHEMA) + 1}'"))


@pytest.fixture(params=["while it runs", "after a roll-back"])
async def later(empty_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    """A ledger that a later version migrated, and this version beside it or after it."""
    async with opened(empty_url) as ledger:
        await ledger.database.migrate()
        await ledger.hear(news(Kind.VIDEO, id="before"))
        await ledger.database.write(added)
        if request.param == "while it runs":
            yield ledger
            return
    async with opened(empty_url) as ledger:
        await ledger.database.migrate()
        yield ledger


async def test_this_version_starts_on_it_and_leaves_it_as_it_is(later: Ledger) -> None:
    await later.database.migrate()
    await later.database.check()
    await later.database.check_ready()

    found = sa.text("SELECT version_num FROM alembic_version")
    left = await later.database.read(lambda connection: connection.execute(found).scalar())
    assert left == str(int(SCHEMA) + 1)


async def test_this_version_takes_moves_and_archives_on_it(later: Ledger) -> None:
    await later.hear(news(Kind.VIDEO, id="after"))
    await later.hear(news(Kind.AUDIO, id="failing"))
    work = later.work()
    claims = {claim.id: claim for claim in await work.claim(9)}
    assert set(claims) == {"before/video", "after/video", "failing/audio"}

    await work.try_later(claims.pop("failing/audio"), LATER)
    for claim in claims.values():
        await store(later, claim)
        assert await conclude(later, claim) == [HERE]
        await work.finish(claim)

    states = {row["id"]: row["state"] for row in await later.rows("artifacts")}
    assert states == {
        "before/video": State.ARCHIVED,
        "after/video": State.ARCHIVED,
        "failing/audio": State.WAITING,
    }
    assert (await later.overview()).counts[State.ARCHIVED] == 2


def operations(script: Path) -> Iterator[ast.Call]:
    """What a script has Alembic do."""
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("op."):
            yield node


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_migration_only_adds(script: Path) -> None:
    faults = [fault for call in operations(script) for fault in against_the_rule(call)]
    assert faults == []


def against_the_rule(call: ast.Call) -> Iterator[str]:
    told = ast.unparse(call)
    match ast.unparse(call.func).removeprefix("op."):
        case "create_table":
            pass
        case "create_index":
            if any(word.arg == "unique" for word in call.keywords):
                yield f"an older version may write what it refuses: {told}"
        case "add_column":
            column = call.args[1]
            assert isinstance(column, ast.Call)
            words = {word.arg: ast.unparse(word.value) for word in column.keywords}
            if words.get("nullable") == "False" and "server_default" not in words:
                yield f"an older version leaves it out: {told}"
            if "ForeignKey" in told or "unique" in words:
                yield f"an older version may write what it refuses: {told}"
        case "execute":
            statement = call.args[0]
            if not (isinstance(statement, ast.Constant) and str(statement.value).startswith("UPDATE ")):
                yield f"only what was added may be filled: {told}"
        case _:
            yield f"it does not add: {told}"


@pytest.mark.parametrize(
    "operation",
    [
        "op.drop_column('artifacts', 'url')",
        "op.drop_table('parts')",
        "op.rename_table('parts', 'pieces')",
        "op.alter_column('artifacts', 'url', nullable=False)",
        "op.add_column('artifacts', sa.Column('a', sa.Text, nullable=False))",
        "op.add_column('artifacts', sa.Column('a', sa.Text, sa.ForeignKey('parts.id')))",
        "op.create_index('a', 'artifacts', ['url'], unique=True)",
        "op.create_unique_constraint('a', 'artifacts', ['url'])",
        "op.execute('ALTER TABLE artifacts DROP COLUMN url')",
        "op.execute(sa.text(statement))",
        "op.batch_alter_table('artifacts')",
    ],
)
def test_what_does_not_only_add_would_be_noticed(operation: str) -> None:
    call = ast.parse(operation, mode="eval").body
    assert isinstance(call, ast.Call)
    assert list(against_the_rule(call))


def test_every_migration_is_numbered_after_the_one_before_and_none_goes_back() -> None:
    for number, script in enumerate(SCRIPTS, start=1):
        source = script.read_text("utf-8")
        before = f'"{number - 1}"' if number > 1 else "None"
        assert f'\nrevision = "{number}"\ndown_revision = {before}\n' in source
        assert "def downgrade" not in source
    assert str(len(SCRIPTS)) == SCHEMA
