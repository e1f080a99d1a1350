"""Proves that a storage config without keys is signed for as whoever the environment says this process is."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from moto.sts.models import AssumedRole

from service import __version__
from service.errors import StorageRefused, StorageUnavailable
from service.storage import Storage, open_storage, parse_storage_config
from tests.contract.place_s3 import s3_place
from tests.contract.places import File, Place, read
from tests.doubles.ports import free_ports
from tests.doubles.servers import Moto, SeaweedFS
from tests.doubles.store_proxy import Fault, FaultyStore
from tests.doubles.wire import Head

FILE = File()
SMALL = File(100, key="small.mp4")


class Watched(FaultyStore):
    """Notes of each request whose it says it is, and with which key and which token it is signed."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.keys: list[str] = []
        self.tokens: list[str] = []
        self.agents: set[str] = set()

    async def _pass_on(self, head: Head, *rest: Any) -> bool:
        self.keys += re.findall("Credential=([^/]+)/", head["authorization"])
        self.tokens.append(head["x-amz-security-token"])
        self.agents.add(head["user-agent"])
        return await super()._pass_on(head, *rest)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that says nothing of who this process is."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moto: Moto) -> Path:
    """What EKS gives a pod whose service account has a role; returns the file with its token."""
    token = tmp_path / "token"
    token.write_text("header.claims.signature")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/archiver")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint_url)
    return token


@pytest.fixture
async def s3(moto: Moto) -> AsyncIterator[Watched]:
    """Moto's S3, watched."""
    async with Watched(moto.endpoint_url) as watched:
        yield watched


@asynccontextmanager
async def unnamed(place: Place, store: Watched | None = None, **fields: Any) -> AsyncIterator[Storage]:
    """A storage whose config has no keys."""
    config = {name: value for name, value in place.config.items() if name not in ("access_key", "secret")}
    endpoint = {"endpoint_url": store.endpoint_url} if store else {}
    storage = await open_storage(parse_storage_config(config | endpoint | fields))
    try:
        yield storage
    finally:
        await storage.close()


@pytest.mark.usefixtures("service_account")
async def test_a_pod_whose_service_account_has_a_role_needs_no_keys(
    moto: Moto, s3: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultyStore(moto.endpoint_url) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint_url)
        async with unnamed(s3_place(moto), s3) as storage:
            assert not sts.traffic, "opening asks nobody"
            await asyncio.gather(*(File(100, key=f"{number}.mp4").put(storage) for number in range(8)))
            await FILE.store(storage)
            assert await read(storage, FILE.key) == FILE.body
        assert sts.traffic["Other"].requests == 1

    (key,) = set(s3.keys)
    assert key.startswith("ASIA")
    assert all(s3.tokens)
    assert all(agent.startswith(f"dyte-archiver/{__version__} ") for agent in s3.agents)


@pytest.mark.usefixtures("service_account")
async def test_credentials_are_renewed_before_they_expire(
    moto: Moto, s3: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = AssumedRole.__init__

    def brief(role: AssumedRole, **given: Any) -> None:
        whole(role, **given | {"duration": 300})

    monkeypatch.setattr(AssumedRole, "__init__", brief)
    async with unnamed(s3_place(moto), s3) as storage:
        await FILE.store(storage)
        assert await read(storage, FILE.key) == FILE.body

    assert len(set(s3.keys)) == len(s3.keys) > 1


async def test_the_environments_own_keys_sign_where_the_config_has_none(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unnamed(s3_place(seaweedfs)) as storage:
        with pytest.raises(StorageRefused) as refused:
            await SMALL.put(storage)
        assert "access_key" in refused.value.mend
        assert "IRSA" in refused.value.mend

        # The same storage goes on as soon as the environment says who it is.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
        await SMALL.put(storage)
        assert await read(storage, SMALL.key) == SMALL.body


async def test_the_environments_keys_do_not_stand_in_for_the_configs(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHERKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other token")
    async with s3_place(seaweedfs).open() as storage:
        await SMALL.put(storage)


async def test_pod_identity_is_asked_with_the_pods_token(
    moto: Moto, s3: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def identify(request: web.Request) -> web.Response:
        asked.append(request.headers["Authorization"])
        expiration = datetime.now(UTC) + timedelta(hours=1)
        return web.json_response(
            {
                "AccessKeyId": "ASIAPODIDENTITY",
                "SecretAccessKey": "secret",
                "Token": "pod session",
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    asked: list[str] = []
    (tmp_path / "pod-token").write_text("pod's token")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "pod-token"))
    async with served(identify) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/v1/credentials")
        async with unnamed(s3_place(moto), s3) as storage:
            await asyncio.gather(*(File(100, key=f"{number}.mp4").put(storage) for number in range(8)))
            await FILE.store(storage)

    assert asked == ["pod's token"]
    assert set(s3.keys) == {"ASIAPODIDENTITY"}
    assert set(s3.tokens) == {"pod session"}


async def test_temporary_keys_are_sent_with_their_token(moto: Moto, s3: Watched) -> None:
    keys = {"access_key": "ASIATEMPORARY", "secret": "secret", "session_token": "the-token"}
    async with unnamed(s3_place(moto), s3, **keys) as storage:
        await SMALL.put(storage)

    assert set(s3.keys) == {"ASIATEMPORARY"}
    assert set(s3.tokens) == {"the-token"}


@pytest.mark.usefixtures("service_account")
async def test_a_role_that_does_not_trust_the_pod_is_told(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultyStore(moto.endpoint_url) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint_url)
        sts.inject("Other", Fault.REFUSE, first=1, status=403, code="AccessDenied")
        async with unnamed(s3_place(moto)) as storage:
            with pytest.raises(StorageRefused) as refused:
                await SMALL.put(storage)
            assert "AWS_ROLE_ARN" in refused.value.mend

            await SMALL.put(storage)


@pytest.mark.usefixtures("service_account")
async def test_a_service_that_gives_no_credentials_now_is_unavailable(
    moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
    async with unnamed(s3_place(moto)) as storage:
        with pytest.raises(StorageUnavailable, match="credentials"):
            await SMALL.put(storage)

    async with FaultyStore(moto.endpoint_url) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint_url)
        failing = sts.inject("Other", Fault.REFUSE)
        async with unnamed(s3_place(moto)) as storage:
            with pytest.raises(StorageUnavailable):
                await SMALL.put(storage)
        assert failing.occurrences == 1


async def test_a_token_that_is_not_there_is_told(moto: Moto, service_account: Path) -> None:
    service_account.unlink()
    async with unnamed(s3_place(moto)) as storage:
        with pytest.raises(StorageRefused) as refused:
            await SMALL.put(storage)
        assert "service account" in refused.value.mend

        service_account.write_text("header.claims.signature")
        await SMALL.put(storage)


async def test_a_profile_that_is_not_there_is_told(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    place = s3_place(moto)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    with pytest.raises(StorageRefused) as refused:
        async with unnamed(place) as storage:
            await SMALL.put(storage)
    assert "AWS_PROFILE" in refused.value.mend


@asynccontextmanager
async def served(handler: Any) -> AsyncIterator[str]:
    """An HTTP server of its own, whose every answer `handler` gives."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
