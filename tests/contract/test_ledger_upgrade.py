"""Proves on both databases that a ledger of the schema before is taken over with all that is in it."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.command import upgrade
from alembic.config import Config

from service.errors import LedgerUnavailable, LedgerUnfit
from service.ledger import Database, Intake
from service.ledger.database import SCHEMA
from service.ledger.overview import NOT_OFFERED
from service.model import Event, Kind, Provider, Recording, Scope, State
from tests.contract.ledgers import CHECKSUM, FAR, HERE, LATER, Ledger, conclude, news, opened, part, store

FRESH = "https://provider.example/fresh"
AT = float(int(time.time()) - 3600) + 0.25

HEX = {"crc64nvme": f"{CHECKSUM.crc64nvme:016x}", "crc32c": f"{CHECKSUM.crc32c:08x}"}
_HELD = {"epoch": 3, "attempts": 2, "seen_at": AT, "expires_at": FAR, "url": "https://h/1"}
_STORED = {"state": "archived", "due_at": AT, "attempts": 0, "part_size": 5, "size": 10, "etag": '"e"', **HEX}

ROWS: dict[str, list[dict[str, Any]]] = {
    "deliveries": [
        {"received_at": AT, "provider": "dyte", "delivery_id": "d", "webhook_id": "w", "outcome": "announced",
         "event_name": "recording.statusUpdate", "recording_id": "open", "status": "UPLOADED"},
        {"received_at": AT + 1, "provider": "realtimekit", "event_name": "meeting.ended",
         "outcome": "ignored"},
    ],
    "recordings": [
        {"id": "open", "provider": "dyte", "status": "UPLOADED", "status_rank": 5, "organization_id": "o",
         "meeting_id": "m", "session_id": "s", "title": "Weekly 🎬", "output_file_name": "call.mp4",
         "file_size": 2**40, "started_at": AT, "stopped_at": AT + 60, "duration_s": 60.5, "stop_reason": "x",
         "seen_at": AT},
        {"id": "done", "provider": "dyte", "status": "UPLOADED", "status_rank": 5, "seen_at": AT},
        {"id": "theirs", "provider": "dyte", "status": "UPLOADED", "status_rank": 5, "seen_at": AT},
        {"id": "begun", "provider": "realtimekit", "status": "RECORDING", "status_rank": 2, "seen_at": AT},
    ],
    "artifacts": [
        {"id": "done/video", "recording_id": "done", "kind": "video", "state": "archived", "name": "done.mp4",
         "stored_at": AT, "part_size": 5, "size": 10, **_HELD},
        {"id": "open/audio", "recording_id": "open", "kind": "audio", "state": "expired", "name": "call.mp3",
         "error": "gone", "mend": "nothing", **_HELD},
        {"id": "open/video", "recording_id": "open", "kind": "video", "state": "moving", "name": "call.mp4",
         "announced_size": 2**40, "due_at": AT, "owner": "dead", "lease_until": AT, "part_size": 5,
         "size": 12, "source_etag": '"s"', **_HELD},
    ],
    "copies": [
        {"artifact_id": "done/video", "storage": HERE, "key": "done.mp4", "content_type": "video/mp4",
         "stored_at": AT, **_STORED},
        {"artifact_id": "open/video", "storage": HERE, "state": "waiting", "due_at": AT, "attempts": 1,
         "error": "slow", "mend": "wait", "key": "call.mp4", "upload_id": "u1"},
    ],
    "parts": [
        {"artifact_id": "open/video", "storage": HERE, "number": 1, "size": 5, "receipt": '"etag"', **HEX},
    ],
    "manifests": [
        {"recording_id": "done", "storage": HERE, "key": "done.mp4.json", "written_at": AT},
    ],
}  # fmt: skip
"""Something in every table and column of the first schema."""


def only_first(connection: sa.Connection) -> None:
    """The first schema, as the version that had no other made it."""
    config = Config()
    config.set_main_option("script_location", "service:ledger/migrations")
    config.attributes["connection"] = connection
    upgrade(config, "1")


def tables_of(connection: sa.Connection) -> dict[str, sa.Table]:
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return {table.name: table for table in metadata.sorted_tables if table.name != "alembic_version"}


def version_of(connection: sa.Connection) -> str:
    return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())


def contents(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, by its primary key."""
    return {
        name: [
            dict(row) for row in connection.execute(table.select().order_by(*table.primary_key)).mappings()
        ]
        for name, table in tables_of(connection).items()
    }


def fill(connection: sa.Connection) -> None:
    for name, table in tables_of(connection).items():
        for row in ROWS[name]:
            connection.execute(table.insert().values(**row))


@pytest.fixture
async def old(empty_url: str) -> AsyncIterator[Ledger]:
    """A ledger of the first schema, with `ROWS` in it."""
    async with opened(empty_url) as ledger:
        await ledger.database.write(only_first)
        await ledger.database.write(fill)
        yield ledger


@pytest.fixture
async def upgraded(old: Ledger) -> Ledger:
    """The same, brought up to this version."""
    await old.database.migrate()
    return old


async def test_there_is_something_in_every_column_of_the_first_schema(old: Ledger) -> None:
    for name, table in (await old.database.read(tables_of)).items():
        given = {column for row in ROWS[name] for column in row} | {"number"}
        assert given >= set(table.columns.keys())


async def test_nothing_is_lost_and_nothing_changed(old: Ledger) -> None:
    before = await old.database.read(contents)

    await old.database.migrate()

    await old.database.check()
    after = await old.database.read(contents)
    new = {"statuses", "duties", "failures", "audit", "notices"}
    assert set(after) - set(before) == new
    for name, rows in before.items():
        assert [{column: row[column] for column in rows[0]} for row in after[name]] == rows
    assert [after[name] for name in new] == [[]] * len(new)


async def test_what_is_new_says_what_was_meant_before(upgraded: Ledger) -> None:
    rows = {row["id"]: row for row in await upgraded.rows("recordings")}

    assert {(row["scope"], row["app"], row["ask_at"]) for row in rows.values()} == {
        ("recording", "default", None)
    }
    assert {name: row["offered_at"] for name, row in rows.items()} == {
        "open": AT,
        "done": AT,
        "theirs": None,
        "begun": None,
    }
    assert (await upgraded.overview()).statuses == {NOT_OFFERED: 1, "RECORDING": 1}
    assert [row["app"] for row in await upgraded.rows("deliveries")] == [None, None]
    (done,) = (await upgraded.view.recording("done", HERE)).archived
    assert (done.key, done.checksum, done.stored_at, done.track) == ("done.mp4", CHECKSUM, AT, None)
    assert (await upgraded.view.recording("open", HERE)).recording == Recording(
        "open", Provider.DYTE, "UPLOADED", Scope.RECORDING, "default", "o", "m", "s", "Weekly 🎬", "call.mp4",
        2**40, None, AT, AT + 60, 60.5, "x",
    )  # fmt: skip


async def test_what_was_half_way_goes_on_at_its_parts_and_to_its_end(upgraded: Ledger) -> None:
    work = upgraded.work()
    (claim,) = await work.claim(9)
    copy = claim.copy(HERE)

    assert (claim.id, claim.epoch, claim.announced_at) == ("open/video", 4, None)
    assert (copy.key, copy.upload_id, claim.part_size, claim.size) == ("call.mp4", "u1", 5, 12)
    assert await upgraded.progress.parts(claim, HERE) == [part(1)]

    await work.try_later(claim, LATER)
    assert await work.claim(9) == []
    assert (await upgraded.rows("artifacts"))[2]["error"] == LATER.error
    await upgraded.hear(news(Kind.VIDEO, id="open", link=FRESH, expires_at=FAR + 1))
    (claim,) = await work.claim(9)
    assert claim.artifact.url == f"{FRESH}/video"
    await store(upgraded, claim)
    assert await conclude(upgraded, claim) == [HERE]
    await work.finish(claim)
    states = {row["id"]: row["state"] for row in await upgraded.rows("artifacts")}
    assert states == {
        "done/video": State.ARCHIVED,
        "open/audio": State.EXPIRED,
        "open/video": State.ARCHIVED,
    }


async def test_what_is_new_in_this_version_works_on_it(upgraded: Ledger) -> None:
    session = Recording("session", Provider.DYTE, "ENDED", Scope.SESSION, "staging")
    intake = Intake(upgraded.database)

    await intake.learn(
        [
            Event("api", session),
            news(Kind.AUDIO, id="open", link=FRESH, expires_at=FAR + 1),
            news(Kind.VIDEO, id="begun"),
            news(Kind.VIDEO, id="done", link=FRESH, expires_at=FAR + 1),
        ]
    )

    assert [row["scope"] for row in await upgraded.rows("recordings") if row["id"] == "session"] == [
        "session"
    ]
    claims = await upgraded.work().claim(9)
    assert {claim.id for claim in claims} == {"begun/video", "open/audio", "open/video"}


async def test_a_process_of_the_version_before_can_go_on_taking_deliveries(upgraded: Ledger) -> None:
    recording = {"id": "late", "provider": "dyte", "status": "UPLOADED", "status_rank": 5, "seen_at": AT}
    columns, values = ", ".join(recording), ", ".join(f":{name}" for name in recording)
    insert = sa.text(f"INSERT INTO recordings ({columns}) VALUES ({values})").bindparams(**recording)

    await upgraded.database.write(lambda connection: connection.execute(insert))

    told = (await upgraded.view.recording("late", HERE)).recording
    assert (told.scope, told.app) == (Scope.RECORDING, "default")


async def test_the_statements_only_add(old: Ledger) -> None:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(re.sub(r"\s+", " ", statement).strip())

    sa.event.listen(old.database._engine, "before_cursor_execute", note)
    await old.database.migrate()

    changes = [statement for statement in said if not re.match(r"SELECT|PRAGMA|BEGIN|SHOW", statement)]
    assert len(changes) > 10
    allowed = (
        r"ALTER TABLE \w+ ADD COLUMN |CREATE TABLE (statuses|duties|failures|audit|notices) "
        r"|CREATE INDEX \w+ ON \w+ |SET LOCAL \w+_timeout = 0"
        r"|UPDATE recordings SET offered_at |UPDATE alembic_version SET "
    )
    assert [statement for statement in changes if not re.match(allowed, statement)] == []


async def test_an_upgrade_that_fails_half_way_changes_nothing_and_is_done_later(old: Ledger) -> None:
    in_the_way = sa.text("CREATE TABLE duties (name TEXT)")
    await old.database.write(lambda connection: connection.execute(in_the_way))
    before = await old.database.read(contents)

    with pytest.raises((LedgerUnavailable, LedgerUnfit), match="already exists"):
        await old.database.migrate()

    assert await old.database.read(contents) == before
    assert await old.database.read(version_of) == "1"

    await old.database.write(lambda connection: connection.execute(sa.text("DROP TABLE duties")))
    await old.database.migrate()
    assert await old.database.read(version_of) == SCHEMA
    assert len(await old.rows("recordings")) == 4


async def test_processes_that_start_at_once_on_an_old_ledger_all_succeed(old: Ledger, empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    try:
        await asyncio.gather(*(database.migrate() for database in databases))
        for database in databases:
            await database.check()
    finally:
        for database in databases:
            await database.close()
    assert len(await old.rows("artifacts")) == 3
