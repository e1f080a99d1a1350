"""The provider double's files are behind links that expire as it is told."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import unquote

import aiohttp
import pytest
from yarl import URL

from tests.doubles.provider import Account, ProviderDouble, RecordingDouble
from tests.doubles.sender import Sender
from tests.unit.asking_the_double import Client

WEEK_S = 7 * 24 * 3600.0
MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(sender: Sender, clock: Clock) -> AsyncIterator[ProviderDouble]:
    async with ProviderDouble(sender=sender, clock=clock) as provider:
        yield provider


@pytest.fixture(params=["dyte", "realtimekit"])
async def client(request: pytest.FixtureRequest, provider: ProviderDouble) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        yield Client(http, provider.dyte() if request.param == "dyte" else provider.realtimekit())


@pytest.fixture
def account(client: Client) -> Account:
    return client.account


async def link_of(client: Client, recording: RecordingDouble) -> str:
    return str((await client.get(f"/recordings/{recording.id}")).data["download_url"])


async def test_a_link_leads_to_the_file_in_ranges_too(account: Account, client: Client) -> None:
    recording = account.add_recording("r1", size=3 * MIB + 7)
    link = await link_of(client, recording)
    assert "/r1.mp4?X-Signature=" in link
    assert await client.download(link) == (200, recording.content.read())
    part = await client.download(link, Range=f"bytes={MIB}-{2 * MIB - 1}")
    assert part == (206, recording.content.read(MIB, 2 * MIB))


async def test_a_link_works_only_exactly_as_it_is_and_for_get_alone(account: Account, client: Client) -> None:
    recording = account.add_recording()
    link = await link_of(client, recording)
    other = await link_of(client, account.add_recording())
    base, _, query = link.partition("?")
    for broken in (base, f"{base}?{unquote(query)}", link[:-1] + "9", f"{base}?{other.partition('?')[2]}"):
        assert (await client.download(broken))[0] == 403
    async with client.http.head(URL(link, encoded=True)) as answer:
        assert answer.status == 403


async def test_a_recording_has_its_audio_beside_it(account: Account, client: Client) -> None:
    recording = account.add_recording(audio=True)
    told = (await client.get(f"/recordings/{recording.id}")).data
    video, audio = [await client.download(told[name]) for name in ("download_url", "audio_download_url")]
    assert video == (200, recording.contents["video"].read())
    assert audio == (200, recording.contents["audio"].read())
    assert video != audio


async def test_a_track_recording_has_a_file_a_participant(account: Account, client: Client) -> None:
    recording = account.add_recording(tracks=20, size=1000)
    told = (await client.get(f"/recordings/{recording.id}")).data
    assert told["type"] == "TRACK"
    [layer] = told["download_url"]
    found = {
        f"{layer['layer_name']}/{name}": await client.download(entry["download_url"])
        for name, entry in layer["download_urls"].items()
    }
    assert found == {name: (200, content.read()) for name, content in recording.contents.items()}
    assert len({body for _, body in found.values()}) == 20


async def test_links_that_expired_are_refused_and_later_ones_are_not(
    account: Account, client: Client
) -> None:
    recording = account.add_recording(audio=True)
    other = account.add_recording()
    old = await link_of(client, recording)
    unconcerned = await link_of(client, other)
    assert (await client.download(old))[0] == 200
    recording.expire_links()
    status, page = await client.download(old)
    assert (status, page[:5]) == (403, b"<?xml")
    assert (await client.download(await link_of(client, recording)))[0] == 200
    assert (await client.download(unconcerned))[0] == 200
    assert (await client.download(old))[0] == 403


async def test_links_expire_in_the_midst_of_a_transfer(account: Account, client: Client) -> None:
    recording = account.add_recording(size=4 * MIB)
    link = await link_of(client, recording)
    recording.expire_links_after(MIB)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.download(link)
    served = recording.file("video").served
    assert MIB <= served.sent < 2 * MIB
    assert (await client.download(link, Range=f"bytes={MIB}-"))[0] == 403
    rest = await client.download(await link_of(client, recording), Range=f"bytes={MIB}-")
    assert rest == (206, recording.content.read(MIB))


async def test_links_expire_for_all_that_are_on_their_way_together(account: Account, client: Client) -> None:
    recording = account.add_recording(size=8 * MIB)
    link = await link_of(client, recording)
    recording.expire_links_after(3 * MIB)
    ranges = [f"bytes={n * 2 * MIB}-{(n + 1) * 2 * MIB - 1}" for n in range(4)]
    done = await asyncio.gather(
        *(client.download(link, Range=each) for each in ranges), return_exceptions=True
    )
    assert sum(isinstance(each, tuple) and each[0] == 206 for each in done) < 4
    assert recording.links.sent < 5 * MIB


async def test_the_provider_keeps_a_file_for_a_week_from_the_stop(
    account: Account, client: Client, clock: Clock
) -> None:
    recording = account.add_recording(stopped_ago_s=WEEK_S - 10.0)
    told = (await client.get(f"/recordings/{recording.id}")).data
    assert told["download_url_expiry"] == "2027-01-15T08:00:10.000Z"
    clock.now += 9.0
    assert (await client.download(told["download_url"]))[0] == 200
    clock.now += 1.0
    assert (await client.download(told["download_url"]))[0] == 403
    assert (await client.download(await link_of(client, recording)))[0] == 403
    assert (await client.get("/recordings", expired="false")).ids == []


async def test_a_deleted_file_is_not_found_behind_a_link_that_is_good(
    account: Account, client: Client
) -> None:
    recording = account.add_recording()
    recording.delete_file()
    assert (await client.download(await link_of(client, recording)))[0] == 404
    recording.expire_links()
    assert (await client.download(await link_of(client, recording)))[0] == 404


async def test_a_link_is_given_only_where_there_is_a_file(account: Account, client: Client) -> None:
    elsewhere = account.add_recording(provider_bucket=False, audio=True)
    told = (await client.get(f"/recordings/{elsewhere.id}")).data
    links = ("download_url", "audio_download_url", "download_url_expiry")
    assert [told[name] for name in links] == [None] * 3
    recording = account.add_recording(audio=True)
    for status in ("INVOKED", "RECORDING", "PAUSED", "UPLOADING", "ERRORED"):
        recording.become(status)
        told = (await client.get(f"/recordings/{recording.id}")).data
        assert [told[name] for name in links] == [None] * 3


async def test_a_file_can_be_faulty_beside_that(account: Account, client: Client) -> None:
    recording = account.add_recording()
    recording.file("video").served.fail(status=503, status_first=1)
    link = await link_of(client, recording)
    assert [(await client.download(link))[0] for _ in range(2)] == [503, 200]


async def test_the_links_of_a_session_expire_too(account: Account, client: Client) -> None:
    session = account.add_session()
    path = f"/sessions/{session.id}/chat"
    old = (await client.get(path)).data["chat_download_url"]
    assert await client.download(old) == (200, session.contents["chat"].read())
    session.expire_links()
    assert (await client.download(old))[0] == 403
    assert (await client.download((await client.get(path)).data["chat_download_url"]))[0] == 200
    session.delete_files()
    assert (await client.download((await client.get(path)).data["chat_download_url"]))[0] == 404
