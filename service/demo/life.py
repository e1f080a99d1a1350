"""The long story: what a meeting goes through at the provider, what gets lost, and what is archived of it."""

import asyncio
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from service.demo.outcome import archived, follow
from service.demo.process import LOOPBACK, running_service
from service.demo.sample import Sample, random_sample, text_sample
from service.demo.stand_in import StandIn
from service.demo.telling import DemoFailed, Teller
from service.event import EVENTS
from service.model import Kind, Provider
from service.provider import Pace, ProviderApi
from service.wording import size_text

_RECONCILE_S = 0.5
_ASKING_S = 30.0
_AUDIO_SIZE = 1_000_000
_FIRST, _SECOND = "weekly-sync", "retrospective"
_SESSION_FILES = {
    Kind.CHAT: ("chat.csv", "id,participantName,message\n1,Mary Sue,Is this recorded?\n"),
    Kind.TRANSCRIPT: ("transcript.csv", "10:00:05,John Doe,It is.\n10:00:09,Mary Sue,Then let us keep it.\n"),
    Kind.SUMMARY: ("summary.txt", "It was agreed to keep the recording.\n"),
}


async def whole_life(provider: Provider, folder: Path, total: int, tell: Teller, *, keep: bool) -> None:
    """Record twice at a stand-in of ``provider``, once while the service is down, and see all of it archived.

    The first video has ``total`` bytes, the second a tenth. Raises :class:`DemoFailed`, and
    :class:`~service.errors.ProviderError`.
    """
    tell("samples", f"{size_text(total)} and {size_text(total // 10)} of random bytes are being made")
    served = folder / "provider"
    served.mkdir()
    samples = await asyncio.to_thread(_samples, served, total)
    stand_in = StandIn(provider, served, tell)
    async with stand_in.serving(), aiohttp.ClientSession() as session:
        pace = Pace(clock=time.monotonic, sleep=asyncio.sleep)
        api = ProviderApi(stand_in.app, session, pace=pace, jitter=random.random)
        tell("provider", f"a stand-in of {provider}: {api.app.api_url}")
        await _Story(api, stand_in, folder, samples, tell).show(keep=keep)
    shutil.rmtree(served)


@dataclass(frozen=True, slots=True)
class _Story:
    api: ProviderApi
    stand_in: StandIn
    folder: Path
    samples: Mapping[str, Sample]
    tell: Teller

    async def show(self, *, keep: bool) -> None:
        settings = {
            **self.stand_in.settings,
            "source_hosts": LOOPBACK,
            "reconcile_minutes": f"{_RECONCILE_S / 60:f}",  # so that it is due at the second start too
        }
        async with running_service(self.folder, settings) as (port, _):
            await self._see_it_ask()
            meeting_id = await self._set_up(f"http://{LOOPBACK}:{port}/webhook")
            session_id = await self._record(meeting_id, _FIRST)
            await self.stand_in.end_session(session_id)
            for kind in (Kind.CHAT, Kind.TRANSCRIPT):
                await self.stand_in.announce(session_id, kind)
            announced = self._recorded(_FIRST) | self._left_by(session_id, Kind.CHAT, Kind.TRANSCRIPT)
            await self._follow(announced)
        self.tell("outage", "the service is stopped")
        await self.stand_in.announce(session_id, Kind.SUMMARY)
        await self._record(meeting_id, _SECOND)
        missed = self._recorded(_SECOND) | self._left_by(session_id, Kind.SUMMARY)
        self.tell("service", "is started again, and asks for what it missed")
        async with running_service(self.folder, settings, port=port) as (_, admin_port):
            await self._follow(missed)
            await self._check(announced | missed)
            if keep:
                self.tell("admin", f"http://{LOOPBACK}:{admin_port}/metrics")
                self.tell.line("Serving until you press Ctrl+C.")
                await asyncio.Event().wait()

    async def _see_it_ask(self) -> None:
        try:
            async with asyncio.timeout(_ASKING_S):
                await self.stand_in.was_listed.wait()
        except TimeoutError as error:
            log = self.folder / "service.log"
            raise DemoFailed(f"the service does not ask the provider's API; see {log}") from error

    async def _set_up(self, url: str) -> str:
        """Register the webhook and create a meeting; returns its id."""
        webhook = await self.api.add_webhook(name="dyte-archiver", url=url, events=EVENTS)
        self.tell("webhook", f"{webhook.url} is registered for {', '.join(webhook.events)}")
        meeting = await self.api.create_meeting(title="Weekly sync", record_on_start=False, region=None)
        self.tell("meeting", f"{meeting['title']} is created: {meeting['id']}")
        return str(meeting["id"])

    async def _record(self, meeting_id: str, name: str) -> str:
        """Record a session; returns its id. Deliveries come meanwhile."""
        self.tell("recording", f"{name} is started")
        recording = await self.api.start_recording(meeting_id, file_name_prefix=name)
        self.tell("recording", f"{name} is stopped")
        await self.api.stop_recording(recording["id"])
        return str(recording["session_id"])

    def _recorded(self, name: str) -> dict[str, Sample]:
        return {each: self.samples[each] for each in (f"{name}.mp4", f"{name}.mp3")}

    def _left_by(self, session_id: str, *kinds: Kind) -> dict[str, Sample]:
        names = [_SESSION_FILES[kind][0] for kind in kinds]
        return {f"session-{session_id}-{name}": self.samples[name] for name in names}

    async def _follow(self, expected: Mapping[str, Sample]) -> None:
        began_at, total = time.monotonic(), sum(sample.size for sample in expected.values())
        await follow(self.folder, expected, total, self.tell)
        took_s = time.monotonic() - began_at
        self.tell("archived", f"{len(expected)} files in {took_s:.2f} s, {size_text(total / took_s)}/s")

    async def _check(self, expected: Mapping[str, Sample]) -> None:
        for manifest, entries in (await archived(self.folder, expected)).items():
            self.tell("manifest", str(manifest))
            for entry in entries:
                path = manifest.parent / entry.key
                self.tell.line(f"  {entry.kind:<12}{path} ({size_text(entry.size)})")
        self.tell("checked", f"source, manifest and file agree for all {len(expected)} files")


def _samples(folder: Path, total: int) -> dict[str, Sample]:
    """The provider's files, by their names."""
    samples = [
        random_sample(folder / f"{_FIRST}.mp4", total),
        random_sample(folder / f"{_FIRST}.mp3", min(total, _AUDIO_SIZE)),
        random_sample(folder / f"{_SECOND}.mp4", total // 10),
        random_sample(folder / f"{_SECOND}.mp3", min(total // 10, _AUDIO_SIZE)),
        *(text_sample(folder / name, text) for name, text in _SESSION_FILES.values()),
    ]
    return {sample.path.name: sample for sample in samples}
