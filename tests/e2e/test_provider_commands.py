"""The commands for the provider, as a person runs them, against the provider's API."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.event import EVENTS
from tests.doubles.provider import Account, ProviderDouble, threaded
from tests.doubles.sender import Sender
from tests.e2e.deployment import Deployment

URL = "https://archiver.example.com/webhook"
STORAGE = {
    "type": "aws", "access_key": "AKIAEXAMPLE", "secret": "wJalrXUtnFEMI", "bucket": "meetings",
    "region": "eu-central-1",
}  # fmt: skip


@pytest.fixture
def provider(sender: Sender) -> Iterator[ProviderDouble]:
    with threaded(ProviderDouble(sender=sender)) as double:
        yield double


def at(account: Account, folder: Path, sender: Sender) -> Deployment:
    return Deployment(folder, sender, storage_config=STORAGE, **account.settings)


def document(deployment: Deployment, *arguments: str) -> Any:
    """What a command prints for programs."""
    done = deployment.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert STORAGE["secret"] not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_webhook_registered_twice_and_at_once_is_one_and_can_be_deleted(
    provider: ProviderDouble, tmp_path: Path, sender: Sender
) -> None:
    account = provider.realtimekit()
    at_provider = at(account, tmp_path, sender)

    def register(_: int) -> subprocess.CompletedProcess[str]:
        return at_provider.command("webhook", "register", URL)

    with ThreadPoolExecutor() as pool:
        both = list(pool.map(register, range(2)))
    [webhook] = account.webhooks.values()
    assert (webhook.url, set(webhook.events), webhook.enabled) == (URL, set(EVENTS), True)
    for done in both:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == f"ARCHIVER_WEBHOOK_IDS={webhook.id}"
    at_provider.configure(webhook_ids=webhook.id)
    assert document(at_provider, "webhook", "delete", webhook.id)["id"] == webhook.id
    assert account.webhooks == {}
    provider.check_against_spec()


def test_a_meeting_is_recorded_from_its_creation_to_the_end(
    provider: ProviderDouble, tmp_path: Path, sender: Sender
) -> None:
    account = provider.dyte()
    at_provider = at(account, tmp_path, sender)
    meeting = document(at_provider, "meeting", "create", "--title", "Weekly", "--record-on-start")
    assert account.meetings[meeting["id"]].options["record_on_start"] is True
    begun = document(
        at_provider, "recording", "start", meeting["id"], "--max-seconds", "60", "--with-storage-config"
    )
    started = next(
        asked for asked in provider.requests if asked.method == "POST" and asked.path == "/recordings"
    )
    assert started.json == {"meeting_id": meeting["id"], "max_seconds": 60, "storage_config": STORAGE}
    assert document(at_provider, "recording", "stop", begun["id"])["status"] == "UPLOADING"
    account.recordings[begun["id"]].status = "UPLOADED"
    shown = document(at_provider, "recording", "show", begun["id"])
    whole = document(at_provider, "recording", "show", begun["id"], "--links")
    assert shown["download_url"].endswith("?***")
    assert urlsplit(whole["download_url"]).query
    listed = at_provider.command("recording", "list", "--meeting", meeting["id"], "--status", "uploaded")
    assert listed.stdout.splitlines()[1].split()[:2] == [begun["id"], "UPLOADED"]
    provider.check_against_spec()


def test_what_goes_wrong_is_a_clear_line_and_what_to_mend(
    provider: ProviderDouble, tmp_path: Path, sender: Sender
) -> None:
    staging = Deployment(tmp_path, sender, **provider.dyte().settings | {"api_key": "wr0ng-key"})
    for deployment, arguments, told, mend in (
        (
            Deployment(tmp_path, sender),
            ["webhook", "list"],
            "there are no credentials",
            "ARCHIVER_PROVIDER",
        ),
        (staging, ["webhook", "list"], "refuses the credentials", "ARCHIVER_API_KEY"),
        (
            staging,
            ["recording", "start", "m", "--with-storage-config"],
            "a folder of this machine",
            "leave",
        ),
    ):
        done = deployment.command(*arguments, "--json")
        assert (done.returncode, done.stdout) == (1, "")
        error, how = done.stderr.splitlines()
        assert error.startswith("dyte-archiver: ")
        assert told in error
        assert mend in how
        assert "wr0ng-key" not in done.stderr


def test_the_options_are_told_and_checked_before_any_client_of_the_api_is_loaded() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "service"]
    done = subprocess.run(
        [*command, "recording", "start", "m", "--max-seconds", "59"],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Invalid value for '--max-seconds'" in done.stderr
    assert "service.commands" in done.stderr
    assert "aiohttp" not in done.stderr
