"""Nothing depends on a delivery: what is missed, late, in any order or has no link is found and archived."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider import Account, ProviderDouble, RecordingDouble, threaded
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.e2e.at_provider import taken
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB
SECRETS = ("dyte-api-key", "cloudflare-api-token", "X-Signature")


@pytest.fixture
def provider(sender: Sender) -> Iterator[ProviderDouble]:
    """Both providers; at the end, what was asked of them has to be as they document it."""
    with threaded(ProviderDouble(sender=sender)) as double:
        yield double
        double.check_against_spec()


def deployed(account: Account, folder: Path, **settings: object) -> Deployment:
    return Deployment(folder, account.sender, lease_seconds=3, **account.settings, **settings)


def archive(deployment: Deployment) -> Path:
    return deployment.folder / "archive"


def manifests(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Every manifest in the archive, by its name."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in archive(deployment).rglob("*.json")}


def assert_nothing_leaked(deployment: Deployment) -> None:
    log = deployment.log.read_text("utf-8")
    assert [secret for secret in SECRETS if secret in log] == []


def asked(provider: ProviderDouble, method: str, end: str) -> int:
    return sum(each.method == method and each.path.endswith(end) for each in provider.requests)


def subscribed(account: Account, deployment: Deployment) -> None:
    account.add_webhook(f"http://127.0.0.1:{deployment.port}/webhook")


@pytest.mark.parametrize("how", ["running", "killed"])
def test_a_link_that_expires_half_way_is_renewed_and_the_transfer_goes_on_at_its_parts(
    provider: ProviderDouble, tmp_path: Path, how: str
) -> None:
    kill = how == "killed"
    account = provider.realtimekit() if kill else provider.dyte()
    deployment = deployed(account, tmp_path, parts_in_flight=2, reconcile_minutes=0)
    size = 4 * PART + 1
    recording = account.add_recording("one", size=size, output_file_name="one.mp4")
    served = recording.file("video").served
    if kill:
        served.fail(rate=6 * MIB)
    else:
        recording.expire_links_after(size // 2)
    subscribed(account, deployment)
    with deployment.running():
        taken(account.announce, recording)
        if kill:
            deployment.wait_until(lambda: served.sent >= size // 3)
            deployment.kill()
            recording.expire_links()
            served.recover()
            deployment.start()
        deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
    assert (archive(deployment) / "one.mp4").read_bytes() == recording.content.read()
    assert deployment.lines("link_renewed")
    # What was in flight, at the kill and at the expiry, and what lay in the sockets.
    assert served.sent <= size + 2 * PART + 4 * MIB
    assert asked(provider, "GET", "/recordings/one") >= 1
    assert_nothing_leaked(deployment)


def test_without_credentials_it_says_so_and_goes_on_when_another_delivery_comes(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = Deployment(tmp_path, account.sender, parts_in_flight=2)
    size = 4 * PART
    recording = account.add_recording("one", size=size, output_file_name="one.mp4")
    recording.expire_links_after(2 * PART)
    subscribed(account, deployment)
    with deployment.running():
        taken(account.announce, recording)
        deployment.wait_until(lambda: bool(deployment.lines("try_failed")))
        failed = deployment.lines("try_failed")[0]
        assert "credentials of the provider's API" in failed["mend"]
        assert "credentials" in " ".join(deployment.command("status").stdout.split())
        taken(account.announce, recording)
        deployment.wait_until(lambda: bool(deployment.lines("recording_archived")), timeout_s=30)
    assert (archive(deployment) / "one.mp4").read_bytes() == recording.content.read()
    assert recording.file("video").served.sent <= size + 2 * PART + 4 * MIB
    assert provider.requests == []


def test_after_a_weeks_outage_500_recordings_are_found_and_archived_the_soonest_expiry_first(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account, count, day = provider.dyte(), 500, 86_400.0
    for number in range(count):
        ago = 60 + number * 6.9 * day / count
        name = f"{number:03}.mp4"
        account.add_recording(f"r{number:03}", size=2000, stopped_ago_s=ago, output_file_name=name)
    gone = account.add_recording("gone", size=2000, stopped_ago_s=7.5 * day, output_file_name="gone.mp4")
    deployment = deployed(
        account, tmp_path, storage_config={"type": "local", "path": str(tmp_path / "archive")}
    )
    with deployment.running():
        deployment.wait_until(lambda: len(deployment.lines("artifact_stored")) > count // 5)
        deployment.kill()  # in the middle of it
        deployment.start()
        deployment.wait_until(lambda: len(list(archive(deployment).glob("*.json"))) == count, timeout_s=120)
        deployment.wait_until(lambda: f"{count} archived" in deployment.command("status").stdout)
    stored = [line["recording_id"] for line in deployment.lines("artifact_stored")]
    # Four at once, on a machine that may halt one of them for a while; and the oldest recording is the one
    # that the provider deletes first. In another order some would be hundreds of places off.
    ahead = [place - (count - 1 - int(name[1:])) for place, name in enumerate(stored[: count // 5])]
    assert max(map(abs, ahead)) <= 40
    assert gone.file("video").served.requests == []
    assert all(len(each.file("video").served.requests) <= 2 for each in account.recordings.values())
    assert_nothing_leaked(deployment)


def test_webhooks_and_reconcile_that_race_make_one_artifact_and_one_reading(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account, count = provider.realtimekit(), 60
    names = [f"{number}.mp4" for number in range(count)]
    recordings = [account.add_recording(name, size=5000, output_file_name=name) for name in names]
    deployment = deployed(account, tmp_path)
    subscribed(account, deployment)
    with deployment.running():
        for recording in reversed(recordings):
            taken(account.announce, recording)
        deployment.wait_until(lambda: len(list(archive(deployment).glob("*.json"))) == count)
        deployment.wait_until(lambda: bool(deployment.lines("reconciled")))
        time.sleep(0.2)  # for what would be moved again
    assert [len(each.file("video").served.requests) for each in recordings] == [1] * count
    assert len(list(archive(deployment).iterdir())) == 2 * count


@pytest.mark.parametrize("where", ["local", "seaweedfs"])
def test_an_empty_database_over_a_full_storage_moves_nothing_again(
    provider: ProviderDouble, tmp_path: Path, where: str, seaweedfs: SeaweedFS
) -> None:
    account, bucket = provider.dyte(), seaweedfs.bucket()
    local = {"type": "local", "path": str(tmp_path / "archive")}
    config = local if where == "local" else seaweedfs.storage_config(bucket, path="deep")
    template = "{started:%Y}/{title}/{output_file_name}"
    deployment = deployed(account, tmp_path, storage_config=config, key_template=template)
    recordings: list[RecordingDouble] = [
        account.add_recording("one", size=2 * PART + 1, audio=True, output_file_name="same.mp4"),
        account.add_recording("two", size=4000, audio=True, output_file_name="same.mp4"),
        account.add_recording("tracks", size=3000, tracks=3),
    ]
    session = account.add_session("talk")

    def everything() -> dict[str, object]:
        """What lies there, and when it was put: what is put again, even the same, would be seen."""
        if where == "local":
            files = [path for path in archive(deployment).rglob("*") if path.is_file()]
            return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
        listed = seaweedfs.client().list_objects_v2(Bucket=bucket)["Contents"]
        return {each["Key"]: (each["ETag"], each["LastModified"]) for each in listed}

    def is_archived() -> bool:
        return "10 archived" in deployment.command("status").stdout

    with deployment.running():
        deployment.wait_until(is_archived)
    before = everything()
    files = [*(file for each in recordings for file in each.files), *session.files.values()]
    reads = [len(file.served.requests) for file in files]
    for path in tmp_path.glob("archiver.db*"):
        path.unlink()
    with deployment.running():
        deployment.wait_until(is_archived)
        assert deployment.command("verify").returncode == 0
    assert everything() == before
    assert len(before) == 14
    assert [len(file.served.requests) for file in files] == reads


def test_20_tracks_announced_without_a_link_are_asked_for_at_once_and_have_one_manifest(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.realtimekit()
    deployment = deployed(account, tmp_path, reconcile_minutes=600)
    subscribed(account, deployment)
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("reconciled")))
        recording = account.add_recording("call", size=4000, tracks=20)
        body = account.sender.uploaded("call", None, family="rtk")
        deployment.hand_over(body, family="rtk")
        deployment.wait_until(lambda: "recording-call.json" in manifests(deployment))
    (manifest,) = manifests(deployment).values()
    assert len({entry["track"] for entry in manifest["artifacts"]}) == 20
    wanted = {content.read() for content in recording.contents.values()}
    assert {(archive(deployment) / entry["key"]).read_bytes() for entry in manifest["artifacts"]} == wanted


def test_what_belongs_to_a_session_is_gathered_whatever_comes_first_or_never(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = deployed(account, tmp_path)
    subscribed(account, deployment)
    session = account.add_session("talk", summary=None)
    with deployment.running():
        deployment.wait_until(lambda: bool(deployment.lines("reconciled")))
        taken(account.announce_session, session, ["transcript"])  # before its recording
        recording = account.add_recording("one", session_id="talk", output_file_name="one.mp4")
        taken(account.announce, recording)
        late = account.add_session("other")
        # The chat of both, and the rest of the other, is told by nobody.
        taken(account.announce_session, late, ["summary"])

        def kinds(name: str) -> list[str]:
            found = manifests(deployment).get(name, {"artifacts": []})
            return [entry["kind"] for entry in found["artifacts"]]

        deployment.wait_until(lambda: kinds("session-talk.json") == ["chat", "transcript"])
        deployment.wait_until(lambda: kinds("session-other.json") == ["chat", "transcript", "summary"])
        deployment.wait_until(lambda: kinds("one.mp4.json") == ["video"])
    told = manifests(deployment)["session-talk.json"]
    assert told["session"]["id"] == "talk"
    for each in (session, late):
        for kind, content in each.contents.items():
            (path,) = archive(deployment).glob(f"session-{each.id}-{kind}.*")
            assert path.read_bytes() == content.read()


def test_only_the_wanted_kinds_are_archived(provider: ProviderDouble, tmp_path: Path) -> None:
    account = provider.dyte()
    account.add_recording("one", audio=True, output_file_name="one.mp4")
    account.add_session("talk")
    deployment = deployed(account, tmp_path, kinds="video,chat")
    with deployment.running():
        deployment.wait_until(lambda: "2 archived" in deployment.command("status").stdout)
    kinds = [entry["kind"] for told in manifests(deployment).values() for entry in told["artifacts"]]
    assert sorted(kinds) == ["chat", "video"]
    assert "not offered" not in deployment.command("status").stdout
