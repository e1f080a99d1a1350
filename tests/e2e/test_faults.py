"""What fails on the way, in one real process: source, storage, network. What arrives is whole."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.content import Content
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.store_faults import Fault
from tests.doubles.store_proxy import FaultyStore
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 3 * PART + 12_345


@pytest.mark.parametrize(
    "faults",
    [
        {"cut_after": 3 * MIB, "cut_first": 6},
        {"status": 503, "status_first": 3},
        {"status": 429, "status_first": 2, "retry_after": "1"},
        {"ranges": False},
        {"ranges": False, "framing": "chunked"},
        {"ranges": False, "framing": "close"},
        {"etag": False},
        {"changes_after": 9 * MIB},
        {"status": 403, "status_first": 1},
        {"status": 200, "status_first": 1, "body": b"<html>Please log in</html>"},
    ],
    ids=lambda faults: "-".join(f"{name}" for name in faults),
)
def test_a_recording_behind_a_faulty_source_arrives_whole(
    faults: dict[str, Any], tmp_path: Path, sender: Sender
) -> None:
    deployment = Deployment(tmp_path, sender)
    with threaded(FaultySource()) as source, deployment.running():
        link = source.add("one.mp4", SIZE, **faults)
        deployment.hand_over(sender.uploaded("one", link, size=SIZE))
        deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists, timeout_s=45)
        expected = source["one.mp4"].content
    assert (tmp_path / "archive" / "one.mp4").read_bytes() == expected.read()


def test_a_faulty_store_takes_the_recording_whole_and_once(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    with threaded(FaultyStore(seaweedfs.endpoint_url)) as store, threaded(FaultySource()) as source:
        store.inject("UploadPart", Fault.REFUSE, first=4)
        store.inject("UploadPart", Fault.DROP, first=2, skip=1)
        store.inject("UploadPart", Fault.FAIL_AFTER, first=1, status=500, code="InternalError")
        store.inject("CreateMultipartUpload", Fault.FAIL_AFTER, first=1, status=500, code="InternalError")
        store.inject("CompleteMultipartUpload", Fault.DROP_AFTER, first=1)
        store.inject("PutObject", Fault.FAIL_AFTER, first=1, status=500, code="InternalError")
        config = seaweedfs.storage_config(bucket, endpoint_url=store.base_url)
        deployment = Deployment(tmp_path, sender, storage_config=config)
        with deployment.running():
            link = source.add("one.mp4", SIZE)
            deployment.hand_over(sender.uploaded("one", link, size=SIZE))
            deployment.wait_until(lambda: "one.mp4.json" in seaweedfs.objects(bucket))
            assert deployment.stop() == 0
        sent = source["one.mp4"].sent
    assert seaweedfs.objects(bucket).keys() == {"one.mp4", "one.mp4.json"}
    assert seaweedfs.read(bucket, "one.mp4") == Content(0, SIZE).read()
    assert sent == SIZE, "the source is not read again for a fault of the store"


def test_a_missing_bucket_is_waited_for_and_the_log_says_what_to_mend(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = f"late-{time.time_ns()}"
    deployment = Deployment(tmp_path, sender, storage_config=seaweedfs.storage_config(bucket))
    with threaded(FaultySource()) as source, deployment.running():
        link = source.add("one.mp4", SIZE)
        deployment.hand_over(sender.uploaded("one", link, size=SIZE))
        deployment.wait_until(lambda: bool(deployment.lines("try_failed")))
        assert "create the bucket" in deployment.lines("try_failed")[0]["mend"]
        assert "create the bucket" in " ".join(deployment.command("status").stdout.split())
        seaweedfs.client().create_bucket(Bucket=bucket)
        deployment.wait_until(lambda: "one.mp4.json" in seaweedfs.objects(bucket))


def test_a_file_that_is_gone_before_its_time_is_tried_again_and_after_it_expires_loudly(
    tmp_path: Path, sender: Sender
) -> None:
    deployment = Deployment(tmp_path, sender)
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with threaded(FaultySource()) as source, deployment.running():
        gone = {"status": 404}
        early = sender.uploaded("early", source.add("early.mp4", SIZE, **gone), size=SIZE)  # type: ignore[arg-type]
        late = sender.uploaded(
            "late",
            source.add("late.mp4", SIZE, **gone),  # type: ignore[arg-type]
            size=SIZE,
            downloadUrlExpiry=past,
            audioDownloadUrl=source.add("late.mp3", 1000),
        )
        deployment.hand_over(early)
        deployment.hand_over(late)
        deployment.wait_until(lambda: bool(deployment.lines("artifact_expired")))
        # What could be had is archived, and its manifest says what could not.
        deployment.wait_until((tmp_path / "archive" / "late.mp3.json").exists)
        (expired,) = deployment.lines("artifact_expired")
        assert (expired["recording_id"], expired["level"]) == ("late", "error")
        assert '"expired": [\n    "video"\n  ]' in (tmp_path / "archive" / "late.mp3.json").read_text()
        assert "expired" in deployment.command("status").stdout
        # A fresh link, as another delivery brings it, is taken up at once; there is still one manifest.
        for name, manifest in (("early", "early.mp4.json"), ("late", "late.mp3.json")):
            fresh = source.add(f"{name}-fresh.mp4", SIZE)
            deployment.hand_over(sender.uploaded(name, fresh, size=SIZE))
            named = f'"key": "{name}.mp4"'
            path = tmp_path / "archive" / manifest
            deployment.wait_until(lambda: path.exists() and named in path.read_text(), timeout_s=20)  # noqa: B023


def test_two_recordings_of_one_name_are_both_kept(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender)
    foreign = tmp_path / "archive" / "weekly.mp4"
    foreign.parent.mkdir()
    foreign.write_bytes(b"it was here before")
    with threaded(FaultySource()) as source, deployment.running():
        for index, name in enumerate(("one", "two")):
            link = source.add(f"{name}.mp4", SIZE, seed=index)
            body = sender.uploaded(name, link, size=SIZE, outputFileName="weekly.mp4")
            deployment.hand_over(body)
            deployment.wait_until((tmp_path / "archive" / f"weekly-{name}.mp4.json").exists)
    assert foreign.read_bytes() == b"it was here before"
    for index, name in enumerate(("one", "two")):
        assert (tmp_path / "archive" / f"weekly-{name}.mp4").read_bytes() == Content(index, SIZE).read()


def test_no_secret_and_no_signed_link_reaches_log_metrics_or_a_command(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    config = seaweedfs.storage_config(bucket)
    deployment = Deployment(tmp_path, sender, storage_config=config, log_level="debug")
    with threaded(FaultySource()) as source, deployment.running():
        good = source.add("good.mp4", SIZE) + "?X-Amz-Signature=5ec2e7&X-Amz-Credential=AKIA"
        bad = source.add("bad.mp4", SIZE, status=403) + "?X-Amz-Signature=5ec2e7&X-Amz-Credential=AKIA"
        private = "https://user:5ec2e7@10.0.0.1/x.mp4?X-Amz-Signature=5ec2e7"
        for name, link in (("good", good), ("bad", bad), ("private", private)):
            deployment.hand_over(sender.uploaded(name, link, size=SIZE))
        deployment.wait_until(lambda: "good.mp4.json" in seaweedfs.objects(bucket))
        deployment.wait_until(lambda: len(deployment.lines("try_failed")) >= 2)
        shown = [deployment.log.read_text(), deployment.answer(deployment.admin_port, "/metrics")[1]]
        for arguments in (["status"], ["verify"]):
            done = deployment.command(*arguments)
            assert done.returncode == 0, done.stderr
            shown += [done.stdout, done.stderr]
    shown.append(seaweedfs.read(bucket, "good.mp4.json").decode())
    for text in shown:
        assert not re.search("5ec2e7|AKIA|X-Amz|" + seaweedfs.secret_key, text)


def test_a_receiver_and_a_worker_in_two_processes_share_one_postgresql(
    tmp_path: Path, sender: Sender, postgres_url: str
) -> None:
    archive = {"type": "local", "path": str(tmp_path / "archive")}
    receiver = Deployment(
        tmp_path, sender, database_url=postgres_url, role="receiver", storage_config=archive
    )
    worker = Deployment(tmp_path, sender, database_url=postgres_url, role="worker", storage_config=archive)
    worker.log = tmp_path / "worker.log"
    with threaded(FaultySource()) as source, receiver.running(), worker.running():
        link = source.add("one.mp4", SIZE)
        assert worker.deliver(sender.uploaded("one", link, size=SIZE)) == 0, "a worker takes no deliveries"
        receiver.hand_over(sender.uploaded("one", link, size=SIZE))
        worker.wait_until((tmp_path / "archive" / "one.mp4.json").exists)
        assert receiver.stop() == worker.stop() == 0
    assert not receiver.lines("artifact_stored")
    assert len(worker.lines("artifact_stored")) == 1
    assert [line["manifest_key"] for line in worker.lines("recording_archived")] == ["one.mp4.json"]


def test_a_receiver_imports_no_storage_code() -> None:
    script = "import service.receiver, service.ledger, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"aioboto3", "botocore", "service.storage.s3"} & set(done.stdout.split())
