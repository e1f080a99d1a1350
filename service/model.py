"""The frozen values that the modules hand to each other.

Moments are seconds since the Unix epoch (names end in ``_at``), durations seconds (``_s``), sizes bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import quote, unquote

ONLY = "default"
"""The name of the one storage, and of the one app, where no file names several."""


class Provider(StrEnum):
    """Who signed a delivery, told from its headers' family, and whose API is asked."""

    DYTE = "dyte"
    REALTIMEKIT = "realtimekit"


class Kind(StrEnum):
    """What an artifact is, in the order in which a manifest names them."""

    VIDEO = "video"
    AUDIO = "audio"
    TRACK = "track"
    CHAT = "chat"
    TRANSCRIPT = "transcript"
    SUMMARY = "summary"


class Scope(StrEnum):
    """What a file belongs to: one recording, or a meeting's whole session, which may have several."""

    RECORDING = "recording"
    SESSION = "session"


class State(StrEnum):
    """Where an artifact stands, or one copy of it.

    ``waiting`` and ``moving`` are open; ``stored`` is whole in its storage and waits for its manifest;
    ``archived`` has it; ``expired`` is gone at the source for certain and was never stored anywhere. An
    artifact is as far as the last of its copies; a copy is ``waiting``, ``stored`` or ``archived``.
    """

    WAITING = "waiting"
    MOVING = "moving"
    STORED = "stored"
    ARCHIVED = "archived"
    EXPIRED = "expired"


class Topic(StrEnum):
    """What a notice tells the customer's own system of."""

    ARCHIVED = "archived"
    """A recording's or session's files lie in a storage, with their manifest."""
    FAILING = "failing"
    """A file has failed for a while, and is tried again."""
    DEADLINE_NEAR = "deadline_near"
    """The provider deletes a file soon that is stored nowhere."""
    EXPIRED = "expired"
    """A file is gone at the provider and was stored nowhere."""
    ERRORED = "errored"
    """The provider's recording failed: there is no file."""


class NoticeFormat(StrEnum):
    """What the receiver of notices understands."""

    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


STATUS_RANK = {
    "INVOKED": 1, "RECORDING": 2, "PAUSED": 2, "UPLOADING": 3, "ERRORED": 4, "UPLOADED": 5,
    "LIVE": 1, "ENDED": 5,
}  # fmt: skip
"""The provider's statuses of recordings, and of sessions; news of a lower rank never replaces higher news."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP attempt of the provider, as far as it is kept; ``app`` is whose it was found to be."""

    provider: Provider
    delivery_id: str | None
    webhook_id: str | None
    app: str = ONLY


@dataclass(frozen=True, slots=True)
class Recording:
    """What the provider says of a recording, or of a session; everything but the id may be missing.

    ``app`` is the configured organisation or app that it belongs to. ``storage_config`` is the JSON text of
    where the customer told the provider to put it; never with a secret.
    """

    id: str
    provider: Provider
    status: str
    scope: Scope = Scope.RECORDING
    app: str = ONLY
    organization_id: str | None = None
    meeting_id: str | None = None
    session_id: str | None = None
    title: str | None = None
    output_file_name: str | None = None
    file_size: int | None = None
    invoked_at: float | None = None
    started_at: float | None = None
    stopped_at: float | None = None
    duration_s: float | None = None
    stop_reason: str | None = None
    storage_config: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file to archive: where it is now, what it shall be called, when the provider deletes it.

    ``recording_id`` is what it belongs to: a recording's id, or a session's. ``track`` tells the files of a
    track recording apart. ``expires_at`` is None where the news did not tell it; the ledger then counts from
    its arrival.
    """

    recording_id: str
    kind: Kind
    url: str
    name: str
    announced_size: int | None = None
    expires_at: float | None = None
    track: str | None = None

    @property
    def id(self) -> str:
        """The identity: the provider's id and the kind (and track), so that the same news is one artifact."""
        own = f"{self.recording_id}/{self.kind}"
        return own if self.track is None else f"{own}/{self.track}"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact, from a verified delivery or an answer of the provider's API.

    ``recording`` is None for events that carry nothing to archive. ``odd`` names the fields that should have
    been a link and are none.
    """

    name: str
    recording: Recording | None = None
    artifacts: tuple[Artifact, ...] = ()
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checksum:
    """Both checksums of some bytes: CRC-64/NVME (S3's own) and CRC-32C (GCS's own, and common tools')."""

    crc64nvme: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the storage has confirmed; ``receipt`` is the storage's own word for it (an ETag)."""

    number: int
    size: int
    checksum: Checksum
    receipt: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object carries beside its bytes; ``artifact_id`` tells whose it is."""

    artifact_id: str
    content_type: str
    recording_id: str | None
    meeting_id: str | None = None
    session_id: str | None = None

    @classmethod
    def of(cls, artifact_id: str, content_type: str, recording: Recording) -> Self:
        """What is known of the recording, or of the session, that the object belongs to."""
        is_recording = recording.scope is Scope.RECORDING
        return cls(
            artifact_id,
            content_type,
            recording.id if is_recording else None,
            recording.meeting_id,
            recording.session_id,
        )

    @property
    def metadata(self) -> dict[str, str]:
        """Name and value of each fact for the store's own metadata: ASCII, percent-encoded where needed."""
        facts = {
            OWNER: self.artifact_id,
            "recording-id": self.recording_id,
            "meeting-id": self.meeting_id,
            "session-id": self.session_id,
        }
        return {name: quote(value, safe="/") for name, value in facts.items() if value}


OWNER = "dyte-archiver-artifact"
"""The metadata that tells whose an object is: :func:`owner_in` reads it back."""


def owner_in(metadata: Mapping[str, str]) -> str | None:
    """The artifact that an object's metadata names, if it is one of ours."""
    owner = metadata.get(OWNER)
    return unquote(owner) if owner else None


@dataclass(frozen=True, slots=True)
class Upload:
    """An open multipart session. ``size`` is None while the source has not told it."""

    id: str
    key: str
    part_size: int
    size: int | None
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Stored:
    """A whole object as it lies in the storage; ``artifact_id`` is whose it is, if the storage can tell."""

    key: str
    size: int
    etag: str
    crc64nvme: int | None = None
    artifact_id: str | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """What the manifest says of one stored artifact."""

    artifact_id: str
    kind: Kind
    key: str
    size: int
    part_size: int
    checksum: Checksum
    etag: str
    content_type: str
    stored_at: float
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """One of an artifact's places: the storage named ``storage``.

    ``key`` is None until a name is reserved there, ``upload_id`` until a multipart session is open.
    ``is_due`` is False while the storage is given time after a failure of its own.
    """

    storage: str
    state: State
    attempts: int = 0
    is_due: bool = True
    key: str | None = None
    upload_id: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased artifact with all that is settled about it so far.

    Every write for it names ``owner`` and ``epoch``. ``now`` is the database's clock at the claim.
    ``announced_at`` tells whether another delivery has brought a link since.
    ``seen_at`` is when it was first told.
    ``copies`` is empty until it is routed; ``part_size``, ``size`` and ``source_etag`` are the same for all
    of them, settled when the first is begun. ``is_cancelled``: somebody gave it up; ``is_link_doubted``:
    somebody asked for another link.
    """

    artifact: Artifact
    recording: Recording
    state: State
    owner: str
    epoch: int
    attempts: int
    now: float
    expires_at: float
    announced_at: float | None = None
    copies: tuple[Copy, ...] = ()
    part_size: int | None = None
    size: int | None = None
    source_etag: str | None = None
    is_cancelled: bool = False
    is_link_doubted: bool = False
    seen_at: float = 0.0

    @property
    def id(self) -> str:
        """The artifact's identity."""
        return self.artifact.id

    def copy(self, storage: str) -> Copy:
        """The copy in this storage, to which the artifact is routed."""
        return next(copy for copy in self.copies if copy.storage == storage)
