"""Links that expire at the worst moment: after a kill, for several copies, of a session's files."""

import json
from pathlib import Path

from tests.doubles.provider import ProviderDouble
from tests.doubles.servers import SeaweedFS
from tests.e2e.at_provider import assert_nothing_leaks, at, local, manifests, subscribe, taken

MIB = 1024 * 1024
PART = 5 * MIB
IN_FLIGHT = 2
SLACK = 4 * MIB
"""What lay in the sockets when a connection ended."""


def test_killed_half_way_with_its_link_expired_a_file_goes_on_at_its_parts_in_the_folder_its_config_names(
    provider: ProviderDouble, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    account, buckets = provider.dyte(), [seaweedfs.bucket() for _ in range(2)]
    main, second = (seaweedfs.storage_config(bucket) for bucket in buckets)
    (tmp_path / "routing.json").write_text(
        json.dumps({"storages": {"main": main, "second": second}, "rules": [{"to": "main"}]})
    )
    deployment = at(
        account,
        tmp_path,
        parts_in_flight=IN_FLIGHT,
        reconcile_minutes=0,
        routing_file="routing.json",
        storage_from_provider="true",
    )
    subscribe(account, deployment)
    size = 6 * PART + 1
    theirs = {"type": "aws", "bucket": buckets[1], "region": "us-east-1", "path": "/calls/2026"}
    recording = account.add_recording(
        "one", size=size, output_file_name="one.mp4", storage_config={**theirs, "secret": "of theirs"}
    )
    served = recording.file("video").served
    served.fail(rate=6 * MIB)
    with deployment.running():
        taken(account.announce, recording)
        deployment.wait_until(lambda: served.sent >= 2 * PART)
        deployment.kill()
        recording.expire_links()
        served.recover()
        # And once more, when the renewed one has brought a part or two.
        recording.expire_links_after(3 * PART)
        deployment.start()
        deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
        status = deployment.told("status")
        assert "1 of 1 files are whole" in deployment.told("verify")
    assert seaweedfs.objects(buckets[0]) == {}
    assert seaweedfs.objects(buckets[1]).keys() == {"calls/2026/one.mp4", "calls/2026/one.mp4.json"}
    assert seaweedfs.read(buckets[1], "calls/2026/one.mp4") == recording.content.read()
    assert [upload for bucket in buckets for upload in seaweedfs.open_uploads(bucket)] == []
    assert "in second//calls/2026" in status
    assert len(deployment.lines("link_renewed")) == 2
    # At most the parts in flight and those asked for ahead came twice: at the kill, and when the second
    # link expired.
    assert served.sent <= size + 2 * (2 * IN_FLIGHT * PART + SLACK)
    assert_nothing_leaks(deployment, account, told=status)


def test_two_copies_of_a_file_whose_link_expires_cost_one_reading_and_one_fresh_link(
    provider: ProviderDouble, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    account, bucket = provider.realtimekit(), seaweedfs.bucket()
    storages = {"folder": local(tmp_path / "archive"), "bucket": seaweedfs.storage_config(bucket)}
    (tmp_path / "routing.json").write_text(
        json.dumps({"storages": storages, "rules": [{"to": ["folder", "bucket"]}]})
    )
    deployment = at(account, tmp_path, parts_in_flight=IN_FLIGHT, routing_file="routing.json")
    deployment.configure(reconcile_minutes=0)
    subscribe(account, deployment)
    size = 4 * PART + 1
    recording = account.add_recording("one", size=size, audio=True, output_file_name="one.mp4")
    recording.expire_links_after(5 * PART)  # of both files together: in the midst of the later one
    served = {file.kind: file.served for file in recording.files}
    with deployment.running():
        taken(account.announce, recording)
        deployment.wait_until(lambda: len(deployment.archived) == 2)
        assert "4 of 4 files are whole" in deployment.told("verify")
    names = {"one.mp4": "video", "one.mp3": "audio"}
    assert seaweedfs.objects(bucket).keys() == {*names, "one.mp4.json"}
    for name, kind in names.items():
        whole = recording.contents[kind].read()
        assert seaweedfs.read(bucket, name) == (tmp_path / "archive" / name).read_bytes() == whole
    assert seaweedfs.open_uploads(bucket) == []
    assert 1 <= len(deployment.lines("link_renewed")) <= 2  # one a file at most
    again = sum(each.sent for each in served.values()) - 2 * size
    assert again <= 2 * (2 * IN_FLIGHT * PART + SLACK)
    assert_nothing_leaks(deployment, account)


def test_a_sessions_files_whose_links_are_refused_are_had_by_fresh_ones(
    provider: ProviderDouble, tmp_path: Path
) -> None:
    account = provider.dyte()
    deployment = at(account, tmp_path, reconcile_minutes=0)
    subscribe(account, deployment)
    session = account.add_session("talk")
    session.expire_links_after(0)
    with deployment.running():
        taken(account.announce_session, session)
        deployment.wait_until(
            lambda: (
                len(manifests(tmp_path / "archive").get("session-talk.json", {"artifacts": []})["artifacts"])
                == 3
            )
        )
    for kind, content in session.contents.items():
        (path,) = (tmp_path / "archive").glob(f"session-talk-{kind}.*")
        assert path.read_bytes() == content.read()
    assert deployment.lines("link_renewed")
    assert deployment.lines("try_failed") == []
    assert_nothing_leaks(deployment, account)
