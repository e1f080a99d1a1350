"""What has to be true afterwards, each with its figures."""

import re
import time
from dataclasses import dataclass

import psycopg
from awscrt.checksums import crc64nvme

from tests.chaos.fleet import SIGNED, Fleet

WAIT_S = 120.0
AT_MOST = 1.5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be true; ``faults`` are empty if it is."""

    name: str
    told: str
    faults: list[str]


def judge(fleet: Fleet) -> list[Check]:
    """Wait until all is archived, or for too long, and look at everything. The processes still run."""
    began_at = time.monotonic()
    while (left := _unarchived(fleet)) and time.monotonic() < began_at + WAIT_S:
        time.sleep(0.2)
    waited = f"{len(fleet.acknowledged)}, {time.monotonic() - began_at:.0f} s after"
    verified = next(iter(fleet.members.values())).command("verify", timeout_s=120)
    for member in fleet.members.values():
        member.stop()
    objects = fleet.seaweedfs.objects(fleet.bucket)
    return [
        Check(
            "all that was acknowledged is archived",
            waited,
            left,
        ),
        _whole(fleet, objects),
        _nothing_else(fleet, objects),
        Check("no upload is left open", "", fleet.seaweedfs.open_uploads(fleet.bucket)),
        Check("verify passes", "", [] if verified.returncode == 0 else [verified.stdout + verified.stderr]),
        _read_once(fleet),
        _quiet_logs(fleet),
        _no_connections(fleet),
    ]


def _unarchived(fleet: Fleet) -> list[str]:
    with psycopg.connect(fleet.database_url) as connection:
        rows = connection.execute(
            "SELECT id, artifacts.state, copies.state, copies.error FROM artifacts LEFT JOIN copies"
            " ON artifact_id = id WHERE artifacts.state <> 'archived' OR copies.state <> 'archived'"
        ).fetchall()
        known = {row[0] for row in connection.execute("SELECT DISTINCT recording_id FROM artifacts")}
    return [str(row) for row in rows] + sorted(f"{name} is not known" for name in fleet.acknowledged - known)


def _whole(fleet: Fleet, objects: dict[str, int]) -> Check:
    faults = []
    for told in fleet.recordings:
        for name, size in told.files.items():
            if objects.get(name) != size:
                faults.append(f"{name}: {objects.get(name)} of {size} bytes")
                continue
            expected = fleet.source[name].content.crc64nvme()
            if crc64nvme(fleet.seaweedfs.read(fleet.bucket, name)) != expected:
                faults.append(f"{name}: other bytes than the source's")
            manifest = fleet.seaweedfs.read(fleet.bucket, f"{told.name}.mp4.json").decode()
            if f"{expected:016x}" not in manifest:
                faults.append(f"{name}: not in its manifest, or with another checksum")
    return Check(
        "every file is there, whole, and in its manifest", f"{2 * len(fleet.recordings)} files", faults
    )


def _nothing_else(fleet: Fleet, objects: dict[str, int]) -> Check:
    expected = {name for told in fleet.recordings for name in (*told.files, f"{told.name}.mp4.json")}
    return Check("each once, with one manifest, and nothing else", "", sorted(objects.keys() - expected))


def _read_once(fleet: Fleet) -> Check:
    total = sum(size for told in fleet.recordings for size in told.files.values())
    sent = sum(fleet.source[name].sent for told in fleet.recordings for name in told.files)
    told = f"{sent / total:.2f} times {total / 1e6:.0f} MB"
    return Check(
        f"the source was read at most {AT_MOST} times", told, [] if sent <= AT_MOST * total else [told]
    )


def _quiet_logs(fleet: Fleet) -> Check:
    faults = []
    for name, member in fleet.members.items():
        log = member.log.read_text("utf-8", "replace")
        for bad in ("Traceback", SIGNED, "try_broke_off", "task_broke_off", "delivery_broke_off"):
            faults += [f"{name}: {line[:400]}" for line in re.findall(f".*{re.escape(bad)}.*", log)[:3]]
    return Check("no fault of ours and no signed link in the logs", "", faults)


def _no_connections(fleet: Fleet) -> Check:
    with psycopg.connect(fleet.database_url) as connection:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        row = connection.execute(asked).fetchone()
    left = row[0] - 1 if row else 0
    return Check("no connection to the database is left", "", [f"{left} are left"] if left else [])
