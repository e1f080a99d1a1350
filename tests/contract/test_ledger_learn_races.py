"""Proves on both databases that batches from the API, deliveries and workers do not block each other."""

import asyncio
from dataclasses import replace

import pytest

from service.errors import LedgerUnavailable
from service.ledger import Intake
from service.ledger.intake import Outcome
from service.model import Artifact, Event, Kind, Provider, Recording
from tests.contract.ledgers import FAR, Ledger, news, opened


async def learn(ledger: Ledger, *events: Event) -> list[Outcome]:
    """Take in what the API says, as one batch."""
    return await Intake(ledger.database).learn(events)


def tracks(id: str) -> Event:  # noqa: A002 - the provider's own word
    """A recording of 20 tracks, not in the order of their names."""
    names = [f"peer-{n:02}.webm" for n in reversed(range(20))]
    return Event(
        "api",
        Recording(id, Provider.DYTE, "UPLOADED"),
        tuple(Artifact(id, Kind.TRACK, f"https://h/{each}", each, None, FAR, each) for each in names),
    )


async def test_a_batch_is_there_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    good = news(Kind.VIDEO, id="r1")
    assert good.recording is not None
    # No database takes such a text.
    bad = Event("api", replace(good.recording, id="r2", title="a\ud800"))

    with pytest.raises((LedgerUnavailable, UnicodeEncodeError)):
        await learn(ledger, good, bad)

    assert not any((await ledger.everything()).values())
    assert await learn(ledger, good) == [Outcome.ANNOUNCED]


async def test_batches_and_deliveries_of_the_same_at_once_end_the_same(
    ledger: Ledger, ledger_url: str
) -> None:
    known = [news(Kind.VIDEO, Kind.AUDIO, id=f"r{n:02}", title="Weekly") for n in range(20)]
    async with opened(ledger_url) as other, opened(ledger_url) as third:
        outcomes = await asyncio.gather(
            learn(ledger, *known),
            learn(other, *reversed(known)),
            *(third.hear(event) for event in known),
        )

    heard = [outcome for (outcome,) in outcomes[2:]]
    told = zip(outcomes[0], reversed(outcomes[1]), heard, strict=True)
    assert [each.count(Outcome.ANNOUNCED) for each in told] == [1] * 20
    artifacts = await ledger.rows("artifacts")
    assert len(artifacts) == 40
    assert {(row["state"], row["attempts"], row["url"]) for row in artifacts} == {
        ("waiting", 0, f"https://provider.example/first/{kind}") for kind in ("audio", "video")
    }


async def test_claims_that_are_given_back_do_not_wait_for_a_batch_that_waits_for_them(
    ledger: Ledger, ledger_url: str
) -> None:
    known = [tracks(f"r{n}") for n in range(4)]
    await learn(ledger, *known)
    work = ledger.work()
    async with opened(ledger_url) as other:
        for _ in range(2):
            claims = await work.claim(80)
            assert len(claims) == 80
            given_back = work.release(sorted(claims, key=lambda claim: claim.id, reverse=True))
            await asyncio.gather(given_back, learn(other, *known))
