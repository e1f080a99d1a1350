"""Every type of storage under the real process, and several storages at once, each with its own trouble."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import PLACES
from tests.doubles.content import Content
from tests.doubles.ports import free_ports
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.store_faults import Fault
from tests.doubles.store_proxy import FaultyStore
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 3 * PART + 12_345


@pytest.mark.parametrize("kind", ["local", "seaweedfs", "azurite", "gcs", "sftp-openssh", "sftp-bare"])
def test_after_a_kill_half_way_only_the_parts_in_flight_are_moved_again(
    kind: str, tmp_path: Path, sender: Sender, request: pytest.FixtureRequest
) -> None:
    place = PLACES[kind](request, tmp_path)
    config = {name: str(value) if isinstance(value, Path) else value for name, value in place.config.items()}
    deployment = Deployment(tmp_path, sender, storage_config=config, lease_seconds=3, parts_in_flight=2)
    size = 8 * PART + 1
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", size, rate=8 * MIB)
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", link, size=size))
            deployment.wait_until(lambda: source["one.mp4"].sent >= size // 2)
        source["one.mp4"].recover()
        with deployment.running():
            deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
            verified = deployment.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "1 of 1 files are whole" in verified.stdout
        # At most the parts in flight were read twice, and what lay in the sockets of those asked for ahead.
        assert source["one.mp4"].sent <= size + 4 * PART
    assert place.objects().keys() == {"one.mp4", "one.mp4.json"}
    assert place.objects()["one.mp4"] == size
    assert place.sessions() == 0


@contextmanager
def routed(
    folder: Path, sender: Sender, storages: dict[str, dict[str, Any]], *rules: dict[str, Any]
) -> Iterator[Deployment]:
    """A service with a routing file."""
    routing = folder / "routing.json"
    routing.write_text(json.dumps({"storages": storages, "rules": rules}))
    deployment = Deployment(folder, sender, routing_file=routing, lease_seconds=3)
    with deployment.running():
        yield deployment


def local(folder: Path, name: str) -> dict[str, Any]:
    return {"type": "local", "path": str(folder / name)}


def test_rules_say_where_a_recording_goes_and_a_copy_costs_no_second_reading(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    storages = {"main": local(tmp_path, "main"), "legal": seaweedfs.storage_config(bucket)}
    rules = {"title": "board *", "kind": "video", "to": ["main", "legal"]}, {"to": "main"}
    with (
        threaded(FaultySource()) as source,
        routed(tmp_path, sender, storages, *rules) as deployment,
    ):
        for name, title in (("one", "Board meeting"), ("two", "Daily")):
            audio = source.add(f"{name}.mp3", 1000)
            body = sender.uploaded(name, source.add(f"{name}.mp4", SIZE), size=SIZE, audioDownloadUrl=audio)
            told = json.loads(body)
            told["meeting"]["title"] = title
            deployment.hand_over(json.dumps(told).encode())
        deployment.wait_until(lambda: len(deployment.archived) == 3)
        assert source["one.mp4"].sent == SIZE
        verified = deployment.command("verify")
        status = " ".join(deployment.command("status").stdout.split())
    archived = {path.name for path in (tmp_path / "main").iterdir()}
    assert archived == {f"{name}.{kind}" for name in ("one", "two") for kind in ("mp4", "mp3", "mp4.json")}
    assert seaweedfs.objects(bucket).keys() == {"one.mp4", "one.mp4.json"}
    assert seaweedfs.read(bucket, "one.mp4") == Content(0, SIZE).read()
    manifest = json.loads(seaweedfs.read(bucket, "one.mp4.json"))
    assert [entry["kind"] for entry in manifest["artifacts"]] == ["video"]
    assert "5 of 5 files are whole" in verified.stdout, verified.stdout + verified.stderr
    assert "in legal" in status


def test_a_storage_that_is_down_holds_up_nothing_and_gets_its_copy_when_it_is_back(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket, (port,) = seaweedfs.bucket(), free_ports(1)
    down = seaweedfs.storage_config(bucket, endpoint_url=f"http://127.0.0.1:{port}")
    storages = {"main": local(tmp_path, "main"), "legal": down}
    rules = {"title": "Daily", "to": "main"}, {"to": ["legal", "main"]}
    names = [f"both-{number}" for number in range(6)]
    with threaded(FaultySource()) as source:
        with routed(tmp_path, sender, storages, *rules) as deployment:
            for name in names:
                link = source.add(f"{name}.mp4", SIZE)
                deployment.hand_over(sender.uploaded(name, link, size=SIZE))
            deployment.wait_until(lambda: len(list((tmp_path / "main").glob("*.json"))) == len(names))
            deployment.wait_until(lambda: bool(deployment.lines("try_failed")))
            assert {line["storage"] for line in deployment.lines("try_failed")} == {"legal"}
            status = deployment.command("status")
            assert "in legal" in status.stdout
            assert deployment.stop() == 0
        # Back, at another address; and by now the provider has deleted the recordings.
        for name in names:
            source[f"{name}.mp4"].fail(status=404)
        storages["legal"] = seaweedfs.storage_config(bucket)
        with routed(tmp_path, sender, storages, *rules) as deployment:
            wanted = {f"{name}.mp4.json" for name in names}
            deployment.wait_until(lambda: wanted <= seaweedfs.objects(bucket).keys())
    for name in names:
        assert seaweedfs.read(bucket, f"{name}.mp4") == Content(0, SIZE).read()


def test_a_storage_that_refuses_every_other_part_gets_its_copy_all_the_same(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()
    with threaded(FaultyStore(seaweedfs.endpoint_url)) as store, threaded(FaultySource()) as source:
        store.inject("UploadPart", Fault.REFUSE, every=2)
        slow = seaweedfs.storage_config(bucket, endpoint_url=store.base_url)
        storages = {"main": local(tmp_path, "main"), "slow": slow}
        with routed(tmp_path, sender, storages, {"to": ["slow", "main"]}) as deployment:
            link = source.add("one.mp4", SIZE)
            deployment.hand_over(sender.uploaded("one", link, size=SIZE))
            deployment.wait_until(lambda: len(deployment.archived) == 2)
        assert seaweedfs.read(bucket, "one.mp4") == (tmp_path / "main" / "one.mp4").read_bytes()


def test_one_storage_is_imported_and_no_other(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from service.storage import open_storage, parse_storage_config\n"
        f"asyncio.run(open_storage(parse_storage_config({{'type': 'local', 'path': {str(tmp_path)!r}}})))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"aioboto3", "azure", "google.auth", "asyncssh"} & set(done.stdout.split())
