"""Announcements for the tests of what is read from them, and any JSON there is."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from hypothesis import strategies as st

LINK = "https://files.example.com/c94c/rec.mp4?X-Amz-Signature=aa%2Bbb"
AUDIO_LINK = "https://files.example.com/c94c/rec.mp3?X-Amz-Signature=cc"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def body_of(recording: dict[str, Any] | None = None, **top: Any) -> bytes:
    """An UPLOADED announcement with these fields of the recording, and these beside it, replaced."""
    given: dict[str, Any] = {
        "id": "r1",
        "recordingId": "r1",
        "status": "UPLOADED",
        "downloadUrl": LINK,
        "audioDownloadUrl": AUDIO_LINK,
        "downloadUrlExpiry": "2026-06-10T10:30:00.000Z",
        "startedTime": "2026-06-03T10:00:00.000Z",
        "stoppedTime": "2026-06-03T10:30:00.000Z",
        "fileSize": "2044680",
        "outputFileName": "weekly-sync.mp4",
        "meetingId": "m1",
        "recordingDuration": 1800,
        "organizationId": "o1",
        "roomUUID": "s1",
        "stopReason": "{'reason':'ALL_PEERS_LEFT'}",
    }
    document = {"event": "recording.statusUpdate", "recording": given | (recording or {}), **top}
    return json.dumps(document).encode()


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for inner in value:
            yield from texts_in(inner)
    elif is_dataclass(value):
        for field in fields(value):
            yield from texts_in(getattr(value, field.name))
