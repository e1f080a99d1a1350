"""Proves that names, sessions and receipts are kept as they were given, on both databases."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Checksum, Claim, Kind, Part, State
from tests.contract.ledgers import HERE, THERE, Ledger, begin, opened, part, store

receipts = st.lists(
    st.builds(
        part,
        st.integers(1, 10_000),
        size=st.integers(0, 5 * 2**40),
        checksum=st.builds(Checksum, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
        receipt=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    ),
    unique_by=lambda found: found.number,
    max_size=5,
)


async def routed(ledger: Ledger, *kinds: Kind) -> list[Claim]:
    """Claims that go to two storages."""
    claims = await ledger.claimed(ledger.work(), *kinds, id=uuid4().hex)
    for claim in claims:
        await ledger.work().route(claim, [HERE, THERE])
    return claims


@given(given_parts=receipts)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_receipts_come_back_by_number(ledger: Ledger, given_parts: list[Part]) -> None:
    (claim,) = await routed(ledger, Kind.VIDEO)

    for found in given_parts:
        await ledger.progress.part_stored(claim, HERE, found)

    assert await ledger.progress.parts(claim, HERE) == sorted(given_parts, key=lambda found: found.number)
    assert await ledger.progress.parts(claim, THERE) == []


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
async def test_checksums_keep_all_their_bits(ledger: Ledger, value: int) -> None:
    (claim,) = await routed(ledger, Kind.VIDEO)
    checksum = Checksum(value, value % 2**32)
    await ledger.progress.part_stored(claim, HERE, part(1, checksum=checksum))
    assert [found.checksum for found in await ledger.progress.parts(claim, HERE)] == [checksum]

    await store(ledger, claim, checksum=checksum)

    stored = (await ledger.view.recording(claim.artifact.recording_id, HERE)).archived
    assert [found.checksum for found in stored] == [checksum]


async def test_a_receipt_given_again_replaces_the_former(ledger: Ledger) -> None:
    (claim,) = await routed(ledger, Kind.VIDEO)

    await ledger.progress.part_stored(claim, HERE, part(1, receipt="former", size=4))
    await ledger.progress.part_stored(claim, THERE, part(1, receipt="there", size=4))
    await ledger.progress.part_stored(claim, HERE, part(1, receipt="latter", size=5))

    assert await ledger.progress.parts(claim, HERE) == [part(1, receipt="latter", size=5)]
    assert await ledger.progress.parts(claim, THERE) == [part(1, receipt="there", size=4)]


async def test_receipts_given_at_once_are_all_kept(ledger: Ledger) -> None:
    (claim,) = await routed(ledger, Kind.VIDEO)

    await asyncio.gather(
        *(
            ledger.progress.part_stored(claim, storage, part(number))
            for number in range(1, 21)
            for storage in (HERE, THERE)
        )
    )

    for storage in (HERE, THERE):
        assert await ledger.progress.parts(claim, storage) == [part(number) for number in range(1, 21)]


async def test_only_the_named_receipts_are_forgotten(ledger: Ledger) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        for number in (1, 2, 3):
            await ledger.progress.part_stored(claim, HERE, part(number))
            await ledger.progress.part_stored(claim, THERE, part(number))

    await ledger.progress.forget_parts(video, HERE, [1, 3, 7])
    await ledger.progress.forget_parts(video, HERE, [])

    assert await ledger.progress.parts(video, HERE) == [part(2)]
    assert len(await ledger.progress.parts(video, THERE)) == 3
    assert len(await ledger.progress.parts(audio, HERE)) == 3


async def test_a_session_is_settled_for_its_copy_and_what_the_source_is_like_for_all(ledger: Ledger) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)

    await ledger.progress.begun(
        video, THERE, upload_id="upload", part_size=2**33, size=2**42, source_etag='"etag"'
    )

    current = await ledger.work().current(video)
    assert (current.part_size, current.size, current.source_etag) == (2**33, 2**42, '"etag"')
    assert [copy.upload_id for copy in current.copies] == [None, "upload"]
    sibling = await ledger.work().current(audio)
    assert (sibling.part_size, [copy.upload_id for copy in sibling.copies]) == (None, [None, None])


@pytest.mark.parametrize("keep_key", [True, False])
async def test_a_restart_forgets_the_session_and_its_parts(ledger: Ledger, *, keep_key: bool) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await begin(ledger, claim, HERE, THERE)

    await ledger.progress.restart(video, HERE, keep_key=keep_key)

    current = await ledger.work().current(video)
    here, there = current.copies
    assert (here.upload_id, here.key) == (None, video.artifact.name if keep_key else None)
    assert await ledger.progress.parts(video, HERE) == []
    # The other copy goes on with what the source was told to be like.
    assert (there.upload_id, there.key) == ("upload there", video.artifact.name)
    assert await ledger.progress.parts(video, THERE) == [part(1)]
    assert (current.part_size, current.size, current.source_etag) == (5, 12, '"etag"')
    assert await ledger.progress.parts(audio, HERE) == [part(1)]
    assert await ledger.progress.reserve(audio, HERE, video.artifact.name) is not keep_key


async def test_a_name_belongs_to_the_first_that_reserves_it(ledger: Ledger) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)

    assert await ledger.progress.reserve(video, HERE, "call.mp4")
    assert await ledger.progress.reserve(video, HERE, "call.mp4")
    assert not await ledger.progress.reserve(audio, HERE, "call.mp4")

    assert [copy.key for copy in (await ledger.work().current(audio)).copies] == [None, None]
    assert await ledger.progress.reserve(audio, HERE, "Call.mp4")
    assert [copy.key for copy in (await ledger.work().current(video)).copies] == ["call.mp4", None]


async def test_the_same_name_in_another_storage_is_another_name(ledger: Ledger) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)
    assert await ledger.progress.reserve(video, HERE, "call.mp4")
    assert await ledger.progress.reserve(video, THERE, "call.mp4")
    assert not await ledger.progress.reserve(audio, THERE, "call.mp4")
    await ledger.progress.restart(video, THERE, keep_key=False)

    assert await ledger.progress.reserve(audio, THERE, "call.mp4")
    assert not await ledger.progress.reserve(audio, HERE, "call.mp4")


async def test_a_stored_name_is_never_given_away(ledger: Ledger) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)
    await store(ledger, video, HERE)

    assert not await ledger.progress.reserve(audio, HERE, video.artifact.name)
    assert await ledger.progress.reserve(audio, THERE, video.artifact.name)


async def test_of_many_that_reserve_a_name_at_once_one_has_it(ledger: Ledger, ledger_url: str) -> None:
    video, audio = await routed(ledger, Kind.VIDEO, Kind.AUDIO)

    async with opened(ledger_url) as other:
        for number in range(10):
            answers = await asyncio.gather(
                ledger.progress.reserve(video, HERE, f"call {number}.mp4"),
                other.progress.reserve(audio, HERE, f"call {number}.mp4"),
            )
            assert sorted(answers) == [False, True]


async def test_what_is_stored_needs_its_parts_no_more(ledger: Ledger) -> None:
    (claim,) = await routed(ledger, Kind.VIDEO)
    await begin(ledger, claim, HERE, THERE)

    await store(ledger, claim, HERE)

    here, there = (await ledger.work().current(claim)).copies
    assert (here.state, here.upload_id, here.size) == (State.STORED, None, 10)
    assert (there.state, there.upload_id, there.size) == (State.WAITING, "upload there", None)
    assert await ledger.progress.parts(claim, HERE) == []
    assert await ledger.progress.parts(claim, THERE) == [part(1)]
