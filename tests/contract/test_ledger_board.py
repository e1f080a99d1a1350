"""Proves on both databases what the page is told at a glance."""

import sqlalchemy as sa

from service.choices import Standing
from service.ledger.board import board
from service.ledger.browse import named
from service.model import Kind, State
from tests.contract.ledgers import HERE, LATER, THERE, Ledger, archive, begin, news


async def test_the_board_has_what_moves_fails_arrives_and_was_archived(ledger: Ledger) -> None:
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="archived"), HERE, THERE)
    (failed,) = await ledger.claimed(work, Kind.VIDEO, id="failing")
    await work.try_later(failed, LATER)
    (moved,) = await ledger.claimed(work, Kind.VIDEO, id="moving")
    await begin(ledger, moved)
    await ledger.hear(news(id="begun", status="RECORDING"), news(Kind.VIDEO, id="waiting", title="Weekly"))

    shown = await board(ledger.database, limit=9, moving_limit=9)

    (line,) = shown.moving
    assert (line.recording_id, line.storage, line.moved, line.state) == ("moving", HERE, 5, State.MOVING)
    assert [found.recording.id for found in shown.failing.found] == ["failing"]
    assert [found.recording.id for found in shown.arriving] == ["begun"]
    assert shown.archived_bytes == 20, "each file once, however many copies"
    assert shown.backlog.counts["retrying"] == 1
    near = {each.recording_id: each.title for each in shown.overview.deadlines}
    assert near == {"failing": None, "moving": None, "waiting": "Weekly"}, "however far they are"
    (now,) = [row["seen_at"] for row in await ledger.rows("recordings") if row["id"] == "waiting"]
    assert abs(shown.now - now) < 60


async def test_the_bytes_of_a_day_are_told_also_of_files_that_went_whole(ledger: Ledger) -> None:
    await archive(ledger, await ledger.claimed(ledger.work(), Kind.VIDEO), HERE)
    for size, told in ((None, 10), (7, 7)):
        kept = sa.text("UPDATE artifacts SET size = :size").bindparams(size=size)
        await ledger.database.write(lambda connection, kept=kept: connection.execute(kept))  # type: ignore[misc]
        assert (await board(ledger.database, limit=1, moving_limit=1)).archived_bytes == told
    old = sa.text("UPDATE artifacts SET stored_at = stored_at - 90000")
    await ledger.database.write(lambda connection: connection.execute(old))
    assert (await board(ledger.database, limit=1, moving_limit=1)).archived_bytes == 0


async def test_recordings_are_had_by_their_ids_those_that_there_are(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, id="first"), news(Kind.VIDEO, id="second"))
    found = await named(ledger.database, ["second", "nobody", "first"])
    assert [(each.recording.id, each.standing) for each in found] == [
        ("second", Standing.WAITING), ("first", Standing.WAITING),
    ]  # fmt: skip
    assert await named(ledger.database, []) == []
