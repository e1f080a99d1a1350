"""The provider's API in trouble: transfers go on, what is wrong is said, and all is well again by itself."""

import json
import time
from pathlib import Path

from tests.doubles.provider import ProviderDouble
from tests.doubles.sender import Sender
from tests.e2e.at_provider import answers, assert_nothing_leaks, at, local, subscribe, taken
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB
LEASE_S = 3


def test_wrong_credentials_and_a_limit_are_said_and_when_they_are_mended_nothing_was_missed(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    refused, limited = provider.dyte(sender=Sender()), provider.realtimekit()
    right, refused.authorization = refused.authorization, "Basic of somebody else"
    apps = {
        account.family: {**account.settings, "webhook_public_key": account.sender.public_pem}
        for account in (limited, refused)
    }
    (tmp_path / "apps.json").write_text(json.dumps(apps))
    deployment = Deployment(
        tmp_path, provider.sender, webhook_public_key="", apps_file="apps.json", reconcile_minutes=0.02
    )
    # All of these are for the one that is asked first.
    provider.fail(5, 429, path="/recordings", method="GET", retry_after_s=1)
    with deployment.running():
        for account in (refused, limited):
            subscribe(account, deployment)
            account.add_recording(f"{account.family}-missed", output_file_name=f"{account.family}-missed.mp4")
            told = account.add_recording(
                f"{account.family}-told", output_file_name=f"{account.family}-told.mp4"
            )
            taken(account.announce, told)
        deployment.wait_until(lambda: len(deployment.archived) == 2)
        deployment.wait_until(
            lambda: {line["app"] for line in deployment.lines("provider_not_asked")} == {*apps}
        )
        said = {line["app"]: line for line in deployment.lines("provider_not_asked")}
        assert not deployment.lines("reconciled")
        checked = deployment.told("check")
        refused.authorization = right
        deployment.wait_until(lambda: len(deployment.archived) == 4)
        deployment.wait_until(lambda: {line["app"] for line in deployment.lines("reconciled")} == {*apps})
        assert deployment.command("check").returncode == 0
        assert all(deployment.metric("dyte_archiver_found_total", app=name) == 1 for name in apps)
    assert (said["dyte"]["level"], said["dyte"]["duty"]) == ("warning", "reconcile dyte")
    assert "what dyte has for ARCHIVER_ORG_ID and ARCHIVER_API_KEY" in said["dyte"]["mend"]
    assert "429" in said["rtk"]["error"]
    assert f"fault provider's API {refused.api_url}" in checked
    assert "look at what dyte has for ARCHIVER_ORG_ID and ARCHIVER_API_KEY" in checked
    assert_nothing_leaks(deployment, refused, limited, told=checked)


def test_a_link_that_expires_while_the_api_is_away_is_renewed_when_it_is_back(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = at(account, tmp_path, parts_in_flight=2, reconcile_minutes=0)
    subscribe(account, deployment)
    size = 4 * PART + 7
    recording = account.add_recording("one", size=size, output_file_name="one.mp4")
    other = account.add_recording("two", size=4_000, output_file_name="two.mp4")
    recording.expire_links_after(2 * PART)
    provider.fail(3, 503)
    provider.fail(1, "drop")
    provider.fail(1, "page")
    with deployment.running():
        taken(account.announce, recording)
        deployment.wait_until(lambda: len(provider.requests) >= 2)
        taken(account.announce, other)
        deployment.wait_until((tmp_path / "archive" / "two.mp4.json").exists)
        assert not deployment.lines("link_renewed"), "others go on meanwhile"
        deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists)
        assert deployment.metric("dyte_archiver_renewed_links_total", app="default") == 1
    assert (tmp_path / "archive" / "one.mp4").read_bytes() == recording.content.read()
    assert recording.file("video").served.sent <= size + 2 * PART + 4 * MIB
    (failed,) = deployment.lines("try_failed")
    assert "it answered a page, not JSON" in failed["error"]
    assert "ARCHIVER_API_URL" in failed["mend"]
    assert_nothing_leaks(deployment, account)


def test_of_two_processes_on_one_postgresql_one_asks_and_if_it_is_killed_the_other_does(
    provider: ProviderDouble, tmp_path: Path, postgres_url: str
) -> None:
    account, count = provider.realtimekit(), 120
    archive = tmp_path / "archive"
    shared = {"database_url": postgres_url, "storage_config": local(archive), "kinds": "video"}
    folders = tmp_path / "first", tmp_path / "second"
    for folder in (archive, *folders):
        folder.mkdir()
    first, second = (at(account, folder, **shared) for folder in folders)
    recordings = [
        account.add_recording(f"r{number}", size=3_000, output_file_name=f"{number}.mp4")
        for number in range(count)
    ]
    provider.fail(1, "stall", path="/recordings")
    with first.running():
        first.wait_until(lambda: len(provider.requests) == 1)
        with second.running():
            subscribe(account, second)
            # What it is told of it archives at once, but it does not compare: the other one is at it.
            taken(account.announce, recordings[0])
            second.wait_until((archive / "0.mp4.json").exists)
            assert len(provider.requests) == 1
            first.kill()
            killed_at = time.monotonic()
            second.wait_until(lambda: time.monotonic() > killed_at + LEASE_S)
            # It would look by itself a little later; what there is to ask for makes it look now.
            alone = account.add_recording("alone", provider_bucket=False)
            taken(account.announce, alone)
            second.wait_until(lambda: len(list(archive.glob("*.json"))) == count)
            (line,) = second.lines("reconciled")
            assert second.metric("dyte_archiver_found_total") == count - 1
            assert second.stop() == 0
    assert line["found"] == count - 1
    pages = [asked.query["page_no"] for asked in provider.requests if asked.path == "/recordings"]
    assert pages == ["1", "1", "2", "3"], "the one that was killed asked for the first page"
    assert first.lines("reconciled") == []
    served = [each.file("video").served for each in recordings]
    assert [len(each.requests) for each in served] == [1] * count
    assert_nothing_leaks(first, account)
    assert_nothing_leaks(second, account)


def test_two_processes_that_start_together_and_every_delivery_meanwhile_make_one_reading_of_each_file(
    provider: ProviderDouble, tmp_path: Path, postgres_url: str
) -> None:
    account, count = provider.dyte(), 60
    archive = tmp_path / "archive"
    shared = {"database_url": postgres_url, "storage_config": local(archive), "kinds": "video"}
    folders = tmp_path / "first", tmp_path / "second"
    for folder in (archive, *folders):
        folder.mkdir()
    first, second = both = [at(account, folder, **shared) for folder in folders]
    recordings = [
        account.add_recording(f"r{number:02}", size=3_000, output_file_name=f"{number:02}.mp4")
        for number in range(count)
    ]
    with first.running("--role", "worker"), second.running():
        subscribe(account, second)
        deliveries = [account.announce(recording) for recording in recordings]
        assert [answers(each) for each in deliveries] == [[200]] * count
        first.wait_until(lambda: len(list(archive.glob("*.json"))) == count)
        first.wait_until(lambda: any(deployment.lines("reconciled") for deployment in both))
        assert [deployment.stop() for deployment in both] == [0, 0]
    (reconciled,) = (line for deployment in both for line in deployment.lines("reconciled"))
    assert reconciled["recordings"] == count
    assert [asked.query["page_no"] for asked in provider.requests] == ["1", "2"]
    stored = [line["recording_id"] for deployment in both for line in deployment.lines("artifact_stored")]
    assert sorted(stored) == [recording.id for recording in recordings]
    assert [len(each.file("video").served.requests) for each in recordings] == [1] * count
    assert len(list(archive.iterdir())) == 2 * count
    for deployment in both:
        assert_nothing_leaks(deployment, account)
