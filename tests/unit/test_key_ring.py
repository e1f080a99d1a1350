"""The key ring asks seldom, once for everybody, and calls no delivery bad that it could not judge."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from service.errors import KeyUnavailable, SignatureInvalid
from service.keys import fetch_key
from service.model import Provider
from service.signature import FIRST_FETCH_S, REFETCH_S, FetchedKeys
from tests.doubles.sender import KeyFault, KeyServer, Sender

BODY = b'{"event":"meeting.ended"}'


class Address:
    """Where keys are published: one answer for each URL, given when ``open`` is set."""

    def __init__(self, signer: Sender | None) -> None:
        self.signer = signer
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        await self.open.wait()
        if self.signer is None:
            raise KeyUnavailable("the key's address answered 500")
        return json.dumps({"data": {"publicKey": self.signer.public_pem}}).encode()


class Ring:
    """A key ring with a clock that is set by hand."""

    def __init__(
        self, fetch: Callable[[str], Awaitable[bytes]], urls: dict[Provider, str] | None = None
    ) -> None:
        self.now_s = 1000.0
        self._keys = FetchedKeys(
            urls or dict.fromkeys(Provider, "https://keys"), fetch, clock=lambda: self.now_s
        )

    def check(self, signer: Sender, provider: Provider = Provider.DYTE) -> Awaitable[None]:
        return self._keys.check(provider, BODY, signer.sign(BODY))


@pytest.fixture(scope="module")
def other() -> Sender:
    return Sender()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_key_is_fetched_once_and_kept(sender: Sender) -> None:
    address = Address(sender)
    ring = Ring(address.fetch)
    for _ in range(3):
        await ring.check(sender)
        ring.now_s += 10_000
    assert len(address.asked) == 1


async def test_each_provider_has_its_own_key(sender: Sender, other: Sender) -> None:
    address = Address(sender)
    ring = Ring(address.fetch, {Provider.DYTE: "https://dyte", Provider.REALTIMEKIT: "https://rtk"})
    await ring.check(sender)
    address.signer = other
    await ring.check(other, Provider.REALTIMEKIT)
    with pytest.raises(SignatureInvalid):
        await ring.check(sender, Provider.REALTIMEKIT)
    assert address.asked == ["https://dyte", "https://rtk"]


async def test_a_rotated_key_is_picked_up_by_the_first_delivery_that_needs_it(
    sender: Sender, other: Sender
) -> None:
    address = Address(sender)
    ring = Ring(address.fetch)
    await ring.check(sender)
    address.signer = other
    ring.now_s += REFETCH_S
    await ring.check(other)
    with pytest.raises(SignatureInvalid):
        await ring.check(sender)


async def test_bad_signatures_ask_for_the_key_at_most_once_a_minute(sender: Sender, other: Sender) -> None:
    address = Address(sender)
    ring = Ring(address.fetch)
    await ring.check(sender)
    for second in range(150):
        ring.now_s = 1000.0 + second
        with pytest.raises(SignatureInvalid):
            await ring.check(other)
    assert len(address.asked) == 3


async def test_many_deliveries_at_once_ask_for_the_key_once(sender: Sender) -> None:
    address = Address(sender)
    address.open.clear()
    ring = Ring(address.fetch)
    deliveries = [asyncio.ensure_future(ring.check(sender)) for _ in range(50)]
    await settle()
    address.open.set()
    await asyncio.gather(*deliveries)
    assert len(address.asked) == 1


async def test_the_old_key_is_good_while_the_new_one_is_being_fetched(sender: Sender, other: Sender) -> None:
    address = Address(sender)
    ring = Ring(address.fetch)
    await ring.check(sender)
    address.signer = other
    address.open.clear()
    ring.now_s += REFETCH_S
    waiting = asyncio.ensure_future(ring.check(other))
    await settle()
    await ring.check(sender)
    assert not waiting.done()
    address.open.set()
    await waiting


async def test_a_delivery_that_is_cut_off_does_not_take_the_key_from_the_others(sender: Sender) -> None:
    address = Address(sender)
    address.open.clear()
    ring = Ring(address.fetch)
    first, second = (asyncio.ensure_future(ring.check(sender)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    address.open.set()
    await second
    await ring.check(sender)
    assert len(address.asked) == 1


async def test_a_key_that_comes_after_everybody_left_is_kept(sender: Sender) -> None:
    address = Address(sender)
    address.open.clear()
    ring = Ring(address.fetch)
    only = asyncio.ensure_future(ring.check(sender))
    await settle()
    only.cancel()
    address.open.set()
    await settle()
    await ring.check(sender)
    assert len(address.asked) == 1


async def test_without_a_key_no_delivery_is_judged(sender: Sender) -> None:
    address = Address(None)
    ring = Ring(address.fetch)
    for _ in range(10):
        with pytest.raises(KeyUnavailable):
            await ring.check(sender)
    assert len(address.asked) == 1


async def test_the_ring_recovers_soon_after_its_first_key_can_be_had(sender: Sender) -> None:
    address = Address(None)
    ring = Ring(address.fetch)
    with pytest.raises(KeyUnavailable):
        await ring.check(sender)
    address.signer = sender
    ring.now_s += FIRST_FETCH_S
    await ring.check(sender)


async def test_a_delivery_that_a_newer_key_might_pass_is_not_called_bad(
    sender: Sender, other: Sender
) -> None:
    address = Address(sender)
    ring = Ring(address.fetch)
    await ring.check(sender)
    address.signer = None
    ring.now_s += REFETCH_S
    for _ in range(2):
        with pytest.raises(KeyUnavailable):
            await ring.check(other)
    await ring.check(sender)
    address.signer = other
    ring.now_s += REFETCH_S
    await ring.check(other)


async def test_once_the_key_can_be_had_again_a_bad_signature_is_a_bad_one(
    sender: Sender, other: Sender
) -> None:
    address = Address(None)
    ring = Ring(address.fetch)
    with pytest.raises(KeyUnavailable):
        await ring.check(other)
    address.signer = sender
    ring.now_s += FIRST_FETCH_S
    with pytest.raises(SignatureInvalid):
        await ring.check(other)


async def test_a_document_without_a_key_is_a_key_that_cannot_be_had(sender: Sender) -> None:
    async def fetch(_url: str) -> bytes:
        return b'{"success":true,"data":{},"message":""}'

    ring = FetchedKeys(dict.fromkeys(Provider, "https://keys"), fetch, clock=lambda: 0.0)
    with pytest.raises(KeyUnavailable):
        await ring.check(Provider.DYTE, BODY, sender.sign(BODY))


# ---- over a real connection


@pytest.fixture
async def key_server(sender: Sender) -> AsyncIterator[KeyServer]:
    async with KeyServer(sender.public_pem) as server:
        yield server


@pytest.fixture
async def fetched(key_server: KeyServer) -> AsyncIterator[Ring]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as session:

        async def fetch(url: str) -> bytes:
            return (await fetch_key(session, url)).document

        yield Ring(fetch, dict.fromkeys(Provider, key_server.url))


async def test_the_providers_address_is_asked_and_a_rotation_noticed(
    key_server: KeyServer, fetched: Ring, sender: Sender, other: Sender
) -> None:
    await fetched.check(sender)
    key_server.public_pem = other.public_pem
    fetched.now_s += REFETCH_S
    await fetched.check(other)
    assert key_server.requests == 2


@pytest.mark.parametrize("fault", ["error", "stall", "garbage", "no key"])
async def test_whatever_is_wrong_at_the_address_the_delivery_is_not_judged(
    key_server: KeyServer, fetched: Ring, sender: Sender, fault: KeyFault
) -> None:
    key_server.fault = fault
    with pytest.raises(KeyUnavailable):
        await fetched.check(sender)
    key_server.fault = None
    fetched.now_s += FIRST_FETCH_S
    await fetched.check(sender)


async def test_a_key_document_without_end_is_not_read_to_its_end(
    key_server: KeyServer, fetched: Ring, sender: Sender
) -> None:
    key_server.public_pem = sender.public_pem + " " * 100_000
    with pytest.raises(KeyUnavailable, match="too large"):
        await fetched.check(sender)


async def test_an_address_that_nobody_answers_at_is_a_key_that_cannot_be_had(
    key_server: KeyServer, fetched: Ring, sender: Sender
) -> None:
    await key_server.__aexit__(None, None, None)
    with pytest.raises(KeyUnavailable):
        await fetched.check(sender)
