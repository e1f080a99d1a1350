"""The short story: one recording, one delivery."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from service.demo.outcome import archived, follow
from service.demo.process import LOOPBACK, running_service
from service.demo.sample import random_sample
from service.demo.signing import Signer
from service.demo.telling import DemoFailed, Teller
from service.wording import size_text

_NAME = "demo-recording.mp4"
_DELIVERIES = 5
_PAUSE_S = 1.0


async def one_delivery(folder: Path, total: int, tell: Teller, *, keep: bool) -> None:
    """Deliver a recording of ``total`` bytes and see it archived. Raises :class:`DemoFailed`."""
    tell("sample", f"{size_text(total)} of random bytes are being made")
    sample = await asyncio.to_thread(random_sample, folder / _NAME, total)
    signer = Signer()
    settings = {"webhook_public_key": signer.public_key, "source_hosts": LOOPBACK}
    async with _served(sample.path) as link, running_service(folder, settings) as (port, admin_port):
        tell("source", link)
        tell("webhook", f"http://{LOOPBACK}:{port}/webhook")
        body = _delivery(link, total)
        began_at = time.monotonic()
        await deliver(f"http://{LOOPBACK}:{port}/webhook", body, signer.signed(body), tell)
        await follow(folder, [_NAME], total, tell)
        took_s = time.monotonic() - began_at
        ((manifest, (video,)),) = (await archived(folder, {_NAME: sample})).items()
        tell("file", f"{manifest.parent / video.key} ({size_text(video.size)})")
        tell("manifest", str(manifest))
        tell(
            "checked",
            f"source, manifest and file agree: CRC-64/NVME {sample.checksum.crc64nvme:016x}, "
            f"CRC-32C {sample.checksum.crc32c:08x}",
        )
        tell("time", f"{took_s:.2f} s from the delivery, {size_text(total / took_s)}/s")
        if keep:
            tell("admin", f"http://{LOOPBACK}:{admin_port}/metrics")
            tell.line("Serving until you press Ctrl+C.")
            await asyncio.Event().wait()
    sample.path.unlink()


async def deliver(url: str, body: bytes, signature: str, tell: Teller) -> None:
    """Post until it is taken, as often as Dyte does. Raises :class:`DemoFailed` if it is not."""
    headers = {"Content-Type": "application/json", "dyte-signature": signature}
    async with aiohttp.ClientSession() as session:
        for attempt in range(_DELIVERIES):
            await asyncio.sleep(attempt * _PAUSE_S)
            async with session.post(url, data=body, headers=headers) as response:
                tell("delivery", f"answered {response.status} {await response.text()}")
            if response.status == 200:
                return
            if response.status < 500:
                break
    raise DemoFailed("the delivery was not taken")


@contextlib.asynccontextmanager
async def _served(path: Path) -> AsyncIterator[str]:
    async def give(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get(f"/{path.name}", give)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://{LOOPBACK}:{port}/{path.name}"
    finally:
        await runner.cleanup()


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
