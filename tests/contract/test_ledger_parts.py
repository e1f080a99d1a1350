"""Proves that names, sessions and receipts are kept as they were given, on both databases."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Checksum, Kind, Part, State
from tests.contract.ledgers import Ledger, as_of, opened, part, store

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


@given(given_parts=receipts)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_receipts_come_back_by_number(ledger: Ledger, given_parts: list[Part]) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO, id=uuid4().hex)

    for found in given_parts:
        await work.part_stored(claim, found)

    assert await work.parts(claim) == sorted(given_parts, key=lambda found: found.number)


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
async def test_checksums_keep_all_their_bits(ledger: Ledger, value: int) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    checksum = Checksum(value, value % 2**32)
    await work.part_stored(claim, part(1, checksum=checksum))
    assert [found.checksum for found in await work.parts(claim)] == [checksum]

    await store(work, claim, checksum=checksum)

    _, stored, _ = await ledger.view.recording("recording")
    assert [found.checksum for found in stored] == [checksum]


async def test_a_receipt_given_again_replaces_the_former(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await work.part_stored(claim, part(1, receipt="former", size=4))
    await work.part_stored(claim, part(1, receipt="latter", size=5))

    assert await work.parts(claim) == [part(1, receipt="latter", size=5)]


async def test_receipts_given_at_once_are_all_kept(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)

    await asyncio.gather(*(work.part_stored(claim, part(number)) for number in range(1, 21)))

    assert await work.parts(claim) == [part(number) for number in range(1, 21)]


async def test_only_the_named_receipts_are_forgotten(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        for number in (1, 2, 3):
            await work.part_stored(claim, part(number))

    await work.forget_parts(video, [1, 3, 7])
    await work.forget_parts(video, [])

    assert await work.parts(video) == [part(2)]
    assert len(await work.parts(audio)) == 3


@pytest.mark.parametrize("keep_key", [True, False])
async def test_a_restart_forgets_the_session_and_its_parts(ledger: Ledger, *, keep_key: bool) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)
    for claim in (video, audio):
        await work.reserve(claim, f"{claim.artifact.kind}.mp4")
        await work.begun(claim, upload_id="upload", part_size=5, size=12, source_etag='"etag"')
        await work.part_stored(claim, part(1))

    await work.restart(video, keep_key=keep_key)

    current = await work.current(video)
    assert (current.upload_id, current.part_size, current.size, current.source_etag) == (None,) * 4
    assert current.key == ("video.mp4" if keep_key else None)
    assert await work.parts(video) == []
    assert await work.reserve(audio, "video.mp4") is not keep_key
    assert await work.parts(audio) == [part(1)]


async def test_a_name_belongs_to_the_first_that_reserves_it(ledger: Ledger) -> None:
    work = ledger.work()
    video, audio = await ledger.claimed(work, Kind.VIDEO, Kind.AUDIO)

    assert await work.reserve(video, "call.mp4")
    assert await work.reserve(video, "call.mp4")
    assert not await work.reserve(audio, "call.mp4")

    assert (await work.current(audio)).key is None
    assert await work.reserve(audio, "Call.mp4")
    assert (await work.current(video)).key == "call.mp4"


async def test_of_many_that_reserve_a_name_at_once_one_has_it(ledger: Ledger, ledger_url: str) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)

    async with opened(ledger_url) as other:
        answers = await asyncio.gather(
            ledger.work().reserve(video, "call.mp4"), other.work().reserve(audio, "call.mp4")
        )

    assert sorted(answers) == [False, True]


async def test_what_is_stored_needs_its_parts_no_more(ledger: Ledger) -> None:
    work = ledger.work()
    (claim,) = await ledger.claimed(work, Kind.VIDEO)
    await work.begun(claim, upload_id="upload", part_size=5, size=None, source_etag=None)
    await work.part_stored(claim, part(1))

    await store(work, claim)

    current = await work.current(claim)
    assert (current.state, current.upload_id, current.attempts) == (State.STORED, None, 0)
    assert as_of(current, 0).size == 10
    assert await work.parts(claim) == []
