"""One organisation (Dyte) or app (RealtimeKit) at the provider: all that it has, and who is told of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from tests.doubles.provider_deliveries import Deliveries, Post, Sent
from tests.doubles.provider_documents import recording_body, session_body
from tests.doubles.provider_files import FileDouble
from tests.doubles.provider_recording import ACTIVE, RecordingDouble
from tests.doubles.provider_things import EVENTS, MeetingDouble, SessionDouble, SessionKind, WebhookDouble
from tests.doubles.sender import Family, Sender
from tests.doubles.source import FaultySource

__all__ = ["Account"]

_EVENT_OF: Mapping[SessionKind, str] = {
    "chat": "meeting.chatSynced",
    "transcript": "meeting.transcript",
    "summary": "meeting.summary",
}


class Account:
    """What one set of credentials gives access to.

    `settings` are the service's, by their names in lower case without prefix; `api_url` is among them.
    `organization_id` is the organisation's, or app's, id. What is added has new ids unless they are given.
    """

    def __init__(
        self,
        *,
        family: Family,
        organization_id: str,
        settings: Mapping[str, str],
        base_path: str,
        folder: str,
        authorization: str,
        sender: Sender,
        source: FaultySource,
        post: Post,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.family: Family = family
        self.organization_id = organization_id
        self.settings = dict(settings)
        self.api_url = self.settings["api_url"]
        self.base_path = base_path
        self.authorization = authorization
        self.sender = sender
        self.meetings: dict[str, MeetingDouble] = {}
        self.recordings: dict[str, RecordingDouble] = {}
        self.sessions: dict[str, SessionDouble] = {}
        self.webhooks: dict[str, WebhookDouble] = {}
        self.clock = clock
        self._folder = folder
        self._source = source
        self._post = post

    # ---- what it has

    def add_meeting(
        self, meeting_id: str | None = None, *, title: str | None = "Weekly sync", **options: Any
    ) -> MeetingDouble:
        """A meeting; `options` as `POST /meetings` takes them."""
        meeting = MeetingDouble(meeting_id or str(uuid4()), title, self.clock(), options)
        self.meetings[meeting.id] = meeting
        return meeting

    def add_recording(
        self,
        recording_id: str | None = None,
        *,
        size: int = 300_000,
        status: str = "UPLOADED",
        meeting_id: str | None = None,
        session_id: str | None = None,
        title: str | None = "Weekly sync",
        stopped_ago_s: float = 60.0,
        duration_s: float = 600.0,
        audio: bool = False,
        tracks: int = 0,
        storage_config: Mapping[str, Any] | None = None,
        provider_bucket: bool = True,
        output_file_name: str | None = None,
    ) -> RecordingDouble:
        """A recording that is, or will be, of `size` bytes.

        `tracks`: it is a track recording of so many files of `size` in place of one video. `provider_bucket`
        False: there are no links. The meeting is made if it is not there; a session of that id is not.
        """
        stopped_at = self.clock() - stopped_ago_s
        started_at = stopped_at - duration_s
        recording = self.start(
            self._meeting(meeting_id, title),
            recording_id=recording_id,
            session_id=session_id,
            size=size,
            audio=audio,
            tracks=tracks,
            storage_config=storage_config,
            provider_bucket=provider_bucket,
            output_file_name=output_file_name,
        )
        recording.status = status
        recording.invoked_at = started_at - 2.0
        recording.started_at, recording.stopped_at = started_at, stopped_at
        return recording

    def start(
        self,
        meeting: MeetingDouble,
        *,
        recording_id: str | None = None,
        session_id: str | None = None,
        size: int = 300_000,
        audio: bool = False,
        tracks: int = 0,
        storage_config: Mapping[str, Any] | None = None,
        provider_bucket: bool = True,
        output_file_name: str | None = None,
        file_name_prefix: str | None = None,
    ) -> RecordingDouble:
        """A recording that begins now; nothing is sent before it `run`s."""
        now = self.clock()
        name = output_file_name or f"{file_name_prefix or meeting.id}_{int(now * 1000)}.mp4"
        recording = RecordingDouble(
            recording_id or str(uuid4()),
            meeting,
            session_id=session_id or self._live_session_id(meeting) or str(uuid4()),
            status="INVOKED",
            invoked_at=now,
            started_at=None,
            stopped_at=None,
            output_file_name=name,
            storage_config=storage_config,
            provider_bucket=provider_bucket,
            clock=self.clock,
            announce=self._run,
        )
        recording.files = tuple(self._files(recording, size=size, audio=audio, tracks=tracks))
        self.recordings[recording.id] = recording
        return recording

    def add_session(
        self,
        session_id: str | None = None,
        *,
        chat: int | None = 900,
        transcript: int | None = 2_000,
        summary: int | None = 400,
        ended_ago_s: float | None = 60.0,
        duration_s: float = 600.0,
        meeting_id: str | None = None,
        title: str | None = "Weekly sync",
    ) -> SessionDouble:
        """A session with files of these sizes, None: without that one; `ended_ago_s` None: it is live."""
        now, session_id = self.clock(), session_id or str(uuid4())
        ended_at = None if ended_ago_s is None else now - ended_ago_s
        session = SessionDouble(
            session_id,
            self._meeting(meeting_id, title),
            started_at=(now if ended_at is None else ended_at) - duration_s,
            ended_at=ended_at,
            clock=self.clock,
            source=self._source,
            folder=f"{self._folder}/{session_id}",
        )
        sizes: dict[SessionKind, int | None] = {"chat": chat, "transcript": transcript, "summary": summary}
        for kind, size in sizes.items():
            if size is not None:
                session.add_file(kind, size)
        self.sessions[session.id] = session
        return session

    def add_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] = EVENTS,
        name: str = "archiver",
        enabled: bool = True,
        webhook_id: str | None = None,
    ) -> WebhookDouble:
        """A subscription; what happens from now on is sent there."""
        now = self.clock()
        webhook = WebhookDouble(webhook_id or str(uuid4()), name, url, tuple(events), enabled, now, now)
        self.webhooks[webhook.id] = webhook
        return webhook

    def active_recording(self, meeting_id: str) -> RecordingDouble | None:
        """The recording of this meeting that goes on now."""
        of_it = [each for each in [*self.recordings.values()] if each.meeting.id == meeting_id]
        return next((each for each in of_it if each.status in ACTIVE), None)

    # ---- what happens

    def first_joins(self, meeting_id: str) -> RecordingDouble | None:
        """The first participant comes: a session begins, and a recording where `record_on_start` was said."""
        meeting = self.meetings[meeting_id]
        session = self.add_session(
            chat=None, transcript=None, summary=None, ended_ago_s=None, duration_s=0.0, meeting_id=meeting_id
        )
        if not meeting.options.get("record_on_start"):
            return None
        recording = self.start(meeting, session_id=session.id)
        recording.start_reason = "RECORD_ON_START"
        return recording

    def announce(self, recording: RecordingDouble) -> Deliveries:
        """Deliver the recording's status as it is now to all who are subscribed to that."""
        return self._run(recording, (recording.status,))

    def announce_session(
        self, session: SessionDouble, kinds: Sequence[SessionKind] | None = None
    ) -> Deliveries:
        """Deliver the news of a session's files, of all that it has unless some are named."""
        kinds = tuple(session.files) if kinds is None else kinds

        async def deliver() -> list[Sent]:
            sent = []
            for kind in kinds:
                body = session_body(self.sender, session, kind, self.family, self.organization_id)
                sent += await self._deliver(_EVENT_OF[kind], body)
            return sent

        return self._post.send(deliver)

    def _run(self, recording: RecordingDouble, statuses: Sequence[str]) -> Deliveries:
        async def deliver() -> list[Sent]:
            sent = []
            for status in statuses:
                recording.become(status)
                body = self.body(recording)
                sent += await self._deliver("recording.statusUpdate", body)
            return sent

        return self._post.send(deliver)

    def body(self, recording: RecordingDouble) -> bytes:
        """What tells a recording's status as it is now, with new links, for tests that send it themselves."""
        session = self.sessions.get(recording.session_id)
        is_live = session is not None and session.ended_at is None
        return recording_body(self.sender, recording, self.family, self.organization_id, is_live=is_live)

    async def _deliver(self, event: str, body: bytes) -> list[Sent]:
        return await self._post.deliver(
            [*self.webhooks.values()], event, body, sender=self.sender, family=self.family
        )

    # ---- its parts

    def _meeting(self, meeting_id: str | None, title: str | None) -> MeetingDouble:
        return self.meetings.get(meeting_id or "") or self.add_meeting(meeting_id, title=title)

    def _live_session_id(self, meeting: MeetingDouble) -> str | None:
        live = [each for each in [*self.sessions.values()] if each.ended_at is None]
        return next((each.id for each in live if each.meeting is meeting), None)

    def _files(
        self, recording: RecordingDouble, *, size: int, audio: bool, tracks: int
    ) -> Sequence[FileDouble]:
        folder = f"{self._folder}/{recording.id}"

        def file(kind: str, name: str, path: str, layer: str = "") -> FileDouble:
            return FileDouble(kind, name, recording.links.serve(self._source, path, size), layer)

        if tracks:
            named = (
                f"speaker_user-{at}_peer-{at}_peer_audio_{1760000000000 + at}.webm" for at in range(tracks)
            )
            return [file("track", name, f"{folder}/default/{name}", "default") for name in named]
        suffix = recording.output_file_name.rpartition(".")[2]
        found = [file("video", recording.output_file_name, f"{folder}.{suffix}")]
        return [*found, file("audio", f"{recording.id}.mp3", f"{folder}.mp3")] if audio else found
