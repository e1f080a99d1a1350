"""Proves on both databases that a recording's life tells all that the ledger has of it, and no link."""

import pytest

from service.choices import Order, Standing
from service.errors import NotInLedger
from service.ledger import Pruning
from service.ledger.life import life
from service.ledger.orders import Orders
from service.ledger.tables import audit
from service.model import Kind, State
from tests.contract.ledgers import (
    CHECKSUM,
    HERE,
    LATER,
    THERE,
    Ledger,
    archive,
    begin,
    conclude,
    news,
    store,
)


async def test_there_is_none_of_what_was_never_heard_of(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))

    with pytest.raises(NotInLedger):
        await life(ledger.database, "another")
    with pytest.raises(NotInLedger):
        await life(ledger.database, "recording/video")


async def test_it_tells_what_was_heard_and_when_the_oldest_first(ledger: Ledger) -> None:
    for status in ("INVOKED", "RECORDING", "UPLOADING"):
        await ledger.hear(news(status=status))
    await ledger.hear(news(Kind.VIDEO), news(Kind.VIDEO), news(Kind.VIDEO, id="other"))

    told = await life(ledger.database, "recording")

    assert [status for status, _ in told.statuses] == ["INVOKED", "RECORDING", "UPLOADING", "UPLOADED"]
    assert [(heard.status, heard.outcome) for heard in told.deliveries] == [
        ("INVOKED", "noted"),
        ("RECORDING", "noted"),
        ("UPLOADING", "noted"),
        ("UPLOADED", "announced"),
        ("UPLOADED", "known"),
    ]
    moments = [heard.received_at for heard in told.deliveries]
    assert moments == sorted(moments)
    assert told.found.received_at <= moments[0] <= told.now
    assert (told.found.standing, len(told.files), told.manifests) == (Standing.WAITING, 1, ())


async def test_it_tells_where_each_file_is_and_how_far_and_why_not(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work("pod"), Kind.VIDEO, Kind.AUDIO)
    await begin(ledger, video, HERE, THERE)
    await ledger.work("pod").settle(video, {THERE: LATER})
    await ledger.work("pod").try_later(audio, LATER)

    told = await life(ledger.database, "recording")

    first, second = told.files
    assert (first.id, first.kind, first.state, first.owner) == (video.id, Kind.VIDEO, State.MOVING, "pod")
    assert first.host == "provider.example"
    assert first.lease_until is not None
    assert first.lease_until > told.now
    here, there = first.places
    assert (here.storage, here.moved, here.parts, here.part_size, here.error) == (HERE, 5, 1, None, None)
    assert (there.error, there.mend, there.attempts) == (LATER.error, LATER.mend, 1)
    assert there.due_at is not None
    assert there.due_at > told.now + 3000
    (failure,) = first.failures
    assert (failure.storage, failure.error, failure.owner, failure.count) == (THERE, LATER.error, "pod", 1)
    assert (second.state, second.error, second.attempts, second.places) == ("waiting", LATER.error, 1, ())
    (failure,) = second.failures
    assert (failure.storage, failure.mend) == (None, LATER.mend)


async def test_it_tells_what_lies_in_the_storage_with_checksums_and_manifest(ledger: Ledger) -> None:
    claims = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await archive(ledger, claims, HERE, THERE)

    told = await life(ledger.database, "recording")

    (file,) = told.files
    assert (file.state, file.stored_at is not None, file.due_at, file.is_paused) == (
        "archived",
        True,
        None,
        False,
    )
    for place, storage in zip(file.places, (HERE, THERE), strict=True):
        assert (place.storage, place.state, place.key) == (storage, "archived", "recording.video")
        assert (place.size, place.moved, place.parts, place.etag) == (10, 10, 0, '"whole"')
        assert (place.crc64nvme, place.crc32c) == (f"{CHECKSUM.crc64nvme:016x}", f"{CHECKSUM.crc32c:08x}")
        assert (place.due_at, place.fault, place.verified_at) == (None, None, None)
    assert [(each.storage, each.key) for each in told.manifests] == [
        (HERE, "recording.video.json"),
        (THERE, "recording.video.json"),
    ]
    assert told.found.standing is Standing.ARCHIVED


async def test_it_tells_who_had_what_done_in_the_order_of_it(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, Kind.AUDIO), news(Kind.VIDEO, id="other"))
    orders = Orders(ledger.database)
    await orders.give(Order.PAUSE, "recording", actor="ann")
    for _ in range(3):  # some of them in the same moment
        await orders.give(Order.RESUME, "recording/video", actor="bob")
        await orders.give(Order.PAUSE, "recording/video", actor="ann")
    await orders.give(Order.CANCEL, "other", actor="eve")

    told = await life(ledger.database, "recording")

    assert [(each.actor, each.action, each.artifact_id) for each in told.orders] == [
        ("ann", "pause", None),
        *[("bob", "resume", "recording/video"), ("ann", "pause", "recording/video")] * 3,
    ]
    assert [file.is_paused for file in told.files] == [True, True]


async def test_no_link_is_in_it(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO, link="https://files.example/signed?secret=s3cr3t"))
    await ledger.hear(news(Kind.AUDIO, link="https://user:s3cr3t@files.example/signed"))

    told = await life(ledger.database, "recording")

    assert "s3cr3t" not in repr(told)
    assert "signed" not in repr(told)
    assert {file.host for file in told.files} == {"files.example"}


async def test_of_what_was_pruned_it_tells_what_is_left(ledger: Ledger) -> None:
    (claim,) = await ledger.claimed(ledger.work(), Kind.VIDEO)
    await ledger.work().try_later(claim, LATER)
    await Orders(ledger.database).give(Order.RETRY, "recording", actor="ann")
    (claim,) = await ledger.work().claim(1)
    await archive(ledger, [claim])
    assert await Pruning(ledger.database).files(keep_s=-3600.0) == 1

    told = await life(ledger.database, "recording")

    assert (told.files, told.found.is_pruned, told.found.standing) == ((), True, Standing.ARCHIVED)
    assert [each.action for each in told.orders] == ["retry"]
    assert len(told.manifests) == 1
    assert await ledger.rows("failures") == []


async def test_what_happens_without_end_is_told_from_its_end(ledger: Ledger) -> None:
    await ledger.hear(news(Kind.VIDEO))
    rows = [
        {"at": float(number), "actor": str(number), "action": "retry", "recording_id": "recording"}
        for number in range(600)
    ]
    await ledger.database.write(lambda connection: connection.execute(audit.insert(), rows))

    told = (await life(ledger.database, "recording")).orders

    assert [each.actor for each in told] == [str(number) for number in range(100, 600)]


async def test_a_stored_file_that_waits_for_its_manifest_is_told_as_stored(ledger: Ledger) -> None:
    video, audio = await ledger.claimed(ledger.work(), Kind.VIDEO, Kind.AUDIO)
    await ledger.work().route(audio, [HERE])
    await store(ledger, video)
    assert await conclude(ledger, video) == []
    await ledger.work().finish(video)

    told = await life(ledger.database, "recording")

    assert [file.state for file in told.files] == ["stored", "moving"]
    assert told.found.standing is Standing.MOVING
