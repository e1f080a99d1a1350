"""What the API says, as it is written: names are stable, and carry their units.

Moments (``_at``) are RFC 3339 in UTC, spans seconds, sizes bytes; a field that is not known is null.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.choices import Standing
from service.ledger.browse import Found, Page
from service.ledger.life import Failure, File, Heard, Life, Ordered, Place, Told, Written
from service.ledger.overview import Deadline, Line, Lost, Overview
from service.model import Kind, Provider, Scope, State


def _seconds(at: object) -> object:
    return datetime.fromisoformat(at).timestamp() if isinstance(at, str) else at


Moment = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Seconds since the epoch here, RFC 3339 there."""


class Document(BaseModel):
    """An object of the API; it has exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CopyLine(Document):
    """One copy of a file; a file that is not routed yet is one line, with `storage` null."""

    file_id: str
    kind: Kind
    storage: str | None
    state: State
    paused: bool
    cancelled: bool
    name: str = Field(description="What the provider calls it")
    key: str | None = Field(description="What it is called in its storage")
    size_bytes: int | None
    moved_bytes: int
    attempts: int
    error: str | None
    mend: str | None = Field(description="What a person can do about the error")
    next_try_in_seconds: float | None
    deleted_in_seconds: float = Field(description="Until the provider deletes it; negative: since")
    title: str | None = Field(description="The recording's")
    crc64nvme: str | None = Field(description="Hexadecimal")
    crc32c: str | None = Field(description="Hexadecimal")
    stored_at: Moment | None
    verification_due_at: Moment | None
    verified_at: Moment | None
    fault: str | None = Field(description="What the last verification found; null: it was whole, if it was")

    @classmethod
    def of(cls, line: Line) -> Self:
        """The document of a line; one that is paused has no next try."""
        return cls(
            file_id=line.artifact_id,
            kind=line.kind,
            storage=line.storage,
            state=line.state,
            paused=line.is_paused,
            cancelled=line.is_cancelled,
            name=line.name,
            key=line.key,
            size_bytes=line.size,
            moved_bytes=line.moved,
            attempts=line.attempts,
            error=line.error,
            mend=line.mend,
            next_try_in_seconds=None if line.is_paused else line.due_in_s,
            deleted_in_seconds=line.expires_in_s,
            title=line.title,
            crc64nvme=line.crc64nvme,
            crc32c=line.crc32c,
            stored_at=line.stored_at,
            verification_due_at=line.verify_at,
            verified_at=line.verified_at,
            fault=line.fault,
        )


class Recording(Document):
    """A recording, or a session with its chat, transcript and summary, and where it stands."""

    id: str
    scope: Scope
    standing: Standing
    app: str
    provider: Provider
    status: str = Field(description="The provider's own word")
    title: str | None
    organization_id: str | None
    meeting_id: str | None
    session_id: str | None
    output_file_name: str | None
    announced_bytes: int | None
    started_at: Moment | None
    stopped_at: Moment | None
    duration_seconds: float | None
    stop_reason: str | None
    received_at: Moment = Field(description="When it was first heard of")
    pruned: bool = Field(description="Whether the ledger forgot the details of its files")
    copies: list[CopyLine]

    @classmethod
    def of(cls, found: Found) -> Self:
        """The document of a recording."""
        recording = found.recording
        same = ("id", "scope", "app", "provider", "status", "title", "organization_id", "meeting_id",
                "session_id", "output_file_name", "started_at", "stopped_at", "stop_reason")  # fmt: skip
        return cls(
            **{name: getattr(recording, name) for name in same},
            standing=found.standing,
            announced_bytes=recording.file_size,
            duration_seconds=recording.duration_s,
            received_at=found.received_at,
            pruned=found.is_pruned,
            copies=[CopyLine.of(line) for line in found.lines],
        )


class RecordingList(Document):
    """A page of recordings."""

    recordings: list[Recording]
    next_cursor: str | None = Field(description="Leads to the next page; null: that was all")
    is_whole: bool = Field(
        description="False: there was no time to look further, `next_cursor` goes on from there"
    )

    @classmethod
    def of(cls, page: Page) -> Self:
        """The document of a page."""
        return cls(
            recordings=[Recording.of(found) for found in page.found],
            next_cursor=page.cursor,
            is_whole=page.is_whole,
        )


class FailureLine(Document):
    """What went wrong with a file, and how often; with the source where `storage` is null."""

    storage: str | None
    error: str
    mend: str | None
    process: str
    count: int
    first_at: Moment
    last_at: Moment

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The document of a failure."""
        return cls(process=failure.owner, **_same(cls, failure, "process"))


class StoredCopy(Document):
    """A file's copy in one storage."""

    storage: str
    state: State
    key: str | None
    size_bytes: int | None
    moved_bytes: int
    parts: int = Field(description="That are there while it moves")
    part_size_bytes: int | None
    etag: str | None
    content_type: str | None
    crc64nvme: str | None = Field(description="Hexadecimal")
    crc32c: str | None = Field(description="Hexadecimal")
    stored_at: Moment | None
    attempts: int
    error: str | None
    mend: str | None
    next_try_at: Moment | None
    verification_due_at: Moment | None
    verified_at: Moment | None
    fault: str | None = Field(description="What the last verification found; null: it was whole, if it was")

    @classmethod
    def of(cls, place: Place) -> Self:
        """The document of a copy."""
        other: dict[str, Any] = {
            "size_bytes": place.size,
            "moved_bytes": place.moved,
            "part_size_bytes": place.part_size,
            "next_try_at": place.due_at,
            "verification_due_at": place.verify_at,
        }
        return cls(**other, **_same(cls, place, *other))


class RecordingFile(Document):
    """A file of a recording or session, and its copies."""

    id: str
    kind: Kind
    track: str | None
    state: State
    paused: bool
    name: str
    source_host: str
    announced_bytes: int | None
    size_bytes: int | None
    seen_at: Moment
    deleted_at: Moment = Field(description="When the provider deletes it")
    next_try_at: Moment | None
    process: str | None = Field(description="Which process moves it")
    lease_until: Moment | None
    attempts: int
    error: str | None
    mend: str | None
    stored_at: Moment | None
    cancelled_at: Moment | None
    copies: list[StoredCopy]
    failures: list[FailureLine]

    @classmethod
    def of(cls, file: File) -> Self:
        """The document of a file."""
        other: dict[str, Any] = {
            "paused": file.is_paused,
            "source_host": file.host,
            "announced_bytes": file.announced_size,
            "size_bytes": file.size,
            "deleted_at": file.expires_at,
            "next_try_at": None if file.is_paused else file.due_at,
            "process": file.owner,
            "copies": [StoredCopy.of(place) for place in file.places],
            "failures": [FailureLine.of(failure) for failure in file.failures],
        }
        return cls(**other, **_same(cls, file, *other))


class Delivery(Document):
    """What the provider delivered."""

    received_at: Moment
    event_name: str
    status: str | None
    outcome: str
    delivery_id: str | None
    webhook_id: str | None

    @classmethod
    def of(cls, heard: Heard) -> Self:
        """The document of a delivery."""
        return cls(**_same(cls, heard))


class Manifest(Document):
    """A manifest that was written."""

    storage: str
    key: str
    written_at: Moment

    @classmethod
    def of(cls, written: Written) -> Self:
        """The document of a manifest."""
        return cls(**_same(cls, written))


class OrderLine(Document):
    """A line of the audit trail: what somebody had done; `file_id` null: with all files."""

    at: Moment
    actor: str
    order: str
    file_id: str | None

    @classmethod
    def of(cls, ordered: Ordered) -> Self:
        """The document of a line."""
        return cls(at=ordered.at, actor=ordered.actor, order=ordered.action, file_id=ordered.artifact_id)


class Notice(Document):
    """What the customer's own system is told; `next_try_at` null: it took it, or is told no more."""

    id: str
    type: str
    made_at: Moment
    next_try_at: Moment | None
    attempts: int
    error: str | None
    taken_at: Moment | None

    @classmethod
    def of(cls, told: Told) -> Self:
        """The document of a notice."""
        return cls(next_try_at=told.due_at, **_same(cls, told, "next_try_at"))


class StatusMoment(Document):
    """When a status of the provider's was first heard of."""

    status: str
    seen_at: Moment


class RecordingLife(Document):
    """All that the ledger has of a recording or session; each list the oldest first."""

    now: Moment
    recording: Recording
    statuses: list[StatusMoment]
    files: list[RecordingFile]
    deliveries: list[Delivery]
    manifests: list[Manifest]
    orders: list[OrderLine]
    notices: list[Notice]

    @classmethod
    def of(cls, life: Life) -> Self:
        """The document of a recording's life."""
        return cls(
            now=life.now,
            recording=Recording.of(life.found),
            statuses=[StatusMoment(status=status, seen_at=at) for status, at in life.statuses],
            files=[RecordingFile.of(each) for each in life.files],
            deliveries=[Delivery.of(each) for each in life.deliveries],
            manifests=[Manifest.of(each) for each in life.manifests],
            orders=[OrderLine.of(each) for each in life.orders],
            notices=[Notice.of(each) for each in life.notices],
        )


class NearDeadline(Document):
    """A file that is stored nowhere yet, and the time that the provider leaves it."""

    file_id: str
    app: str
    deleted_in_seconds: float
    error: str | None

    @classmethod
    def of(cls, near: Deadline) -> Self:
        """The document of a deadline."""
        return cls(
            file_id=near.artifact_id, app=near.app, deleted_in_seconds=near.expires_in_s, error=near.error
        )


class ErroredRecording(Document):
    """A recording of which there is no file to archive."""

    recording_id: str
    app: str
    title: str | None
    reason: str | None
    seen_seconds_ago: float

    @classmethod
    def of(cls, lost: Lost) -> Self:
        """The document of a recording that errored."""
        return cls(seen_seconds_ago=lost.seen_s_ago, **_same(cls, lost, "seen_seconds_ago"))


class Summary(Document):
    """The ledger at one moment."""

    files: dict[State, int] = Field(description="By their state; of the archived ones the last 24 hours'")
    recordings_without_files: dict[str, int] = Field(description="Of the last 7 days, by their status")
    moving: list[CopyLine]
    failing: list[CopyLine]
    waiting: list[CopyLine] = Field(description="That did not fail; also what is paused")
    finished: list[CopyLine] = Field(description="Stored, archived or expired: the newest first")
    near_deadlines: list[NearDeadline] = Field(description="Less than 24 hours left, the soonest first")
    errored: list[ErroredRecording] = Field(description="Of the last 7 days, the newest first")

    @classmethod
    def of(cls, overview: Overview) -> Self:
        """The document of an overview."""
        return cls(
            files=overview.counts,
            recordings_without_files=overview.statuses,
            moving=[CopyLine.of(line) for line in overview.lines if line.state is State.MOVING],
            failing=[
                CopyLine.of(line) for line in overview.lines if line.state is State.WAITING and line.error
            ],
            waiting=[
                CopyLine.of(line) for line in overview.lines if line.state is State.WAITING and not line.error
            ],
            finished=[
                CopyLine.of(line)
                for line in overview.lines
                if line.state not in (State.WAITING, State.MOVING)
            ],
            near_deadlines=[NearDeadline.of(each) for each in overview.deadlines],
            errored=[ErroredRecording.of(each) for each in overview.lost],
        )


class OrderDone(Document):
    """What an order was for."""

    order: str
    target: str
    file_ids: list[str]


class FieldFault(Document):
    """What is wrong with a field of a request."""

    field: str
    fault: str


class ProblemDetails(Document):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldFault] | None = None


def _same(kind: type[Document], value: Any, *without: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in kind.model_fields if name not in without}
