"""Proves on both databases that what the API says adds to what deliveries said, and takes nothing from it."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifacts import RETENTION_S
from service.ledger import Intake
from service.ledger.intake import Outcome
from service.model import STATUS_RANK, Event, Kind, Provider, Recording, Scope, State
from tests.contract.ledgers import (
    FAR,
    LATER,
    Ledger,
    archive,
    conclude,
    expire,
    news,
    store,
)

FRESH = "https://provider.example/fresh"


async def learn(ledger: Ledger, *events: Event, kinds: Sequence[Kind] = tuple(Kind)) -> list[Outcome]:
    """Take in what the API says, as one batch."""
    return await Intake(ledger.database, kinds=kinds).learn(events)


async def only(ledger: Ledger, table: str = "artifacts") -> dict[str, Any]:
    (row,) = await ledger.rows(table)
    return row


# ---- what is new, and what is known


async def test_only_what_the_ledger_did_not_have_is_announced(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, id="known"), news(status="RECORDING", id="begun"))

    outcomes = await learn(
        ledger,
        news(Kind.VIDEO, id="new"),
        news(Kind.VIDEO, id="known", link=FRESH),
        news(Kind.VIDEO, Kind.AUDIO, id="known", link=FRESH),
        news(status="UPLOADING", id="begun"),
        news(status="RECORDING", id="begun"),
        news(status="BREWING", id="begun"),
        Event("api"),
    )

    assert outcomes == [
        Outcome.ANNOUNCED,
        Outcome.KNOWN,
        Outcome.ANNOUNCED,
        Outcome.NOTED,
        Outcome.KNOWN,
        Outcome.IGNORED,
        Outcome.IGNORED,
    ]
    assert [row["id"] for row in await ledger.rows("artifacts")] == [
        "known/audio",
        "known/video",
        "new/video",
    ]
    assert len(await ledger.rows("deliveries")) == 2


async def test_what_is_learned_is_due_at_once(ledger: Ledger) -> None:
    await learn(ledger, news(Kind.VIDEO))

    (claim,) = await ledger.work().claim(1)

    assert claim.artifact == news(Kind.VIDEO).artifacts[0]
    assert (claim.attempts, claim.expires_at) == (0, FAR)


@pytest.mark.parametrize("expires_at", [FAR + 1, FAR, None], ids=["later", "same", "untold"])
async def test_what_is_known_keeps_its_link_its_attempts_and_its_turn(
    ledger: Ledger, expires_at: float | None
) -> None:
    work = ledger.work()
    await ledger.hear(news(Kind.VIDEO))
    (claim,) = await work.claim(1)
    before = await only(ledger)
    assert await learn(ledger, news(Kind.VIDEO, link=FRESH, expires_at=expires_at)) == [Outcome.KNOWN]
    assert await only(ledger) == before

    await work.try_later(claim, LATER)
    before = await only(ledger)
    assert await learn(ledger, news(Kind.VIDEO, link=FRESH, expires_at=expires_at)) == [Outcome.KNOWN]

    assert await only(ledger) == before
    assert before["attempts"] == 1
    assert await work.claim(1) == []


@pytest.mark.parametrize("told_by", ["delivery", "api"])
async def test_a_delivery_freshens_the_link_whoever_told_of_it_first(ledger: Ledger, told_by: str) -> None:
    await (ledger.hear if told_by == "delivery" else lambda event: learn(ledger, event))(news(Kind.VIDEO))

    assert await ledger.hear(news(Kind.VIDEO, link=FRESH, expires_at=FAR + 1)) == [Outcome.ANNOUNCED]

    assert (await only(ledger))["url"] == f"{FRESH}/video"


@pytest.mark.parametrize(
    ("link", "expires_at", "is_revived"),
    [
        (FRESH, FAR + 1, True),
        (FRESH, FAR, False),
        (FRESH, FAR - 1, False),
        ("https://provider.example/first", FAR + 1, True),
    ],
    ids=["later", "same", "earlier", "the-same-link-later"],
)
async def test_an_expired_artifact_is_revived_by_a_later_time_alone(
    ledger: Ledger, link: str, expires_at: float, *, is_revived: bool
) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await expire(ledger, claim)

    outcomes = await learn(ledger, news(Kind.VIDEO, link=link, expires_at=expires_at))

    assert outcomes == [Outcome.ANNOUNCED if is_revived else Outcome.KNOWN]
    claims = await work.claim(1)
    assert [(again.artifact.url, again.attempts, again.expires_at) for again in claims] == (
        [(f"{link}/video", 0, expires_at)] if is_revived else []
    )


async def test_an_expired_artifact_is_not_revived_by_a_time_that_is_past(ledger: Ledger) -> None:
    work = ledger.work()
    past = time.time() - 600
    await ledger.hear(news(Kind.VIDEO, expires_at=past - 600))
    (claim,) = await work.claim(1)
    await expire(ledger, claim)

    assert await learn(ledger, news(Kind.VIDEO, link=FRESH, expires_at=past)) == [Outcome.KNOWN]

    assert (await only(ledger))["state"] == State.EXPIRED


async def test_what_is_stored_or_archived_is_untouched(ledger: Ledger) -> None:
    work = ledger.work()
    await archive(ledger, await ledger.claimed(work, Kind.VIDEO, id="archived"))
    stored, _ = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO, id="stored")
    await store(ledger, stored)
    assert await conclude(ledger, stored) == []
    await work.finish(stored)
    before = await ledger.rows("artifacts")

    for name in ("archived", "stored"):
        again = news(Kind.VIDEO, id=name, link=FRESH, expires_at=FAR + 1)
        assert await learn(ledger, again, again) == [Outcome.KNOWN] * 2

    assert await ledger.rows("artifacts") == before


async def test_a_time_that_is_not_told_is_seven_days_from_now(ledger: Ledger) -> None:
    await learn(ledger, news(Kind.VIDEO, expires_at=None))

    row = await only(ledger)

    assert row["expires_at"] - row["seen_at"] == pytest.approx(RETENTION_S, abs=5)


# ---- statuses and facts, in any order


@given(
    told=st.permutations(
        [(status, by_api) for status in STATUS_RANK if status not in ("LIVE", "ENDED") for by_api in (0, 1)]
    )
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_status_keeps_its_first_time_whatever_the_order(
    ledger: Ledger, told: list[tuple[str, int]]
) -> None:
    recording_id = f"recording {time.monotonic_ns()}"
    first: dict[str, float] = {}
    for status, by_api in told:
        event = news(status=status, id=recording_id, title=f"{status} {by_api}")
        await (learn(ledger, event) if by_api else ledger.hear(event))
        seen = {
            row["status"]: row["seen_at"]
            for row in await ledger.rows("statuses")
            if row["recording_id"] == recording_id
        }
        first.setdefault(status, seen[status])
        assert seen == first

    assert list(first) == list(dict.fromkeys(status for status, _ in told))
    assert list(first.values()) == sorted(first.values())
    (recording,) = [row for row in await ledger.rows("recordings") if row["id"] == recording_id]
    assert recording["status"] == "UPLOADED"
    assert recording["title"] == f"UPLOADED {[by_api for status, by_api in told if status == 'UPLOADED'][-1]}"


async def test_errored_is_not_the_last_word_if_it_was_uploaded_after_all(ledger: Ledger) -> None:
    await ledger.hear(news(status="ERRORED"))
    assert await learn(ledger, news(Kind.VIDEO)) == [Outcome.ANNOUNCED]
    await learn(ledger, news(status="ERRORED"))

    assert (await only(ledger, "recordings"))["status"] == "UPLOADED"


async def test_the_api_fills_in_what_a_delivery_lacked_and_a_delivery_what_the_api_did(
    ledger: Ledger,
) -> None:
    await ledger.hear(news(Kind.VIDEO, title="Weekly", meeting_id="m1"))
    await learn(ledger, news(Kind.VIDEO, invoked_at=5.0, storage_config='{"type":"aws"}', meeting_id="m1"))
    await ledger.hear(news(status="RECORDING", started_at=6.0, title="Earlier"))

    row = await only(ledger, "recordings")

    assert (row["title"], row["meeting_id"]) == ("Weekly", "m1")
    assert (row["invoked_at"], row["started_at"]) == (5.0, 6.0)
    assert row["storage_config"] == '{"type":"aws"}'


# ---- what is wanted, and what is to be asked for


async def test_of_unwanted_kinds_only_the_news_is_kept(ledger: Ledger) -> None:
    wanted = [Kind.AUDIO, Kind.CHAT]

    outcomes = await learn(
        ledger,
        news(Kind.VIDEO, Kind.AUDIO, id="both"),
        news(Kind.VIDEO, id="unwanted"),
        news(Kind.VIDEO, id="unwanted"),
        kinds=wanted,
    )

    assert outcomes == [Outcome.ANNOUNCED, Outcome.NOTED, Outcome.KNOWN]
    assert [row["id"] for row in await ledger.rows("artifacts")] == ["both/audio"]
    assert [row["status"] for row in await ledger.rows("recordings")] == ["UPLOADED"] * 2
    # It was offered; nothing that is wanted is missing.
    assert (await ledger.overview()).statuses == {}
    assert [row["ask_at"] for row in await ledger.rows("recordings")] == [None] * 2


@pytest.mark.parametrize("by_api", [False, True], ids=["delivery", "api"])
async def test_what_was_uploaded_without_a_link_is_asked_for_once(ledger: Ledger, *, by_api: bool) -> None:
    async def tell(event: Event) -> None:
        await (learn(ledger, event) if by_api else ledger.hear(event))

    await tell(news(status="UPLOADING"))
    assert (await only(ledger, "recordings"))["ask_at"] is None
    await tell(news())
    ask_at = (await only(ledger, "recordings"))["ask_at"]
    assert abs(ask_at - time.time()) < 60

    await tell(news())
    await tell(news(Kind.VIDEO))
    await tell(news(status="UPLOADING"))
    assert (await only(ledger, "recordings"))["ask_at"] == ask_at


@pytest.mark.parametrize("status", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "ERRORED"])
async def test_what_has_no_file_yet_or_never_is_not_asked_for(ledger: Ledger, status: str) -> None:
    await learn(ledger, news(status=status))

    assert (await only(ledger, "recordings"))["ask_at"] is None


async def test_a_session_is_asked_for_whatever_is_known_of_it(ledger: Ledger) -> None:
    sessions = [
        Recording(name, Provider.DYTE, "ENDED", Scope.SESSION, session_id=name) for name in ("bare", "chat")
    ]
    chat = news(Kind.CHAT, id="chat").artifacts

    outcomes = await learn(ledger, Event("api", sessions[0]), Event("api", sessions[1], chat))

    assert outcomes == [Outcome.NOTED, Outcome.ANNOUNCED]
    assert [row["scope"] for row in await ledger.rows("recordings")] == ["session"] * 2
    assert None not in [row["ask_at"] for row in await ledger.rows("recordings")]


async def test_a_session_that_was_asked_for_is_not_asked_again_by_old_news(ledger: Ledger) -> None:
    session = Event("api", Recording("s", Provider.DYTE, "ENDED", Scope.SESSION))
    await learn(ledger, session)
    before = await ledger.everything()

    assert await learn(ledger, session) == [Outcome.KNOWN]
    assert await learn(ledger) == []

    assert await ledger.everything() == before
