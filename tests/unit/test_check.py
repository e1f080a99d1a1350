"""The check finds what is wrong, says what to mend, ends in time, leaves nothing and tells no secret."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console

from service import keys
from service.check import check
from service.check.steps import Note, Outcome, Row, Steps
from service.check.volume import doubt_about, file_system
from service.errors import StorageRefused, StorageUnavailable
from service.ledger import Database
from service.model import Part, Provider, Stored, Upload
from service.settings import load_settings
from service.storage.local import LocalStorage
from tests.doubles.key_server import KeyFault, KeyServer
from tests.doubles.ports import free_ports
from tests.doubles.sender import Sender

Checked = Callable[..., Awaitable[dict[str, Row]]]


@pytest.fixture
def checked(tmp_path: Path, sender: Sender) -> Checked:
    """Checks a service whose settings are good but for those given; the rows by subject's word and step."""

    async def run(**settings: Any) -> dict[str, Row]:
        out = io.StringIO()
        given = {
            "storage_config": json.dumps({"type": "local", "path": str(tmp_path / "archive")}),
            "database_url": f"sqlite:///{tmp_path / 'archiver.db'}",
            "webhook_public_key": sender.public_pem,
        } | settings
        faults = await check(load_settings({}, **given), Console(file=out, width=40), as_json=True)
        told = json.loads(out.getvalue())
        rows = [Row(**{**row, "outcome": Outcome(row["outcome"])}) for row in told["rows"]]
        assert faults == told["faults"] == sum(row.outcome is Outcome.FAULT for row in rows)
        assert all(row.mend for row in rows if row.outcome is Outcome.FAULT)
        named: dict[str, Row] = {}
        for row in rows:
            name = f"{row.subject.split(' ')[0]}: {row.step}"
            named[f"{name} too" if name in named else name] = row
        return named

    return run


def faults_in(rows: dict[str, Row]) -> list[str]:
    return [name for name, row in rows.items() if row.outcome is Outcome.FAULT]


# ---- the whole


async def test_a_service_that_could_start_passes_and_nothing_is_left(
    checked: Checked, tmp_path: Path
) -> None:
    rows = await checked()

    assert not faults_in(rows)
    assert list(rows) == [
        "storage: open",
        "storage: look up a file",
        "storage: write in parts",
        "storage: read back",
        "storage: break off an upload",
        "storage: find uploads left open",
        "storage: write a small file, and over it",
        "storage: remove the probes",
        "database: open",
        "database: know its tables",
        "database: write",
        "webhook: read",
    ]
    assert not list(tmp_path.iterdir())


async def test_a_role_is_checked_for_what_it_needs_alone(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    no_folder = json.dumps({"type": "local", "path": str(tmp_path / "file")})

    receiver = await checked(role="receiver", storage_config=no_folder)
    worker = await checked(role="worker", webhook_public_key=None, webhook_key_url="http://127.0.0.1:1/")

    assert {name.split(":")[0] for name in receiver} == {"database", "webhook"}
    assert {name.split(":")[0] for name in worker} == {"storage", "database"}
    assert not faults_in(receiver)
    assert not faults_in(worker)


@pytest.mark.parametrize("width", [40, 500])
@pytest.mark.parametrize("is_terminal", [False, True])
async def test_every_fault_is_readable_in_full_on_a_terminal_and_in_a_log(
    *, is_terminal: bool, width: int, tmp_path: Path, sender: Sender
) -> None:
    (tmp_path / "file").touch()
    settings = load_settings(
        {},
        storage_config=json.dumps({"type": "local", "path": str(tmp_path / "file")}),
        database_url=f"sqlite:///{tmp_path}/archiver.db",
        webhook_public_key=sender.public_pem,
    )
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal, color_system=None)

    assert await check(settings, console) > 0

    shown = out.getvalue()
    assert "…" not in shown
    assert " steps failed." in shown
    if width == 500 or not is_terminal:
        (line,) = [line for line in shown.splitlines() if "in parts: " in line]
        assert line.lstrip().startswith("fault")
        assert f"storage default (local:{tmp_path}/file)" in (shown if is_terminal else line)
        assert "To mend: " in line
        assert "`path`" in line


# ---- a folder


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may read and not write; root becomes nobody for a while."""
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


async def test_a_folder_that_is_not_writable_is_a_fault_with_what_to_mend(
    checked: Checked, read_only: Path
) -> None:
    rows = await checked(
        storage_config=json.dumps({"type": "local", "path": str(read_only)}),
        database_url=f"sqlite:///{read_only}/archiver.db",
    )

    assert faults_in(rows) == [
        "storage: write in parts",
        "storage: write a small file, and over it",
        "database: open",
    ]
    assert "let this user write to the folder" in rows["storage: write in parts"].mend
    assert "Permission denied" in rows["storage: write in parts"].told
    assert f"let this user write to {read_only}" in rows["database: open"].mend


async def test_a_file_in_the_place_of_the_folder_is_a_fault(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "archive").touch()

    rows = await checked()

    assert "storage: write in parts" in faults_in(rows)
    assert "path" in rows["storage: write in parts"].mend


async def test_a_folder_that_is_not_there_yet_is_pointed_out(checked: Checked, tmp_path: Path) -> None:
    missing = tmp_path / "volume" / "archive"

    rows = await checked(storage_config=json.dumps({"type": "local", "path": str(missing)}))

    assert rows["storage: open"].outcome is Outcome.NOTE
    assert f"{tmp_path / 'volume'} is not there" in rows["storage: open"].told
    assert not list(tmp_path.iterdir())


async def test_what_lies_in_the_folder_is_left_alone(checked: Checked, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / ".call.mp4.0123456789abcdef.part").write_bytes(b"part")
    (archive / "call.mp4").write_bytes(b"call")

    await checked()

    assert sorted(path.name for path in archive.iterdir()) == [
        ".call.mp4.0123456789abcdef.part",
        "call.mp4",
    ]


# ---- a storage that is not as it should be


class Odd(LocalStorage):
    """A folder that does something else than it should."""

    oddity = ""

    async def confirm(self, upload: Upload, parts: Sequence[Part]) -> frozenset[int]:
        there = await super().confirm(upload, parts)
        return there - {2} if self.oddity == "forgets a part" else there

    async def stat(self, key: str) -> Stored | None:
        found = await super().stat(key)
        if found is None:
            return Stored(key, 1, "") if self.oddity == "has every name" else None
        match self.oddity:
            case "tells another size":
                return replace(found, size=found.size - 1)
            case "tells another checksum":
                return replace(found, crc64nvme=1)
            case "tells another owner":
                return replace(found, artifact_id="recording/video")
            case "loses what it took":
                return None
        return found

    async def read(self, key: str) -> AsyncIterator[bytes]:
        async for chunk in super().read(key):
            yield chunk[:-1] + b"?" if self.oddity == "damages bytes" else chunk

    async def put(self, key: str, body: memoryview, **given: Any) -> Stored:
        if self.oddity == "keeps what is there" and (self._root / key).exists():
            raise StorageRefused("a retention")
        return await super().put(key, body, **given)

    async def remove(self, key: str) -> None:
        if self.oddity == "keeps what is there":
            raise StorageRefused("a retention")
        if self.oddity == "cannot remove":
            raise StorageUnavailable("gone")
        await super().remove(key)

    async def uploads(self, key: str) -> list[str]:
        return [] if self.oddity == "lists no uploads" else await super().uploads(key)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives every folder an oddity."""

    def become(oddity: str) -> None:
        monkeypatch.setattr(Odd, "oddity", oddity)
        monkeypatch.setattr("service.storage.local.LocalStorage", Odd)

    return become


@pytest.mark.parametrize(
    ("oddity", "step"),
    [
        ("has every name", "look up a file"),
        ("forgets a part", "write in parts"),
        ("tells another size", "read back"),
        ("tells another checksum", "read back"),
        ("tells another owner", "read back"),
        ("loses what it took", "read back"),
        ("damages bytes", "read back"),
    ],
)
async def test_a_storage_that_does_something_else_is_a_fault(
    checked: Checked, tmp_path: Path, odd: Callable[[str], None], oddity: str, step: str
) -> None:
    odd(oddity)

    rows = await checked()

    assert faults_in(rows) == [f"storage: {step}"]
    assert not list(tmp_path.iterdir())


async def test_a_retention_is_pointed_out_with_what_it_keeps(
    checked: Checked, tmp_path: Path, odd: Callable[[str], None]
) -> None:
    odd("keeps what is there")

    rows = await checked()

    assert not faults_in(rows)
    assert rows["storage: write a small file, and over it"].outcome is Outcome.NOTE
    removal = rows["storage: remove the probes"]
    assert removal.outcome is Outcome.NOTE
    left = sorted(path.name for path in (tmp_path / "archive").iterdir())
    assert len(left) == 2
    assert f"left: {', '.join(left)}." in removal.told


async def test_probes_that_cannot_be_removed_for_another_reason_are_a_fault(
    checked: Checked, odd: Callable[[str], None]
) -> None:
    odd("cannot remove")

    assert faults_in(await checked()) == ["storage: remove the probes"]


async def test_a_storage_that_lists_no_uploads_is_pointed_out_and_none_is_left(
    checked: Checked, tmp_path: Path, odd: Callable[[str], None]
) -> None:
    odd("lists no uploads")

    rows = await checked()

    assert rows["storage: find uploads left open"].outcome is Outcome.NOTE
    assert not list(tmp_path.iterdir())


# ---- the database


async def test_a_ledger_that_is_there_is_tried_and_keeps_nothing_of_it(
    checked: Checked, tmp_path: Path
) -> None:
    ledger = tmp_path / "archiver.db"
    database = Database(f"sqlite:///{ledger}")
    await database.migrate()
    await database.close()

    rows = await checked()

    assert not faults_in(rows)
    assert not rows["database: know its tables"].told
    with contextlib.closing(sqlite3.connect(ledger)) as opened:
        assert opened.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
    assert [path.name for path in tmp_path.iterdir()] == ["archiver.db"]


async def test_an_empty_file_becomes_no_ledger_by_being_checked(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "archiver.db").touch()

    rows = await checked()

    assert not faults_in(rows)
    with contextlib.closing(sqlite3.connect(tmp_path / "archiver.db")) as opened:
        assert opened.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


async def test_a_file_that_is_no_database_is_a_fault(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "archiver.db").write_bytes(b"a diary, not a database" * 100)

    rows = await checked()

    assert len(faults_in(rows)) == 1
    assert "restore the file, or move it away" in rows[faults_in(rows)[0]].mend
    assert (tmp_path / "archiver.db").read_bytes() == b"a diary, not a database" * 100


async def test_a_ledger_of_a_later_version_is_a_fault(checked: Checked, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "archiver.db")) as later:
        later.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('999')"
        )

    rows = await checked()

    assert faults_in(rows) == ["database: know its tables"]
    assert "run that version or a later one" in rows["database: know its tables"].mend


async def test_a_folder_that_takes_no_ledger_is_a_fault(checked: Checked) -> None:
    rows = await checked(database_url="sqlite:////proc/ledger/archiver.db")

    assert faults_in(rows) == ["database: open"]
    assert "ARCHIVER_DATABASE_URL" in rows["database: open"].mend
    assert "/proc/ledger" in rows["database: open"].mend


async def test_a_password_is_masked_wherever_it_stands(checked: Checked) -> None:
    rows = await checked(database_url="postgresql://me:s3%2Fcr3t@s3%2Fcr3t.invalid/s3/cr3t")

    assert faults_in(rows) == ["database: open"]
    assert "s3%2Fcr3t" not in str(rows)
    assert "s3/cr3t" not in str(rows)


# ---- the key


@pytest.fixture
async def key_server(sender: Sender) -> AsyncIterator[KeyServer]:
    async with KeyServer(sender.public_pem) as server:
        yield server


async def test_a_key_document_passes_and_the_clock_is_compared(
    checked: Checked, key_server: KeyServer
) -> None:
    rows = await checked(webhook_public_key=None, webhook_key_url=key_server.url)

    assert not faults_in(rows)
    assert rows["webhook: fetch"].told == "1 key"
    assert rows["clock: compare"].outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("fault", "told"),
    [("error", "answered 500"), ("garbage", "holds no public key"), ("no key", "holds no public key")],
)
async def test_a_key_document_that_is_none_is_a_fault(
    checked: Checked, key_server: KeyServer, fault: KeyFault, told: str
) -> None:
    key_server.fault = fault

    rows = await checked(webhook_public_key=None, webhook_key_url=key_server.url)

    assert faults_in(rows) == ["webhook: fetch"]
    assert told in rows["webhook: fetch"].told
    assert "ARCHIVER_WEBHOOK_KEY_URL" in rows["webhook: fetch"].mend


async def test_a_key_at_another_path_or_at_no_server_is_a_fault(
    checked: Checked, key_server: KeyServer
) -> None:
    wrong_path = await checked(webhook_public_key=None, webhook_key_url=f"{key_server.url}/old?token=t0k3n")
    (port,) = free_ports(1)
    nobody = await checked(webhook_public_key=None, webhook_key_url=f"http://127.0.0.1:{port}/")

    assert "answered 404" in wrong_path["webhook: fetch"].told
    assert "t0k3n" not in str(wrong_path)
    assert faults_in(nobody) == ["webhook: fetch"]
    assert "clock: compare" not in nobody


async def test_one_of_the_two_providers_is_enough(
    checked: Checked, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    urls = {Provider.DYTE: f"http://127.0.0.1:{port}/", Provider.REALTIMEKIT: key_server.url}
    monkeypatch.setattr(keys, "KEY_URLS", urls)

    one = await checked(webhook_public_key=None)
    key_server.fault = "error"
    none = await checked(webhook_public_key=None)

    assert not faults_in(one)
    assert [one[name].outcome for name in ("webhook: fetch", "webhook: fetch too")] == ["note", "pass"]
    assert faults_in(none) == ["webhook: fetch", "webhook: fetch too"]


@pytest.mark.parametrize(("off_s", "age", "is_fault"), [(-400, 0, True), (400, 0, True), (-400, 400, False)])
async def test_a_clock_that_is_off_is_a_fault(
    checked: Checked, sender: Sender, off_s: int, age: int, *, is_fault: bool
) -> None:
    async with _dated(sender, off_s=off_s, age=age) as url:
        rows = await checked(webhook_public_key=None, webhook_key_url=url)

    assert (faults_in(rows) == ["clock: compare"]) is is_fault
    if is_fault:
        assert "set this machine's clock" in rows["clock: compare"].mend
        assert ("ahead of" in rows["clock: compare"].told) is (off_s < 0)


@contextlib.asynccontextmanager
async def _dated(sender: Sender, *, off_s: int, age: int) -> AsyncIterator[str]:
    """A key document from a server whose clock is off, or whose answer is `age` seconds old."""

    async def answer(_request: web.Request) -> web.Response:
        headers = {"Date": formatdate(time.time() + off_s, usegmt=True), "Age": str(age)}
        return web.Response(text=sender.public_pem, headers=headers)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_an_answer_without_a_date_tells_no_time(key_server: KeyServer) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await keys.fetch_key(session, key_server.url)

    assert answer.told_at is not None
    assert keys._told_at({}) is None
    assert keys._told_at({"Date": "yesterday"}) is None
    assert keys._told_at({"Date": formatdate(1000, usegmt=True), "Age": "soon"}) is None


# ---- steps


def steps(limit_s: float = 5.0) -> Steps:
    return Steps("it", mend="mend it", limit_s=limit_s)


async def test_a_step_that_does_not_end_is_a_fault_and_the_rest_is_left_out() -> None:
    tried = steps(limit_s=0.01)
    cleaned: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    assert not await tried.run("hang", hang)
    assert not await tried.run("next", hang)
    await tried.run("tidy", _answering("done"), in_any_case=True)

    assert [(row.step, row.outcome) for row in tried.rows] == [("hang", "fault"), ("tidy", "pass")]
    assert tried.rows[0].told == "no answer within 0.01 s"
    assert cleaned == ["up"]
    assert tried.ran_late


async def test_a_step_that_swallows_its_cancellation_does_not_hold_up_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.check.steps._GRACE_S", 0.01)
    tried, end = steps(limit_s=0.01), asyncio.Event()

    async def stubborn() -> None:
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()

    assert not await tried.run("hang", stubborn)
    end.set()

    assert tried.ran_late
    assert tried.rows[0].outcome is Outcome.FAULT


async def test_a_cancelled_check_cancels_its_step() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(steps().run("hang", hang))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_refusal_goes_on_and_silence_does_not() -> None:
    refused, silent = steps(), steps()

    assert not await refused.run("first", _failing(StorageRefused("no", mend="allow it")))
    assert await refused.run("second", _answering("done"))
    assert not await silent.run("first", _failing(StorageUnavailable("gone")))
    assert not await silent.run("second", _answering("done"))

    assert [row.mend for row in refused.rows] == ["allow it", ""]
    assert [row.mend for row in silent.rows] == ["mend it"]


async def test_an_unexpected_failure_is_a_fault_of_one_line() -> None:
    tried = steps()

    assert not await tried.run("odd", _failing(KeyError("a\nb")))
    assert await tried.run("noted", _answering(Note("beware")))

    assert tried.rows[0].told == "KeyError: 'a\\nb'"
    assert (tried.rows[1].outcome, tried.rows[1].told) == (Outcome.NOTE, "beware")


def _answering(answer: str | Note) -> Callable[[], Awaitable[str | Note]]:
    async def work() -> str | Note:
        return answer

    return work


def _failing(error: Exception) -> Callable[[], Awaitable[str]]:
    async def work() -> str:
        raise error

    return work


# ---- volumes


def test_a_file_system_is_told_by_its_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    line = (
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw,noatime shared:1 - nfs4 server:/x rw\n"
    )
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"35 1 999:7 / / rw - ext4 /dev/vda rw\n{line}")

    assert file_system(tmp_path, mounts=mounts) == "nfs4"
    assert doubt_about(tmp_path, mounts=mounts) == ""
    assert file_system(tmp_path, mounts=tmp_path / "missing") == ""
    mounts.write_text(line.replace("nfs4", "overlay"))
    assert "overlay, which is lost" in doubt_about(tmp_path, mounts=mounts)
    assert "volume missing" in doubt_about(tmp_path / "a" / "b", mounts=mounts)


# ---- the receiver of notices


async def test_a_receiver_of_notices_behind_a_proxy_is_not_tried_and_a_receiver_of_deliveries_tells_none(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"notice_url": "http://hooks.example.com/T0K3N", "notice_secret": f"whsec_{'A' * 32}"}
    assert not [name for name in await checked(role="receiver", **given) if name.startswith("notices")]

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    row = (await checked(role="worker", **given))["notices: connect"]
    assert (row.outcome, row.told) == (Outcome.NOTE, "not tried: it is behind a proxy")
    assert row.subject == "notices to hooks.example.com"
