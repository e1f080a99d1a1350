"""Proves when there are traces, that all processes agree on a recording's, what is in one and what is not."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.errors import SettingsError, SourceGone, StorageRefused
from service.model import Artifact, Event, Kind, Provider, Recording
from service.tracing import Tracing, committing, open_tracing, step
from tests.doubles.collector import Collector
from tests.doubles.source import FaultySource
from tests.unit.workshop import Workshop, config_of, workshop

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
NEWS = Event(
    "recording.statusUpdate",
    Recording("one", Provider.DYTE, "UPLOADED"),
    (Artifact("one", Kind.VIDEO, "https://h/one.mp4", "one.mp4"),),
)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where this process sends its spans."""
    level = logging.getLogger("opentelemetry").level
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
        yield collector
    logging.getLogger("opentelemetry").setLevel(level)


def opened() -> Tracing:
    """The tracing of one process."""
    import os

    tracing = open_tracing(os.environ, version="1.2.3")
    assert tracing is not None
    return tracing


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "archiver", "OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "True"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_where_nobody_asks_there_are_none(environ: dict[str, str]) -> None:
    assert open_tracing(environ, version="1") is None
    with step(None, "complete", storage="main"), committing(None, NEWS, None, (0.0, 0.0, 0.0)):
        pass


def test_another_protocol_is_refused_with_what_to_mend() -> None:
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL") as refused:
        open_tracing({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, version="1")
    assert "4318" in refused.value.mend


async def test_the_more_special_variable_counts(collector: Collector) -> None:
    both = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    tracing = open_tracing({**ENDPOINT, **both}, version="1")
    assert tracing is not None
    await tracing.close()


def test_a_variable_that_cannot_be_read_is_an_error_of_one_line(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(SettingsError, match="OpenTelemetry"):
        opened()


async def test_headers_that_are_none_are_not_told(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer a-secret")
    await opened().close()
    assert "a-secret" not in caplog.text


async def test_every_process_gives_a_recording_the_same_trace_and_others_another(
    collector: Collector,
) -> None:
    first, second = opened(), opened()
    assert first.trace_id("one") == second.trace_id("one") != first.trace_id("two")
    for tracing in (first, second):
        with tracing.job("try", "one"):
            await asyncio.sleep(0)
        await tracing.close()
    assert {span.trace_id for span in collector.spans} == {first.trace_id("one")}
    assert len({span.parent_id for span in collector.spans}) == 1
    assert len({span.span_id for span in collector.spans}) == 2
    assert {span.of["service.name"] for span in collector.spans} == {"dyte-archiver"}
    assert {span.of["service.version"] for span in collector.spans} == {"1.2.3"}


@pytest.mark.parametrize(("share", "least", "most"), [("0", 0, 0), ("0.5", 60, 140), ("1", 200, 200)])
async def test_a_share_of_the_recordings_is_traced_whole(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, share: str, least: int, most: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    tracing = opened()
    for number in range(200):
        with tracing.job("try", f"recording {number}"), tracing.step("complete"):
            pass
        whole = Recording(f"recording {number}", Provider.DYTE, "UPLOADED")
        tracing.archived(whole, began_at=time.time())
    await tracing.close()
    names = {
        name: {span.trace_id for span in collector.named(name)} for name in ("try", "complete", "recording")
    }
    assert names["try"] == names["complete"] == names["recording"]
    assert least <= len(names["try"]) <= most


@pytest.mark.parametrize(
    ("traceparent", "linked"),
    [
        (f"00-{'ab' * 16}-{'cd' * 8}-01", ("ab" * 16,)),
        ("nonsense", ()),
        (f"00-{'0' * 32}-{'cd' * 8}-01", ()),
        (None, ()),
    ],
)
async def test_who_delivers_is_linked_and_not_the_parent(
    collector: Collector, traceparent: str | None, linked: tuple[str, ...]
) -> None:
    tracing, now = opened(), time.monotonic()
    with committing(tracing, NEWS, traceparent, (now - 3.0, now - 2.0, now - 1.0)):
        pass
    await tracing.close()
    (delivery,) = collector.named("delivery")
    assert (delivery.trace_id, delivery.links) == (tracing.trace_id("one"), linked)
    (verify,) = collector.named("verify")
    assert verify.ended_at - verify.began_at == pytest.approx(1.0, abs=0.01)
    assert delivery.began_at == pytest.approx(verify.began_at - 1.0, abs=0.01)


async def test_a_delivery_that_is_not_committed_has_failed_and_news_without_files_is_none(
    collector: Collector,
) -> None:
    tracing = opened()
    with pytest.raises(KeyError), committing(tracing, NEWS, None, (0.0, 0.0, 0.0)):
        raise KeyError("what it says is not sent")
    with committing(tracing, Event("recording.statusUpdate", NEWS.recording), None, (0.0, 0.0, 0.0)):
        pass
    await tracing.close()
    (delivery,) = collector.named("delivery")
    assert delivery.is_failed
    assert delivery.facts["error.type"] == "KeyError"
    assert b"what it says" not in b"".join(collector.bodies)


async def test_steps_are_within_the_span_that_is_open_in_their_own_task(collector: Collector) -> None:
    tracing = opened()

    async def one(name: str) -> None:
        with tracing.job("try", name):
            await asyncio.sleep(0)
            with tracing.step("complete", storage=name):
                await asyncio.sleep(0)

    await asyncio.gather(one("one"), one("two"))
    await tracing.close()
    tries = {span.trace_id: span.span_id for span in collector.named("try")}
    assert len(tries) == 2
    for span in collector.named("complete"):
        assert span.parent_id == tries[tracing.trace_id(span.facts["dyte_archiver.storage"])]


# ---- of files


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path, collector: Collector) -> AsyncIterator[tuple[Workshop, Tracing]]:
    tracing, both = opened(), config_of(tmp_path, "main", "legal")
    async with (
        FaultySource() as source,
        workshop(ledger, tmp_path, source, routing=both, tracing=tracing) as shop,
    ):
        yield shop, tracing


async def test_each_copy_has_its_transfer_and_the_whole_is_told_once(
    shop: tuple[Workshop, Tracing], collector: Collector
) -> None:
    moves, tracing = shop
    moves["legal"].answers["put"] = [StorageRefused("no such bucket")]
    await moves.hear(moves.file(Kind.VIDEO))
    await moves.work()
    await moves.due_now()
    await moves.work()
    await moves.hear(moves.file(Kind.AUDIO))
    await moves.work()
    await tracing.close()
    transfers = [
        (span.facts["dyte_archiver.storage"], span.is_failed) for span in collector.named("transfer")
    ]
    audio = [("legal", False), ("main", False)]
    assert sorted(transfers) == sorted([*audio, ("legal", True), ("main", False), ("legal", False)])
    assert len(collector.named("write manifest")) >= 4
    assert len(collector.named("recording")) == 1


async def test_what_is_given_up_and_tried_again_is_told_by_families_alone(
    shop: tuple[Workshop, Tracing], collector: Collector
) -> None:
    moves, tracing = shop
    await moves.hear(moves.file(Kind.VIDEO))
    moves.source["one-video"].fail(status=404)
    await moves.work()
    await tracing.close()
    (tried,) = collector.named("try")
    assert tried.facts["error.type"] == SourceGone.__name__
    assert tried.facts["dyte_archiver.outcome"] == "failed"
    (opening,) = collector.named("open source")
    assert opening.is_failed
    told = json.dumps([dict(span.facts) for span in collector.spans])
    assert "://" not in told
    assert "404" not in told
