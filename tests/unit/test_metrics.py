"""Proves that metrics follow Prometheus' conventions, are those of the README, and count what they say."""

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from service import __version__, errors
from service.apps import App
from service.choices import Order
from service.errors import StorageMismatch, StorageRefused, StorageThrottled, StorageUnavailable
from service.ledger.orders import Orders
from service.model import Kind
from service.signature import PinnedKeys, load_keys
from service.telemetry import Metrics, family_of
from tests.contract.ledgers import LATER
from tests.doubles.programs import find_program
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource
from tests.test_house import ROOT
from tests.unit.public_port import Stage, receiving, samples_in
from tests.unit.scene import MIB
from tests.unit.test_deadlines import Watch
from tests.unit.test_destination import Rig
from tests.unit.workshop import Workshop, config_of, workshop


def touched() -> Metrics:
    """Metrics with a series of each."""
    metrics = Metrics()
    for collector in vars(metrics).values():
        if names := getattr(collector, "_labelnames", ()):
            collector.labels(*names)
    return metrics


def told(metrics: Metrics) -> dict[str, float]:
    """Its samples, as Prometheus reads them."""
    return samples_in(generate_latest(metrics.registry).decode())


@pytest.fixture
async def shop(ledger: Path, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with (
        FaultySource() as source,
        workshop(ledger, tmp_path, source, routing=config_of(tmp_path, "main", "legal")) as shop,
    ):
        yield shop


def test_promtool_finds_nothing_against_them() -> None:
    promtool = find_program("promtool")
    if not promtool:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    for text in (generate_latest(touched().registry), generate_latest(Metrics().registry)):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    wrong = b"# TYPE waited_milliseconds counter\nwaited_milliseconds 1\n"
    done = subprocess.run([promtool, "check", "metrics"], input=wrong, capture_output=True, check=False)
    assert done.returncode != 0


def test_the_readme_has_each_with_its_labels_and_meaning() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = {
        name: (re.findall(r"\w+", labels), meaning)
        for name, labels, meaning in re.findall(
            r"^\| `(dyte_archiver_\w+)` \|(.*?)\| (.*) \|$", readme, re.MULTILINE
        )
    }
    known: dict[str, tuple[list[str], str]] = {}
    for family in touched().registry.collect():
        if family.name.startswith("dyte_archiver_"):
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = [label for label in family.samples[0].labels if label != "le"]
            known[name] = (labels, family.documentation.removesuffix("."))
    assert listed == known


def test_the_process_and_its_version_are_told() -> None:
    samples = told(Metrics())
    assert samples[f"dyte_archiver_build_info[('version', '{__version__}')]"] == 1
    assert samples["process_resident_memory_bytes[]"] > 0
    assert {"process_cpu_seconds_total[]", "process_open_fds[]"} <= samples.keys()
    assert not any("_created" in name for name in samples)


def test_what_alerts_look_at_is_there_before_anything_happens(sender: Sender) -> None:
    metrics = Metrics()
    metrics.begin(apps=["ours"], kinds=list(Kind), storages=["main"])
    samples = told(metrics)
    for kind in Kind:
        labels = [("app", "ours"), ("kind", kind.value), ("outcome", "expired")]
        assert samples[f"dyte_archiver_artifacts_total{labels}"] == 0
    for reason in ("StorageThrottled", "StorageRefused", "UploadLost"):
        labels = [("reason", reason), ("storage", "main")]
        assert samples[f"dyte_archiver_storage_failures_total{labels}"] == 0
    for reason in ("SourceRefused", "ProviderUnavailable", "StorageThrottled"):
        assert samples[f"dyte_archiver_retries_total{[('reason', reason)]}"] == 0
    assert samples["dyte_archiver_moved_bytes_total[('storage', 'main')]"] == 0
    assert samples["dyte_archiver_archive_seconds_count[('storage', 'main')]"] == 0


def test_an_error_is_called_by_its_family_and_what_is_not_ours_by_one_word() -> None:
    assert family_of(errors.UploadLost()) == "UploadLost"
    assert family_of(KeyError("what may be anything")) == "Fault"


# ---- deliveries


async def test_a_delivery_s_series_are_there_before_it_and_its_verifying_is_timed(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    keys = PinnedKeys(load_keys(sender.public_pem))
    async with receiving(stage, ledger, sender, keys=keys, apps=[App(name="ours")]) as port:
        about = [("app", "ours"), ("event_name", "recording.statusUpdate"), ("outcome", "noted")]
        series = f"dyte_archiver_deliveries_total{[*about, ('provider', 'dyte')]}"
        assert told(port.metrics)[series] == 0
        body = sender.status("one", "RECORDING")
        assert (await port.deliver(sender, body)).status == 200
        assert (await port.post(body, sender.headers(b"another"))).status == 401
        assert (await port.post(body, {"content-type": "application/json"})).status == 401
        samples = told(port.metrics)
    assert samples[series] == 1
    assert samples["dyte_archiver_verification_seconds_count[]"] == 2, "the third had nothing to verify"
    assert samples["dyte_archiver_verification_seconds_sum[]"] > 0


# ---- storages


async def test_bytes_and_seconds_are_those_of_each_storage(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO, size=2 * MIB + 5), shop.file(Kind.AUDIO, size=100))
    await shop.work()
    samples = told(shop.metrics)
    for storage in ("main", "legal"):
        of = [("storage", storage)]
        assert samples[f"dyte_archiver_moved_bytes_total{of}"] == 2 * MIB + 105
        assert samples[f"dyte_archiver_archive_seconds_count{of}"] == 2
        assert samples[f"dyte_archiver_storage_request_seconds_count{of}"] >= 2 + 3


async def test_what_fails_in_a_storage_is_counted_there_by_its_family(shop: Workshop) -> None:
    shop["main"].answers["put"] = [StorageRefused("no such bucket")]
    await shop.hear(shop.file(Kind.VIDEO))
    await shop.work()
    samples = told(shop.metrics)
    refused = [("reason", "StorageRefused"), ("storage", "main")]
    assert samples[f"dyte_archiver_storage_failures_total{refused}"] == 1
    assert samples[f"dyte_archiver_retries_total{refused[:1]}"] == 1
    assert not any("'legal'" in name and "failures" in name for name in samples)


async def test_a_manifest_that_fails_is_a_failure_of_its_storage(shop: Workshop) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    shop["main"].answers["put"] = [None, StorageMismatch("another")]
    await shop.work()
    mismatch = [("reason", "StorageMismatch"), ("storage", "main")]
    assert told(shop.metrics)[f"dyte_archiver_storage_failures_total{mismatch}"] == 1


async def test_requests_that_are_sent_again_are_counted_and_those_answered_timed() -> None:
    rig, metrics = Rig(), Metrics()
    rig.destination._metrics = metrics
    await rig.ask(StorageUnavailable(), StorageThrottled(), StorageThrottled(), "done")
    samples = told(metrics)
    counted = {
        reason: samples[f"dyte_archiver_repeated_requests_total{[('reason', reason), ('storage', 'main')]}"]
        for reason in ("StorageUnavailable", "StorageThrottled")
    }
    assert counted == {"StorageUnavailable": 1, "StorageThrottled": 2}
    assert samples["dyte_archiver_storage_request_seconds_count[('storage', 'main')]"] == 1


async def test_a_recording_s_own_folder_makes_no_series_of_its_own(shop: Workshop) -> None:
    destination = await shop.opened("main//calls of 2026")
    assert destination is not None
    destination.failed(StorageRefused())
    refused = [("reason", "StorageRefused"), ("storage", "main")]
    assert told(shop.metrics)[f"dyte_archiver_storage_failures_total{refused}"] == 1


# ---- the backlog


@pytest.fixture
async def watch(shop: Workshop) -> Watch:
    return Watch(shop.ledger)


async def test_the_backlog_is_told_by_state_and_by_who_waits_longest(shop: Workshop, watch: Watch) -> None:
    for name in ("waiting", "retrying", "paused", "moving", "done"):
        await shop.hear(shop.file(Kind.VIDEO, id=name, name=f"{name}.mp4"))
    await shop.hear(shop.file(Kind.VIDEO, id="stored"), shop.file(Kind.AUDIO, id="stored"))
    claims = {claim.id: claim for claim in await shop.ledger.work().claim(20)}
    await shop.ledger.work().release([claims["waiting/video"], claims["paused/video"]])
    await shop.ledger.work().try_later(claims["retrying/video"], LATER)
    for name in ("done/video", "stored/audio"):
        await shop.attempt(claims[name])
    await shop.ledger.work().release([claims["stored/video"]])
    await Orders(shop.ledger.database).give(Order.PAUSE, "paused", actor="me")

    await watch.look()
    samples = told(watch.metrics)

    states = ("waiting", "retrying", "paused", "moving", "stored")
    counts = {state: samples[f"dyte_archiver_backlog_artifacts{[('state', state)]}"] for state in states}
    # Of `stored` the video waits, and its audio for it.
    assert counts == {"waiting": 2, "retrying": 1, "paused": 1, "moving": 1, "stored": 1}
    assert 0 < samples["dyte_archiver_oldest_waiting_seconds[]"] < 600


async def test_where_all_is_archived_or_paused_nothing_waits(shop: Workshop, watch: Watch) -> None:
    await shop.hear(shop.file(Kind.VIDEO, id="paused"))
    await Orders(shop.ledger.database).give(Order.PAUSE, "paused", actor="me")
    await shop.hear(shop.file(Kind.VIDEO, id="done"))
    await shop.work()
    await watch.look()
    assert told(watch.metrics)["dyte_archiver_oldest_waiting_seconds[]"] == 0


async def test_every_process_tells_the_same_backlog(shop: Workshop, watch: Watch) -> None:
    await shop.hear(shop.file(Kind.VIDEO))
    other = Watch(shop.ledger, "another")
    for each in (watch, other):
        await each.look()
    series = f"dyte_archiver_backlog_artifacts{[('state', 'waiting')]}"
    assert told(watch.metrics)[series] == told(other.metrics)[series] == 1
