"""Proves on both databases what people, metrics and manifests are told: deadlines, statuses, what is lost."""

from typing import Any

import sqlalchemy as sa

from service.artifacts import RETENTION_S
from service.ledger import Intake
from service.ledger.overview import NOT_OFFERED, Lost
from service.ledger.tables import recordings, statuses
from service.model import Artifact, Claim, Event, Kind, Provider, Recording, Scope
from tests.contract.ledgers import (
    FAR,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    begin,
    conclude,
    expire,
    news,
    store,
)

DAY_S = 24 * 3600.0


async def age(ledger: Ledger, table: sa.Table, seconds: float, *where: Any) -> None:
    """Let rows have been seen so much earlier."""
    earlier = table.update().where(*where).values(seen_at=table.c.seen_at - seconds)
    await ledger.database.write(lambda connection: connection.execute(earlier))


async def claimed_now(ledger: Ledger, *events: Event) -> dict[str, Claim]:
    """News, and all claims by their ids."""
    await ledger.hear(*events)
    return {claim.id: claim for claim in await ledger.work().claim(99)}


def tracks(*names: str, id: str = "recording") -> Event:  # noqa: A002 - the provider's own word
    """A track recording with these files."""
    return Event(
        "api",
        Recording(id, Provider.DYTE, "UPLOADED"),
        tuple(
            Artifact(id, Kind.TRACK, f"https://h/{name}", name, expires_at=FAR, track=f"default/{name}")
            for name in names
        ),
    )


# ---- deadlines


async def test_the_soonest_deadline_is_told_first_and_those_beyond_the_span_are_not(ledger: Ledger) -> None:
    (probe,) = (await claimed_now(ledger, news(Kind.VIDEO, id="probe"))).values()
    times = {"later": 3000.0, "soon": 1000.0, "past": -1000.0, "far": 2 * DAY_S}
    await ledger.hear(
        *(news(Kind.VIDEO, id=name, expires_at=probe.now + left, app=name) for name, left in times.items())
    )

    deadlines = await ledger.view.deadlines(within_s=DAY_S, limit=9)

    assert [(each.artifact_id, each.app) for each in deadlines] == [
        ("past/video", "past"),
        ("soon/video", "soon"),
        ("later/video", "later"),
    ]
    assert all(abs(each.expires_in_s - times[each.app]) < 60 for each in deadlines)
    first = await ledger.view.deadlines(within_s=DAY_S, limit=1)
    assert [each.artifact_id for each in first] == ["past/video"]


async def test_a_deadline_is_for_what_is_stored_nowhere_yet(ledger: Ledger) -> None:
    work = ledger.work()
    names = ("archived", "stored", "half", "moving", "expired", "failing")
    claims = await claimed_now(ledger, *(news(Kind.VIDEO, id=name) for name in names))
    of = {claim.removesuffix("/video"): claims[claim] for claim in claims}
    await archive(ledger, [of["archived"]])
    await store(ledger, of["stored"])
    await begin(ledger, of["half"], HERE, THERE)
    await store(ledger, of["half"], THERE)
    await conclude(ledger, of["half"], {HERE: LATER})
    await begin(ledger, of["moving"])
    await expire(ledger, of["expired"])
    await work.try_later(of["failing"], LATER)

    deadlines = await ledger.view.deadlines(within_s=FAR, limit=9)

    assert [(each.artifact_id, each.error) for each in deadlines] == [
        ("failing/video", "it is full"),
        ("moving/video", None),
    ]


# ---- statuses, and what is lost


async def test_a_recording_that_was_uploaded_and_never_offered_is_called_so(ledger: Ledger) -> None:
    await ledger.hear(
        news(id="theirs"),
        news(id="theirs too"),
        news(Kind.VIDEO, id="ours"),
        news(id="late"),
        news(status="RECORDING", id="begun"),
        news(status="ERRORED", id="lost"),
    )
    assert (await ledger.overview()).statuses == {NOT_OFFERED: 3, "RECORDING": 1, "ERRORED": 1}

    await ledger.hear(news(Kind.VIDEO, id="late"), news(status="UPLOADING", id="begun"))
    await ledger.hear(news(id="ours"))

    assert (await ledger.overview()).statuses == {NOT_OFFERED: 2, "UPLOADING": 1, "ERRORED": 1}


async def test_sessions_are_not_counted_among_recordings(ledger: Ledger) -> None:
    session = Recording("session", Provider.DYTE, "ENDED", Scope.SESSION)
    await Intake(ledger.database).learn([Event("api", session)])

    assert (await ledger.overview()).statuses == {}
    assert (await ledger.overview()).lost == []


async def test_what_ended_without_a_file_is_told_with_its_reason_the_newest_first(ledger: Ledger) -> None:
    await ledger.hear(
        news(status="ERRORED", id="first", title="Weekly", stop_reason="TOO_SHORT", app="staging"),
        news(status="ERRORED", id="second"),
        news(status="ERRORED", id="recovered"),
        news(Kind.VIDEO, id="recovered"),
        news(status="UPLOADING", id="begun"),
    )
    await age(ledger, recordings, 3600, recordings.c.id == "first")
    await age(ledger, statuses, 3600, statuses.c.recording_id == "first")

    second, first = (await ledger.overview()).lost

    assert first == Lost("first", "staging", "Weekly", "TOO_SHORT", first.seen_s_ago)
    assert 3600 <= first.seen_s_ago < 3660
    assert second == Lost("second", "default", None, None, second.seen_s_ago)
    assert 0 <= second.seen_s_ago < 60
    (newest,) = (await ledger.overview(lost_limit=1)).lost
    assert newest.recording_id == "second"


async def test_it_is_lost_since_it_was_told_so_not_since_it_began(ledger: Ledger) -> None:
    await ledger.hear(news(status="RECORDING"))
    await age(ledger, recordings, RETENTION_S + DAY_S)
    await age(ledger, statuses, DAY_S)
    await ledger.hear(news(status="ERRORED"))

    (lost,) = (await ledger.overview()).lost
    assert 0 <= lost.seen_s_ago < 60

    await age(ledger, statuses, RETENTION_S - 60)
    (lost,) = (await ledger.overview()).lost
    assert RETENTION_S - 60 <= lost.seen_s_ago < RETENTION_S

    await age(ledger, statuses, 120)
    assert (await ledger.overview()).lost == []


async def test_a_recording_of_an_older_ledger_is_lost_since_it_was_first_seen(ledger: Ledger) -> None:
    await ledger.hear(news(status="ERRORED"))
    await ledger.database.write(lambda connection: connection.execute(statuses.delete()))
    await age(ledger, recordings, 3600)

    (lost,) = (await ledger.overview()).lost

    assert 3600 <= lost.seen_s_ago < 3660


# ---- what is known, and what belongs together


async def test_what_is_known_is_told_however_many_are_asked_for(ledger: Ledger) -> None:
    await Intake(ledger.database).learn([tracks(*(f"t{n:04}" for n in range(0, 520, 2)))])
    asked = [f"recording/track/default/t{n:04}" for n in range(521)]

    assert await ledger.view.known(asked) == set(asked[0:520:2])
    assert await ledger.view.known([]) == set()
    assert await ledger.view.known({"recording/track/default/t0002", "another"}) == {asked[2]}


async def test_names_are_all_that_belongs_together_in_the_manifests_order(ledger: Ledger) -> None:
    event = tracks("b.webm", "a.webm")
    await ledger.hear(news(Kind.AUDIO, Kind.VIDEO), news(Kind.VIDEO, id="another"))
    await Intake(ledger.database).learn([event])

    names = await ledger.view.names("recording")

    assert names == [
        *news(Kind.VIDEO, Kind.AUDIO).artifacts,
        event.artifacts[1],
        event.artifacts[0],
    ]
    assert await ledger.view.names("nobody's") == []


async def test_a_holding_is_in_the_manifests_order_and_knows_its_manifest(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.AUDIO, Kind.VIDEO))
    claims = await claimed_now(ledger, tracks("b.webm", "a.webm"))
    await archive(ledger, list(claims.values()))

    holding = await ledger.view.recording("recording", HERE)

    assert [(each.kind, each.track, each.key) for each in holding.archived] == [
        (Kind.VIDEO, None, "recording.video"),
        (Kind.AUDIO, None, "recording.audio"),
        (Kind.TRACK, "default/a.webm", "a.webm"),
        (Kind.TRACK, "default/b.webm", "b.webm"),
    ]
    assert holding.manifest_key == "recording.video.json"
    elsewhere = await ledger.view.recording("recording", THERE)
    assert (elsewhere.archived, elsewhere.manifest_key) == ((), None)


async def test_what_expired_is_named_by_the_end_of_its_id_in_the_manifests_order(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.AUDIO, Kind.VIDEO))
    claims = await claimed_now(ledger, tracks("b.webm", "recording/track/x.webm"))
    for claim in claims.values():
        if claim.artifact.kind is not Kind.AUDIO:
            await expire(ledger, claim)

    holding = await ledger.view.recording("recording", HERE)

    assert holding.expired == (
        "video",
        "track/default/b.webm",
        "track/default/recording/track/x.webm",
    )
