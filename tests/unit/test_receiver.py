"""What the public port answers: 2xx for what is committed, 4xx for what is wrong, 503 for what is ours."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.apps import App
from service.model import Provider
from service.signature import PinnedKeys, load_keys
from tests.doubles.sender import Family, Sender
from tests.unit.announcements import body_of
from tests.unit.public_port import Answer, AwayKeys, PublicPort, Stage, receiving

LINK = "https://files.example.com/rec.mp4?X-Amz-Signature=abc"


@pytest.fixture
async def port(stage: Stage, ledger: Path, sender: Sender) -> AsyncIterator[PublicPort]:
    async with receiving(stage, ledger, sender) as port:
        yield port


@contextlib.contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    connection = sqlite3.connect(ledger, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()


# ---- taken


@pytest.mark.parametrize("family", ["dyte", "rtk"])
async def test_a_2xx_means_that_the_event_is_in_the_ledgers_file(
    port: PublicPort, sender: Sender, family: Family
) -> None:
    body = sender.uploaded("r1", LINK, family=family, audioDownloadUrl="https://files.example.com/rec.mp3")
    headers = sender.headers(body, family, delivery_id="d-1", webhook_id="w-1")
    assert await port.post(body, headers) == Answer(200, {"outcome": "announced", "recording_id": "r1"})
    provider = "dyte" if family == "dyte" else "realtimekit"
    assert port.rows("SELECT id, url, state FROM artifacts ORDER BY id") == [
        ("r1/audio", "https://files.example.com/rec.mp3", "waiting"),
        ("r1/video", LINK, "waiting"),
    ]
    assert port.rows("SELECT provider, delivery_id, webhook_id, status, outcome FROM deliveries") == [
        (provider, "d-1", "w-1", "UPLOADED", "announced")
    ]
    assert port.counted(provider=provider, event_name="recording.statusUpdate", outcome="announced") == 1
    assert len(port.announcements) == 1


async def test_the_same_delivery_many_times_at_once_is_one_artifact(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    answers = await asyncio.gather(*(port.deliver(sender, body) for _ in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert sorted(answer.fields["outcome"] for answer in answers) == ["announced"] + ["known"] * 19
    assert port.rows("SELECT id FROM artifacts") == [("r1/video",)]
    assert port.rows("SELECT count(*) FROM deliveries") == [(20,)]


async def test_events_that_carry_nothing_are_taken_and_counted(port: PublicPort, sender: Sender) -> None:
    answer = await port.deliver(sender, sender.event("meeting.ended", meeting={"id": "m1"}))
    assert answer == Answer(200, {"outcome": "ignored", "recording_id": None})
    assert port.counted(provider="dyte", event_name="other", outcome="ignored") == 1
    assert port.rows("SELECT event_name FROM deliveries") == [("meeting.ended",)]


async def test_statuses_that_are_not_documented_are_taken_and_counted(
    port: PublicPort, sender: Sender
) -> None:
    answer = await port.deliver(sender, sender.status("r1", "TRANSCODING"))
    assert answer == Answer(200, {"outcome": "ignored", "recording_id": "r1"})
    assert port.counted(provider="dyte", event_name="recording.statusUpdate", outcome="ignored") == 1


async def test_news_out_of_order_announces_the_file_once(port: PublicPort, sender: Sender) -> None:
    outcomes = [
        (await port.deliver(sender, body)).fields["outcome"]
        for body in (
            sender.status("r1", "RECORDING"),
            sender.uploaded("r1", LINK),
            sender.status("r1", "UPLOADING"),
            sender.uploaded("r1", LINK),
        )
    ]
    assert outcomes == ["noted", "announced", "known", "known"]
    assert port.rows("SELECT status FROM recordings") == [("UPLOADED",)]


async def test_only_subscriptions_that_were_named_are_accepted(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    async with receiving(stage, ledger, sender, apps=[App(webhook_ids=("w-1", "w-2"))]) as port:
        body = sender.uploaded("r1", LINK)
        assert (await port.post(body, sender.headers(body, webhook_id="w-9"))).status == 401
        without = sender.headers(body)
        del without["dyte-webhook-id"]
        assert (await port.post(body, without)).status == 401
        # The other family's id is not the one that counts.
        crossed = sender.headers(body, webhook_id="w-9") | {"rtk-webhook-id": "w-1"}
        assert (await port.post(body, crossed)).status == 401
        assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]
        assert (await port.post(body, sender.headers(body, webhook_id="w-2"))).status == 200


@pytest.mark.parametrize("good", ["dyte", "rtk"])
async def test_of_both_families_headers_the_one_that_holds_counts(
    port: PublicPort, sender: Sender, good: Family
) -> None:
    body = sender.uploaded("r1", LINK)
    bad: Family = "rtk" if good == "dyte" else "dyte"
    headers = sender.headers(body, good) | {f"{bad}-signature": sender.sign(b"else"), f"{bad}-uuid": "bad"}
    assert (await port.post(body, headers)).status == 200
    assert port.rows("SELECT provider, delivery_id FROM deliveries") == [
        ("dyte" if good == "dyte" else "realtimekit", headers[f"{good}-uuid"])
    ]


@pytest.mark.parametrize("away", list(Provider))
async def test_a_delivery_with_both_signatures_is_not_refused_while_one_key_is_away(
    stage: Stage, ledger: Path, sender: Sender, away: Provider
) -> None:
    keys = AwayKeys(away, inner=PinnedKeys(load_keys(Sender().public_pem)))
    async with receiving(stage, ledger, sender, keys=keys) as port:
        body = sender.uploaded("r1", LINK)
        headers = sender.headers(body, "dyte") | sender.headers(body, "rtk")
        assert (await port.post(body, headers)).status == 503


# ---- refused


async def test_a_delivery_that_is_not_signed_by_the_provider_is_401_and_leaves_nothing(
    port: PublicPort, sender: Sender
) -> None:
    body = sender.uploaded("r1", LINK)
    good = sender.headers(body)
    refused = [
        {"content-type": "application/json"},
        good | {"dyte-signature": ""},
        good | {"dyte-signature": "!"},
        good | {"dyte-signature": sender.sign(body + b" ")},
        good | {"dyte-signature": Sender().sign(body)},
        {"content-type": "application/json", "x-signature": good["dyte-signature"]},
    ]
    assert [(await port.post(body, headers)).status for headers in refused] == [401] * len(refused)
    assert (await port.post(b"not json at all", good)).status == 401
    assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]
    assert port.counted(provider="dyte", event_name="none", outcome="401") == 5
    assert port.counted(provider="none", event_name="none", outcome="401") == 2


async def test_the_same_news_in_other_bytes_is_refused(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    for other in (
        json.dumps(json.loads(body)).encode(),
        body + b"\n",
        json.dumps(json.loads(body), indent=1),
    ):
        raw = other if isinstance(other, bytes) else other.encode()
        assert (await port.post(raw, sender.headers(body))).status == 401


async def test_a_signed_body_that_is_malformed_is_400_and_names_the_field(
    port: PublicPort, sender: Sender
) -> None:
    for body, field in (
        (b"", "body"),
        (b"[]", "body"),
        (b'{"event":5}', "event"),
        (b'{"event":"recording.statusUpdate"}', "recording"),
        (body_of({"id": None, "recordingId": None}), "recording.id"),
        (body_of({"status": {}}), "recording.status"),
        (body_of({"downloadUrl": "file", "audioDownloadUrl": 1}), "recording.downloadUrl"),
    ):
        answer = await port.deliver(sender, body)
        assert (answer.status, answer.fields.get("field")) == (400, field)
    assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]


async def test_only_json_as_it_was_signed_is_supported(port: PublicPort, sender: Sender) -> None:
    body = sender.uploaded("r1", LINK)
    for name, value, status in (
        ("content-type", "application/json; charset=utf-8", 200),
        ("content-type", "Application/JSON", 200),
        ("content-type", "application/cloudevents+json", 200),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-encoding", "Identity", 200),
        ("content-encoding", "gzip", 415),
        ("content-encoding", "br", 415),
    ):
        assert (await port.post(body, sender.headers(body) | {name: value})).status == status, value


async def test_there_is_nothing_else_on_the_public_port(port: PublicPort, sender: Sender) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await port.request(method, "/webhook")).status == 405, method
    for path in (
        "/",
        "/metrics",
        "/readyz",
        "/api",
        "/docs",
        "/webhook/",
        "/webhooks",
        "/WEBHOOK",
    ):
        assert (await port.request("GET", path)).status == 404, path
        assert (await port.post(b"{}", sender.headers(b"{}"), path)).status == 404, path
    assert await port.request("GET", "/healthz") == Answer(200, {"status": "ok"})


# ---- ours


async def test_a_key_that_cannot_be_had_is_503_until_it_can(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    keys = AwayKeys(Provider.DYTE, inner=PinnedKeys(load_keys(sender.public_pem)))
    async with receiving(stage, ledger, sender, keys=keys) as port:
        body = sender.uploaded("r1", LINK)
        answer = await port.deliver(sender, body, "dyte")
        assert answer == Answer(503, {"error": "The provider's public key cannot be had now"})
        assert port.rows("SELECT count(*) FROM deliveries") == [(0,)]
        assert (await port.deliver(sender, body, "rtk")).status == 200


async def test_a_ledger_that_another_process_has_locked_is_503_and_200_once_it_is_free(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, ledger: Path, sender: Sender
) -> None:
    monkeypatch.setattr("service.ledger.engine._BUSY_TIMEOUT_MS", 20)
    async with receiving(stage, ledger, sender) as port:
        body = sender.uploaded("r1", LINK)
        with locked(ledger):
            answer = await port.deliver(sender, body)
        assert answer == Answer(503, {"error": "The ledger cannot be reached or written now"})
        assert port.rows("SELECT count(*) FROM artifacts") == [(0,)]
        assert (await port.deliver(sender, body)).status == 200


async def test_a_ledger_that_does_not_answer_in_time_is_503_before_the_provider_gives_up(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, ledger: Path, sender: Sender
) -> None:
    monkeypatch.setattr("service.receiver.ANSWER_S", 0.05)
    monkeypatch.setattr("service.ledger.engine._BUSY_TIMEOUT_MS", 500)
    async with receiving(stage, ledger, sender) as port:
        body = sender.uploaded("r1", LINK)
        with locked(ledger):
            answer = await port.deliver(sender, body)
        assert answer == Answer(503, {"error": "the delivery could not be stored in time"})
        assert port.rows("SELECT count(*) FROM artifacts") == [(0,)]
        monkeypatch.setattr("service.receiver.ANSWER_S", 2.0)
        assert (await port.deliver(sender, body)).status == 200


async def test_a_ledger_without_its_tables_is_503(stage: Stage, tmp_path: Path, sender: Sender) -> None:
    async with receiving(stage, tmp_path / "nothing.db", sender) as port:
        assert (await port.deliver(sender, sender.uploaded("r1", LINK))).status == 503


async def test_a_fault_of_ours_is_503_and_says_nothing_of_itself(
    monkeypatch: pytest.MonkeyPatch, port: PublicPort, sender: Sender
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret place")

    monkeypatch.setattr("service.receiver.parse", broken)
    assert await port.deliver(sender, b"{}") == Answer(503, {"error": "internal fault"})
