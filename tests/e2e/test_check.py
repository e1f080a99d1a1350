"""The command as a person or a pod runs it, against real servers: what it finds, leaves behind and tells."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.doubles.ports import free_ports
from tests.doubles.sender import Sender
from tests.doubles.servers import Moto, Postgres, SeaweedFS
from tests.e2e.deployment import Deployment

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY"
DENIED = {
    "may-not-write": ["s3:PutObject"],
    "may-not-delete": ["s3:DeleteObject"],
    "may-not-abort": ["s3:AbortMultipartUpload"],
    "may-not-read": ["s3:GetObject"],
}


@dataclass(frozen=True)
class Report:
    """What one run of the command told."""

    rows: list[dict[str, Any]]
    text: str
    exit_code: int

    def of(self, storage: str) -> dict[str, dict[str, Any]]:
        """The rows of one storage by their steps."""
        subject = f"storage {storage} ("
        return {row["step"]: row for row in self.rows if row["subject"].startswith(subject)}

    def faults_of(self, storage: str) -> list[str]:
        return [step for step, row in self.of(storage).items() if row["outcome"] == "fault"]


def checked(deployment: Deployment) -> Report:
    done = deployment.command("check", "--json")
    return Report(json.loads(done.stdout)["rows"], done.stdout + done.stderr, done.returncode)


def routed(deployment: Deployment, storages: dict[str, dict[str, Any]]) -> None:
    file = deployment.folder / "routing.json"
    file.write_text(json.dumps({"storages": storages, "rules": [{"to": list(storages)}]}))
    deployment.configure(routing_file=file)


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    """A bucket in which each folder of `DENIED` lacks a permission."""
    bucket = seaweedfs.bucket("check")
    statements = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}/{folder}/*"],
        }
        for folder, actions in DENIED.items()
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    seaweedfs.client().put_bucket_policy(Bucket=bucket, Policy=policy)
    return bucket


@pytest.fixture(scope="module")
def report(
    seaweedfs: SeaweedFS, bucket: str, sender: Sender, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """One run over many storages, good and bad."""
    good = seaweedfs.storage_config(bucket, path="good")
    (port,) = free_ports(1)
    storages: dict[str, dict[str, Any]] = {
        "good": good,
        "checked": {**good, "path": "checked", "checksum": "crc64nvme"},
        "wrong-secret": {**good, "path": "wrong-secret", "secret": SECRET},
        "wrong-key": {**good, "path": "wrong-key", "access_key": "AKIANOBODY"},
        "no-bucket": {**good, "bucket": "not-there"},
        "down": {**good, "path": "down", "endpoint_url": f"http://127.0.0.1:{port}"},
    } | {folder: {**good, "path": folder} for folder in DENIED}
    deployment = Deployment(tmp_path_factory.mktemp("check"), sender)
    routed(deployment, storages)
    return checked(deployment)


def test_a_bucket_passes_with_and_without_checksums(report: Report) -> None:
    assert report.exit_code == 1
    for storage in ("good", "checked"):
        assert {row["outcome"] for row in report.of(storage).values()} == {"pass"}
        assert len(report.of(storage)) == 8


@pytest.mark.parametrize("storage", ["wrong-secret", "wrong-key"])
def test_wrong_keys_are_told_by_their_fields(report: Report, storage: str) -> None:
    assert report.faults_of(storage) == ["look up a file", "write in parts"]
    assert "access_key and secret" in report.of(storage)["write in parts"]["mend"]


def test_a_missing_bucket_is_told(report: Report) -> None:
    assert "write in parts" in report.faults_of("no-bucket")
    assert "create the bucket" in report.of("no-bucket")["write in parts"]["mend"]


def test_a_store_that_is_down_is_one_fault_and_holds_up_no_other(report: Report) -> None:
    assert report.faults_of("down") == ["look up a file"]
    assert list(report.of("down")) == ["open", "look up a file"]


@pytest.mark.parametrize(
    ("storage", "step", "permission"),
    [
        ("may-not-write", "write in parts", "s3:PutObject"),
        ("may-not-read", "look up a file", "s3:GetObject"),
        ("may-not-abort", "break off an upload", "s3:AbortMultipartUpload"),
    ],
)
def test_a_permission_that_lacks_is_named(report: Report, storage: str, step: str, permission: str) -> None:
    assert step in report.faults_of(storage)
    assert permission in report.of(storage)[step]["mend"]


def test_keys_that_may_not_delete_are_as_it_should_be_and_what_is_left_is_named(
    report: Report, seaweedfs: SeaweedFS, bucket: str
) -> None:
    assert not report.faults_of("may-not-delete")
    removal = report.of("may-not-delete")["remove the probes"]
    assert removal["outcome"] == "note"
    left = [key for key in seaweedfs.objects(bucket) if key.startswith("may-not-delete/")]
    assert len(left) == 2
    assert all(key.removeprefix("may-not-delete/") in removal["told"] for key in left)


def test_nothing_is_left_where_it_may_be_removed(report: Report, seaweedfs: SeaweedFS, bucket: str) -> None:
    folders = {key.partition("/")[0] for key in seaweedfs.objects(bucket)}
    assert folders <= {"may-not-delete"}
    uploads = seaweedfs.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert {upload["Key"].partition("/")[0] for upload in uploads} <= {"may-not-abort"}


def test_no_secret_is_told(report: Report, seaweedfs: SeaweedFS) -> None:
    assert SECRET not in report.text
    assert seaweedfs.secret_key not in report.text


def test_the_rows_stand_in_the_order_of_the_storages(report: Report) -> None:
    subjects = list(dict.fromkeys(row["subject"].split(" (")[0] for row in report.rows))
    names = ["good", "checked", "wrong-secret", "wrong-key", "no-bucket", "down", *DENIED]
    assert subjects == [*(f"storage {name}" for name in names), "database archiver.db", "webhook key"]


def test_another_imitation_of_s3_passes_too(moto: Moto, sender: Sender, tmp_path: Path) -> None:
    bucket = moto.bucket("check")

    done = Deployment(tmp_path, sender, storage_config=moto.storage_config(bucket)).command("check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"pass   storage default (aws:{bucket}): write in parts" in done.stdout
    assert "Nothing is wrong." in done.stdout
    assert not moto.objects(bucket)
    assert not moto.open_uploads(bucket)


def test_a_probe_is_locked_for_a_day_at_most_and_never_held(
    moto: Moto, sender: Sender, tmp_path: Path
) -> None:
    moto.client().create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    lock = {"mode": "COMPLIANCE", "days": 3650}
    config = {**moto.storage_config("locked"), "object_lock": lock, "legal_hold": True}

    done = Deployment(tmp_path, sender, storage_config=config).command("check")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "a legal hold is not tried" in done.stdout
    assert "remove the probes: their versions stay for a day" in done.stdout
    versions = moto.client().list_object_versions(Bucket="locked")["Versions"]
    assert len(versions) == 3
    for version in [
        version for version in versions if version["Key"].endswith(".json")
    ]:  # moto locks no parts
        at = {"Bucket": "locked", "Key": version["Key"], "VersionId": version["VersionId"]}
        found = moto.client().head_object(**at)
        assert found["ObjectLockRetainUntilDate"] < datetime.now(UTC) + timedelta(days=1)
        assert found.get("ObjectLockLegalHoldStatus", "OFF") == "OFF"


# ---- the database


@pytest.fixture
def role(postgres: Postgres, postgres_url: str) -> Iterator[str]:
    """A database's URL for a user who needs a password there, and may not make tables."""
    admin = psycopg.connect(postgres_url, autocommit=True)
    with admin:
        (rules,) = admin.execute("SHOW hba_file").fetchone() or ("",)
        before = Path(rules).read_text()
        admin.execute(f"CREATE ROLE checker LOGIN PASSWORD '{SECRET}'")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        Path(rules).write_text(f"host all checker 127.0.0.1/32 scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield postgres_url.replace("postgres@", f"checker:{SECRET}@")
        finally:
            Path(rules).write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP ROLE checker")


def test_a_postgresql_passes_before_and_after_the_first_start_and_keeps_nothing(
    postgres_url: str, sender: Sender, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path, sender, database_url=postgres_url)
    first = deployment.command("check")
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)
    with deployment.running():
        second = deployment.command("check")

    assert first.returncode == 0, first.stdout + first.stderr
    assert "there are none yet: the service makes them when it starts" in first.stdout
    assert second.returncode == 0, second.stdout + second.stderr
    assert "none yet" not in second.stdout
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)


def test_a_user_who_may_not_make_tables_is_a_fault(role: str, sender: Sender, tmp_path: Path) -> None:
    done = Deployment(tmp_path, sender, database_url=role).command("check")

    assert done.returncode == 1
    assert "know its tables: " in done.stdout
    assert "permission denied for schema public" in done.stdout
    assert "let the database's user make tables in its schema" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_password_is_a_fault_that_does_not_tell_it(role: str, sender: Sender, tmp_path: Path) -> None:
    wrong = role.replace(SECRET, "an0ther-s3cret")

    done = Deployment(tmp_path, sender, database_url=wrong).command("check")

    assert done.returncode == 1
    assert "password authentication failed" in done.stdout
    assert "ARCHIVER_DATABASE_URL" in done.stdout
    assert "an0ther-s3cret" not in done.stdout + done.stderr


def test_a_database_that_is_down_is_a_fault(sender: Sender, tmp_path: Path) -> None:
    (port,) = free_ports(1)

    done = Deployment(tmp_path, sender, database_url=f"postgresql://me:{SECRET}@127.0.0.1:{port}/x").command(
        "check"
    )

    assert done.returncode == 1
    assert "Connection refused" in done.stdout
    assert SECRET not in done.stdout + done.stderr


# ---- before the start


def test_serve_with_check_does_not_start_with_a_fault(sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "archive").touch()
    deployment = Deployment(tmp_path, sender)

    done = deployment.command("serve", "--check")

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    failed = [line for line in lines if line["event"] == "check_failed"]
    assert done.returncode == 1
    assert not done.stdout
    assert failed[0]["subject"] == "storage default (local:archive)"
    assert failed[0]["mend"]
    assert not [line for line in lines if line["event"] == "service_started"]
    assert not (tmp_path / "archiver.db").exists()


def test_serve_with_check_starts_without_a_fault(sender: Sender, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, sender)
    with deployment.running("--check"):
        assert deployment.answer(deployment.port, "/healthz")[0] == 200
        assert deployment.stop() == 0
    events = [line["event"] for line in deployment.lines()]
    assert events.index("check_passed") < events.index("service_started")
    assert "check_failed" not in events


def test_a_check_ends_though_the_storage_hangs_in_the_system(tmp_path: Path, sender: Sender) -> None:
    program = """
import asyncio, sys, time
from rich.console import Console
from service.check import check
from service.settings import load_settings
from service.storage.local import LocalStorage
LocalStorage._path = lambda self, key: time.sleep(3600)
asyncio.run(check(load_settings(), Console(), step_s=0.2))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=Deployment(tmp_path, sender).environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "look up a file: no answer within 0.2 s" in done.stdout
