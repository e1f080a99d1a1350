"""Two of the service on one PostgreSQL and one bucket; one can be stopped and cut off at any moment."""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.doubles.holding_store import HoldingStore
from tests.doubles.postgres import Postgres
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.tcp_gate import TcpGate
from tests.e2e.deployment import Deployment

__all__ = ["LEASE_S", "PART", "Common", "Misdated", "Pair", "ledger", "pair"]

PART = 5 * 1024 * 1024
LEASE_S = 3
TABLES = {
    "artifacts": "SELECT * FROM artifacts ORDER BY id",
    "copies": "SELECT * FROM copies ORDER BY artifact_id, storage",
    "parts": "SELECT * FROM parts ORDER BY artifact_id, storage, number",
    "manifests": "SELECT * FROM manifests ORDER BY recording_id, storage",
}


def ledger(url: str, table: str) -> list[dict[str, Any]]:
    """All rows of one table."""
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(TABLES[table].encode()).fetchall()


class Misdated(Deployment):
    """One whose clock is wrong by an hour: what the kernel says of the time of day, not how time passes."""

    @property
    def environment(self) -> dict[str, str]:
        """What the process is started with."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            pytest.skip("there is no libfaketime (Debian's package faketime)")
        told = {"LD_PRELOAD": str(found[0]), "FAKETIME": "+1h", "DONT_FAKE_MONOTONIC": "1"}
        return super().environment | told


@dataclass(kw_only=True)
class Common:
    """One ledger, bucket and source of several, and `other`, one of them that nothing can befall."""

    other: Deployment
    source: FaultySource
    seaweedfs: SeaweedFS
    bucket: str
    database_url: str
    sender: Sender
    source_url: str = ""
    """Where the others reach the source, if not where it is."""

    def announce(
        self, to: Deployment, name: str, size: int, *, seed: int, rate: int = 0, audio: int = 0
    ) -> None:
        """Have one of them hear of a recording; `audio` is the size of its audio file, if it has one."""
        faults: Any = {"rate": rate} if rate else {}
        link = self.link(f"{name}.mp4", size, seed=seed, **faults)
        more: dict[str, Any] = (
            {"audioDownloadUrl": self.link(f"{name}.mp3", audio, seed=seed)} if audio else {}
        )
        to.hand_over(self.sender.uploaded(name, link, size=size, **more))

    def link(self, name: str, size: int, *, seed: int, **faults: Any) -> str:
        """Have the source serve a file; returns its URL as all of them reach it."""
        link = self.source.add(name, size, seed=seed, **faults)
        return link.replace(self.source.base_url, self.source_url or self.source.base_url)

    @contextmanager
    def without_the_other(self) -> Iterator[None]:
        """What is announced meanwhile it does not claim: it is stopped."""
        self.other.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.other.signal(signal.SIGCONT)

    def rows(self, table: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """What the ledger has of these recordings."""
        columns = ("recording_id", "artifact_id")
        return [
            row
            for row in ledger(self.database_url, table)
            if next(str(row[column]) for column in columns if column in row).partition("/")[0] in names
        ]

    def settled(self, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """All that the ledger has of these recordings, once nothing of them is open."""

        def are_settled() -> bool:
            rows = self.rows("artifacts", names)
            return all(row["state"] == "archived" and not row["owner"] for row in rows)

        self.other.wait_until(are_settled)
        return {table: self.rows(table, names) for table in TABLES}

    def stored(self, deployment: Deployment) -> set[str]:
        """The recordings of which this one says that it stored a file."""
        return {line["recording_id"] for line in deployment.lines("artifact_stored")}

    def lost(self, deployment: Deployment) -> set[str]:
        """The recordings whose lease this one says that it lost."""
        return {line["recording_id"] for line in deployment.lines("lease_lost")}

    def named(self, name: str) -> set[str]:
        """The files that a recording's manifest names; none before it is there."""
        key = f"{name}.mp4.json"
        if key not in self.seaweedfs.objects(self.bucket):
            return set()
        manifest = json.loads(self.seaweedfs.read(self.bucket, key))
        return {entry["key"] for entry in manifest["artifacts"]}

    def assert_whole(self, *names: str) -> None:
        """Every file is what its source has, and its manifest and the ledger say so; no upload is open."""
        for name in names:
            files = {row["key"] for row in self.rows("copies", [name])}
            self.other.wait_until(lambda: self.named(name) == files, timeout_s=30)  # noqa: B023
            for key in files:
                assert self.seaweedfs.read(self.bucket, key) == self.source[key].content.read(), key
        uploads = self.seaweedfs.open_uploads
        self.other.wait_until(lambda: not uploads(self.bucket), timeout_s=30)


@dataclass(kw_only=True)
class Pair(Common):
    """`zombie` reaches the store by `store` and the ledger by `gate`."""

    zombie: Deployment
    store: HoldingStore
    gate: TcpGate

    def mend(self) -> None:
        """End whatever befell them: a test that fails leaves nothing behind for the next."""
        self.store.recover()
        self.store.release()
        self.gate.open()
        for deployment in (self.zombie, self.other):
            deployment.signal(signal.SIGCONT)

    def assert_zombie_goes_on(self, name: str) -> None:
        """It archives what comes now, as before."""
        with self.without_the_other():
            self.announce(self.zombie, name, PART + 1, seed=99)
            self.zombie.wait_until(lambda: self.named(name) == {f"{name}.mp4"})
        assert name in self.stored(self.zombie)
        self.settled([name])


@contextmanager
def pair(folder: Path, sender: Sender, postgres: Postgres, seaweedfs: SeaweedFS) -> Iterator[Pair]:
    """Both, running and ready."""
    url, bucket = postgres.create_database(), seaweedfs.bucket()
    with (
        threaded(FaultySource()) as source,
        threaded(HoldingStore(seaweedfs.endpoint_url)) as store,
        threaded(TcpGate(url)) as gate,
    ):

        def deployment(name: str, database_url: str, endpoint_url: str) -> Deployment:
            (folder / name).mkdir()
            return Deployment(
                folder / name,
                sender,
                database_url=database_url,
                storage_config=seaweedfs.storage_config(bucket, endpoint_url=endpoint_url),
                lease_seconds=LEASE_S,
                artifacts_in_flight=8,
                parts_in_flight=2,
            )

        zombie = deployment("zombie", gate.url, store.endpoint_url)
        other = deployment("other", url, seaweedfs.endpoint_url)
        try:
            with zombie.running(), other.running():
                yield Pair(
                    zombie=zombie, other=other, source=source, store=store, gate=gate, seaweedfs=seaweedfs,
                    bucket=bucket, database_url=url, sender=sender,
                )  # fmt: skip
        finally:
            postgres.drop_database(url)
