"""What an account of the provider has beside recordings: meetings, their sessions, subscriptions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.doubles.content import Content
from tests.doubles.provider_files import FileDouble, Links, contents
from tests.doubles.source import FaultySource

__all__ = ["EVENTS", "RETENTION_S", "MeetingDouble", "SessionDouble", "SessionKind", "WebhookDouble"]

RETENTION_S = 7 * 24 * 3600.0

SessionKind = Literal["chat", "transcript", "summary"]

EVENTS = (
    "meeting.started",
    "meeting.ended",
    "meeting.participantJoined",
    "meeting.participantLeft",
    "meeting.chatSynced",
    "recording.statusUpdate",
    "livestreaming.statusUpdate",
    "meeting.transcript",
    "meeting.summary",
)
"""All that can be subscribed to."""


@dataclass
class MeetingDouble:
    """A meeting; `options` is what else it was made with (`record_on_start`, `preferred_region`, ...)."""

    id: str
    title: str | None
    created_at: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class WebhookDouble:
    """A subscription."""

    id: str
    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    created_at: float
    updated_at: float


class SessionDouble:
    """One session of a meeting, with the files that are left of it; all may be changed at any time.

    `ended_at` None: it is live. `absent` is how the API says that there is no file: by that status, or by an
    empty link.
    """

    def __init__(
        self,
        session_id: str,
        meeting: MeetingDouble,
        *,
        started_at: float,
        ended_at: float | None,
        clock: Callable[[], float],
        source: FaultySource,
        folder: str,
    ) -> None:
        self.id = session_id
        self.meeting = meeting
        self.started_at = started_at
        self.ended_at = ended_at
        self.absent: Literal[400, 403, 404, "empty"] = 404
        self.files: dict[SessionKind, FileDouble] = {}
        self.links = Links(clock=clock, expires_at=lambda: self.expires_at)
        self._clock = clock
        self._source = source
        self._folder = folder

    @property
    def status(self) -> str:
        """`LIVE` or `ENDED`."""
        return "LIVE" if self.ended_at is None else "ENDED"

    @property
    def expires_at(self) -> float | None:
        """When its files are deleted; None while it is live."""
        return None if self.ended_at is None else self.ended_at + RETENTION_S

    @property
    def contents(self) -> dict[str, Content]:
        """What its files hold, by their kind."""
        return contents(self.files.values())

    def add_file(self, kind: SessionKind, size: int) -> FileDouble:
        """Have a file of this kind from now on, or another one."""
        name = f"{kind}.txt" if kind == "summary" else f"{kind}.csv"
        served = self.links.serve(self._source, f"{self._folder}/{name}", size)
        self.files[kind] = FileDouble(kind, name, served)
        return self.files[kind]

    def end(self) -> None:
        """Be over now."""
        self.ended_at = self._clock()

    def expire_links(self) -> None:
        """Let all links that were issued so far be refused from now on."""
        self.links.expire()

    def expire_links_after(self, sent_bytes: int) -> None:
        """Let this happen once, when so many bytes more were sent."""
        self.links.expire_after(sent_bytes)

    def delete_files(self) -> None:
        """Have the files no more, which the API does not know."""
        self.links.delete()
