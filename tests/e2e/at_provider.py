"""A service that knows a provider's API, and what is looked at from outside of both."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.doubles.object_store import S3Endpoint
from tests.doubles.provider import Account, Deliveries
from tests.e2e.deployment import Deployment

__all__ = ["answers", "assert_nothing_leaks", "at", "local", "manifests", "subscribe", "taken"]

SIGNATURE = "X-Signature="


def at(account: Account, folder: Path, **settings: object) -> Deployment:
    """A service with the account's credentials and key; it archives into the folder `archive` unless told."""
    return Deployment(folder, account.sender, **{"lease_seconds": 3, **account.settings, **settings})


def subscribe(account: Account, deployment: Deployment) -> None:
    """Let everything that happens at the account be delivered."""
    account.add_webhook(f"http://127.0.0.1:{deployment.port}/webhook")


def answers(deliveries: Deliveries) -> list[int]:
    """The statuses that deliveries were answered with."""
    return [sent.status for sent in deliveries.wait()]


def taken(announce: Callable[..., Deliveries], *given: Any) -> None:
    """Announce until all is taken, as the provider does: a busy machine may be late with a commit."""
    deadline = time.monotonic() + 30
    while set(answers(announce(*given))) != {200}:
        assert time.monotonic() < deadline, "nobody takes it"


def local(folder: Path) -> dict[str, str]:
    """The storage that is a folder."""
    return {"type": "local", "path": str(folder)}


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """Every manifest in a folder, by its name."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in folder.rglob("*.json")}


def assert_nothing_leaks(deployment: Deployment, *accounts: Account, told: str = "") -> None:
    """No secret and no signed link's query is in the log, nor in `told`."""
    text = deployment.log.read_text("utf-8") + told
    secrets = {SIGNATURE, S3Endpoint.secret_key}
    for account in accounts:
        settings: Mapping[str, str] = account.settings
        secrets |= {settings[name] for name in ("api_key", "api_token") if name in settings}
        secrets.add(account.authorization.partition(" ")[2])
    assert [secret for secret in secrets if secret in text] == []
