"""Proves on both databases that a list finds all that is looked for, once, in its order, page by page."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from service.choices import Order, Sort, Standing
from service.ledger import Pruning
from service.ledger import browse as listing
from service.ledger.browse import CursorInvalid, Found, Search, browse
from service.ledger.orders import Orders
from service.ledger.tables import recordings
from service.model import Claim, Kind, Scope
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    NOW,
    THERE,
    Ledger,
    archive,
    begin,
    expire,
    news,
    store,
)

PLACES = {
    "gone": Standing.EXPIRED,
    "given up": Standing.CANCELLED,
    "to be given up": Standing.CANCELLED,
    "left alone": Standing.PAUSED,
    "refused": Standing.FAILING,
    "full": Standing.FAILING,
    "half": Standing.FAILING,
    "moves": Standing.MOVING,
    "waits": Standing.WAITING,
    "half there": Standing.WAITING,
    "bare": Standing.STORED,
    "done": Standing.ARCHIVED,
    "pruned": Standing.ARCHIVED,
    "broken": Standing.ERRORED,
    "promised": Standing.EXPECTED,
}
"""A recording in every place where one can be."""
STAND = {each: {name for name, place in PLACES.items() if place is each} for each in Standing}
STAND[Standing.MOVING].add("half")
"""What a filter finds: of one a copy moves, while another has failed."""


async def found(ledger: Ledger, **search: Any) -> list[str]:
    """The recordings of a list, all pages of it."""
    return [each.recording.id for each in await pages(ledger, Search(**search))]


async def pages(ledger: Ledger, search: Search) -> list[Found]:
    every: list[Found] = []
    for _ in range(99):
        page = await browse(ledger.database, search)
        assert len(page.found) <= search.limit
        assert len(page.found) == search.limit or page.cursor is None or not page.is_whole
        every += page.found
        if page.cursor is None:
            return every
        search = replace(search, cursor=page.cursor)
    raise AssertionError("the list has no end")


async def arrived(ledger: Ledger, **moments: float) -> None:
    """Have heard of recordings at these moments."""

    def note(connection: sa.Connection) -> None:
        for name, moment in moments.items():
            connection.execute(sa.update(recordings).where(recordings.c.id == name).values(seen_at=moment))

    await ledger.database.write(note)


async def claim_of(ledger: Ledger, name: str) -> Claim:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO, id=name)
    return claim


@pytest.fixture
async def everywhere(ledger: Ledger) -> Ledger:
    """A ledger with `PLACES` in it."""
    work, orders = ledger.work(), Orders(ledger.database)
    for name in ("pruned", "done", "gone", "bare"):
        claim = await claim_of(ledger, name)
        if name == "gone":
            await expire(ledger, claim)
        elif name == "bare":
            await store(ledger, claim)
            await work.settle(claim, {})
            await work.try_later(claim, LATER)
        else:
            await archive(ledger, [claim])
        if name == "pruned":
            assert await Pruning(ledger.database).files(keep_s=-3600.0) == 1
    claim = await claim_of(ledger, "given up")
    await orders.give(Order.CANCEL, claim.id, actor="ann")
    (claim,) = await work.claim(1)
    await expire(ledger, claim)
    for name, troubles in {"full": {HERE: LATER}, "half": {HERE: LATER, THERE: NOW}}.items():
        claim = await claim_of(ledger, name)
        await work.route(claim, troubles)
        await work.settle(claim, troubles)
        await work.finish(claim)
    (claim,) = await work.claim(1)
    assert claim.artifact.recording_id == "half", "one of its copies moves, the other is put off"
    await work.try_later(await claim_of(ledger, "refused"), LATER)
    await begin(ledger, await claim_of(ledger, "moves"))
    claim = await claim_of(ledger, "half there")
    await store(ledger, claim, HERE)
    await work.route(claim, [THERE])
    await work.release([claim])
    await ledger.hear(
        *(news(Kind.VIDEO, Kind.AUDIO, id=name) for name in ("waits", "left alone", "to be given up"))
    )
    await orders.give(Order.PAUSE, "left alone/video", actor="ann")
    await orders.give(Order.PAUSE, "left alone/audio", actor="ann")
    await orders.give(Order.CANCEL, "to be given up", actor="ann")
    await ledger.hear(news(id="broken", status="ERRORED"), news(id="promised", status="RECORDING"))
    return ledger


async def test_every_recording_stands_where_it_was_brought(everywhere: Ledger) -> None:
    shown = {each.recording.id: each.standing for each in await pages(everywhere, Search())}

    assert shown == PLACES


@pytest.mark.parametrize("most", [20_000, 1, 0], ids=["few", "many", "any"])
async def test_a_filter_finds_what_stands_there(
    everywhere: Ledger, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_FEW", most)

    for sort in (Sort.NEWEST, Sort.OLDEST):
        assert {each: set(await found(everywhere, standing=each, sort=sort)) for each in Standing} == STAND


async def test_by_deadline_it_finds_the_same_where_there_is_one(everywhere: Ledger) -> None:
    for standing in Standing:
        is_without = standing in (Standing.ARCHIVED, Standing.ERRORED, Standing.EXPECTED)

        same = await found(everywhere, standing=standing, sort=Sort.DEADLINE)

        assert set(same) == (set() if is_without else STAND[standing])


async def test_a_recording_is_found_where_any_of_its_files_stands(ledger: Ledger) -> None:
    video, _ = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await ledger.work().try_later(video, LATER)

    for standing in (Standing.FAILING, Standing.MOVING):
        (one,) = await pages(ledger, Search(standing=standing))
        assert one.standing is Standing.FAILING
    assert await found(ledger, standing=Standing.WAITING) == []


# ---- in order, page by page


@pytest.mark.parametrize("limit", [1, 2, 7, 200])
async def test_pages_hold_everything_once_and_in_order(ledger: Ledger, limit: int) -> None:
    names = [f"r{number}" for number in range(9)]
    await ledger.hear(*(news(Kind.VIDEO, id=name) for name in names))
    # Three at each moment: then the id decides.
    await arrived(ledger, **{name: float(number // 3) for number, name in enumerate(names)})

    assert await found(ledger, limit=limit) == names[::-1]
    assert await found(ledger, limit=limit, sort=Sort.OLDEST) == names
    assert await found(ledger, limit=limit, standing=Standing.WAITING) == names[::-1]
    assert await found(ledger, limit=limit, app="default", sort=Sort.OLDEST) == names
    assert await found(ledger, limit=limit, app="another") == []


async def test_what_comes_while_one_reads_on_moves_no_page(ledger: Ledger) -> None:
    await ledger.hear(*(news(Kind.VIDEO, id=f"r{number}") for number in range(4)))
    await arrived(ledger, r0=0.0, r1=1.0, r2=2.0, r3=3.0)
    first = await browse(ledger.database, Search(limit=2))

    await ledger.hear(news(Kind.VIDEO, id="new"))

    rest = await pages(ledger, Search(limit=2, cursor=first.cursor))
    assert [each.recording.id for each in (*first.found, *rest)] == ["r3", "r2", "r1", "r0"]


@pytest.mark.parametrize("limit", [1, 50])
async def test_by_deadline_each_recording_comes_where_its_first_open_file_is(
    ledger: Ledger, limit: int
) -> None:
    for name, ends in {"late": (5, 6), "early": (1, 9), "middle": (3, 4)}.items():
        for kind, end in zip((Kind.VIDEO, Kind.AUDIO), ends, strict=True):
            await ledger.hear(news(kind, id=name, expires_at=FAR + end))
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit) == ["early", "middle", "late"]

    (claim,) = await ledger.work().claim(1)
    assert claim.id == "early/video"
    await archive(ledger, [claim])
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit) == ["middle", "late", "early"]
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit, text="EARLY") == []
    await ledger.hear(news(id="early", title="An early one"), news(id="late", title="Late", app="other"))
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit, text="EARLY") == ["early"]
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit, text="late") == ["late"]
    assert await found(ledger, sort=Sort.DEADLINE, limit=limit, app="other") == ["late"]


async def test_a_list_has_those_that_came_in_a_span(ledger: Ledger) -> None:
    await ledger.hear(*(news(Kind.VIDEO, id=f"r{number}") for number in range(4)))
    await arrived(ledger, r0=0.0, r1=1.0, r2=2.0, r3=3.0)

    for more in ({}, {"standing": Standing.WAITING}, {"sort": Sort.DEADLINE}, {"app": "default"}):
        assert set(await found(ledger, since=1.0, until=3.0, **more)) == {"r1", "r2"}


async def test_what_is_looked_for_long_comes_in_parts_that_lead_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.hear(*(news(id=f"r{number:02}", title=f"Call {number}") for number in range(20)))
    await arrived(ledger, **{f"r{number:02}": float(number) for number in range(20)})
    monkeypatch.setattr("service.ledger.walk._TURN", 3)
    monkeypatch.setattr(listing, "_WITHIN_S", -1.0)

    first = await browse(ledger.database, Search(text="call 1"))
    assert (len(first.found), first.is_whole) == (3, False)
    assert first.cursor is not None

    names = [f"r{number}" for number in range(19, 9, -1)] + ["r01"]
    assert await found(ledger, text="call 1") == names
    assert await found(ledger, text="call 1", limit=2) == names
    assert await found(ledger, text="call 1", sort=Sort.OLDEST, limit=2) == names[::-1]


# ---- by text


async def test_an_id_finds_its_recording_and_all_of_its_meeting_or_session(ledger: Ledger) -> None:
    meeting: dict[str, Any] = {"meeting_id": "meeting", "session_id": "session"}
    await ledger.hear(
        *(news(Kind.VIDEO, id=name, **meeting) for name in ("one", "two", "three")),
        news(Kind.CHAT, id="session", status="ENDED", scope=Scope.SESSION, meeting_id="meeting"),
        news(Kind.VIDEO, id="else", title="meeting with session one"),
    )
    await arrived(ledger, one=1.0, two=2.0, three=3.0, session=4.0)

    for limit in (1, 50):
        assert await found(ledger, text="two", limit=limit) == ["two"]
        assert await found(ledger, text="meeting", limit=limit) == ["session", "three", "two", "one"]
        assert await found(ledger, text="session", limit=limit) == ["session", "three", "two", "one"]
        assert await found(ledger, text="session", limit=limit, sort=Sort.OLDEST, until=4.0) == [
            "one",
            "two",
            "three",
        ]
        by_deadline = await found(ledger, text="meeting", limit=limit, sort=Sort.DEADLINE)
        assert sorted(by_deadline) == ["one", "session", "three", "two"]
    await Orders(ledger.database).give(Order.PAUSE, "two", actor="ann")
    assert await found(ledger, text="meeting", standing=Standing.PAUSED) == ["two"]
    assert await found(ledger, text="meeting", app="another") == []
    assert await found(ledger, text="with session") == ["else"]


async def test_a_part_of_the_title_or_the_files_name_finds_it_in_whatever_case(ledger: Ledger) -> None:
    await ledger.hear(
        news(Kind.VIDEO, id="one", title="Weekly ÄRGER 100%"),
        news(Kind.VIDEO, id="two", output_file_name="weekly_100x.mp4"),
        news(Kind.VIDEO, id="three"),
    )

    assert set(await found(ledger, text="WEEKLY")) == {"one", "two"}
    assert await found(ledger, text="ärger") == ["one"]
    assert await found(ledger, text="100%") == ["one"]
    assert await found(ledger, text="y_1") == ["two"]
    assert await found(ledger, text="/") == []


# ---- cursors


def encoded(key: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


NO_CURSORS = [
    "x",
    "é",
    "a" * 3000,
    base64.urlsafe_b64encode(b"[" * 1400).decode(),
    encoded({}),
    encoded(["-received_at"]),
    encoded(["-received_at", 1.0, 2.0]),
    encoded(["-received_at", "1", "id"]),
    encoded(["-received_at", True, "id"]),
    encoded(["-received_at", float("nan"), "id"]),
    encoded(["-received_at", 10**400, "id"]),
    encoded(["-received_at", 1.0, "a\0b"]),
    encoded(["-received_at", 1.0, "\ud800"]),
    encoded(["expires_at", 1.0, "id"]),
]


async def test_a_cursor_of_another_list_is_refused(ledger: Ledger) -> None:
    for cursor in NO_CURSORS:
        with pytest.raises(CursorInvalid, match="cursor"):
            await browse(ledger.database, Search(cursor=cursor))


async def test_what_is_open_is_told_of_each_file_that_is_found(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, Kind.AUDIO, title="Weekly"))

    (one,) = await pages(ledger, Search())

    assert [line.artifact_id for line in one.lines] == ["recording/audio", "recording/video"]
    assert (one.recording.title, one.is_pruned) == ("Weekly", False)
    (seen,) = await ledger.rows("recordings")
    assert one.received_at == seen["seen_at"]
