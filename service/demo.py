"""The whole service once, for somebody who wants to see it: real processes, real HTTP, a real signature."""

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web
from awscrt.checksums import crc32c, crc64nvme
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.errors import ArchiverError
from service.ledger import Database, View
from service.manifests import read_manifest
from service.model import Checksum, State
from service.settings import PREFIX
from service.status import size_text
from service.storage import LocalConfig, open_storage
from service.verify import read_back

_NAME = "demo-recording.mp4"
_BLOCK = 1024 * 1024
_START_S = 30.0
_POLL_S = 0.1
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


class DemoFailed(ArchiverError):
    """The demo did not get through."""


async def run(size: str, *, keep: bool, console: Console) -> None:
    """Archive a sample recording of ``size`` (``300MB``): say where it is, how fast it went, if it is whole.

    With ``keep``, go on serving until interrupted.

    Raises :class:`DemoFailed`.
    """
    total = parse_size(size)
    folder = Path(tempfile.mkdtemp(prefix="dyte-archiver-demo-"))
    _say(console, f"folder    {folder}")
    _say(console, f"sample    {size_text(total)} of random bytes are being made")
    expected = await asyncio.to_thread(_write_sample, folder / _NAME, total)
    key = generate_private_key(public_exponent=65537, key_size=2048)
    async with _sample_served(folder / _NAME) as link, _service(folder, key) as (port, admin_port):
        _say(console, f"source    {link}")
        _say(console, f"webhook   http://127.0.0.1:{port}/webhook")
        body = _delivery(link, total)
        began_at = time.monotonic()
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{port}/webhook",
                data=body,
                headers={"Content-Type": "application/json", "dyte-signature": _signed(key, body)},
            ) as response,
        ):
            answer = await response.text()
        _say(console, f"delivery  answered {response.status} {answer}")
        if response.status != 200:
            raise DemoFailed("the delivery was refused")
        await _follow(folder, total, console)
        took_s = time.monotonic() - began_at
        await _check(folder, expected, total, console)
        _say(console, f"time      {took_s:.2f} s from the delivery, {size_text(total / took_s)}/s")
        if keep:
            _say(console, f"admin     http://127.0.0.1:{admin_port}/metrics")
            _say(console, "Serving until you press Ctrl+C.")
            await asyncio.Event().wait()
    (folder / _NAME).unlink()


def parse_size(text: str) -> int:
    """``300MB``, ``1.5 GB`` or ``512MiB`` in bytes. Raises :class:`DemoFailed`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if found is None or found.group(2) not in _UNITS:
        raise DemoFailed(f"--size {text!r} is not a size such as 300MB")
    return int(float(found.group(1)) * _UNITS[found.group(2)])


def _write_sample(path: Path, total: int) -> Checksum:
    """Random bytes, no two blocks alike, so that a misplaced part would be found."""
    block = secrets.token_bytes(_BLOCK)
    crc64 = crc32 = 0
    with path.open("wb") as file:
        for start in range(0, total, _BLOCK):
            piece = (start.to_bytes(8) + block)[: min(_BLOCK, total - start)]
            file.write(piece)
            crc64, crc32 = crc64nvme(piece, crc64), crc32c(piece, crc32)
    return Checksum(crc64, crc32)


@contextlib.asynccontextmanager
async def _sample_served(path: Path) -> AsyncIterator[str]:
    async def give(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get(f"/{path.name}", give)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/{path.name}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _service(folder: Path, key: RSAPrivateKey) -> AsyncIterator[tuple[int, int]]:
    """The service as a process of its own, on its defaults but for the key and the trust in loopback."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        f"{PREFIX}WEBHOOK_PUBLIC_KEY": public.decode(),
        f"{PREFIX}SOURCE_HOSTS": "127.0.0.1",
    }
    log = folder / "service.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", "serve",
            "--host", "127.0.0.1", "--port", "0", "--admin-port", "0",
            cwd=folder, env=environment, stderr=output,
        )  # fmt: skip
    try:
        yield await _started(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        code = await process.wait()
    if code:
        raise DemoFailed(f"the service ended with {code}; see {log}")


async def _started(process: asyncio.subprocess.Process, log: Path) -> tuple[int, int]:
    """Both ports, as soon as the service's log names them."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.returncode is None:
        for line in log.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                started = json.loads(line)
                if started["event"] == "service_started":
                    return started["port"], started["admin_port"]
        await asyncio.sleep(_POLL_S)
    raise DemoFailed(f"the service did not start: {log.read_text('utf-8').strip()[-500:]}")


def _delivery(link: str, total: int) -> bytes:
    """The body of a delivery as Dyte documents it."""
    now = datetime.now(UTC)
    recording_id, meeting_id = str(uuid.uuid4()), str(uuid.uuid4())
    recording = {
        "id": recording_id,
        "recordingId": recording_id,
        "status": "UPLOADED",
        "fileSize": total,
        "meetingId": meeting_id,
        "downloadUrl": link,
        "downloadUrlExpiry": (now + timedelta(days=7)).isoformat(),
        "startedTime": (now - timedelta(hours=1)).isoformat(),
        "stoppedTime": now.isoformat(),
        "outputFileName": _NAME,
        "stopReason": "{'reason':'ALL_PEERS_LEFT','caller':{'type':'INTERNAL'}}",
        "recordingDuration": 3600,
    }
    meeting = {"id": meeting_id, "title": "Demo", "sessionId": str(uuid.uuid4())}
    return json.dumps(
        {"event": "recording.statusUpdate", "recording": recording, "meeting": meeting}
    ).encode()


def _signed(key: RSAPrivateKey, body: bytes) -> str:
    return base64.b64encode(key.sign(body, PKCS1v15(), SHA256())).decode()


async def _follow(folder: Path, total: int, console: Console) -> None:
    """Show the transfer as the ledger tells it, until the recording is archived."""
    database = Database(f"sqlite:///{folder}/archiver.db", create=False)
    columns = TextColumn("archiving"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    told = 0
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("", total=total)
            while True:
                (line,) = await View(database).lines(limit=1)
                finished = line.state is State.ARCHIVED
                moved = total if finished else line.moved
                progress.update(bar, completed=moved)
                if not console.is_terminal and moved * 4 // max(total, 1) > told:
                    told = moved * 4 // max(total, 1)
                    _say(console, f"archiving {100 * moved // total} %")
                if finished:
                    return
                if line.error:
                    raise DemoFailed(line.error)
                await asyncio.sleep(_POLL_S)
    finally:
        await database.close()


async def _check(folder: Path, expected: Checksum, total: int, console: Console) -> None:
    """Compare the archived file with its manifest, and the manifest with what the source served."""
    archive = folder / "archive"
    storage = await open_storage(LocalConfig(type="local", path=archive))
    manifest = await read_manifest(storage, f"{_NAME}.json")
    (video,) = manifest.entries
    await read_back(storage, video, lambda _: None)
    if (video.size, video.checksum) != (total, expected):
        raise DemoFailed("the archived file is not what the source served")
    _say(console, f"file      {archive / video.key} ({size_text(video.size)})")
    _say(console, f"manifest  {archive / f'{_NAME}.json'}")
    _say(
        console,
        f"checked   source, manifest and file agree: CRC-64/NVME {expected.crc64nvme:016x}, "
        f"CRC-32C {expected.crc32c:08x}",
    )


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
