"""Proves that the image, really built, is small and does its work as a strict cluster runs it."""

import contextlib
import json
import re
import shutil
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import __version__
from tests.doubles.ports import free_ports
from tests.kubernetes.image import Builder, Image, lacking
from tests.test_house import ROOT

README = (ROOT / "README.md").read_text("utf-8")
LICENCES = """
import json
from importlib.metadata import distributions
def told(about):
    given = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier", []) if "License ::" in each]
    line = (about["License"] or "").partition("\\n")[0]
    return about["License-Expression"] or (line if len(line) < 40 else "") or ", ".join(given)
print(json.dumps({each.name: told(each.metadata) for each in distributions()}))
"""
LOOK = """
import json, os, shutil
tried = {}
for folder in ("/", "/app", "/opt/dyte-archiver", "/etc", "/data", "/tmp"):
    try:
        open(folder + "/written", "w").close()
        tried[folder] = True
    except OSError:
        tried[folder] = False
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getpid()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
    "written": tried,
    "tools": [each for each in ("cc", "gcc", "ld", "strip") if shutil.which(each)],
    "left": [each for each in ("/build", "/root/.cache", "/etc/pip.conf", "/etc/certificates.crt")
             if os.path.exists(each)],
    "licence": os.path.getsize("/usr/share/licenses/dyte-archiver/LICENSE") > 0,
}))
"""
EVERYTHING = """
import asyncssh, azure.identity, azure.storage.blob, bcrypt, google.auth.transport.requests, psycopg, uvloop
import service.assembly, service.serve, service.commands.status, service.check, service.ledger.database
import service.storage.azure, service.storage.gcs, service.storage.s3, service.storage.sftp
import alembic.command, aioboto3, awscrt.checksums
print(psycopg.pq.__impl__, awscrt.checksums.crc64nvme(b"123456789"))
sts = aioboto3.Session()._session.get_service_data("sts")
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """Its images are not kept: their layers are large."""
    if why := lacking():
        pytest.skip(f"the image is NOT TRIED here: {why}")
    folder = tmp_path_factory.mktemp("image")
    try:
        yield Builder(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(builder: Builder) -> Image:
    """With every storage, as it is built if nothing is said."""
    return builder.image("whole")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The data folder."""
    tmp_path.chmod(0o755)
    return tmp_path / "data"


def test_it_is_small_and_says_what_it_is_and_whose(
    image: Image, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = image.run(kept, "python", "-c", LICENCES)
    assert done.returncode == 0, done.stderr
    licences: dict[str, str] = json.loads(done.stdout)
    with capsys.disabled():
        every = "; ".join(f"{name}: {told}" for name, told in sorted(licences.items()))
        sys.stdout.write(f"\nthe image with every storage: {image.size}; its packages: {every}\n")

    assert megabytes(image) < 250
    assert {"aioboto3", "asyncssh", "azure-storage-blob", "google-auth", "psycopg"} <= licences.keys()
    assert all(licences.values())
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_holds_no_tools_and_only_its_data_folder_and_tmp_can_be_written(image: Image, kept: Path) -> None:
    done = image.run(kept, "python", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "user": [65532, 65532, 1],
        "capabilities": ["0000000000000000"],
        "written": {
            "/": False, "/app": False, "/opt/dyte-archiver": False, "/etc": False,
            "/data": True, "/tmp": True,
        },
        "tools": [],
        "left": [],
        "licence": True,
    }  # fmt: skip


def test_every_storage_and_database_is_whole_in_it(image: Image, kept: Path) -> None:
    done = image.run(kept, "python", "-W", "error", "-c", EVERYTHING)
    assert (done.returncode, done.stdout) == (0, f"binary {0xAE8B14860A799888}\n"), done.stderr


def test_one_of_less_is_smaller_and_says_what_it_lacks(builder: Builder, image: Image, kept: Path) -> None:
    smaller = builder.image("smaller", EXTRAS="")
    assert megabytes(smaller) < megabytes(image) - 30

    demo = smaller.run(kept, *smaller.config["Entrypoint"], "demo", "--size", "1MB", timeout_s=120)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    storage = json.dumps({"type": "azure", "bucket": "calls", "account_name": "archiver"})
    check = smaller.run(kept, *smaller.config["Entrypoint"], "check", ARCHIVER_STORAGE_CONFIG=storage)
    assert check.returncode == 1
    assert "EXTRAS" in check.stdout + check.stderr


def test_the_demo_passes_in_it(image: Image, kept: Path) -> None:
    done = image.run(kept, *image.config["Entrypoint"], "demo", "--size", "20MB", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source, manifest and file agree" in done.stdout


def test_it_serves_answers_its_probes_and_drains(image: Image, kept: Path, tmp_path: Path) -> None:
    port, admin = free_ports(2)
    settings = {"ARCHIVER_PORT": port, "ARCHIVER_ADMIN_PORT": admin}
    log = tmp_path / "log"
    with image.running(kept, log, **settings) as container:
        wait_until(lambda: status(admin, "/readyz") == 200, log)
        assert status(port, "/healthz") == 200

        probe, *command = image.config["Healthcheck"]["Test"]
        assert probe == "CMD"
        assert image.run(kept, *command, **settings).returncode == 0
        nobody = settings | {"ARCHIVER_ADMIN_PORT": free_ports(1)[0]}
        assert image.run(kept, *command, **nobody).returncode != 0

        (backup,) = re.findall(r"-- python -c \"(.*VACUUM.*)\"$", README, re.MULTILINE)
        copy = backup.replace("/tmp/", "/data/")
        assert image.run(kept, "python", "-c", copy).returncode == 0
        with contextlib.closing(sqlite3.connect(kept / "copy.db")) as ledger:
            assert ledger.execute("SELECT version_num FROM alembic_version").fetchone()

        assert container.stop() == 0
    told = [json.loads(line)["event"] for line in log.read_text("utf-8").splitlines()]
    assert told[-2:] == ["draining_began", "service_stopped"]
    assert (kept / "archiver.db").stat().st_uid == 65532


def test_a_service_link_is_told_as_what_it_is(image: Image, kept: Path) -> None:
    done = image.run(kept, *image.config["Entrypoint"], "serve", ARCHIVER_PORT="tcp://10.96.0.7:8080")
    assert done.returncode == 1
    assert "enableServiceLinks: false" in done.stderr


def megabytes(image: Image) -> float:
    size, unit = image.size.split()
    assert unit == "MB"
    return float(size)


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, log.read_text("utf-8")[-3000:]
        time.sleep(0.05)
