"""What becomes of recordings without a file, whose they are, and where their own config sends them."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.provider import Account, ProviderDouble, threaded
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.e2e.at_provider import taken
from tests.e2e.deployment import Deployment

DAY = 86_400.0


@pytest.fixture
def provider(sender: Sender) -> Iterator[ProviderDouble]:
    """Both providers; at the end, what was asked of them has to be as they document it."""
    with threaded(ProviderDouble(sender=sender)) as double:
        yield double
        double.check_against_spec()


def deployed(account: Account, folder: Path, **settings: object) -> Deployment:
    return Deployment(folder, account.sender, lease_seconds=3, **(account.settings | settings))


def status(deployment: Deployment) -> str:
    return " ".join(deployment.command("status").stdout.split())


def metric(deployment: Deployment, line: str) -> float:
    """The value of a sample, written as Prometheus does; 0 if it is not there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{deployment.admin_port}/metrics", timeout=5) as answer:
        found = [each for each in answer.read().decode().splitlines() if each.startswith(line + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_a_recording_that_errored_is_told_once_and_one_that_is_not_offered_is_no_failure(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    account.add_recording("quiet", status="ERRORED", title="Board")  # no delivery tells of it
    account.add_recording("theirs", provider_bucket=False)
    deployment = deployed(account, tmp_path)
    account.add_webhook(f"http://127.0.0.1:{deployment.port}/webhook")
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("recording_not_offered")))
        loud = account.add_recording("loud")
        for told in ("ERRORED", "RECORDING", "ERRORED", "INVOKED"):  # out of order, and again
            loud.become(told)
            taken(account.announce, loud)
        deployment.wait_until(lambda: "2 errored" in status(deployment))
        shown = status(deployment)
        counted = metric(deployment, 'dyte_archiver_recordings_total{app="default",status="ERRORED"}')
        failures = deployment.lines("try_failed")
    assert "1 not offered" in shown
    assert "quiet (Board)" in shown
    assert sorted(line["recording_id"] for line in deployment.lines("recording_errored")) == ["loud", "quiet"]
    assert (counted, failures) == (2, [])


def test_two_organisations_keep_theirs_apart(
    provider: ProviderDouble, tmp_path: Path, sender: Sender
) -> None:
    dyte, cloud = provider.dyte(sender=Sender()), provider.realtimekit(sender=Sender())
    apps = {
        name: account.settings | {"webhook_public_key": account.sender.public_pem}
        for name, account in (("staging", dyte), ("production", cloud))
    }
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    storages = {name: {"type": "local", "path": str(tmp_path / name)} for name in apps}
    rules = [{"app": "staging", "to": "staging"}, {"to": "production"}]
    (tmp_path / "routing.json").write_text(json.dumps({"storages": storages, "rules": rules}))
    deployment = Deployment(
        tmp_path,
        sender,
        apps_file=tmp_path / "apps.json",
        routing_file=tmp_path / "routing.json",
        webhook_public_key="",
        key_template="{app}/{output_file_name}",
    )
    with deployment.running():
        for account in (dyte, cloud):
            account.add_webhook(f"http://127.0.0.1:{deployment.port}/webhook")
            told = account.add_recording(output_file_name="told.mp4")
            taken(account.announce, told)
            account.add_recording(output_file_name="missed.mp4")
        deployment.stop()  # both were asked already, and are asked again in a quarter of an hour
        for path in tmp_path.glob("archiver.db*"):
            path.unlink()
        deployment.start()
        deployment.wait_until(lambda: "4 archived" in status(deployment))
        stored = {
            app: metric(deployment, f'dyte_archiver_recordings_total{{app="{app}",status="UPLOADED"}}')
            for app in apps
        }
    for name in apps:
        manifests = sorted((tmp_path / name / name).glob("*.json"))
        assert [path.name for path in manifests] == ["missed.mp4.json", "told.mp4.json"]
        assert {json.loads(path.read_text())["app"] for path in manifests} == {name}
    assert stored == {"staging": 2, "production": 2}


def test_a_recordings_own_config_picks_its_storage(
    provider: ProviderDouble, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    account = provider.dyte()
    first, second = seaweedfs.bucket(), seaweedfs.bucket()

    def told(bucket: str, **fields: str) -> dict[str, str]:
        return {"type": "aws", "bucket": bucket, "region": "us-east-1", "secret": "theirs", **fields}

    places = {
        "a.mp4": told(first),
        "b.mp4": told(second),
        "c.mp4": told(second, path="calls/2026"),
        "d.mp4": told("nobody-knows-it"),
    }
    for name, place in places.items():
        account.add_recording(output_file_name=name, storage_config=place)
    storages = {"one": seaweedfs.storage_config(first), "two": seaweedfs.storage_config(second)}
    routing = tmp_path / "routing.json"
    routing.write_text(json.dumps({"storages": storages}))
    deployment = deployed(account, tmp_path, routing_file=routing, storage_from_provider="true")
    with deployment.running():
        deployment.wait_until(lambda: "3 archived" in status(deployment))
        deployment.wait_until(lambda: bool(deployment.lines("try_failed")))
        shown = status(deployment)
        assert "nobody-knows-it" in shown
        assert "ARCHIVER_ROUTING_FILE" in shown
        assert "two//calls/2026" in shown
        verified = deployment.command("verify")
        assert (verified.returncode, "3 of 3 files are whole" in verified.stdout) == (0, True)
    routing.write_text(json.dumps({"storages": storages, "rules": [{"to": "one"}]}))  # a default
    with deployment.running():
        deployment.wait_until(lambda: "4 archived" in status(deployment), timeout_s=60)
    assert sorted(seaweedfs.objects(first)) == ["a.mp4", "a.mp4.json", "d.mp4", "d.mp4.json"]
    assert sorted(seaweedfs.objects(second)) == [
        "b.mp4", "b.mp4.json", "calls/2026/c.mp4", "calls/2026/c.mp4.json",
    ]  # fmt: skip


def test_a_deadline_under_24_hours_is_an_alarm(provider: ProviderDouble, tmp_path: Path) -> None:
    account = provider.dyte()
    late = account.add_recording("late", stopped_ago_s=6.5 * DAY, output_file_name="late.mp4")
    account.add_recording("early", output_file_name="early.mp4")
    late.file("video").served.fail(status=503)
    deployment = deployed(account, tmp_path)
    dry = deployment.command("backfill", "--dry-run")
    assert dry.returncode != 0  # there is no ledger yet, and none is made
    assert list(tmp_path.glob("archiver.db*")) == []
    filled = deployment.command("backfill")
    assert "2 recordings with 2 files that the provider keeps, 2 of them new" in filled.stdout
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("deadline_near")))
        deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
        (alarm,) = deployment.lines("deadline_near")
        left = metric(deployment, "dyte_archiver_nearest_deadline_seconds")
        near = metric(deployment, 'dyte_archiver_near_deadline_artifacts{app="default"}')
        shown = status(deployment)
        again = " ".join(deployment.command("backfill", "--dry-run").stdout.split())
    assert (alarm["artifact"], alarm["level"]) == ("late/video", "error")
    assert 0 < alarm["seconds_left"] <= 0.5 * DAY
    assert 0 < left <= 0.5 * DAY
    assert near == 1
    assert "less than 24 h left" in shown
    assert "0 of them new" in again
