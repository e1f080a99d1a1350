"""The processes, the database, the store and the source, and what can be done to them."""

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.plan import Blow, What
from tests.doubles.sender import Sender
from tests.doubles.servers import Postgres, SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.source_faults import Faults
from tests.doubles.store_proxy import Fault, FaultyStore, Operation
from tests.e2e.deployment import Deployment

MIB = 1024 * 1024
RATE = 5 * MIB
LEASE_S = 4.0
SIGNED = "?X-Amz-Signature=5ec2e7ed"

_STORE: list[tuple[Operation, Fault]] = [
    ("UploadPart", Fault.REFUSE),
    ("UploadPart", Fault.FAIL_AFTER),
    ("UploadPart", Fault.DROP),
    ("UploadPart", Fault.STALL),
    ("CreateMultipartUpload", Fault.FAIL_AFTER),
    ("CompleteMultipartUpload", Fault.DROP_AFTER),
    ("CompleteMultipartUpload", Fault.ERROR_BODY_AFTER),
    ("CompleteMultipartUpload", Fault.REFUSE),
    ("PutObject", Fault.FAIL_AFTER),
    ("PutObject", Fault.DROP),
    ("HeadObject", Fault.REFUSE),
    ("ListParts", Fault.REFUSE),
]
_SOURCE: list[Faults] = [
    {"rate": RATE, "status": 503, "status_first": 3},
    {"rate": RATE, "status": 429, "status_first": 2, "retry_after": "1"},
    {"rate": RATE, "cut_after": 3 * MIB, "cut_first": 3},
    {"rate": RATE, "cut_after": 100_000, "cut_first": 2, "cut_by_reset": True},
    {"rate": RATE, "stall_after": MIB, "stall_first": 1},
]


@dataclass(frozen=True)
class Told:
    """A recording: the sizes of its video and audio."""

    name: str
    video: int
    audio: int

    @property
    def files(self) -> dict[str, int]:
        """Its files' names and sizes."""
        return {f"{self.name}.mp4": self.video, f"{self.name}.mp3": self.audio}


@dataclass
class Fleet:
    """All that takes part; ``done`` counts what was done to it, ``acknowledged`` whose delivery got a 2xx."""

    folder: Path
    postgres: Postgres
    database_url: str
    seaweedfs: SeaweedFS
    bucket: str
    store: FaultyStore
    source: FaultySource
    sender: Sender
    members: dict[str, Deployment]
    recordings: list[Told]
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)

    @property
    def receivers(self) -> list[Deployment]:
        """Those that take deliveries."""
        return [member for name, member in self.members.items() if name.startswith("receiver")]

    def run(self, plan: list[Blow]) -> None:
        """Deliver everything while the blows fall, each at its time; return when the last has ended."""
        began_at = time.monotonic()
        seconds = max(blow.at_s + blow.for_s for blow in plan)
        over = threading.Event()
        delivering = threading.Thread(target=self._deliver, args=(over, 0.6 * seconds / len(self.recordings)))
        delivering.start()
        ends: list[tuple[float, Blow]] = []
        coming = list(plan)
        try:
            while coming or ends:
                now = time.monotonic() - began_at
                for end in [each for each in ends if each[0] <= now]:
                    ends.remove(end)
                    self._recover(end[1])
                while coming and coming[0].at_s <= now:
                    blow = coming.pop(0)
                    if self._strike(blow):
                        ends.append((now + blow.for_s, blow))
                self._supervise()
                time.sleep(0.05)
        finally:
            self.calm()
            over.set()
            delivering.join()

    def calm(self) -> None:
        """Nothing goes wrong any more, and all run."""
        for name in list(self.stopped):
            self.members[name].signal(signal.SIGCONT)
            self.stopped.discard(name)
        self.postgres.thaw()
        self.postgres.restart()
        self.store.recover()
        for told in self.recordings:
            for name in told.files:
                self.source[name].recover()
        self._supervise()

    def deliver_the_rest(self) -> None:
        """As the provider does: until everything is acknowledged."""
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < len(self.recordings):
            assert time.monotonic() < deadline, "deliveries are not taken though all is well again"
            self._supervise()
            self._deliver_one()

    def _deliver(self, over: threading.Event, gap_s: float) -> None:
        while not over.wait(gap_s) and len(self.acknowledged) < len(self.recordings):
            self._deliver_one()

    def _deliver_one(self) -> None:
        left = [told for told in self.recordings if told.name not in self.acknowledged]
        told, receiver = left[0], self.chance.choice(self.receivers)
        video, audio = (self.source[name].url + SIGNED for name in told.files)
        body = self.sender.uploaded(told.name, video, size=told.video, audioDownloadUrl=audio)
        if receiver.deliver(body) == 200:
            self.acknowledged.add(told.name)
        else:
            self.done["deliveries refused or lost"] += 1
            self.recordings.remove(told)  # the others are not to wait for it
            self.recordings.append(told)

    def _strike(self, blow: Blow) -> bool:
        """Do it; False if it cannot be done now, or has no end."""
        member = self.members.get(blow.whom)
        match blow.what:
            case What.KILL | What.TERM | What.STOP if member is None or not member.is_running:
                return False
            case What.KILL | What.TERM | What.STOP if blow.whom in self.stopped:
                return False
            case What.KILL:
                assert member is not None
                member.kill()
            case What.TERM:
                assert member is not None
                member.signal(signal.SIGTERM)
            case What.STOP:
                assert member is not None
                member.signal(signal.SIGSTOP)
                self.stopped.add(blow.whom)
            case What.DATABASE_KILL:
                if self.postgres.is_frozen:
                    return False
                self.postgres.crash()
            case What.DATABASE_FREEZE:
                if not self.postgres.is_running:
                    return False
                self.postgres.freeze()
            case What.STORE:
                for operation, fault in self.chance.sample(_STORE, 3):
                    self.store.inject(operation, fault, first=2)
            case What.SOURCE:
                for told in self.chance.sample(self.recordings, min(5, len(self.recordings))):
                    self.source[f"{told.name}.mp4"].fail(**self.chance.choice(_SOURCE))
        self.done[blow.what] += 1
        return blow.what not in (What.KILL, What.TERM)

    def _recover(self, blow: Blow) -> None:
        match blow.what:
            case What.STOP if blow.whom in self.stopped:
                self.members[blow.whom].signal(signal.SIGCONT)
                self.stopped.discard(blow.whom)
            case What.DATABASE_KILL:
                self.postgres.restart()
            case What.DATABASE_FREEZE:
                self.postgres.thaw()
            case What.STORE:
                self.store.recover()
            case What.SOURCE:
                for told in self.recordings:
                    self.source[f"{told.name}.mp4"].fail(rate=RATE)
            case _:
                pass

    def _supervise(self) -> None:
        """Start anew whoever has ended, as a cluster does."""
        for member in self.members.values():
            if not member.is_running:
                member.launch()
                self.done["processes started"] += 1


@contextlib.contextmanager
def fleet(
    folder: Path,
    *,
    seed: int,
    recordings: int,
    workers: int,
    receivers: int,
    postgres: Postgres,
    seaweedfs: SeaweedFS,
) -> Iterator[Fleet]:
    """Everything running, and nothing delivered yet; all processes are gone at the end."""
    chance = random.Random(seed + 1)
    sender, bucket, url = Sender(), seaweedfs.bucket("chaos"), postgres.create_database()
    with threaded(FaultyStore(seaweedfs.endpoint_url)) as store, threaded(FaultySource()) as source:
        config = seaweedfs.storage_config(bucket, endpoint_url=store.base_url)
        members = {}
        for role, count in (("receiver", receivers), ("worker", workers)):
            for number in range(count):
                (folder / f"{role}-{number}").mkdir(parents=True)
                members[f"{role}-{number}"] = Deployment(
                    folder / f"{role}-{number}", sender, role=role, database_url=url, storage_config=config,
                    lease_seconds=LEASE_S, parts_in_flight=3, artifacts_in_flight=3, drain_seconds=3,
                )  # fmt: skip
        told = []
        for number in range(recordings):
            video = chance.choice([chance.randrange(300, 2 * MIB), chance.randrange(12 * MIB, 40 * MIB)])
            recording = Told(f"rec-{number:03}", video, chance.randrange(1, 200_000))
            for seeded, (name, size) in enumerate(recording.files.items()):
                source.add(name, size, seed=2 * number + seeded, rate=RATE)
            told.append(recording)
        all_of_it = Fleet(
            folder, postgres, url, seaweedfs, bucket, store, source, sender, members, told, chance
        )
        try:
            for name, member in members.items():
                member.launch()
                if name == "receiver-0":
                    member.wait_until_ready()
            for member in members.values():
                member.wait_until_ready()
            yield all_of_it
        finally:
            for member in members.values():
                with contextlib.suppress(ProcessLookupError):
                    member.signal(signal.SIGCONT)
                member.kill()
