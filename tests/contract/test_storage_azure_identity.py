"""Proves that a pod without keys stores by its own identity: a workload identity, or its machine's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import StorageRefused
from service.storage import open_storage, parse_storage_config
from tests.bench.certs import Certificates, make_certificates
from tests.contract.places import File
from tests.doubles.azurite import Azurite
from tests.doubles.identity_server import IdentityServer
from tests.doubles.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]

POD = """
import asyncio, json, sys
from service.storage import open_storage, parse_storage_config
from tests.contract.places import File, read

async def main():
    storage = await open_storage(parse_storage_config(json.loads(sys.argv[1])))
    try:
        await File().store(storage)
        await File(10, key="call.mp4.json").put(storage, replace=True)
        assert await read(storage, File.key) == File().body
    finally:
        await storage.close()

asyncio.run(main())
"""
"""A process of its own: only so is its environment the whole of what it knows, the trusted authority too."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(certificates: Certificates) -> Iterator[Azurite]:
    """An Azurite that speaks TLS and takes tokens."""
    with Azurite(certificates=certificates) as server:
        yield server


def run_pod(azurite: Azurite, certificates: Certificates, environment: dict[str, str]) -> str:
    """Store as a pod does that knows nothing but its environment; return the container's name."""
    container = azurite.container("identity")
    config = {"type": "azure", "bucket": container, "endpoint_url": azurite.endpoint, "access_key": ""}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", POD, json.dumps(config)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": str(certificates.authority),
        }
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return container


def objects_in(azurite: Azurite, container: str) -> dict[str, int]:
    with azurite.client() as client:
        return {blob.name: blob.size for blob in client.get_container_client(container).list_blobs()}


STORED = {File.key: File().size, "call.mp4.json": 10}


def test_a_workload_identity_stores(secured: Azurite, certificates: Certificates, tmp_path: Path) -> None:
    federated = tmp_path / "token"
    federated.write_text("the cluster's word for this pod")
    with IdentityServer(certificates=certificates) as entra:
        container = run_pod(
            secured,
            certificates,
            {
                "AZURE_AUTHORITY_HOST": entra.url,
                "AZURE_TENANT_ID": "tenant",
                "AZURE_CLIENT_ID": "archiver",
                "AZURE_FEDERATED_TOKEN_FILE": str(federated),
            },
        )

    ((path, form, _),) = entra.asked
    assert path == "/tenant/oauth2/v2.0/token"
    assert form["client_id"] == "archiver"
    assert form["client_assertion"] == federated.read_text()
    assert form["scope"] == "https://storage.azure.com/.default"
    assert objects_in(secured, container) == STORED


def test_a_managed_identity_stores(secured: Azurite, certificates: Certificates) -> None:
    with IdentityServer() as machine:
        container = run_pod(
            secured,
            certificates,
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST": machine.url, "AZURE_CLIENT_ID": "archiver"},
        )

    ((path, query, headers),) = machine.asked
    assert path == "/metadata/identity/oauth2/token"
    assert query["resource"] == "https://storage.azure.com"
    assert query["client_id"] == "archiver"
    assert headers["Metadata"] == "true"
    assert objects_in(secured, container) == STORED


async def test_a_pod_without_an_identity_is_told_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody,) = free_ports(1)
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{nobody}")
    config = parse_storage_config({"type": "azure", "bucket": "recordings", "account_name": "archiver"})
    storage = await open_storage(config)
    try:
        with pytest.raises(StorageRefused) as refused:
            await storage.stat("call.mp4")
    finally:
        await storage.close()

    assert "identity" in refused.value.mend
    assert "access_key" in refused.value.mend
