"""Proves on both databases that news may come as often as it likes, in any order, and ends the same."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.ledger.intake import Outcome
from service.model import Event, Kind, State
from tests.contract.ledgers import FAR, LATER, Ledger, archive, conclude, expire, news, opened, store

FRESH = "https://provider.example/fresh"


def story(recording_id: str) -> list[Event]:
    """All that is told of one recording, some of it again, with links from before and after a renewal."""
    told: dict[str, Any] = {"id": recording_id, "output_file_name": "call.mp4"}
    ended: dict[str, Any] = told | {"title": "Weekly", "file_size": 10, "duration_s": 1.5}
    return [
        news(status="INVOKED", **told),
        news(status="RECORDING", started_at=100.0, **told),
        news(status="UPLOADING", **ended),
        news(Kind.VIDEO, Kind.AUDIO, **ended),
        news(Kind.VIDEO, Kind.AUDIO, **ended),
        news(Kind.VIDEO, Kind.AUDIO, link=FRESH, expires_at=FAR + 100, **ended),
        news(Kind.VIDEO, Kind.AUDIO, link="https://provider.example/older", expires_at=FAR - 100, **ended),
    ]


@given(order=st.permutations(range(7)), again=st.lists(st.integers(0, 6), max_size=4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_news_in_any_order_and_number_ends_the_same(
    ledger: Ledger, order: list[int], again: list[int]
) -> None:
    recording_id = uuid4().hex
    events = story(recording_id)

    await ledger.hear(*(events[number] for number in [*order, *again]))

    (recording,) = [row for row in await ledger.rows("recordings") if row["id"] == recording_id]
    assert recording | {"seen_at": 0, "offered_at": 0} == {
        "id": recording_id,
        "provider": "dyte",
        "status": "UPLOADED",
        "status_rank": 5,
        "scope": "recording",
        "app": "default",
        "organization_id": None,
        "meeting_id": None,
        "session_id": None,
        "title": "Weekly",
        "output_file_name": "call.mp4",
        "file_size": 10,
        "invoked_at": None,
        "started_at": 100.0,
        "stopped_at": None,
        "duration_s": 1.5,
        "stop_reason": None,
        "storage_config": None,
        "seen_at": 0,
        "offered_at": 0,
        "ask_at": None,
        "closed_at": None,
    }
    found = [row for row in await ledger.rows("artifacts") if row["recording_id"] == recording_id]
    assert [row["id"] for row in found] == [f"{recording_id}/audio", f"{recording_id}/video"]
    for row in found:
        assert (row["url"], row["expires_at"]) == (f"{FRESH}/{row['kind']}", FAR + 100)
        assert (row["state"], row["attempts"], row["epoch"], row["owner"]) == ("waiting", 0, 0, None)
        assert row["due_at"] is not None


async def test_every_delivery_is_noted_with_what_it_brought(ledger: Ledger) -> None:
    outcomes = await ledger.hear(
        news(status="RECORDING"),
        news(status="RECORDING"),
        news(status="INVOKED"),
        news(status="BREWING"),
        Event("meeting.started"),
        news(Kind.VIDEO),
        news(Kind.VIDEO),
        news(Kind.VIDEO, link=FRESH),
    )

    assert outcomes == [
        Outcome.NOTED,
        Outcome.KNOWN,
        Outcome.KNOWN,
        Outcome.IGNORED,
        Outcome.IGNORED,
        Outcome.ANNOUNCED,
        Outcome.KNOWN,
        Outcome.ANNOUNCED,
    ]
    assert [row["outcome"] for row in await ledger.rows("deliveries")] == outcomes


async def test_the_same_news_at_once_from_many_receivers_is_one_artifact(
    ledger: Ledger, ledger_url: str
) -> None:
    async with opened(ledger_url) as other:
        outcomes = await asyncio.gather(
            *(receiver.hear(news(Kind.VIDEO)) for receiver in (ledger, other) for _ in range(4))
        )

    assert outcomes.count([Outcome.ANNOUNCED]) == 1
    assert len(await ledger.rows("artifacts")) == 1
    assert len(await ledger.rows("deliveries")) == 8


async def test_older_news_fills_in_only_what_was_missing(ledger: Ledger) -> None:
    await ledger.hear(
        news(Kind.VIDEO, title="Newer"), news(status="RECORDING", title="Older", meeting_id="meeting")
    )

    (row,) = await ledger.rows("recordings")
    assert (row["status"], row["title"], row["meeting_id"]) == ("UPLOADED", "Newer", "meeting")


async def test_a_fresher_link_replaces_the_old_one_and_is_due_at_once(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.try_later(claim, LATER)
    assert await work.claim(1) == []

    assert await ledger.hear(news(Kind.VIDEO, link=FRESH, expires_at=FAR + 1)) == [Outcome.ANNOUNCED]

    (again,) = await work.claim(1)
    assert again.artifact.url == f"{FRESH}/video"
    assert (again.attempts, again.expires_at) == (0, FAR + 1)


@pytest.mark.parametrize("expires_at", [FAR, FAR - 1, None], ids=["same", "older", "untold"])
async def test_a_replay_does_not_replace_the_link_nor_make_it_due(
    ledger: Ledger, expires_at: float | None
) -> None:
    link = "https://provider.example/older" if expires_at == FAR - 1 else "https://provider.example/first"
    work = ledger.work()
    await ledger.hear(news(Kind.VIDEO, expires_at=expires_at if expires_at is None else FAR))
    (claim,) = await work.claim(1)
    await work.try_later(claim, LATER)
    before = await ledger.rows("artifacts")

    assert await ledger.hear(news(Kind.VIDEO, link=link, expires_at=expires_at)) == [Outcome.KNOWN]

    assert await ledger.rows("artifacts") == before
    assert await work.claim(1) == []


async def test_another_link_whose_time_is_not_told_replaces_the_old_one(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, expires_at=None), news(Kind.VIDEO, link=FRESH, expires_at=None))

    (claim,) = await ledger.work().claim(1)

    assert claim.artifact.url == f"{FRESH}/video"


async def test_a_fresher_link_leaves_the_lease_of_one_that_is_moving(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await ledger.hear(news(Kind.VIDEO, link=FRESH))

    assert await ledger.work("other").claim(1) == []
    current = await work.current(claim)
    assert (current.artifact.url, current.state) == (f"{FRESH}/video", State.MOVING)


async def test_a_fresh_link_revives_an_expired_artifact_and_a_replay_does_not(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await expire(ledger, claim)

    assert await ledger.hear(news(Kind.VIDEO)) == [Outcome.KNOWN]
    assert await work.claim(1) == []

    assert await ledger.hear(news(Kind.VIDEO, link=FRESH, expires_at=FAR + 1)) == [Outcome.ANNOUNCED]
    (again,) = await work.claim(1)
    assert (again.artifact.url, again.attempts) == (f"{FRESH}/video", 0)


async def test_what_is_stored_or_archived_is_untouched_by_any_news(ledger: Ledger) -> None:
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, id="archived"))
    (stored, _) = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="stored")
    await store(ledger, stored)
    assert await conclude(ledger, stored) == []
    await work.finish(stored)
    before = await ledger.rows("artifacts")
    assert [row["state"] for row in before] == ["archived", "moving", "stored"]

    for recording_id in ("archived", "stored"):
        outcomes = await ledger.hear(
            news(Kind.VIDEO, id=recording_id),
            news(Kind.VIDEO, id=recording_id, link=FRESH, expires_at=FAR + 1),
            news(Kind.VIDEO, id=recording_id, expires_at=None),
        )
        assert outcomes == [Outcome.KNOWN] * 3

    assert await ledger.rows("artifacts") == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "日本語 🎬 e\u0301",
        "'; DROP TABLE artifacts; --",
        '%s %(x)s :name ? \\ "',
        "x" * 100_000,
        "\t\r\n",
    ],
    ids=["empty", "unicode", "sql", "placeholders", "long", "white"],
)
async def test_odd_text_survives(ledger: Ledger, text: str) -> None:
    recording_id = f"id {text}"[:200]
    await ledger.hear(news(Kind.VIDEO, id=recording_id, title=text, link=f"https://x.example/{text}"))

    storage = f"storage {text}"[:200]
    (claim,) = await ledger.work(f"owner {text}").claim(1)
    await store(ledger, claim, storage)
    holding = await ledger.view.recording(recording_id, storage)
    recording, (stored,) = holding.recording, holding.archived

    assert claim.artifact.recording_id == recording_id
    assert claim.artifact.url == f"https://x.example/{text}/video"
    assert claim.owner == f"owner {text}"
    assert recording.title == text
    assert stored.key == f"{recording_id}.video"
