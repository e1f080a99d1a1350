"""The race: every contestant does every job, in turn, for several rounds.

In turn, because a shared machine has better and worse minutes: what is compared was measured at nearly the
same time. Each round starts with another contestant, so that nobody always runs after the same neighbour.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contestants import Contestant, Job
from tests.bench.samples import Sample
from tests.bench.source import Source
from tests.bench.storage import Storage, bucket


@dataclass(frozen=True)
class Route:
    """A way from source to storage; `label` is its option, `name` its title."""

    label: str
    name: str
    source_url: str
    endpoint_url: str


@dataclass(frozen=True)
class Run:
    """One contestant's one job; `gets` is the number of requests that the source answered."""

    route: str
    sample: str
    size_bytes: int
    contestant: str
    round: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    gets: int


class Track:
    """The two ends and a scratch folder, on which runs are made one after the other."""

    def __init__(self, source: Source, storage: Storage, authority: Path, scratch: Path) -> None:
        self._source = source
        self.storage = storage
        self._authority = authority
        self._scratch = scratch
        self._buckets = 0

    def race(
        self, contestants: Sequence[Contestant], route: Route, sample: Sample, *, rounds: int
    ) -> Iterator[Run]:
        """Runs as they finish. Bytes are verified in the first round, lengths in all."""
        for round_number in range(rounds):
            first = round_number % len(contestants)
            for contestant in (*contestants[first:], *contestants[:first]):
                yield self._run(contestant, route, sample, round_number)

    def _run(self, contestant: Contestant, route: Route, sample: Sample, round_number: int) -> Run:
        self._buckets += 1
        with bucket(self.storage, f"bench-{self._buckets}") as target:
            job = Job(
                sample, route.source_url, route.endpoint_url, self._authority, target.name, self._scratch
            )
            gets_before = self._source.answered()
            cost = contestant.run(job)
            gets = self._source.answered() - gets_before
            stored = target.size_bytes(sample.name)
            if stored != sample.size_bytes:
                raise SystemExit(f"{contestant.name} stored {stored} bytes of {sample.size_bytes}")
            if round_number == 0 and target.sha256(sample.name) != sample.sha256:
                raise SystemExit(f"{contestant.name} stored other bytes than it was given")
        sys.stderr.write(
            f"{route.name} {sample.label} round {round_number + 1} {contestant.name}: {cost.wall_s:.2f} s, "
            f"{cost.cpu_s:.2f} CPU s, {cost.peak_mib:.0f} MiB, {gets} GETs\n"
        )
        return Run(
            route.name, sample.label, sample.size_bytes, contestant.name, round_number,
            cost.wall_s, cost.cpu_s, cost.peak_mib, gets,
        )  # fmt: skip
