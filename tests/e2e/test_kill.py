"""kill -9 at any moment: every acknowledged recording arrives whole, and only parts in flight move again."""

import contextlib
import random
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.doubles.content import Content
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
PART = 5 * MIB
KILLS = 20
RECORDINGS = 6


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_after_many_kills_every_acknowledged_recording_is_there_whole(
    kind: str, tmp_path: Path, sender: Sender, request: pytest.FixtureRequest
) -> None:
    seaweedfs: SeaweedFS | None = None
    config: dict[str, str] = {"type": "local", "path": str(tmp_path / "archive")}
    if kind == "s3":
        seaweedfs = request.getfixturevalue("seaweedfs")
        assert seaweedfs is not None
        bucket = seaweedfs.bucket()
        config = seaweedfs.storage_config(bucket, path="recordings")
    chance = random.Random(20261122)
    deployment = Deployment(tmp_path, sender, storage_config=config, lease_seconds=3, parts_in_flight=4)
    sizes = {f"rec-{index}-{uuid4()}": 40 * MIB + chance.randrange(PART) for index in range(RECORDINGS)}
    with threaded(FaultySource()) as source:
        pending = {
            name: sender.uploaded(
                name,
                source.add(f"{name}.mp4", size, seed=index, rate=8 * MIB),
                size=size,
                audioDownloadUrl=source.add(f"{name}.mp3", 100_000 + index, seed=100 + index),
            )
            for index, (name, size) in enumerate(sizes.items())
        }
        acknowledged: set[str] = set()
        for _ in range(KILLS):
            deployment.start()
            for name in chance.sample(sorted(pending), len(pending)):
                if deployment.deliver(pending[name]) == 200:
                    acknowledged.add(name)
                    if chance.random() < 0.5:
                        break
            time.sleep(chance.uniform(0.0, 1.0))
            deployment.kill()
        for name in sizes:
            source[f"{name}.mp4"].recover()
        with deployment.running():

            def objects() -> dict[str, int]:
                if seaweedfs:
                    return seaweedfs.objects(bucket)
                sizes_there = {}
                for path in (tmp_path / "archive").rglob("*"):
                    with contextlib.suppress(FileNotFoundError):  # named for good meanwhile
                        sizes_there[f"recordings/{path.name}"] = path.stat().st_size
                return sizes_there

            wanted = {f"recordings/{name}.mp4.json" for name in acknowledged}
            deployment.wait_until(lambda: wanted <= objects().keys(), timeout_s=90)
            assert deployment.command("verify").returncode == 0
            found = objects()
        assert acknowledged, "the kills left no time for a single delivery"
        for index, (name, size) in enumerate(sizes.items()):
            if name not in acknowledged:
                continue
            assert found[f"recordings/{name}.mp4"] == size
            assert found[f"recordings/{name}.mp3"] == 100_000 + index
            expected = Content(index, size)
            if seaweedfs:
                assert seaweedfs.read(bucket, f"recordings/{name}.mp4") == expected.read()
            else:
                assert (tmp_path / "archive" / f"{name}.mp4").read_bytes() == expected.read()
        # Nothing else is left: no second copy, no open upload, no temporary file.
        assert len(found) == 3 * len(acknowledged)
        if seaweedfs:
            assert seaweedfs.open_uploads(bucket) == []


def test_only_the_parts_in_flight_are_moved_again_after_a_kill(tmp_path: Path, sender: Sender) -> None:
    deployment = Deployment(tmp_path, sender, lease_seconds=3, parts_in_flight=2)
    size = 20 * PART
    with threaded(FaultySource()) as source:
        link = source.add("one.mp4", size, rate=32 * MIB)
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", link, size=size))
            deployment.wait_until(lambda: source["one.mp4"].sent >= size // 2)
        source["one.mp4"].recover()
        with deployment.running():
            deployment.wait_until((tmp_path / "archive" / "one.mp4.json").exists)
        # At most the parts in flight were read twice, and what lay in the sockets of those asked for ahead.
        assert source["one.mp4"].sent <= size + 4 * PART
        assert (tmp_path / "archive" / "one.mp4").read_bytes() == Content(0, size).read()
