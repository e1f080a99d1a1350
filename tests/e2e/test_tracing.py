"""Proves that a recording's way from the delivery to the manifest is one trace, over several processes."""

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.doubles.collector import Collector
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment
from tests.e2e.test_roles import libraries

MIB = 1024 * 1024
SENDERS = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "a-secret-that-nobody-may-see"
STEPS = {"delivery", "verify", "commit", "try", "open source", "transfer", "complete", "write manifest"}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where the processes that a test starts send their spans."""
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield collector


def deliver(deployment: Deployment, sender: Sender, body: bytes) -> None:
    """A delivery from somebody who traces too."""
    traceparent = {"traceparent": f"00-{SENDERS}-00f067aa0ba902b7-01"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{deployment.port}/webhook", body, sender.headers(body) | traceparent
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def whole(collector: Collector) -> bool:
    """Whether the spans of one trace have come, and every one's parent too."""
    there = {span.span_id for span in collector.spans}
    names = {span.name for span in collector.spans}
    return names >= STEPS | {"recording"} and all(
        span.parent_id in there for span in collector.spans if span.name != "recording"
    )


def test_one_trace_from_the_delivery_to_the_manifest_over_two_processes(
    tmp_path: Path, sender: Sender, postgres_url: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles: dict[str, Deployment] = {}
    for role in ("receiver", "worker"):
        (tmp_path / role).mkdir()
        roles[role] = Deployment(
            tmp_path / role,
            sender,
            role=role,
            database_url=postgres_url,
            storage_config={"type": "local", "path": str(tmp_path / "archive")},
        )
    receiver, worker = roles.values()
    with threaded(FaultySource()) as source:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "archiver-receivers")
        receiver.start()
        monkeypatch.setenv("OTEL_SERVICE_NAME", "archiver-workers")
        worker.start()
        try:
            link = f"{source.add('one.mp4', 20 * MIB)}?X-Amz-Signature={SECRET}"
            deliver(receiver, sender, sender.uploaded("one", link, size=20 * MIB))
            worker.wait_until(lambda: whole(collector))
            assert receiver.stop() == 0
            assert worker.stop() == 0
        finally:
            receiver.kill()
            worker.kill()

    spans = {span.name: span for span in collector.spans}
    root = spans["recording"]
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert root.parent_id == ""
    ids = {span.span_id: span.name for span in collector.spans}
    parents = {span.name: ids[span.parent_id] for span in collector.spans if span is not root}
    assert parents == {
        "delivery": "recording",
        "verify": "delivery",
        "commit": "delivery",
        "try": "recording",
        "open source": "try",
        "transfer": "try",
        "complete": "try",
        "write manifest": "try",
    }
    services = {span.name: span.of["service.name"] for span in collector.spans}
    assert {services[name] for name in ("delivery", "verify", "commit")} == {"archiver-receivers"}
    assert {services[name] for name in ("try", "transfer", "write manifest", "recording")} == {
        "archiver-workers"
    }
    assert spans["delivery"].links == (SENDERS,)
    assert spans["transfer"].facts["dyte_archiver.parts"] == 4
    assert not any(span.is_failed for span in collector.spans)
    order = [spans[name] for name in ("verify", "commit", "open source", "complete", "write manifest")]
    assert all(a.began_at <= b.began_at for a, b in pairwise(order))
    # The log is found by the trace, and the trace by the log.
    (answered,) = receiver.lines("delivery_answered")
    (archived,) = worker.lines("artifact_archived")
    assert {answered["trace_id"], archived["trace_id"]} == {root.trace_id}
    # Neither links nor secrets.
    sent = b"".join(collector.bodies)
    for secret in (SECRET, "://", "X-Amz"):
        assert secret.encode() not in sent
    assert SECRET not in receiver.log.read_text() + worker.log.read_text()
    assert collector.paths == {"/v1/traces"}


def test_a_try_that_fails_is_a_span_that_fails_and_a_collector_that_is_away_keeps_nobody(
    tmp_path: Path, sender: Sender, collector: Collector
) -> None:
    deployment = Deployment(tmp_path, sender)
    with threaded(FaultySource()) as source, deployment.running():
        gone = sender.uploaded("gone", source.add("gone.mp4", 1000, status=404), size=1000)
        deployment.hand_over(gone)
        deployment.wait_until(lambda: any(span.name == "try" for span in collector.spans))
        (failed, *_) = collector.named("try")
        assert failed.is_failed
        assert failed.facts["error.type"] == "SourceGone"
        assert failed.facts["dyte_archiver.outcome"] == "failed"
        collector.status = 503
        deployment.hand_over(sender.uploaded("two", source.add("two.mp4", 1000), size=1000))
        deployment.wait_until(lambda: ("two", "default") in deployment.archived)
        assert deployment.stop() == 0
    assert "Traceback" not in deployment.log.read_text()


def test_where_nobody_asks_for_traces_nothing_of_them_is_loaded(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender)
    with deployment.running():
        assert "google/_upb" not in libraries(deployment.pid)
    imported = "import service.serve, service.assembly, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "service.tracing" in loaded
    assert not any(
        re.match(r"opentelemetry|google\.protobuf|service\.tracing\.spans", name) for name in loaded
    )


def test_without_the_packages_the_extra_is_named(
    tmp_path: Path, sender: Sender, collector: Collector
) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    deployment = Deployment(tmp_path, sender)
    done = deployment.command("serve", timeout_s=30)
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces" in done.stderr
    assert "pip install 'dyte-archiver[tracing]'" in done.stderr
    assert "Traceback" not in done.stderr
