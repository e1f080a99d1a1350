"""What a notice says: the facts that the ledger keeps, and how they are told. Pure.

Facts are JSON objects with the names of manifests and of the API. They are rendered when they are sent: as a
CloudEvents 1.0 event in structured mode (https://github.com/cloudevents/spec/blob/v1.0.2), or as a text for
an incoming webhook of Slack's (https://docs.slack.dev/messaging/formatting-message-text).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote

from service.manifest import document_of, moment
from service.model import Archived, Artifact, Recording, Scope, Topic
from service.storage.config import StorageConfig

CLOUDEVENTS_TYPE: Final = "application/cloudevents+json"
"""The content type of an event in structured mode."""

_NAMED_FILES = 10
_TITLE_LENGTH = 150
_ERROR_LENGTH = 500

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice as it waits to be sent, at the database's ``now``; ``attempts`` counts this one."""

    id: str
    topic: Topic
    recording_id: str
    facts: Facts
    made_at: float
    attempts: int
    now: float


@dataclass(frozen=True, slots=True)
class Where:
    """A storage as a notice names it. ``bucket`` is None where it has none; ``folder`` is in it."""

    name: str
    label: str | None = None
    type: str | None = None
    bucket: str | None = None
    folder: str = ""

    @classmethod
    def of(cls, name: str, config: StorageConfig | None) -> Self:
        """The storage called ``name``; None: it is not configured any more."""
        if config is None:
            return cls(name)
        return cls(name, config.label, config.type, getattr(config, "bucket", None), str(config.path))

    def full_key(self, key: str) -> str:
        """What the storage itself calls a key that is counted from the folder."""
        return f"{self.folder.rstrip('/')}/{key}" if self.folder else key


@dataclass(frozen=True, slots=True)
class Failing:
    """What goes wrong with a file: with the source, or the manifest, where ``storage`` is None."""

    storage: str | None
    error: str
    mend: str | None
    count: int
    first_at: float
    last_at: float


def notice_id(topic: Topic, *parts: object) -> str:
    """The id of the notice of these parts: the same news has the same one, whoever tells it."""
    # Without a full stop, which the signature is delimited by, and of what a header may hold.
    digest = hashlib.sha256(json.dumps([topic, *parts]).encode()).hexdigest()
    return f"{topic}_{digest[:32]}"


def archived_facts(
    recording: Recording, where: Where, archived: Sequence[Archived], expired: Sequence[str], manifest: str
) -> Facts:
    """What lies in a storage now; ``manifest`` is the key of what says the same there."""
    return {
        **_of_recording(recording),
        "storage": {
            "name": where.name,
            "label": where.label,
            "type": where.type,
            "bucket": where.bucket,
            "folder": where.folder,
        },
        "manifest": {"key": manifest, "full_key": where.full_key(manifest)},
        "files": [_stored(entry, where) for entry in archived],
        "expired": list(expired),
    }


def file_facts(
    recording: Recording,
    artifact: Artifact,
    *,
    expires_at: float,
    error: str | None,
    failures: Sequence[Failing] = (),
) -> Facts:
    """What is with a file that is not stored; ``error`` is what was wrong last."""
    return {
        **_of_recording(recording),
        "file": {
            "id": artifact.id,
            "kind": artifact.kind,
            "track": artifact.track,
            "name": artifact.name,
            "deleted_at": moment(expires_at),
            "error": error,
        },
        "failures": [
            {
                "storage": each.storage,
                "error": each.error,
                "mend": each.mend,
                "count": each.count,
                "first_at": moment(each.first_at),
                "last_at": moment(each.last_at),
            }
            for each in failures
        ],
    }


def errored_facts(recording: Recording) -> Facts:
    """A recording of which there is no file."""
    return {**_of_recording(recording), "reason": recording.stop_reason}


def masked(facts: Facts, mask: Callable[[str], str]) -> Facts:
    """The facts, with what others said (errors, what mends them, reasons) as ``mask`` has it."""

    def each(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return masked(value, mask)
        if isinstance(value, list):
            return [each(name, inner) for inner in value]
        return mask(value) if name in ("error", "mend", "reason") and isinstance(value, str) else value

    return {name: each(name, value) for name, value in facts.items()}


def cloud_event(notice: Notice) -> str:
    """The event's JSON: its ``id`` is the notice's, its ``subject`` the recording or session."""
    event = {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"/dyte-archiver/{quote(str(notice.facts['app']), safe='')}",
        "type": f"dyte_archiver.{notice.topic}",
        "subject": notice.recording_id,
        "time": moment(notice.made_at),
        "datacontenttype": "application/json",
        "data": notice.facts,
    }
    return json.dumps(event, ensure_ascii=False)


def slack_message(notice: Notice) -> str:
    """The JSON of a message that says the same to people, in one line."""
    return json.dumps({"text": _TELLING[notice.topic](notice.facts)}, ensure_ascii=False)


def _of_recording(recording: Recording) -> dict[str, Any]:
    is_recording = recording.scope is Scope.RECORDING
    return {
        "scope": recording.scope,
        "recording_id": recording.id if is_recording else None,
        "session_id": recording.session_id if is_recording else recording.id,
        "meeting_id": recording.meeting_id,
        "title": recording.title,
        "app": recording.app,
        "provider": recording.provider,
        "organization_id": recording.organization_id,
    }


def _stored(entry: Archived, where: Where) -> dict[str, Any]:
    told = document_of(entry)
    return {
        "id": entry.artifact_id,
        "kind": told.pop("kind"),
        "track": told.pop("track", None),
        "key": told.pop("key"),
        "full_key": where.full_key(entry.key),
        **told,
    }


# ---- for people


def _archived(facts: Facts) -> str:
    files, storage = facts["files"], facts["storage"]
    names = [_linked(each) for each in files[:_NAMED_FILES]]
    if len(files) > _NAMED_FILES:
        names.append(f"{len(files) - _NAMED_FILES} more")
    size = _size(sum(each["size_bytes"] for each in files))
    return (
        f"*Archived*: {_called(facts)}: {', '.join(names)} ({size}) in {_plain(storage['name'])}"
        f" ({_plain(storage['label'] or 'not configured any more')})"
    )


def _failing(facts: Facts) -> str:
    told = [
        f"{_plain(each['storage'] or 'source')}: {_plain(each['error'], _ERROR_LENGTH)}"
        + (f". To mend: {_plain(each['mend'], _ERROR_LENGTH)}" if each["mend"] else "")
        for each in facts["failures"]
    ]
    return f"*Failing*: {_file(facts)}, deleted at {facts['file']['deleted_at']}: " + "; ".join(told)


def _near(facts: Facts) -> str:
    until = f"deleted at {facts['file']['deleted_at']}"
    return f"*Deadline near*: {_file(facts)} is stored nowhere yet, {until}{_because(facts)}"


def _expired(facts: Facts) -> str:
    return f"*Expired*: {_file(facts)} is gone and was stored nowhere{_because(facts)}"


def _errored(facts: Facts) -> str:
    reason = _plain(facts["reason"] or "the provider says no reason", _ERROR_LENGTH)
    return f"*Errored*: {_called(facts)} has no file: {reason}"


_TELLING: Final[Mapping[Topic, Callable[[Facts], str]]] = {
    Topic.ARCHIVED: _archived,
    Topic.FAILING: _failing,
    Topic.DEADLINE_NEAR: _near,
    Topic.EXPIRED: _expired,
    Topic.ERRORED: _errored,
}


def _file(facts: Facts) -> str:
    file = facts["file"]
    return f"{file['kind']} {_plain(file['name'])} of {_called(facts)}"


def _because(facts: Facts) -> str:
    error = facts["file"]["error"]
    return f": {_plain(error, _ERROR_LENGTH)}" if error else ""


def _called(facts: Facts) -> str:
    own = _plain(f"{facts['scope']} {facts['recording_id'] or facts['session_id']}")
    return f"{_plain(facts['title'])} ({own})" if facts["title"] else own


def _linked(file: Facts) -> str:
    name = _plain(file["key"])
    link = file.get("link")
    # A name with a bar would end the link's address; signed addresses have none of these marks.
    return f"<{link['url']}|{name.replace('|', '¦')}>" if link else name


def _plain(text: str, most: int = _TITLE_LENGTH) -> str:
    """As Slack wants text that is no mark-up, in one line and not too long."""
    shown = " ".join(text.split())
    shown = shown if len(shown) <= most else shown[: most - 1] + "…"
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _size(size: float) -> str:
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
