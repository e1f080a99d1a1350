"""Which files a recording or a session has, by its links: the same from a delivery and the API. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from service.fields import clean, fields, link, suffix
from service.model import Artifact, Kind, Recording

RETENTION_S = 7 * 24 * 3600.0
"""How long the provider keeps a recording after it stopped."""

_SUFFIXES = {Kind.CHAT: ".csv", Kind.TRANSCRIPT: ".csv", Kind.SUMMARY: ".txt"}
"""What is meant where the link does not say it."""
_TRACK_LENGTH = 300


def recording_files(
    recording: Recording, *, video: object, audio: object, expires_at: float | None
) -> tuple[tuple[Artifact, ...], tuple[Kind, ...]]:
    """The files of a recording, and the kinds of those whose link should be one and is none.

    ``video`` is a link, or the layers of a track recording; None and an empty text are no link at all. Where
    ``expires_at`` is not told it counts from the stop, if that is known.
    """
    if expires_at is None and recording.stopped_at is not None:
        expires_at = recording.stopped_at + RETENTION_S
    found: list[Artifact] = []
    odd: list[Kind] = []
    video_name = recording.output_file_name or f"{recording.id}.mp4"
    if isinstance(video, list):
        tracks = tuple(_tracks(video, recording, expires_at))
        found += [track for track in tracks if track is not None]
        odd += [Kind.TRACK for track in tracks if track is None]
    elif url := link(video):
        if recording.output_file_name is None:
            video_name = recording.id + (suffix(url) or ".mp4")
        size = recording.file_size
        found.append(Artifact(recording.id, Kind.VIDEO, url, video_name, size, expires_at))
    elif video not in (None, ""):
        odd.append(Kind.VIDEO)
    if url := link(audio):
        found.append(
            Artifact(recording.id, Kind.AUDIO, url, _audio_name(video_name, url), expires_at=expires_at)
        )
    elif audio not in (None, ""):
        odd.append(Kind.AUDIO)
    return tuple(found), tuple(odd)


def session_file(session_id: str, kind: Kind, url: str, expires_at: float | None) -> Artifact:
    """The chat, transcript or summary of a session."""
    name = f"session-{session_id}-{kind}{suffix(url) or _SUFFIXES[kind]}"
    return Artifact(session_id, kind, url, name, expires_at=expires_at)


def _tracks(layers: list[Any], recording: Recording, expires_at: float | None) -> Iterator[Artifact | None]:
    """A file a participant; None for each that has no link."""
    taken: set[str] = set()
    for index, layer in enumerate(layers):
        layer_name = str(fields(layer).get("layer_name") or index)
        urls: Mapping[str, Any] = fields(fields(layer).get("download_urls"))
        if not urls:
            yield None
        for name, entry in urls.items():
            url = link(fields(entry).get("download_url"))
            track = _bounded(clean(f"{layer_name}/{name}"))
            while track in taken:  # nothing says that layers have different names
                track += "+"
            taken.add(track)
            yield (
                Artifact(recording.id, Kind.TRACK, url, clean(name), expires_at=expires_at, track=track)
                if url
                else None
            )


def _bounded(track: str) -> str:
    """Short enough for what an object may carry beside its bytes (2 KB at S3), and still distinct."""
    if len(track.encode()) <= _TRACK_LENGTH:
        return track
    end = f"-{hashlib.sha256(track.encode()).hexdigest()[:12]}"
    return track.encode()[: _TRACK_LENGTH - len(end)].decode("utf-8", "ignore") + end


def _audio_name(video_name: str, url: str) -> str:
    """The video's name with the audio's own suffix; never the same as the video's."""
    stem, dot, end = video_name.rpartition(".")
    stem = stem if dot and stem and "/" not in end else video_name
    end = suffix(url) or ".mp3"
    name = stem + end
    return name if name.lower() != video_name.lower() else f"{stem}.audio{end}"
