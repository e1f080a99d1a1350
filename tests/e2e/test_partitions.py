"""Hosts that are cut off without a word: packets are lost, no connection ends, nobody is told.

Each service has a network namespace of its own where this machine allows that, and is on loopback behind
relays that go silent where it does not: see `tests.doubles.lines`. So nothing here is ever skipped.
"""

import itertools
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.doubles.lines import Line, Way, lines
from tests.doubles.postgres import Postgres
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.e2e.deployment import Deployment
from tests.e2e.pair import LEASE_S, PART, Common

MIB = 1024 * 1024
COUNT = 4
DATABASE, STORE, SOURCE = "database", "store", "source"


@dataclass(kw_only=True)
class Pods(Common):
    """Several services, each at the end of a line of its own that moves one file at a time."""

    pods: list[Deployment]
    lines: list[Line]

    def names(self, kind: str) -> list[str]:
        """A recording's name for each."""
        return [f"{kind}-{number}" for number in range(len(self.pods))]

    def announce_to_each(self, kind: str, size: int, *, rate: int) -> list[str]:
        """Each hears of a recording, while the other one is stopped; returns their names."""
        names = self.names(kind)
        for seed, (pod, name) in enumerate(zip(self.pods, names, strict=True)):
            self.announce(pod, name, size, seed=seed, rate=rate)
        return names

    def wait_until_moving(self, names: Sequence[str]) -> None:
        """Return when the bytes of each come: as many as there are pods, so each has one."""
        self.other.wait_until(lambda: all(self.source[f"{name}.mp4"].sent for name in names))

    def assert_refused_soon(self, pod: Deployment, delivery: bytes) -> None:
        """A pod without its ledger says so within a second; the machine may be busy now and then."""
        took_s = []
        for _ in range(3):
            began_at = time.monotonic()
            assert pod.deliver(delivery) == 503
            took_s.append(time.monotonic() - began_at)
        assert min(took_s) < 1.5

    def mend(self) -> None:
        """Lines as they were."""
        for line in self.lines:
            line.mend()

    def assert_all_go_on(self, kind: str) -> None:
        """Each takes deliveries, and archives what comes now."""
        began = {pod.pid: len(self.stored(pod)) for pod in self.pods}
        with self.without_the_other():
            # Whoever is quick may take a second one before the next has looked; not time and again.
            for turn in range(10):
                for pod in self.pods:
                    news = self.sender.status(f"{kind}-{turn}-{pod.port}", "RECORDING")
                    pod.wait_until(lambda: pod.deliver(news) == 200)  # noqa: B023
                names = self.announce_to_each(f"{kind}-{turn}", PART + 1, rate=4 * MIB)
                self.other.wait_until(lambda: all(self.named(name) for name in names))  # noqa: B023
                self.settled(names)
                if all(len(self.stored(pod)) > began[pod.pid] for pod in self.pods):
                    return
        raise AssertionError("one of them archives nothing any more")


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, sender: Sender, postgres: Postgres, seaweedfs: SeaweedFS
) -> Iterator[Pods]:
    folder = tmp_path_factory.mktemp("pods")
    url, bucket = postgres.create_database(), seaweedfs.bucket()
    with ExitStack() as stack:
        stack.callback(postgres.drop_database, url)
        source = stack.enter_context(threaded(FaultySource()))
        servers = {DATABASE: url, STORE: seaweedfs.endpoint_url, SOURCE: source.base_url}
        ends = stack.enter_context(lines(COUNT, servers, shared=SOURCE))

        def deployment(name: str, urls: Mapping[str, str], **settings: Any) -> Deployment:
            (folder / name).mkdir()
            return Deployment(
                folder / name,
                sender,
                database_url=urls[DATABASE],
                storage_config=seaweedfs.storage_config(bucket, endpoint_url=urls[STORE]),
                source_hosts=urlsplit(ends[0].urls[SOURCE]).hostname,
                lease_seconds=LEASE_S,
                parts_in_flight=2,
                **settings,
            )

        pods = []
        for number, end in enumerate(ends):
            pods.append(deployment(f"pod-{number}", end.urls, host=end.host, artifacts_in_flight=1))
            pods[-1].before = end.before
        other = deployment("other", servers, artifacts_in_flight=8)
        for each in (other, *pods):
            each.launch()
            stack.callback(each.kill)
        for each in (other, *pods):
            each.wait_until_ready()
        yield Pods(
            other=other, source=source, seaweedfs=seaweedfs, bucket=bucket, database_url=url, sender=sender,
            source_url=ends[0].urls[SOURCE], pods=pods, lines=ends,
        )  # fmt: skip


@pytest.fixture
def pods(running: Pods) -> Iterator[Pods]:
    yield running
    running.mend()
    running.other.signal(signal.SIGCONT)


def test_who_is_cut_off_for_longer_than_its_lease_loses_its_work_and_harms_nothing(pods: Pods) -> None:
    with pods.without_the_other():
        names = pods.announce_to_each("cut", 6 * PART, rate=2 * MIB)
        for name in names:
            pods.other.wait_until(lambda: bool(pods.rows("parts", [name])))  # noqa: B023
            pods.source[f"{name}.mp4"].fail(rate=MIB // 8)  # the next parts take a minute each
        everything, ledger_alone, deaf, mute = pods.lines
        everything.cut(*everything.own)
        ledger_alone.cut(DATABASE)
        deaf.cut(*deaf.own, way=Way.BACK)
        mute.cut(*mute.own, way=Way.THERE)
        for name in names:
            pods.source[f"{name}.mp4"].recover()
    # Nobody is told that it was taken who is not told that it was committed.
    link = pods.link("heard.mp4", 1000, seed=9)
    heard = pods.sender.uploaded("heard", link, size=1000)
    for pod in pods.pods:
        pods.assert_refused_soon(pod, heard)
    pods.other.wait_until(lambda: all(pods.named(name) for name in names))
    before = pods.settled(names)
    for pod in pods.pods:
        pod.wait_until(lambda: bool(pods.lost(pod)))  # noqa: B023
    pods.mend()
    pods.assert_all_go_on("after-cut")
    pods.other.wait_until(lambda: pods.other.deliver(heard) == 200)
    pods.other.wait_until(lambda: bool(pods.named("heard")))
    pods.assert_whole(*names, "heard")
    assert pods.settled(names) == before
    assert set(names) <= pods.stored(pods.other)


def test_a_line_that_comes_and_goes_costs_no_recording_that_was_acknowledged(
    pods: Pods,
) -> None:
    names = pods.names("back")
    with pods.without_the_other():
        pods.announce_to_each("back", 5 * PART, rate=2 * MIB)
        pods.wait_until_moving(names)
        storeless, sourceless, *restless = pods.lines
        storeless.cut(STORE)
        sourceless.cut(SOURCE)
    chance, acknowledged, numbers = random.Random(1), [], itertools.count()
    until = time.monotonic() + 2 * LEASE_S
    while time.monotonic() < until:
        for line, pod in zip(restless, pods.pods[2:], strict=True):
            line.cut(*line.own)
            name = f"told-{next(numbers)}"
            told = pods.sender.uploaded(name, pods.link(f"{name}.mp4", 1000, seed=1), size=1000)
            time.sleep(chance.uniform(0, 0.4))
            if chance.random() < 0.7:
                line.mend()
            if pod.deliver(told) == 200:
                acknowledged.append(name)
            line.mend()
    pods.mend()
    pods.other.wait_until(lambda: all(pods.named(name) for name in [*names, *acknowledged]))
    assert acknowledged, "the line was never there"
    pods.settled([*names, *acknowledged])
    pods.assert_all_go_on("after-back")
    pods.assert_whole(*names, *acknowledged)


def test_who_has_no_store_leaves_the_work_to_the_one_that_has_it(pods: Pods) -> None:
    *storeless, _with_store = pods.lines
    names = [f"left-{number}" for number in range(12)]
    with pods.without_the_other():
        for line in storeless:
            line.cut(STORE)
        for seed, name in enumerate(names):
            pods.announce(pods.pods[-1], name, PART + 1, seed=seed, rate=8 * MIB)
        # Each of them holds one, until all its tries have failed.
        pods.other.wait_until(lambda: all(pods.named(name) for name in names), timeout_s=300)
    assert set(names) <= pods.stored(pods.pods[-1])
    pods.mend()
    pods.assert_all_go_on("after-left")
    pods.assert_whole(*names)
