"""``meeting create``, and ``recording start``, ``stop``, ``show`` and ``list``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.filesize import decimal

from service.commands.storages import for_provider, unknown_to_provider
from service.commands.telling import Telling
from service.errors import SettingsError
from service.fields import moment, text, whole
from service.provider import ProviderApi
from service.storage.config import StorageConfig

STATUSES: Final = ("INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED")
"""What a recording can be."""

_ASKED_FOR = {"INVOKED", "RECORDING", "UPLOADING", "UPLOADED"}
"""The statuses by which the API documents that it filters."""


async def create_meeting(
    api: ProviderApi, telling: Telling, *, title: str | None, record_on_start: bool, region: str | None
) -> None:
    """Create a meeting and print it. Raises :class:`~service.errors.ProviderError`."""
    meeting = await api.create_meeting(title=title, record_on_start=record_on_start, region=region)
    telling.line(f"meeting {_named(meeting)} is created")
    telling.line(
        "  it is recorded as soon as somebody joins"
        if record_on_start
        else f"  to record it, once somebody has joined: dyte-archiver recording start {_named(meeting)}"
    )
    telling.document(meeting)


async def start(
    api: ProviderApi,
    telling: Telling,
    *,
    meeting_id: str,
    max_seconds: int | None,
    allow_multiple: bool,
    file_name_prefix: str | None,
    storage: StorageConfig | None,
) -> None:
    """Start recording a meeting, and print the recording.

    With ``storage`` the provider itself puts a copy there: its config, secrets included, goes into the
    request. Without, the storage settings of the meeting or the organisation hold.

    Raises :class:`SettingsError` for a storage that the provider cannot write to, and
    :class:`~service.errors.ProviderError`.
    """
    config = None
    if storage is not None:
        config = for_provider(storage, api.app.provider)
        if lost := unknown_to_provider(storage):
            telling.warning(f"the provider does not know {', '.join(lost)}: its copy is without")
    recording = await api.start_recording(
        meeting_id,
        max_seconds=max_seconds,
        allow_multiple_recordings=True if allow_multiple else None,
        file_name_prefix=file_name_prefix,
        storage_config=config,
    )
    telling.line(f"recording {_named(recording)} is begun")
    telling.line(f"  to stop it: dyte-archiver recording stop {_named(recording)}")
    telling.document(recording)


async def stop(api: ProviderApi, telling: Telling, *, recording_id: str) -> None:
    """Stop a recording and print it. Raises :class:`~service.errors.ProviderMissing`."""
    recording = await api.stop_recording(recording_id)
    telling.line(
        f"recording {_named(recording)} is stopped: it is archived when the provider has uploaded it"
    )
    telling.document(recording)


async def show(api: ProviderApi, telling: Telling, *, recording_id: str) -> None:
    """Print all that the API says of a recording. Raises :class:`~service.errors.ProviderMissing`."""
    telling.document(await api.recording_document(recording_id))


async def show_all(
    api: ProviderApi, telling: Telling, *, meeting_id: str | None, status: str | None, limit: int
) -> None:
    """Print at most ``limit`` recordings, the one begun last first, with one of the statuses in ``status``.

    Raises :class:`SettingsError` for a status that there is not, and :class:`~service.errors.ProviderError`.
    """
    wanted = {each.strip().upper() for each in (status or "").split(",") if each.strip()}
    if unknown := wanted - set(STATUSES):
        raise SettingsError(
            f"--status has {', '.join(sorted(unknown))}", mend=f"a status is one of {', '.join(STATUSES)}"
        )
    found: list[Mapping[str, Any]] = []
    # By others than those that it documents, the API may not filter at all.
    asked = ",".join(sorted(wanted)) if wanted <= _ASKED_FOR else ""
    async for page in api.recording_documents(meeting_id=meeting_id, status=asked or None):
        found += [each for each in page if not wanted or text(each.get("status")) in wanted]
        if len(found) >= limit:
            break
    telling.documents(
        found[:limit], [_row(each) for each in found[:limit]], none="There is no such recording."
    )


def _row(recording: Mapping[str, Any]) -> dict[str, str]:
    length, size = whole(recording.get("recording_duration")), whole(recording.get("file_size"))
    return {
        "id": _named(recording),
        "status": text(recording.get("status")) or "",
        "begun (UTC)": _time(recording.get("invoked_time")),
        "length": "" if length is None else f"{length // 3600}:{length // 60 % 60:02}:{length % 60:02}",
        "size": "" if size is None else decimal(size),
        "link ends (UTC)": _time(recording.get("download_url_expiry")),
        "file": text(recording.get("output_file_name")) or "",
    }


def _time(value: object) -> str:
    at = moment(value)
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _named(document: Mapping[str, Any]) -> str:
    return text(document.get("id")) or ""
