"""Which files there are is read from links, layers of tracks too; a file that has a link is never lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.artifacts import RETENTION_S, recording_files, session_file
from service.model import Artifact, Kind, Provider, Recording
from service.naming import KeyTemplate
from tests.unit.announcements import json_values

RECORDING = Recording("r1", Provider.REALTIMEKIT, "UPLOADED", output_file_name="weekly.mp4", file_size=9)


def files(video: object, audio: object = None, **options: Any) -> tuple[list[Artifact], list[Kind]]:
    told = {"expires_at": 5.0} | options
    recording = told.pop("recording", RECORDING)
    found, odd = recording_files(recording, video=video, audio=audio, **told)
    return list(found), list(odd)


def layer(name: object, *names: str, link: str = "https://h") -> dict[str, Any]:
    return {
        "layer_name": name,
        "download_urls": {each: {"download_url": f"{link}/{n}"} for n, each in enumerate(names)},
    }


# ---- tracks


def test_the_documented_track_recording_is_a_file_a_participant(shared: Path) -> None:
    told = json.loads((shared / "dyte/payloads/rtk.track_recording.api.json").read_bytes())["data"]
    name = "speaker_user-123_peer-456_peer_audio_1760000000000.webm"

    found, odd = files(told["download_url"])

    assert found == [
        Artifact("r1", Kind.TRACK, "https://example.com/presigned-url", name, None, 5.0, f"default/{name}")
    ]
    assert found[0].id == f"r1/track/default/{name}"
    assert odd == []


def test_twenty_tracks_are_twenty_files_in_their_order() -> None:
    names = [f"speaker_user-{n}.webm" for n in range(20)]

    found, odd = files([layer("default", *names)], "https://h/mix.mp3")

    assert [artifact.name for artifact in found] == [*names, "weekly.mp3"]
    assert [artifact.kind for artifact in found] == [Kind.TRACK] * 20 + [Kind.AUDIO]
    assert len({artifact.id for artifact in found}) == 21
    assert [artifact.announced_size for artifact in found] == [None] * 21
    assert odd == []


def test_layers_with_files_of_one_name_are_told_apart() -> None:
    found, _ = files([layer("camera", "peer.webm"), layer("screen", "peer.webm", link="https://s")])

    assert [(each.name, each.track, each.url) for each in found] == [
        ("peer.webm", "camera/peer.webm", "https://h/0"),
        ("peer.webm", "screen/peer.webm", "https://s/0"),
    ]


@pytest.mark.parametrize("name", [None, "", 0, [], False])
def test_layers_without_a_name_are_told_apart_by_their_place(name: object) -> None:
    found, _ = files([layer(name, "peer.webm"), layer(name, "peer.webm")])

    assert [each.track for each in found] == ["0/peer.webm", "1/peer.webm"]


def test_a_layer_with_the_name_of_another_does_not_hide_its_files() -> None:
    found, _ = files([layer("default", "a.webm"), layer("default", "a.webm", "b.webm", link="https://s")])

    assert [each.url for each in found] == ["https://h/0", "https://s/0", "https://s/1"]
    assert len({each.id for each in found}) == 3


@pytest.mark.parametrize(
    "name", ["", "..", "/", "\x00", "a/b", ".webm", "con", "x" * 3000, "会" * 300, "\ud800"]
)
def test_a_track_whose_name_is_none_is_archived_under_one_that_can_be(name: str) -> None:
    (found,), odd = files([layer("default", name)])

    assert (found.url, odd) == ("https://h/0", [])
    assert len((found.track or "").encode()) <= 300
    assert found.id.encode().decode() == found.id
    key = KeyTemplate.parse("{output_file_name}").key(found, RECORDING)
    assert key.strip("./")
    assert "/" not in key


def test_over_long_names_that_differ_at_their_end_alone_are_two_files() -> None:
    found, _ = files([layer("default", "x" * 600 + "a", "x" * 600 + "b")])

    assert len({each.id for each in found}) == 2
    assert [each.id for each in found] == [
        each.id for each in files([layer("default", "x" * 600 + "a", "x" * 600 + "b")])[0]
    ]


@pytest.mark.parametrize(
    "entry", [None, {}, "https://h/0", {"download_url": "none"}, {"download_url": ["https://h"]}, []]
)
def test_a_track_without_a_link_is_named_and_loses_no_other(entry: object) -> None:
    told = layer("default", "a.webm", "b.webm")
    told["download_urls"]["a.webm"] = entry

    found, odd = files([told])

    assert [each.name for each in found] == ["b.webm"]
    assert odd == [Kind.TRACK]


@pytest.mark.parametrize("odd_layer", [None, {}, "https://h/a", {"layer_name": "x"}, {"download_urls": []}])
def test_a_layer_without_files_is_named_and_loses_no_other(odd_layer: object) -> None:
    found, odd = files([odd_layer, layer("default", "a.webm")])

    assert [each.name for each in found] == ["a.webm"]
    assert odd == [Kind.TRACK]


def test_no_layers_at_all_are_no_files() -> None:
    assert files([]) == ([], [])


@given(st.lists(json_values | st.builds(layer, json_values, st.text(), st.text())))
def test_whatever_stands_among_the_layers_no_two_files_are_one(layers: list[Any]) -> None:
    found, _ = files(layers)

    assert len({each.id for each in found}) == len(found)
    for each in found:
        assert each.url.startswith("https://h")
        assert each.id.encode().decode() == each.id
        assert "\x00" not in each.id + each.name


# ---- video and audio


def test_a_video_and_an_audio_are_two_files() -> None:
    found, odd = files("https://h/v", "https://h/a.mp3")

    assert found == [
        Artifact("r1", Kind.VIDEO, "https://h/v", "weekly.mp4", 9, 5.0),
        Artifact("r1", Kind.AUDIO, "https://h/a.mp3", "weekly.mp3", None, 5.0),
    ]
    assert odd == []


@pytest.mark.parametrize("absent", [None, ""])
def test_where_there_is_no_link_there_is_no_file_and_nothing_odd(absent: object) -> None:
    assert files(absent, absent) == ([], [])


@pytest.mark.parametrize("odd", [5, {}, "weekly.mp4", False])
def test_what_should_be_a_link_and_is_none_is_named(odd: object) -> None:
    assert files(odd, odd) == ([], [Kind.VIDEO, Kind.AUDIO])


@pytest.mark.parametrize(
    ("told", "stopped_at", "expires_at"),
    [(5.0, 1.0, 5.0), (None, 1.0, 1.0 + RETENTION_S), (None, None, None)],
)
def test_a_file_is_kept_as_told_or_seven_days_from_the_stop(
    told: float | None, stopped_at: float | None, expires_at: float | None
) -> None:
    recording = Recording("r1", Provider.DYTE, "UPLOADED", stopped_at=stopped_at)
    found, _ = files("https://h/v", "https://h/a", recording=recording, expires_at=told)
    tracked, _ = files([layer("default", "a")], recording=recording, expires_at=told)

    assert [each.expires_at for each in found + tracked] == [expires_at] * 3


# ---- sessions


@pytest.mark.parametrize(
    ("kind", "url", "name"),
    [
        (Kind.CHAT, "https://h", "session-s1-chat.csv"),
        (Kind.CHAT, "https://h/chat.json?x=.exe", "session-s1-chat.json"),
        (Kind.TRANSCRIPT, "https://h/t", "session-s1-transcript.csv"),
        (Kind.TRANSCRIPT, "https://h/t.vtt", "session-s1-transcript.vtt"),
        (Kind.SUMMARY, "https://h/s", "session-s1-summary.txt"),
        (Kind.SUMMARY, "https://h/s.md", "session-s1-summary.md"),
    ],
)
def test_a_session_s_file_is_called_by_its_session_and_kind(kind: Kind, url: str, name: str) -> None:
    found = session_file("s1", kind, url, 5.0)

    assert found == Artifact("s1", kind, url, name, None, 5.0)
    assert found.id == f"s1/{kind}"
