"""Proves that a storage in trouble is left alone for a while, and for no longer."""

import asyncio
from typing import cast

import pytest

from service.budget import Gate
from service.destination import Destination, Destinations
from service.errors import (
    NameTaken,
    StorageError,
    StorageMismatch,
    StorageRefused,
    StorageThrottled,
    StorageUnavailable,
    UploadLost,
)
from service.retry import PART_ATTEMPTS
from service.storage import Storage


class Rig:
    """A destination on a clock of its own; pauses are noted, not waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []
        self.gate = Gate(8, clock=lambda: self.now)
        self.destination = Destination(
            "main",
            cast("Storage", None),
            gate=self.gate,
            clock=lambda: self.now,
            sleep=self._sleep,
            jitter=lambda: 0.5,
        )

    async def _sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)

    async def ask(self, *answers: StorageError | str) -> str:
        """One request that is answered thus, try by try."""
        left = list(answers)

        async def answer() -> str:
            await asyncio.sleep(0)
            found = left.pop(0)
            if isinstance(found, StorageError):
                raise found
            return found

        return await self.destination.requested(answer)


async def test_a_request_is_sent_again_while_the_storage_is_unavailable() -> None:
    rig = Rig()

    assert await rig.ask(StorageUnavailable(), StorageThrottled(retry_after_s=7.0), "done") == "done"

    assert rig.delays == [0.1875, 7.0]
    assert rig.gate.limit == 4  # narrowed once, by the one that asked for it


async def test_what_is_left_of_the_failure_is_raised_after_the_last_try() -> None:
    rig = Rig()
    with pytest.raises(StorageUnavailable, match="last"):
        await rig.ask(*[StorageUnavailable("first")] * (PART_ATTEMPTS - 1), StorageUnavailable("last"))
    assert len(rig.delays) == PART_ATTEMPTS - 1


async def test_a_minute_without_an_answer_is_long_enough() -> None:
    rig, tries = Rig(), 0

    async def silence() -> None:
        nonlocal tries
        tries += 1
        rig.now += 25.0
        raise StorageUnavailable

    with pytest.raises(StorageUnavailable):
        await rig.destination.requested(silence)
    assert (tries, rig.now) == (3, 75.0)


@pytest.mark.parametrize("family", [StorageRefused, NameTaken, UploadLost, StorageMismatch])
async def test_what_trying_again_cannot_help_is_raised_at_once(family: type[StorageError]) -> None:
    rig = Rig()
    with pytest.raises(family):
        await rig.ask(family())
    assert rig.delays == []


@pytest.mark.parametrize("family", [StorageUnavailable, StorageThrottled, StorageRefused])
def test_after_a_failure_that_may_be_everybodys_the_others_wait_a_little(family: type[StorageError]) -> None:
    rig, error = Rig(), family("down")

    rig.destination.failed(error)

    assert rig.destination.trouble is error
    rig.now = 2.0
    assert rig.destination.trouble is None


@pytest.mark.parametrize("family", [NameTaken, UploadLost, StorageMismatch])
def test_a_failure_of_one_file_alone_holds_up_no_other(family: type[StorageError]) -> None:
    rig = Rig()
    rig.destination.failed(family())
    assert rig.destination.trouble is None


def test_the_pause_grows_with_every_failure_up_to_half_a_minute() -> None:
    rig, pauses = Rig(), []
    for _ in range(8):
        rig.destination.failed(StorageRefused())
        began = rig.now
        while rig.destination.trouble is not None:
            rig.now += 1
        pauses.append(rig.now - began)
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]


async def test_an_answer_ends_the_trouble() -> None:
    rig = Rig()
    rig.destination.failed(StorageUnavailable())

    await rig.ask("done")

    assert rig.destination.trouble is None
    rig.destination.failed(StorageUnavailable())
    rig.now = 2.0
    assert rig.destination.trouble is None


async def test_after_a_pause_one_file_tries_it_alone_until_it_is_answered() -> None:
    rig, error = Rig(), StorageUnavailable("down")
    assert [rig.destination.admit(), rig.destination.admit()] == [None, None]
    rig.destination.failed(error)
    assert rig.destination.admit() is error

    rig.now = 2.0

    assert [rig.destination.admit(), rig.destination.admit()] == [None, error]
    await rig.ask("done")
    assert [rig.destination.admit(), rig.destination.admit()] == [None, None]


def test_one_that_tries_it_and_says_nothing_is_not_waited_for_for_ever() -> None:
    rig = Rig()
    rig.destination.failed(StorageUnavailable())
    rig.now = 2.0
    assert rig.destination.admit() is None
    while rig.destination.admit() is not None:
        rig.now += 1
    assert rig.now == 32


async def test_a_storage_in_doubt_is_not_asked_again_at_once_unless_it_speaks() -> None:
    rig = Rig()
    rig.destination.failed(StorageUnavailable())
    with pytest.raises(StorageUnavailable):
        await rig.ask(StorageUnavailable(), "never asked")
    assert rig.delays == []

    assert await rig.ask(StorageThrottled(), "done") == "done"
    assert await rig.ask(StorageUnavailable(), "done") == "done"
    assert len(rig.delays) == 2


# ---- several, by their names


class Doors:
    """Storages that can be opened, by their names; `opened` and `closed` are in their order."""

    def __init__(self, *names: str) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.failures: list[StorageError] = []
        self.rigs: dict[str, Rig] = {}
        self._names = names
        self.destinations = Destinations(self._open)

    async def _open(self, name: str) -> Destination | None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        if name not in self._names:
            return None
        self.opened.append(name)
        self.rigs[name] = Rig()
        found = self.rigs[name].destination
        found.name = name
        found.storage = cast("Storage", _Closing(name, self.closed))
        return found


class _Closing:
    def __init__(self, name: str, closed: list[str]) -> None:
        self._name = name
        self._closed = closed

    async def close(self) -> None:
        await asyncio.sleep(0)
        self._closed.append(self._name)


async def test_each_is_opened_once_by_however_many_it_is_needed() -> None:
    doors = Doors("a", "b")

    await asyncio.gather(*(doors.destinations.open(["a", "b"]) for _ in range(5)))

    assert doors.opened == ["a", "b"]
    assert list(doors.destinations) == ["a", "b"]
    assert doors.destinations["b"].name == "b"


async def test_what_is_not_configured_is_not_there_and_keeps_nobody_from_the_others() -> None:
    doors = Doors("b")

    await doors.destinations.open(["a", "b"])

    assert list(doors.destinations) == ["b"]
    assert len(doors.destinations) == 1
    with pytest.raises(KeyError):
        doors.destinations["a"]


async def test_one_that_could_not_be_opened_is_opened_the_next_time() -> None:
    doors = Doors("a")
    doors.failures = [StorageUnavailable("down")]
    with pytest.raises(StorageUnavailable):
        await doors.destinations.open(["a"])

    await doors.destinations.open(["a"])

    assert "a" in doors.destinations


async def test_those_in_trouble_are_told_by_their_names() -> None:
    doors = Doors("a", "b")
    assert doors.destinations.troubled == set()
    await doors.destinations.open(["a", "b"])
    assert doors.destinations.troubled == set()

    doors.destinations["b"].failed(StorageUnavailable())
    assert doors.destinations.troubled == doors.destinations.doubtful == {"b"}
    doors.rigs["b"].now = 2.0
    assert doors.destinations.troubled == set()
    assert doors.destinations.doubtful == {"b"}

    await doors.destinations["b"].requested(lambda: asyncio.sleep(0))

    assert doors.destinations.doubtful == set()


async def test_every_one_that_was_opened_is_closed() -> None:
    doors = Doors("a", "b", "c")
    await doors.destinations.open(["c"])
    await doors.destinations.open(["a"])

    await doors.destinations.close()

    assert sorted(doors.closed) == ["a", "c"]
