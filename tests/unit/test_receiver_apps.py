"""Proves that a delivery is taken for the organisation or app whose it is, of several in one deployment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.apps import App
from service.model import Provider
from service.receiver import KeyRing
from service.signature import PinnedKeys, load_keys
from tests.doubles.sender import MEETING_ID, ORGANIZATION_ID, SESSION_ID, Family, Sender
from tests.unit.public_port import AwayKeys, PublicPort, Stage, receiving

LINK = "https://files.example.com/rec.mp4?X-Amz-Signature=abc"


@pytest.fixture(scope="module")
def another() -> Sender:
    return Sender()


def ring(sender: Sender) -> PinnedKeys:
    return PinnedKeys(load_keys(sender.public_pem))


def owners(port: PublicPort) -> dict[str, str]:
    """Whose every recording and session is, as the ledger says; deliveries say the same."""
    return dict(port.rows("SELECT id, app FROM recordings"))


async def test_the_key_that_signed_tells_whose_it_is(
    stage: Stage, ledger: Path, sender: Sender, another: Sender
) -> None:
    senders: Mapping[KeyRing, Sequence[App]] = {
        ring(sender): [App("staging")],
        ring(another): [App("production")],
    }
    async with receiving(stage, ledger, sender, senders=senders) as port:
        assert (await port.deliver(sender, sender.uploaded("r1", LINK))).status == 200
        assert (await port.deliver(another, sender.uploaded("r2", LINK), "rtk")).status == 200
        assert (await port.deliver(Sender(), sender.uploaded("r3", LINK))).status == 401

        assert owners(port) == {"r1": "staging", "r2": "production"}
        assert sorted(port.rows("SELECT recording_id, app FROM deliveries")) == [
            ("r1", "staging"),
            ("r2", "production"),
        ]
        assert port.counted(app="staging", outcome="announced") == 1
        assert port.counted(app="production", outcome="announced") == 1
        assert port.counted(app="none", outcome="401") == 1


async def test_a_key_that_is_away_keeps_nothing_from_those_signed_by_another(
    stage: Stage, ledger: Path, sender: Sender, another: Sender
) -> None:
    senders: Mapping[KeyRing, Sequence[App]] = {
        AwayKeys(*Provider, inner=ring(sender)): [App("staging")],
        ring(another): [App("production")],
    }
    async with receiving(stage, ledger, sender, senders=senders) as port:
        assert (await port.deliver(another, sender.uploaded("r1", LINK))).status == 200
        # That one may be the other's: it cannot be judged now.
        assert (await port.deliver(sender, sender.uploaded("r2", LINK))).status == 503

        assert owners(port) == {"r1": "production"}


async def test_of_one_key_the_webhook_id_tells_whose_it_is(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    apps = [App("a", webhook_ids=("w-1", "w-2")), App("b", webhook_ids=("w-3",))]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        for number, webhook_id in enumerate(("w-3", "w-1", "w-2", "w-4")):
            body = sender.uploaded(f"r{number}", LINK)
            answer = await port.post(body, sender.headers(body, webhook_id=webhook_id))
            assert answer.status == (401 if webhook_id == "w-4" else 200)

        assert owners(port) == {"r0": "b", "r1": "a", "r2": "a"}


async def test_a_webhook_id_that_nobody_names_is_for_the_app_that_names_none(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    apps = [App("named", webhook_ids=("w-1",)), App("rest")]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        for name, webhook_id in (("r1", "w-1"), ("r2", "w-2")):
            body = sender.uploaded(name, LINK)
            assert (await port.post(body, sender.headers(body, webhook_id=webhook_id))).status == 200

        assert owners(port) == {"r1": "named", "r2": "rest"}


async def test_the_webhook_id_counts_before_the_organisation(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    apps = [
        App("a", webhook_ids=("w-1",), organization_id="other"),
        App("b", organization_id=ORGANIZATION_ID),
    ]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        body = sender.uploaded("r1", LINK)
        assert (await port.post(body, sender.headers(body, webhook_id="w-1"))).status == 200

        assert owners(port) == {"r1": "a"}


async def test_of_one_key_the_organisation_tells_whose_it_is(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    apps = [App("other", organization_id="other"), App("ours", organization_id=ORGANIZATION_ID)]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        await port.deliver(sender, sender.uploaded("r1", LINK))
        await port.deliver(sender, sender.uploaded("r2", LINK, organizationId="other"))
        # Also a session's, whose organisation stands elsewhere.
        await port.deliver(sender, sender.chat_synced(LINK))

        assert owners(port) == {"r1": "ours", "r2": "other", SESSION_ID: "ours"}


async def test_an_organisation_that_nobody_names_is_for_the_app_that_names_none(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    apps = [App("rest"), App("other", organization_id="other")]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        with capture_logs() as logs:
            await port.deliver(sender, sender.uploaded("r1", LINK))
            await port.deliver(sender, sender.uploaded("r2", LINK, organizationId="other"))

        assert owners(port) == {"r1": "rest", "r2": "other"}
        assert [line for line in logs if line["event"] == "app_unclear"] == []


async def test_what_cannot_be_told_is_taken_and_said(stage: Stage, ledger: Path, sender: Sender) -> None:
    apps = [App("first", organization_id="o-1"), App("second", organization_id="o-2")]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        with capture_logs() as logs:
            assert (await port.deliver(sender, sender.uploaded("r1", LINK))).status == 200
            # What carries nothing is nobody's in particular.
            assert (await port.deliver(sender, sender.event("meeting.ended"))).status == 200

        assert owners(port) == {"r1": "first"}
        (line,) = [line for line in logs if line["event"] == "app_unclear"]
        assert (line["organization_id"], line["taken_for"]) == (ORGANIZATION_ID, "first")


@pytest.mark.parametrize(("family", "expected"), [("dyte", "at dyte"), ("rtk", "at cloudflare")])
async def test_of_one_ring_of_both_providers_keys_the_family_tells_whose_it_is(
    stage: Stage, ledger: Path, sender: Sender, family: Family, expected: str
) -> None:
    apps = [App("at cloudflare", Provider.REALTIMEKIT), App("at dyte", Provider.DYTE)]
    async with receiving(stage, ledger, sender, apps=apps) as port:
        await port.deliver(sender, sender.uploaded("r1", LINK, family=family), family)

        assert owners(port) == {"r1": expected}


@pytest.mark.parametrize("provider", [*Provider, None])
async def test_a_single_app_takes_deliveries_of_either_family(
    stage: Stage, ledger: Path, sender: Sender, provider: Provider | None
) -> None:
    async with receiving(stage, ledger, sender, apps=[App("only", provider)]) as port:
        await port.deliver(sender, sender.uploaded("r1", LINK), "dyte")
        await port.deliver(sender, sender.uploaded("r2", LINK, family="rtk"), "rtk")

        assert owners(port) == {"r1": "only", "r2": "only"}


@pytest.mark.parametrize("family", ["dyte", "rtk"])
async def test_what_a_session_leaves_behind_is_one_sessions(
    stage: Stage, ledger: Path, sender: Sender, family: Family
) -> None:
    async with receiving(stage, ledger, sender, apps=[App("ours")]) as port:
        answers = [
            await port.deliver(sender, body, family)
            for body in (
                sender.chat_synced(f"{LINK}&chat", family=family),
                sender.finished("transcript", f"{LINK}&transcript", family=family),
                sender.finished("summary", f"{LINK}&summary", family=family),
            )
        ]

        assert [answer.fields for answer in answers] == [
            {"outcome": "announced", "session_id": SESSION_ID}
        ] * 3
        assert port.rows("SELECT id, scope, app, meeting_id FROM recordings") == [
            (SESSION_ID, "session", "ours", MEETING_ID)
        ]
        assert port.rows("SELECT id FROM artifacts ORDER BY id") == [
            (f"{SESSION_ID}/{kind}",) for kind in ("chat", "summary", "transcript")
        ]
        for name in ("meeting.chatSynced", "meeting.transcript", "meeting.summary"):
            assert port.counted(app="ours", event_name=name, outcome="announced") == 1
        assert len(port.announcements) == 3


async def test_an_announcement_names_its_app(stage: Stage, ledger: Path, sender: Sender) -> None:
    async with receiving(stage, ledger, sender, apps=[App("ours")]) as port:
        await port.deliver(sender, sender.uploaded("r1", LINK))
        await port.deliver(sender, sender.status("r2", "ERRORED"))
        await port.deliver(sender, sender.status("r2", "ERRORED"))

        told = [event.recording for event in port.announcements]
        assert [(one.id, one.app) for one in told if one] == [("r1", "ours"), ("r2", "ours")]
