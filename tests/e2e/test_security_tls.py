"""TLS towards all that the service asks: whom it cannot trust it tells nothing, and says what to mend."""

import json
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from service.errors import StorageUnavailable
from service.storage import open_storage, parse_storage_config
from tests.doubles.key_server import KeyServer
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource, threaded
from tests.doubles.tls import FLAWS, Authority, ConnectProxy, Flaw, OldEnd, TlsEnd
from tests.e2e.deployment import Deployment

GOOD = ("TLSv1_2", "TLSv1_3")
KINDS = ("s3", "key", "api", "source")
SIZE = 100_000


@dataclass(frozen=True)
class Scene:
    """For each kind of server an end with each flaw and of each version, and what was told of them."""

    ends: Mapping[tuple[str, str], TlsEnd | OldEnd]
    authority: Path
    told: dict[tuple[str, str], str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def scene(seaweedfs: SeaweedFS, sender: Sender, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        patch.setenv("AWS_CA_BUNDLE", str(authority.file))
        files = stack.enter_context(threaded(FaultySource()))
        keys = stack.enter_context(threaded(KeyServer(sender.public_pem)))
        key = urlsplit(keys.url)
        target = {"s3": urlsplit(seaweedfs.endpoint_url).port, "source": files.port}
        contexts: dict[str, ssl.SSLContext] = {
            how: authority.context("127.0.0.1", how) for how in FLAWS if how != "old protocol"
        }
        contexts |= {only: authority.context("127.0.0.1", only=only) for only in GOOD}
        ends: dict[tuple[str, str], TlsEnd | OldEnd] = {
            (kind, how): stack.enter_context(threaded(TlsEnd(context, target.get(kind) or key.port or 0)))
            for kind in KINDS
            for how, context in contexts.items()
        }
        for kind in KINDS:
            ends[kind, "old protocol"] = stack.enter_context(OldEnd(authority))
        scene = Scene(ends, authority.file)
        check(scene, Deployment(folder, sender), seaweedfs, key.path)
        read(scene, Deployment(folder, sender), sender, files)
        yield scene


def check(scene: Scene, deployment: Deployment, seaweedfs: SeaweedFS, key_path: str) -> None:
    """Let the command look at everything but sources, each as a storage or as an app of its own."""
    bucket = seaweedfs.bucket("tls")
    storages: dict[str, Any] = {}
    apps: dict[str, Any] = {}
    for how in (*FLAWS, *GOOD):
        s3, key, api = (scene.ends[kind, how].base_url for kind in KINDS[:3])
        storages[f"s3 {how}"] = seaweedfs.storage_config(bucket, path=how, endpoint_url=s3)
        apps[how] = {"provider": "dyte", "org_id": how, "api_key": "k", "api_url": api}
        apps[how]["webhook_key_url"] = key + key_path
    routing, several = deployment.folder / "routing.json", deployment.folder / "apps.json"
    routing.write_text(json.dumps({"storages": storages, "rules": [{"to": list(storages)}]}))
    several.write_text(json.dumps(apps))
    deployment.configure(routing_file=routing, apps_file=several, webhook_public_key="")
    done = deployment.command("check", "--json", timeout_s=120)
    for row in json.loads(done.stdout)["rows"]:
        text = f"{row['outcome']} {row['told']} {row['mend']}"
        for (kind, how), end in scene.ends.items():
            if row["subject"].startswith(f"storage {kind} {how} (") or end.base_url in row["subject"]:
                scene.told[kind, how] = scene.told.get((kind, how), "") + text


def read(scene: Scene, deployment: Deployment, sender: Sender, files: FaultySource) -> None:
    """Let the service read a recording from each source."""
    with deployment.running():
        for how in (*FLAWS, *GOOD):
            files.add(f"{how}.mp4", SIZE)
            link = f"{scene.ends['source', how].base_url}/{how.replace(' ', '%20')}.mp4"
            body = sender.uploaded(how, link, size=SIZE, outputFileName=f"{how}.mp4")
            deployment.hand_over(body)

        def settled() -> bool:
            for line in deployment.lines("try_failed"):
                scene.told["source", line["recording_id"]] = f"fault {line['error']} {line['mend']}"
            for version in GOOD:
                if (deployment.folder / "archive" / f"{version}.mp4.json").exists():
                    scene.told["source", version] = "pass"
            return all(("source", how) in scene.told for how in (*FLAWS, *GOOD))

        deployment.wait_until(settled)


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_whom_one_cannot_trust_is_asked_nothing(scene: Scene, kind: str, flaw: str) -> None:
    assert scene.ends[kind, flaw].asked == 0
    assert "fault" in scene.told[kind, flaw]


@pytest.mark.parametrize("version", GOOD)
@pytest.mark.parametrize("kind", KINDS)
def test_tls_of_today_passes_with_the_authority_that_the_environment_names(
    scene: Scene, kind: str, version: str
) -> None:
    end = scene.ends[kind, version]
    assert isinstance(end, TlsEnd)
    assert end.asked > 0
    assert end.versions == {version.replace("_", ".")}
    if kind != "api":  # behind its ends is nobody who would answer as it does
        assert "fault" not in scene.told[kind, version]


@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_that_is_not_known_is_told_with_the_variable_to_set(scene: Scene, kind: str) -> None:
    variable = "AWS_CA_BUNDLE" if kind == "s3" else "SSL_CERT_FILE"
    assert variable in scene.told[kind, "self-signed"]


def test_the_old_end_of_these_tests_would_serve_who_is_content_with_it(scene: Scene) -> None:
    end = scene.ends["key", "old protocol"]
    lax = ssl.create_default_context(cafile=scene.authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        lax.minimum_version = ssl.TLSVersion.TLSv1
        lax.set_ciphers("ALL:@SECLEVEL=0")
    asked = end.asked
    with pytest.raises(OSError, match=r"closed|Remote|reset|EOF"):
        urlopen(end.base_url, context=lax, timeout=10)
    assert end.asked == asked + 1


@pytest.mark.parametrize("how", ["self-signed", "another host", None])
async def test_a_store_behind_a_proxy_is_looked_at_as_closely(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: Flaw | None
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with (
        FaultySource() as nobody,
        ConnectProxy() as proxy,
        TlsEnd(authority.context("127.0.0.1", how), nobody.port) as end,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
        config = {"type": "aws", "access_key": "a", "secret": "s", "bucket": "meetings"}
        storage = await open_storage(parse_storage_config(config | {"endpoint_url": end.base_url}))
        try:
            if how is None:
                assert await storage.stat("rec.mp4") is None
            else:
                with pytest.raises(StorageUnavailable):
                    await storage.stat("rec.mp4")
        finally:
            await storage.close()
        assert proxy.asked == 1
        assert end.asked == (1 if how is None else 0)
