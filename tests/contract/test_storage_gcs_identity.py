"""Proves who asks Google, a service account, the pod itself or another cloud's identity, and its tokens."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import SettingsError, StorageRefused, StorageThrottled, StorageUnavailable
from tests.contract.gcs_rig import ASKING, SMALL, Rig, rig
from tests.contract.place_gcs import gcs_place
from tests.contract.places import File, read
from tests.doubles.fake_gcs import FakeGcs
from tests.doubles.google_front import GoogleFront
from tests.doubles.google_tokens import other_private_key_pem
from tests.doubles.ports import free_ports


async def test_one_token_is_fetched_for_all_who_ask_at_once(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        await asyncio.gather(*(File(10, key=f"{number}").put(it.storage) for number in range(16)))
        assert await it.storage.stat("3") is not None

        assert len(it.google.tokens.issued) == 1


async def test_a_token_is_renewed_once_before_it_ends_and_nobody_waits_for_it(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        it.google.tokens.lifetime_s = 100
        await SMALL.put(it.storage)
        it.google.tokens.refusal = (503, "", "")
        assert await it.storage.stat(SMALL.key) is not None
        await asyncio.sleep(0.05)

        it.google.tokens.refusal, it.google.tokens.lifetime_s = None, 3600
        for _ in range(3):
            await asyncio.gather(*(it.storage.stat(SMALL.key) for _ in range(8)))
            await asyncio.sleep(0.05)

        assert len(it.google.tokens.issued) == 2


async def test_a_token_that_is_refused_is_not_used_again(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        await SMALL.put(it.storage)
        it.google.tokens.revoke()

        with pytest.raises(StorageRefused) as refused:
            await it.storage.stat(SMALL.key)

        assert "`secret`" in refused.value.mend
        assert await it.storage.stat(SMALL.key) is not None


@pytest.mark.parametrize("operation", ASKING)
async def test_a_key_that_was_deleted_is_refused_with_what_to_mend(fake_gcs: FakeGcs, operation: str) -> None:
    async with rig(fake_gcs) as it:
        deleted = json.dumps(it.google.credential(private_key=other_private_key_pem()))
        async with replace(it.place, config={**it.place.config, "secret": deleted}).open() as storage:
            with pytest.raises(StorageRefused, match="invalid_grant") as refused:
                await ASKING[operation](storage)

    assert "create another and give its JSON as `secret`" in refused.value.mend
    assert "PRIVATE" not in str(refused.value)


async def test_a_clock_that_is_wrong_is_told(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        words = "Invalid JWT: Token must be a short-lived token. Check your iat and exp values."
        it.google.tokens.refusal = (400, "invalid_grant", words)
        with pytest.raises(StorageRefused) as refused:
            await SMALL.put(it.storage)

    assert "clock" in refused.value.mend


async def test_a_token_server_in_trouble_is_not_asked_again_by_the_library(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        for status, family in ((500, StorageUnavailable), (503, StorageThrottled), (429, StorageThrottled)):
            it.google.tokens.refusal = (status, "", "")
            with pytest.raises(family):
                await asyncio.wait_for(SMALL.put(it.storage), 0.9)
        it.google.tokens.refusal = None
        await SMALL.put(it.storage)


async def test_a_token_server_that_is_not_there_is_unavailable(fake_gcs: FakeGcs) -> None:
    (port,) = free_ports(1)
    async with rig(fake_gcs) as it:
        elsewhere = json.dumps(it.google.credential(token_uri=f"http://127.0.0.1:{port}/token"))
        async with replace(it.place, config={**it.place.config, "secret": elsewhere}).open() as storage:
            with pytest.raises(StorageUnavailable, match="token's server"):
                await storage.stat("any")


async def test_a_private_key_that_cannot_be_read_is_told_when_the_storage_is_opened(
    google: GoogleFront, fake_gcs: FakeGcs
) -> None:
    torn = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"
    place = gcs_place(fake_gcs, google, secret=json.dumps(google.credential(private_key=torn)))
    with pytest.raises(SettingsError) as told:
        async with place.open():
            pass
    assert "secret" in told.value.mend


async def test_a_credential_may_be_an_object_and_its_line_ends_escaped_twice(fake_gcs: FakeGcs) -> None:
    async with rig(fake_gcs) as it:
        key = it.google.credential()["private_key"].replace("\n", "\\n")
        inline = it.google.credential(private_key=key)
        async with replace(it.place, config={**it.place.config, "secret": inline}).open() as storage:
            await SMALL.put(storage)
            assert await read(storage, SMALL.key) == SMALL.body


STORE_A_FILE = """
import asyncio, json, sys
from service.errors import StorageError
from service.storage import open_storage, parse_storage_config
from tests.contract.places import File

async def main():
    storage = await open_storage(parse_storage_config(json.loads(sys.argv[1])))
    try:
        await File(10).put(storage)
    except StorageError as error:
        print(type(error).__name__, error.mend)
    finally:
        await storage.close()

asyncio.run(main())
"""


async def as_a_pod(it: Rig, tmp_path: Path, **environment: str) -> str:
    """What a process without any credential of its own prints, where that metadata server is."""
    host = it.google.endpoint_url.removeprefix("http://")
    config = {name: value for name, value in it.place.config.items() if name != "secret"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STORE_A_FILE,
        json.dumps(config),
        stdout=subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "HOME": str(tmp_path),
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            **environment,
        },
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_without_a_secret_the_metadata_server_says_who_the_pod_is(
    fake_gcs: FakeGcs, tmp_path: Path
) -> None:
    async with rig(fake_gcs) as it:
        assert await as_a_pod(it, tmp_path) == ""

        assert it.place.objects() == {SMALL.key: SMALL.size}
        assert len(it.google.tokens.issued) == 1


@pytest.mark.parametrize("environment", [{}, {"NO_GCE_CHECK": "true"}], ids=["no account", "elsewhere"])
async def test_a_pod_that_is_nobody_is_told_how_to_become_somebody(
    fake_gcs: FakeGcs, tmp_path: Path, environment: dict[str, str]
) -> None:
    async with rig(fake_gcs) as it:
        it.google.tokens.has_account = False
        told = await as_a_pod(it, tmp_path, **environment)

    assert told.startswith("StorageRefused ")
    assert "service account" in told


async def test_another_clouds_token_is_exchanged_where_a_file_says_so(
    fake_gcs: FakeGcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc"
    subject, federation = tmp_path / "token", tmp_path / "federation.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federation))
    async with rig(fake_gcs) as it:
        federation.write_text(
            json.dumps(
                {
                    "type": "external_account",
                    "audience": pool,
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "token_url": f"{it.google.endpoint_url}/sts",
                    "credential_source": {"file": str(subject)},
                }
            )
        )
        without = {name: value for name, value in it.place.config.items() if name != "secret"}
        async with replace(it.place, config=without).open() as storage:
            subject.write_text("another's")
            with pytest.raises(StorageRefused):
                await SMALL.put(storage)
            subject.write_text(it.google.tokens.subject)
            await SMALL.put(storage)

        assert it.place.objects() == {SMALL.key: SMALL.size}
        assert {call for call, _ in it.google.calls} == {"objects.insert"}


async def test_a_proxy_that_the_environment_names_is_used(
    fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(fake_gcs) as it:
        monkeypatch.setenv("http_proxy", it.google.endpoint_url)
        monkeypatch.delenv("no_proxy", raising=False)
        behind = {
            "secret": json.dumps(it.google.credential(token_uri="http://token.invalid/token")),
            "endpoint_url": "http://storage.invalid",
        }
        async with replace(it.place, config={**it.place.config, **behind}).open() as storage:
            await SMALL.put(storage)
            assert await read(storage, SMALL.key) == SMALL.body
