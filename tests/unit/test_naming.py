"""Proves that whatever the provider calls a file, every storage takes the name that is made of it."""

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.model import Artifact, Kind
from service.naming import candidates, safe

names = st.one_of(
    st.text(),
    st.text(alphabet="./\\ :*?\0~ab", max_size=10),
    st.text(min_size=150, max_size=400),
    st.from_regex(r"[a-z]{1,5}(\.[a-z0-9]{1,20}){0,3}", fullmatch=True),
)
ids = st.one_of(st.uuids().map(str), st.text(min_size=1, max_size=200))


def artifact(name: str, recording_id: str = "0a1b2c3d-id") -> Artifact:
    return Artifact(recording_id, Kind.VIDEO, "https://provider.example/file", name)


@given(name=names)
@example(name="")
@example(name="...")
@example(name="../../etc/passwd")
@example(name="x" * 5000 + ".mp4")
@example(name="🎬" * 100 + "." + "🎬" * 100)
def test_any_name_becomes_one_that_every_storage_takes(name: str) -> None:
    made = safe(name)

    assert made
    assert made == made.strip(" ")
    assert not set(made) & set('/\\:*?"<>|\x7f')
    assert not any(ord(character) < 32 for character in made)
    assert not made.startswith(".")
    assert PurePosixPath(made).name == made
    assert len(made.encode()) <= 180
    assert safe(name) == made
    assert safe(made) == made


@pytest.mark.parametrize(
    "name", ["call.mp4", "Größe 日本語 🎬.mp4", "a+b%20#1.webm", "no-suffix", "v1.2 final.mp4"]
)
def test_a_plain_name_stays_what_it_is(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a/b.mp4", "a_b.mp4"),
        ("..", "recording"),
        (" .hidden.mp4", "hidden.mp4"),
        ("what?.mp4", "what_.mp4"),
        ("tab\there.mp4", "tab_here.mp4"),
        ("call.mp4. ", "call.mp4"),
    ],
)
def test_what_a_storage_would_not_take_is_replaced(name: str, made: str) -> None:
    assert safe(name) == made


@given(stem=st.text(alphabet="abé日", min_size=200, max_size=300), end=st.text(alphabet="xy", max_size=3))
def test_long_names_keep_their_suffix_and_stay_distinct(stem: str, end: str) -> None:
    assert safe(f"{stem}{end}.mp4").endswith(".mp4")
    assert safe(f"{stem}{end}.mp4") != safe(f"{stem}{end}z.mp4")


@given(name=names, recording_id=ids, epoch=st.integers(1, 10**6))
@example(name="x" * 300 + ".mp4", recording_id="y" * 200, epoch=1)
def test_the_names_to_try_are_distinct_and_fit_a_file_system(
    name: str, recording_id: str, epoch: int
) -> None:
    made = candidates(artifact(name, recording_id), epoch)

    assert len(set(made)) == len(made) == 3
    assert candidates(artifact(name, recording_id), epoch) == made
    suffix = PurePosixPath(made[0]).suffix
    for candidate in made:
        assert "/" not in candidate
        # The longest that a folder sees of it: its manifest's temporary file.
        assert len(f".{candidate}.json.0123456789abcdef.part".encode()) <= 255
        assert candidate.endswith((suffix, suffix[:16]))


def test_the_recording_id_stands_before_the_suffix() -> None:
    assert candidates(artifact("call.mp4", "id"), 7) == ("call.mp4", "call-id.mp4", "call-id-7.mp4")


@given(name=names, recording_id=ids, epoch=st.integers(1, 10**6))
def test_no_two_claims_share_the_last_name(name: str, recording_id: str, epoch: int) -> None:
    made = artifact(name, recording_id)

    assert candidates(made, epoch)[-1] != candidates(made, epoch + 1)[-1]
