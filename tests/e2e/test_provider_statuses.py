"""Recordings of which there is no file, and news in any order: what is told of them, once."""

from pathlib import Path

from tests.doubles.provider import ProviderDouble
from tests.e2e.at_provider import answers, assert_nothing_leaks, at, manifests, subscribe, taken

NEWS = "dyte_archiver_recordings_total"


def test_a_recording_that_errored_is_told_once_however_it_becomes_known_and_how_often(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = at(account, tmp_path, reconcile_minutes=0.02)
    subscribe(account, deployment)
    account.add_recording("by-api", status="ERRORED", title="Never announced")
    delivered = account.add_recording("by-delivery", status="RECORDING", title="Announced twice")
    with deployment.running():
        deployment.wait_until(lambda: len(deployment.lines("reconciled")) == 1)
        assert answers(delivered.run("ERRORED")) == [200]
        taken(account.announce, delivered)
        assert deployment.metric(NEWS, app="default", status="ERRORED") == 2
        status = deployment.told("status")
        assert deployment.stop() == 0
    assert "recordings without a file: 2 errored" in status
    assert "there is no file: by-api (Never announced)" in status
    assert "there is no file: by-delivery (Announced twice)" in status
    with deployment.running():
        deployment.wait_until(lambda: len(deployment.lines("reconciled")) == 2)
        taken(account.announce, delivered)
        assert deployment.metric(NEWS, status="ERRORED") == 0, "the process before has told it"
        assert deployment.told("status").count("there is no file") == 2
    told = deployment.lines("recording_errored")
    assert sorted(line["recording_id"] for line in told) == ["by-api", "by-delivery"]
    assert {(line["level"], line["app"]) for line in told} == {("error", "default")}
    assert not (tmp_path / "archive").exists() or not list((tmp_path / "archive").iterdir())
    assert_nothing_leaks(deployment, account, told=status)


def test_what_the_provider_gave_to_the_customers_own_bucket_alone_is_told_and_waited_for_no_more(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.realtimekit()
    deployment = at(account, tmp_path, reconcile_minutes=600)
    subscribe(account, deployment)
    account.add_recording("by-api", provider_bucket=False)
    delivered = account.add_recording("by-delivery", status="UPLOADING", provider_bucket=False)
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("reconciled")))
        assert answers(delivered.run("UPLOADED")) == [200]
        deployment.wait_until(lambda: len(deployment.lines("recording_not_offered")) == 2)
        taken(account.announce, delivered)
        status = deployment.told("status")
    assert "recordings without a file: 2 not offered" in status
    assert "Nothing is to be archived yet" in status
    not_offered = [line["recording_id"] for line in deployment.lines("recording_not_offered")]
    assert sorted(not_offered) == ["by-api", "by-delivery"]
    assert sum(asked.path == "/recordings/by-delivery" for asked in provider.requests) == 1
    assert_nothing_leaks(deployment, account)


def test_news_in_the_wrong_order_changes_nothing_that_is_known_better(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = at(account, tmp_path, reconcile_minutes=0)

    def bodies(name: str, *statuses: str) -> list[bytes]:
        recording = account.add_recording(name, status="INVOKED", size=4_000, output_file_name=f"{name}.mp4")
        found = []
        for status in statuses:
            recording.become(status)
            found.append(account.body(recording))
        return found

    invoked, recording, paused, uploading, errored, uploaded = bodies(
        "whole", "INVOKED", "RECORDING", "PAUSED", "UPLOADING", "ERRORED", "UPLOADED"
    )
    account.recordings["whole"].become("UPLOADED")
    begun, held = bodies("held", "INVOKED", "PAUSED")
    with deployment.running():
        for body in (uploaded, errored, paused, recording, uploading, invoked, uploaded, held, begun):
            deployment.hand_over(body)
        deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
        status = deployment.told("status")
        counts = {name: deployment.metric(NEWS, status=name) for name in ("UPLOADED", "ERRORED", "PAUSED")}
        assert deployment.metric(NEWS) == 2, "what is older than what is known is no news"
    assert counts == {"UPLOADED": 1, "ERRORED": 0, "PAUSED": 1}
    assert "recordings without a file: 1 paused" in status
    assert "1 archived" in status
    assert deployment.lines("recording_errored") == []
    assert list(manifests(tmp_path / "archive")) == ["whole.mp4.json"]
    assert len(account.recordings["whole"].file("video").served.requests) == 1
    assert provider.requests == []
    assert_nothing_leaks(deployment, account)
