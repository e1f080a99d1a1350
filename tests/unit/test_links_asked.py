"""Proves that of several files the one that was refused is asked for, at what it belongs to."""

from dataclasses import replace

import pytest

from service.errors import SourceError, SourceGone, SourceRefused
from service.links import Links
from service.model import ONLY, Artifact, Claim, Kind, Provider, Recording, Scope, State
from tests.contract.ledgers import FAR
from tests.unit.workshop import Offers


def claim_of(artifact: Artifact, scope: Scope = Scope.RECORDING) -> Claim:
    known = Recording(artifact.recording_id, Provider.DYTE, "UPLOADED", scope)
    return Claim(artifact, known, State.MOVING, "worker", 1, 0, 0.0, FAR)


async def test_of_several_files_the_one_that_was_refused_is_renewed() -> None:
    tracks = [
        Artifact("one", Kind.TRACK, f"https://provider.example/{track}?1", "a.webm", track=track)
        for track in ("peer-1", "peer-2")
    ]
    api = Offers()
    api.offer(*(replace(track, url=track.url.replace("?1", "?2")) for track in tracks))

    fresh = await Links({ONLY: api}).fresh(claim_of(tracks[1]), SourceRefused())

    assert fresh.url == "https://provider.example/peer-2?2"


@pytest.mark.parametrize("kind", [Kind.CHAT, Kind.TRANSCRIPT, Kind.SUMMARY])
async def test_a_sessions_file_is_asked_for_at_the_session(kind: Kind) -> None:
    old = Artifact("session", kind, "https://provider.example/old", "session-chat.csv")
    api = Offers(files={("session", kind): replace(old, url="https://provider.example/new")})

    fresh = await Links({ONLY: api}).fresh(claim_of(old, Scope.SESSION), SourceRefused())

    assert fresh.url == "https://provider.example/new"
    assert api.asked == [f"session/{kind}"]


async def test_a_sessions_file_that_is_no_longer_there_is_the_sources_refusal() -> None:
    old = Artifact("session", Kind.CHAT, "https://provider.example/old", "session-chat.csv")
    refusal: SourceError = SourceGone("404")

    with pytest.raises(SourceGone) as failure:
        await Links({ONLY: Offers()}).fresh(claim_of(old, Scope.SESSION), refusal)

    assert failure.value is refusal
