"""Proves that what the news lacked, and what sessions leave behind, is asked for until it is known."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.errors import ProviderMissing, ProviderRejected, ProviderUnavailable
from service.ledger import Database, Intake
from service.ledger.overview import NOT_OFFERED
from service.model import ONLY, Artifact, Event, Kind, Provider, Recording, Scope
from service.reconcile import WINDOW_S
from tests.contract.ledgers import Ledger
from tests.unit.watch import DAY, HOUR, Watch, heard, session, video
from tests.unit.workshop import Offers


@pytest.fixture
def api() -> Offers:
    return Offers()


@pytest.fixture
async def watch(ledger: Path, api: Offers) -> AsyncIterator[Watch]:
    database = Database(f"sqlite:///{ledger}")
    try:
        yield Watch(Ledger(database), [(ONLY, api)])
    finally:
        await database.close()


# ---- a recording whose news lacked its links


async def test_a_delivery_without_links_wakes_it_and_the_files_are_known_at_once(
    watch: Watch, api: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reconcile._TOGETHER_S", 0.0)
    watch.every_s = 0
    running = asyncio.create_task(watch.reconciler().run())
    await asyncio.wait_for(watch.woken.idle.wait(), 5)
    api.offer(video("one"), video("one", kind=Kind.AUDIO))
    watch.woken.idle.clear()
    await heard(watch, "one")
    watch.woken.set()
    await asyncio.wait_for(watch.woken.idle.wait(), 5)
    running.cancel()

    assert await watch.artifacts() == ["one/audio", "one/video"]
    assert await watch.ask_in_s("one") is None
    assert len(watch.told) == 1


async def test_the_tracks_of_a_recording_are_asked_for(watch: Watch, api: Offers) -> None:
    tracks = [video("one", kind=Kind.TRACK, track=f"layer/peer-{number}") for number in range(20)]
    api.offer(*tracks)
    await heard(watch, "one")

    await watch.once()

    assert len(await watch.artifacts()) == 20


async def test_a_recording_that_is_not_offered_is_asked_for_once_and_shown_as_such(
    watch: Watch, api: Offers
) -> None:
    api.state("one", "UPLOADED", stopped_at=time.time())
    await heard(watch, "one")
    for _ in range(3):
        await watch.later()

    assert api.asked.count("one") == 1
    assert (await watch.ledger.overview()).statuses == {NOT_OFFERED: 1}
    assert watch.metrics.recordings.labels(ONLY, "ERRORED")._value.get() == 0


@pytest.mark.parametrize("answer", [ProviderMissing("404"), ProviderRejected("422")])
async def test_a_recording_that_the_api_does_not_give_is_asked_for_once(
    watch: Watch, api: Offers, answer: Exception
) -> None:
    watch.every_s = 0
    await heard(watch, "one")
    api.failures = [answer]

    await watch.once()
    await watch.later()

    assert api.asked == ["one"]
    assert await watch.ask_in_s("one") is None


async def test_while_the_api_is_down_what_is_missing_stays_to_be_asked_for(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    for name in ("one", "two"):
        await heard(watch, name)
        api.offer(video(name))
    api.failures = [ProviderUnavailable("down")] * 2

    await watch.once()
    assert await watch.artifacts() == []
    duty = await watch.duty("ask default")
    assert 0 < duty["due_at"] <= 60

    await watch.later()
    assert await watch.artifacts() == ["one/video", "two/video"]


async def test_what_belongs_to_an_app_without_credentials_is_left_alone(watch: Watch, api: Offers) -> None:
    await heard(watch, "one", app="another")

    await watch.once()

    assert "one" not in api.asked


async def test_many_that_are_missing_are_all_asked_for(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    names = [f"r{number:03}" for number in range(110)]
    known = [Event("delivery", Recording(name, Provider.DYTE, "UPLOADED")) for name in names]
    await Intake(watch.ledger.database).learn(known)
    for name in names:
        api.offer(video(name))

    await watch.once()

    assert sorted(api.asked) == names
    assert len(await watch.artifacts()) == 110


async def test_only_the_kinds_that_are_wanted_are_taken(watch: Watch, api: Offers) -> None:
    watch.kinds = [Kind.AUDIO]
    api.offer(video("one"), video("one", kind=Kind.AUDIO))
    api.ended = [session("s1")]

    await watch.once()

    assert await watch.artifacts() == ["one/audio"]
    assert api.asked == ["recordings"]


# ---- sessions


def file(session_id: str, kind: Kind) -> Artifact:
    return video(session_id, kind=kind)


def have(api: Offers, session_id: str, *kinds: Kind) -> None:
    """Have these files of a session from now on."""
    api.files |= {(session_id, kind): file(session_id, kind) for kind in kinds}


async def test_sessions_whose_events_were_missed_are_asked_for_their_files(watch: Watch, api: Offers) -> None:
    api.ended = [session("s1"), session("s2")]
    have(api, "s1", Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)

    await watch.once()

    assert await watch.artifacts() == ["s1/chat", "s1/summary", "s1/transcript"]
    asked = {f"{name}/{kind}" for name in ("s1", "s2") for kind in (Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY)}
    assert set(api.asked) == {"recordings", "sessions"} | asked
    assert await watch.ask_in_s("s1") is None
    assert (await watch.ask_in_s("s2") or 0) > 0


async def test_sessions_that_go_on_or_are_old_are_left_alone(watch: Watch, api: Offers) -> None:
    api.page = 1
    api.ended = [
        session("live", status="LIVE"),
        session("odd", status="UNKNOWN"),
        session("old", ended_s_ago=WINDOW_S),
        session("older", ended_s_ago=WINDOW_S + HOUR),
        session("oldest", ended_s_ago=WINDOW_S + 2 * HOUR),
    ]

    await watch.once()

    assert await watch.ledger.rows("recordings") == []
    assert api.pages_read == 3


async def test_what_is_known_of_a_session_is_not_asked_for(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    known = session("s1")
    await heard(
        watch, "s1", file("s1", Kind.CHAT), status="ENDED", scope=Scope.SESSION, stopped_at=known.stopped_at
    )
    have(api, "s1", Kind.CHAT, Kind.TRANSCRIPT)

    await watch.once()

    assert api.asked == ["s1/transcript", "s1/summary"]
    assert await watch.artifacts() == ["s1/chat", "s1/transcript"]


@pytest.mark.parametrize(
    ("ended_s_ago", "again_in_s"),
    [(60, 900), (HOUR, 0.5 * HOUR), (DAY, 0.5 * DAY), (6 * DAY, 3 * DAY), (7 * DAY + 60, None)],
)
async def test_a_session_is_asked_for_ever_more_seldom_and_at_last_no_more(
    watch: Watch, api: Offers, ended_s_ago: float, again_in_s: float | None
) -> None:
    api.ended = [session("s1", ended_s_ago=ended_s_ago)]
    if again_in_s is not None:
        again_in_s = max(again_in_s, 900)

    await watch.once()

    found = await watch.ask_in_s("s1")
    assert found == (None if again_in_s is None else pytest.approx(again_in_s, rel=0.05, abs=30))
    assert api.asked.count("s1/chat") == 1


async def test_what_comes_late_of_a_session_is_found(watch: Watch, api: Offers) -> None:
    api.ended = [session("s1")]
    await watch.once()
    assert await watch.artifacts() == []

    have(api, "s1", Kind.SUMMARY)
    await watch.later()
    assert await watch.artifacts() == ["s1/summary"]

    have(api, "s1", Kind.CHAT, Kind.TRANSCRIPT)
    await watch.later()
    assert await watch.artifacts() == ["s1/chat", "s1/summary", "s1/transcript"]
    assert await watch.ask_in_s("s1") is None
    assert api.asked.count("s1/summary") == 2


async def test_of_sessions_only_the_kinds_that_are_wanted_are_asked_for(watch: Watch, api: Offers) -> None:
    watch.kinds = [Kind.VIDEO, Kind.TRANSCRIPT]
    api.ended = [session("s1")]
    have(api, "s1", Kind.CHAT, Kind.TRANSCRIPT)

    await watch.once()

    assert await watch.artifacts() == ["s1/transcript"]
    assert await watch.ask_in_s("s1") is None


async def test_recordings_are_asked_for_before_sessions(watch: Watch, api: Offers) -> None:
    watch.every_s = 0
    for number in range(120):
        known = Recording(f"s{number}", Provider.DYTE, "ENDED", Scope.SESSION, stopped_at=time.time())
        await watch.ledger.hear(Event("api", known))
    await heard(watch, "one")
    api.offer(video("one"))

    await watch.once()

    assert api.asked[:4].count("one") == 1
