"""Proves that a recording goes where its own storage config says, or waits and says why not."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import ProviderMissing, ProviderRefused, ProviderRejected, ProviderUnavailable
from service.model import Kind
from service.routing import Routing
from tests.doubles.source import FaultySource
from tests.unit.workshop import Offers, Workshop, workshop

HOUR = 3600.0


def aws(bucket: str, path: str = "") -> dict[str, Any]:
    """A config as it is configured."""
    keys = {"access_key": "AKIAEXAMPLE", "secret": "s3cr3t", "region": "eu-central-1"}
    return {"type": "aws", "bucket": bucket, **keys} | ({"path": path} if path else {})


def told(bucket: str, **more: Any) -> str:
    """A config as the API gives it: without secrets."""
    return json.dumps({"type": "aws", "bucket": bucket, "region": "eu-central-1", **more})


STORAGES = {"main": aws("meetings", "recordings"), "other": aws("customer")}
BY_RULE = {"storages": STORAGES, "rules": [{"to": "main"}]}
NO_RULES = {"storages": STORAGES}


@pytest.fixture
async def source() -> AsyncIterator[FaultySource]:
    async with FaultySource() as source:
        yield source


class Setting:
    """A process that follows what the provider says, after another one over the same ledger."""

    def __init__(self, ledger: Path, folder: Path, source: FaultySource) -> None:
        self._ledger = ledger
        self._folder = folder
        self._source = source
        self.api = Offers()

    def process(self, routing: dict[str, Any] | None = None, *, from_provider: bool = True) -> Any:
        parsed = Routing.parse(json.dumps(routing or BY_RULE))
        return workshop(
            self._ledger,
            self._folder,
            self._source,
            api=self.api,
            routing=parsed,
            from_provider=from_provider,
        )


@pytest.fixture
def setting(ledger: Path, tmp_path: Path, source: FaultySource) -> Setting:
    return Setting(ledger, tmp_path, source)


async def places(shop: Workshop) -> list[str]:
    """The storages to which copies go."""
    return [row["storage"] for row in await shop.ledger.rows("copies")]


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (told("customer"), "other"),
        (told("meetings"), "main"),
        (told("meetings", path="recordings"), "main"),
        (told("meetings", path="/recordings/"), "main"),
        (told("meetings", path="calls/2026"), "main//calls/2026"),
        (told("customer", path="/"), "other"),
        (told("customer", path="calls"), "other//calls"),
    ],
)
async def test_its_own_config_picks_the_storage(setting: Setting, config: str, place: str) -> None:
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.VIDEO), storage_config=config)
        await shop.work()

        assert await shop.states() == {"one/video": "archived"}
        assert await places(shop) == [place]
        assert shop[place].files.keys() == {"call.mp4", "call.mp4.json"}
        assert setting.api.asked == []


async def test_where_the_news_does_not_tell_it_the_api_is_asked(setting: Setting) -> None:
    async with setting.process() as shop:
        video = shop.file(Kind.VIDEO)
        setting.api.offer(video, storage_config=told("customer"))
        await shop.hear(video)
        await shop.work()

        assert await places(shop) == ["other"]


async def test_unless_it_is_wanted_the_rules_decide(setting: Setting) -> None:
    async with setting.process(from_provider=False) as shop:
        await shop.hear(shop.file(Kind.VIDEO), storage_config=told("customer"))
        await shop.work()

        assert await places(shop) == ["main"]
        assert setting.api.asked == []


@pytest.mark.parametrize("config", [told("unknown"), None])
async def test_where_none_fits_the_rules_decide(setting: Setting, config: str | None) -> None:
    async with setting.process() as shop:
        video = shop.file(Kind.VIDEO)
        setting.api.offer(video)
        with capture_logs() as logs:
            await shop.hear(video, storage_config=config)
            await shop.work()

        assert await places(shop) == ["main"]
        said = [line for line in logs if line["event"] == "storage_of_recording_not_configured"]
        assert bool(said) is (config is not None)


@pytest.mark.parametrize("config", [told("unknown"), None])
async def test_where_none_fits_and_there_are_no_rules_it_waits_and_says_what_to_mend(
    setting: Setting, config: str | None
) -> None:
    async with setting.process(NO_RULES) as shop:
        video = shop.file(Kind.VIDEO)
        setting.api.offer(video)
        await shop.hear(video, storage_config=config)
        await shop.work()

        (row,) = await shop.ledger.rows("artifacts")
        assert (row["state"], row["attempts"]) == ("waiting", 1)
        assert ("unknown" in row["error"]) is (config is not None)
        assert "ARCHIVER_ROUTING_FILE" in row["mend"]
        assert await places(shop) == []
        assert shop.asked_of("one-video") == []

    # Somebody mends it.
    mended = {"storages": STORAGES | {"third": aws("unknown")}, "rules": [{"to": "other"}]}
    async with setting.process(mended) as shop:
        await shop.due_now()
        await shop.work()
        assert await places(shop) == ["third" if config else "other"]


async def test_a_session_has_no_config_of_its_own_and_goes_by_the_rules(setting: Setting) -> None:
    async with setting.process() as shop:
        await shop.hear(shop.file(Kind.CHAT, id="session"))
        await shop.work()

        assert await places(shop) == ["main"]
        assert setting.api.asked == []


@pytest.mark.parametrize("answer", [ProviderMissing("404"), ProviderRefused("401"), ProviderRejected("422")])
async def test_where_the_api_does_not_tell_it_the_rules_decide(setting: Setting, answer: Exception) -> None:
    async with setting.process() as shop:
        await shop.hear(shop.file(Kind.VIDEO))
        setting.api.failures = [answer]
        await shop.work()

        assert await places(shop) == ["main"]


async def test_while_the_api_is_down_it_waits(setting: Setting) -> None:
    async with setting.process() as shop:
        video = shop.file(Kind.VIDEO)
        setting.api.offer(video, storage_config=told("customer"))
        await shop.hear(video)
        setting.api.failures = [ProviderUnavailable("down")]
        await shop.work()
        assert await shop.states() == {"one/video": "waiting"}
        assert await places(shop) == []

        await shop.due_now()
        await shop.work()
        assert await places(shop) == ["other"]
        assert await shop.states() == {"one/video": "archived"}


async def test_while_the_api_is_down_and_time_runs_out_the_rules_decide(setting: Setting) -> None:
    async with setting.process() as shop:
        await shop.hear(shop.file(Kind.VIDEO, expires_at=time.time() + 23 * HOUR))
        setting.api.failures = [ProviderUnavailable("down")]
        await shop.work()

        assert await places(shop) == ["main"]
        assert await shop.states() == {"one/video": "archived"}


async def test_while_the_api_is_down_and_there_are_no_rules_it_waits_to_the_end(setting: Setting) -> None:
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.VIDEO, expires_at=time.time() - HOUR))
        setting.api.failures = [ProviderUnavailable("down")]
        await shop.work()

        assert await shop.states() == {"one/video": "waiting"}


async def test_another_process_finds_the_same_place_again(setting: Setting) -> None:
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.VIDEO), storage_config=told("meetings", path="calls"))
        # As if it had been killed after it was routed.
        (claim,) = await shop.ledger.work().claim(1)
        await shop.ledger.work().route(claim, ["main//calls"])
        await shop.ledger.lapse()
    async with setting.process(NO_RULES) as shop:
        await shop.work()

        assert await shop.states() == {"one/video": "archived"}
        assert await places(shop) == ["main//calls"]
        assert shop["main//calls"].files.keys() == {"call.mp4", "call.mp4.json"}


async def test_what_comes_late_joins_its_recording_in_another_process(setting: Setting) -> None:
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.VIDEO), storage_config=told("meetings", path="calls"))
        await shop.work()
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.AUDIO, name="call.mp3"))
        await shop.work()

        manifest = json.loads(shop["main//calls"].files["call.mp4.json"])
        assert [entry["kind"] for entry in manifest["artifacts"]] == ["video", "audio"]


async def test_a_place_whose_storage_is_no_longer_configured_is_chosen_anew(setting: Setting) -> None:
    async with setting.process(NO_RULES) as shop:
        await shop.hear(shop.file(Kind.VIDEO), storage_config=told("meetings", path="calls"))
        (claim,) = await shop.ledger.work().claim(1)
        await shop.ledger.work().route(claim, ["main//calls"])
        await shop.ledger.lapse()
    renamed = {"storages": {"renamed": STORAGES["main"], "other": STORAGES["other"]}}
    async with setting.process(renamed) as shop:
        await shop.work()

        assert await places(shop) == ["renamed//calls"]
        assert await shop.states() == {"one/video": "archived"}


async def test_two_paths_of_one_bucket_are_two_places_with_a_name_each(setting: Setting) -> None:
    async with setting.process() as shop:
        for one, path in (("one", "a"), ("two", "b"), ("three", "a")):
            await shop.hear(shop.file(Kind.VIDEO, id=one), storage_config=told("meetings", path=path))
        await shop.work()

        assert shop["main//a"].files.keys() == {
            "call.mp4",
            "call.mp4.json",
            "call-three.mp4",
            "call-three.mp4.json",
        }
        assert shop["main//b"].files.keys() == {"call.mp4", "call.mp4.json"}
