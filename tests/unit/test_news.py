"""Proves that who has work by news is told of it, and that what is lost is said."""

import pytest
from structlog.testing import capture_logs

from service.model import Artifact, Event, Kind, Provider, Recording, Scope
from service.news import News
from service.telemetry import Metrics

FILE = Artifact("one", Kind.VIDEO, "https://provider.example/one", "one.mp4")


def told(status: str, *files: Artifact, scope: Scope = Scope.RECORDING) -> tuple[list[str], Metrics]:
    """Whom an event wakes, and what is counted."""
    woken: list[str] = []
    metrics = Metrics()
    news = News(metrics, to_archive=lambda: woken.append("worker"), to_ask=lambda: woken.append("reconciler"))
    news(Event("event", Recording("one", Provider.DYTE, status, scope, app="ours"), files))
    return woken, metrics


def counted(metrics: Metrics) -> list[str]:
    """The statuses that were counted."""
    return [sample.labels["status"] for metric in metrics.recordings.collect() for sample in metric.samples]


@pytest.mark.parametrize(
    ("status", "files", "scope", "woken"),
    [
        ("UPLOADED", [FILE], Scope.RECORDING, ["worker"]),
        ("UPLOADED", [], Scope.RECORDING, ["reconciler"]),
        ("ENDED", [FILE], Scope.SESSION, ["worker"]),
        ("ENDED", [], Scope.SESSION, ["reconciler"]),
        ("RECORDING", [], Scope.RECORDING, []),
        ("ERRORED", [], Scope.RECORDING, []),
        ("LIVE", [], Scope.SESSION, []),
    ],
)
def test_who_has_work_by_it_is_told(
    status: str, files: list[Artifact], scope: Scope, woken: list[str]
) -> None:
    assert told(status, *files, scope=scope)[0] == woken


def test_a_process_that_does_neither_only_counts() -> None:
    metrics = Metrics()
    for files in ((), (FILE,)):
        News(metrics)(Event("event", Recording("one", Provider.DYTE, "UPLOADED"), files))
    assert metrics.recordings.labels("default", "UPLOADED")._value.get() == 2


def test_an_event_about_nothing_is_no_news() -> None:
    metrics = Metrics()
    News(metrics)(Event("meeting.started"))
    assert counted(metrics) == []


@pytest.mark.parametrize("status", ["INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED"])
def test_recordings_are_counted_by_app_and_status(status: str) -> None:
    _, metrics = told(status)
    assert metrics.recordings.labels("ours", status)._value.get() == 1


def test_sessions_are_no_recordings() -> None:
    _, metrics = told("ENDED", scope=Scope.SESSION)
    assert counted(metrics) == []


def test_a_recording_that_is_lost_is_an_error_in_the_log() -> None:
    lost = Recording(
        "one", Provider.DYTE, "ERRORED", app="ours", meeting_id="m1", title="Weekly", stop_reason="NO_MEDIA"
    )
    with capture_logs() as logs:
        News(Metrics())(Event("event", lost))

    assert logs == [
        {
            "event": "recording_errored",
            "log_level": "error",
            "app": "ours",
            "recording_id": "one",
            "meeting_id": "m1",
            "title": "Weekly",
            "reason": "NO_MEDIA",
        }
    ]


@pytest.mark.parametrize("status", ["UPLOADED", "PAUSED"])
def test_any_other_status_is_no_error(status: str) -> None:
    with capture_logs() as logs:
        told(status, FILE)
    assert logs == []
