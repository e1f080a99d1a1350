"""A worker that was stopped or cut off until another had its work changes nothing when it comes back."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.holding_store import HoldingStore
from tests.doubles.postgres import Postgres
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.store_faults import Fault, Operation
from tests.e2e.deployment import Deployment
from tests.e2e.pair import LEASE_S, PART, Pair, pair

OPERATIONS: tuple[Operation, ...] = (
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "ListMultipartUploads",
    "PutObject",
    "GetObject",
    "HeadObject",
)


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, sender: Sender, postgres: Postgres, seaweedfs: SeaweedFS
) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("pair"), sender, postgres, seaweedfs) as found:
        yield found


@pytest.fixture
def two(running: Pair) -> Iterator[Pair]:
    yield running
    running.mend()


def test_who_is_stopped_at_any_moment_for_longer_than_its_lease_harms_nothing(two: Pair) -> None:
    sizes = {"begun": PART + 1, "moved": PART + 2, "completed": PART + 3, "put": 1000, "told": 2000}
    holds = [
        two.store.hold("CreateMultipartUpload", "begun.mp4"),
        two.store.hold("UploadPart", "moved.mp4"),
        two.store.hold("CompleteMultipartUpload", "completed.mp4", after=True),
        two.store.hold("PutObject", "put.mp4"),
        two.store.hold("PutObject", "told.mp4.json"),
    ]
    with two.without_the_other():
        for seed, (name, size) in enumerate(sizes.items()):
            two.announce(two.zombie, name, size, seed=seed)
        two.zombie.wait_until(lambda: all(hold.is_reached for hold in holds))
        two.zombie.signal(signal.SIGSTOP)
    two.other.wait_until(lambda: all(two.named(name) for name in sizes))
    # What the zombie is about to say of this one is no longer all.
    two.announce(two.other, "told", sizes["told"], seed=4, audio=500)
    two.other.wait_until(lambda: two.named("told") == {"told.mp4", "told.mp3"})
    before = two.settled(list(sizes))
    # The store does what had been sent; whoever sent it is not there to hear of it.
    two.store.release()
    two.other.wait_until(lambda: all(hold.is_over for hold in holds))
    assert two.named("told") == {"told.mp4"}, "the manifest that comes late is the old one"
    two.zombie.signal(signal.SIGCONT)
    two.zombie.wait_until(lambda: two.lost(two.zombie) >= sizes.keys(), timeout_s=30)
    two.assert_whole(*sizes)
    assert two.settled(list(sizes)) == before
    assert {"begun", "moved", "put"} <= two.stored(two.other)
    two.assert_zombie_goes_on("after-stop")


def test_who_is_cut_off_from_the_ledger_alone_loses_its_lease_and_harms_nothing(two: Pair) -> None:
    hold = two.store.hold("UploadPart", "unheard.mp4")
    with two.without_the_other():
        two.announce(two.zombie, "unheard", 2 * PART + 1, seed=11)
        # Two parts are under way at a time: one is there, the other waits.
        two.zombie.wait_until(lambda: hold.is_reached and bool(two.rows("parts", ["unheard"])))
        two.gate.shut()
    two.zombie.wait_until(lambda: "unheard" in two.lost(two.zombie), timeout_s=30)
    two.other.wait_until(lambda: bool(two.named("unheard")))
    before = two.settled(["unheard"])
    two.store.release()
    two.other.wait_until(lambda: hold.is_over)
    two.gate.open()
    two.assert_whole("unheard")
    two.assert_zombie_goes_on("after-cut")
    assert two.settled(["unheard"]) == before
    assert two.source["unheard.mp4"].sent <= 3 * PART + 2, "only the two parts in flight are moved again"


def test_an_old_manifest_that_was_under_way_as_the_ledger_went_away_is_put_right(two: Pair) -> None:
    hold = two.store.hold("PutObject", "said.mp4.json")
    with two.without_the_other():
        two.announce(two.zombie, "said", 3000, seed=13)
        two.zombie.wait_until(lambda: hold.is_reached)
        two.gate.shut()
    two.zombie.wait_until(lambda: bool(two.zombie.lines("renewal_failed")))
    two.other.wait_until(lambda: two.named("said") == {"said.mp4"})
    two.announce(two.other, "said", 3000, seed=13, audio=500)
    two.other.wait_until(lambda: two.named("said") == {"said.mp4", "said.mp3"})
    before = two.settled(["said"])
    two.store.release()
    two.other.wait_until(lambda: hold.is_over)
    two.gate.open()
    two.zombie.wait_until(lambda: "said" in two.lost(two.zombie), timeout_s=30)
    two.assert_whole("said")
    assert two.settled(["said"]) == before


def test_who_is_cut_off_from_the_store_alone_leaves_the_work_to_who_is_not(two: Pair) -> None:
    with two.without_the_other():
        # So long that it is not all read before the faults are there, however slow this machine is.
        two.announce(two.zombie, "unsent", 8 * PART + 1, seed=12, rate=PART)
        two.zombie.wait_until(lambda: bool(two.rows("parts", ["unsent"])))
        for operation in OPERATIONS:
            two.store.inject(operation, Fault.DROP)
        two.zombie.wait_until(
            lambda: any(line["recording_id"] == "unsent" for line in two.zombie.lines("try_failed"))
        )
        two.source["unsent.mp4"].recover()
    two.other.wait_until(lambda: bool(two.named("unsent")))
    assert "unsent" in two.stored(two.other)
    two.store.recover()
    two.assert_whole("unsent")
    two.assert_zombie_goes_on("after-dark")


def test_a_manifest_that_comes_after_its_workers_death_is_put_right_by_the_next(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.bucket()

    def manifest() -> str:
        return seaweedfs.read(bucket, "late.mp4.json").decode()

    with threaded(HoldingStore(seaweedfs.endpoint_url)) as store, threaded(FaultySource()) as source:
        config = seaweedfs.storage_config(bucket, endpoint_url=store.endpoint_url)
        deployment = Deployment(tmp_path, sender, storage_config=config, lease_seconds=LEASE_S)
        hold = store.hold("PutObject", "late.mp4.json")
        link, audio = source.add("late.mp4", 1000), source.add("late.mp3", 500)
        with deployment.running():
            deployment.hand_over(sender.uploaded("late", link, size=1000))
            deployment.wait_until(lambda: hold.is_reached)
            # Meanwhile the audio is announced and archived, with a manifest that names both.
            deployment.hand_over(sender.uploaded("late", link, size=1000, audioDownloadUrl=audio))
            deployment.wait_until(lambda: bool(deployment.lines("recording_archived")))
            deployment.kill()
        assert "late.mp3" in manifest()
        store.release()
        deadline = time.monotonic() + 30
        while not hold.is_over:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "late.mp3" not in manifest(), "what comes late is the old one"
        with deployment.running():
            deployment.wait_until(lambda: "late.mp3" in manifest(), timeout_s=20)
