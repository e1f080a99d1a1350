"""One recording at the provider: its status and times, its files, the links to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.doubles.content import Content
from tests.doubles.provider_deliveries import Deliveries
from tests.doubles.provider_files import FileDouble, Links, contents
from tests.doubles.provider_things import RETENTION_S, MeetingDouble

__all__ = ["ACTIVE", "LIFE", "RecordingDouble"]

LIFE = ("INVOKED", "RECORDING", "UPLOADING", "UPLOADED")
ACTIVE = ("INVOKED", "RECORDING", "PAUSED")
SECRETS = ("access_key", "secret", "secret_key", "password", "private_key")


class RecordingDouble:
    """A recording; whatever it is may be changed at any time, and the API and later deliveries tell it so.

    `started_at` and `stopped_at` are told only once the status is one in which that has happened.
    """

    def __init__(
        self,
        recording_id: str,
        meeting: MeetingDouble,
        *,
        session_id: str,
        status: str,
        invoked_at: float,
        started_at: float | None,
        stopped_at: float | None,
        output_file_name: str,
        storage_config: Mapping[str, Any] | None,
        provider_bucket: bool,
        clock: Callable[[], float],
        announce: Callable[["RecordingDouble", Sequence[str]], Deliveries],
    ) -> None:
        self.id = recording_id
        self.meeting = meeting
        self.session_id = session_id
        self.status = status
        self.invoked_at = invoked_at
        self.started_at = started_at
        self.stopped_at = stopped_at
        self.output_file_name = output_file_name
        self.storage_config = storage_config
        self.provider_bucket = provider_bucket
        self.stop_reason = "ALL_PEERS_LEFT"
        self.start_reason = "API_CALL"
        self.files: tuple[FileDouble, ...] = ()
        self.links = Links(clock=clock, expires_at=lambda: self.expires_at)
        self._clock = clock
        self._announce = announce

    @property
    def is_track(self) -> bool:
        """Whether it has a file a participant in place of one video."""
        return any(file.layer for file in self.files)

    @property
    def has_links(self) -> bool:
        """Whether there is something to download."""
        return self.status == "UPLOADED" and self.provider_bucket

    @property
    def content(self) -> Content:
        """What the video holds, or the first track."""
        return self.files[0].content

    @property
    def contents(self) -> dict[str, Content]:
        """What each file holds, by `video` and `audio`, or by layer and name in a track recording."""
        return contents(self.files)

    @property
    def expires_at(self) -> float | None:
        """When the provider deletes the files; None before the stop."""
        return None if self.stopped_at is None else self.stopped_at + RETENTION_S

    @property
    def duration_s(self) -> int:
        """Whole seconds from start to stop."""
        return int(self.stopped_at - self.started_at) if self.stopped_at and self.started_at else 0

    def file(self, kind: str) -> FileDouble:
        """Its `video` or `audio`, or the first `track`."""
        return next(file for file in self.files if file.kind == kind)

    def become(self, status: str) -> None:
        """Have this status from now on; nothing is sent."""
        now = self._clock()
        if status != "INVOKED" and self.started_at is None:
            self.started_at = now
        if status not in (*ACTIVE,) and self.stopped_at is None:
            self.stopped_at = now
        self.status = status

    def run(self, *statuses: str) -> Deliveries:
        """Live through these statuses, the whole life unless given, and deliver each to all subscribed.

        A recording that is on its way goes on from where it is. Each delivery is answered, or given up,
        before the next status begins.
        """
        if not statuses:
            is_on_its_way = self.status in LIFE[:-1]
            statuses = LIFE[LIFE.index(self.status) :] if is_on_its_way else LIFE
        return self._announce(self, statuses)

    def expire_links(self) -> None:
        """Let all links that were issued so far answer 403 from now on; later ones work."""
        self.links.expire()

    def expire_links_after(self, sent_bytes: int) -> None:
        """Let this happen once, when so many bytes more were sent of its files, also in the midst of one."""
        self.links.expire_after(sent_bytes)

    def delete_file(self) -> None:
        """Answer 404 for its files, whose links the API still gives."""
        self.links.delete()

    def place(self) -> dict[str, Any] | None:
        """Where the customer wants it, without secrets."""
        if self.storage_config is None:
            return None
        return {name: value for name, value in self.storage_config.items() if name not in SECRETS}
