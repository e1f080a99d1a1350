"""No secret comes out of the service, whatever is run and whatever goes wrong: each one here is marked."""

import asyncio
import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.settings import load_settings
from tests.doubles.ports import free_ports
from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.doubles.ssh_keys import SshKey
from tests.doubles.wire import Listener, read_body, read_head
from tests.e2e.deployment import Deployment

SIZE = 100_000
COMMANDS = (
    ["check", "--json"], ["backfill"], ["webhook", "list", "--app", "two"],
    ["recording", "start", "m1", "--app", "one", "--with-storage-config", "--storage", "aws"],
)  # fmt: skip


class Marks:
    """Makes secrets that are found again, also as they are on their way; ``every`` is what may be nowhere."""

    def __init__(self) -> None:
        self.every: set[str] = set()

    def __call__(self, name: str) -> str:
        secret = f"{name}/S3CRET+of:{name}@the#test"
        return self.marked(secret)

    def plain(self, name: str) -> str:
        """One of letters alone, as keys of APIs are."""
        return self.marked(f"S3CRETof{name}ofthetest")

    def marked(self, secret: str) -> str:
        self.every |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        return secret

    def pem(self, text: str) -> str:
        """A private key, of which no line may be seen."""
        self.every |= {line for line in text.splitlines() if len(line) > 30 and "-----" not in line}
        return text

    def seen_in(self, text: str) -> list[str]:
        return sorted(mark for mark in self.every if mark in text)


class Echo(Listener):
    """A server that answers every request with an error in which all that it was asked stands."""

    def __init__(self) -> None:
        super().__init__()
        self.told = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await read_head(reader)) is not None:
            body = b"".join([piece async for piece in read_body(head, reader)])
            told = head.raw.decode("latin-1") + body[:1000].decode("latin-1")
            self.told += told
            error = {"message": told, "errors": [{"reason": told}]}
            answer = json.dumps({"message": told, "error": error, "success": False}).encode()
            fields = f"Content-Type: application/json\r\nContent-Length: {len(answer)}"
            writer.write(f"HTTP/1.1 403 Forbidden\r\n{fields}\r\n\r\n".encode())
            if head.start[0] != "HEAD":
                writer.write(answer)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with threaded(Echo()) as echo:
        yield echo


@pytest.fixture(scope="module")
def marks() -> Marks:
    return Marks()


def storages(marks: Marks, echo: str, closed: int) -> dict[str, Any]:
    """One of each type, none of which works."""
    place = {"bucket": "meetings", "region": "eu-central-1"}
    account = f"AccountName=a1;AccountKey={base64.b64encode(marks('azure').encode()).decode()}"
    rsa = generate_private_key(65537, 2048)
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    sftp = {"type": "sftp", "host": "127.0.0.1", "port": closed, "trust_host_key": "first_use"}
    key = marks.pem(SshKey(Ed25519PrivateKey.generate()).private())
    return {
        "aws": {"type": "aws", "access_key": marks.plain("Access"), "secret": marks("aws"),
                "session_token": marks("token"), "endpoint_url": echo, **place},
        "spaces": {"type": "digitalocean", "access_key": marks.plain("Spaces"), "secret_key": marks("spaces"),
                   "endpoint_url": f"http://127.0.0.1:{closed}", **place},
        "azure": {"type": "azure", "access_key": f"{account};BlobEndpoint={echo}/a1", "bucket": "meetings"},
        "sas": {"type": "azure", "bucket": "meetings", "access_key":
                f"SharedAccessSignature=sv=2024&sig={marks.plain('Sas')};BlobEndpoint={echo}/a2"},
        "gcs": {"type": "gcs", "bucket": "meetings", "endpoint_url": echo, "secret": {
                "type": "service_account", "client_email": "a@b.iam.gserviceaccount.com",
                "private_key": marks.pem(pem), "token_uri": f"{echo}/token"}},
        "hmac": {"type": "gcs", "access_key": marks.plain("GOOG"), "secret": marks("hmac"), "bucket": "hmac",
                 "endpoint_url": echo},
        "password": {**sftp, "username": "one", "password": marks("sftp")},
        "key": {**sftp, "username": "two", "private_key": key},
    }  # fmt: skip


@pytest.fixture(scope="module")
def deployment(
    marks: Marks, sender: Sender, echo: Echo, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    folder = tmp_path_factory.mktemp("secrets")
    named = storages(marks, echo.base_url, free_ports(1)[0])
    routing, apps = folder / "routing.json", folder / "apps.json"
    routing.write_text(json.dumps({"storages": named, "rules": [{"to": list(named)}]}))
    dyte = {"provider": "dyte", "org_id": "an-org", "api_key": marks("dyte"), "api_url": echo.base_url}
    dyte["webhook_public_key"] = sender.public_pem
    cloudflare = {"provider": "realtimekit", "account_id": "a", "app_id": "b", "api_url": echo.base_url}
    cloudflare["api_token"] = marks.plain("Cloudflare")
    apps.write_text(json.dumps({"one": dyte, "two": cloudflare}))
    marks.marked(base64.b64encode(f"an-org:{dyte['api_key']}".encode()).decode())
    return Deployment(
        folder, sender, routing_file=routing, apps_file=apps, log_level="debug", webhook_public_key="",
        webhook_key_url="", admin_token=marks.plain("Admin"),
    )  # fmt: skip


def told_by(deployment: Deployment, arguments: list[str]) -> str:
    """All that a command says; a traceback is more than it should."""
    done = deployment.command(*arguments, timeout_s=120)
    assert "Traceback" not in done.stderr, f"{arguments}: {done.stderr}"
    return done.stdout + done.stderr


def test_nothing_that_runs_or_fails_tells_a_secret(
    deployment: Deployment, marks: Marks, sender: Sender, echo: Echo
) -> None:
    with threaded(FaultySource()) as source, deployment.running():
        for name, status in (("gone", 410), ("refused", 403)):
            link = source.add(f"{name}.mp4", SIZE, status=status)
            link = link.replace("//", f"//user:{marks.plain('Userinfo')}@")
            link += f"?X-Amz-Signature={marks.plain('Link')}"
            deployment.hand_over(sender.uploaded(name, link, size=SIZE))
        assert deployment.deliver(b"not signed") in (200, 400)
        with ThreadPoolExecutor(3) as at_once:
            every = at_once.map(lambda each: told_by(deployment, each), COMMANDS)
            told = {" ".join(command): text for command, text in zip(COMMANDS, every, strict=True)}
        deployment.wait_until(lambda: len(deployment.lines("try_failed")) >= 2)
        request = Request(f"http://127.0.0.1:{deployment.admin_port}/metrics")
        request.add_header("Authorization", f"Bearer {deployment.environment['ARCHIVER_ADMIN_TOKEN']}")
        with urlopen(request, timeout=30) as answer:
            told["metrics"] = answer.read().decode()
        for path in ("/metrics", "/readyz", "/"):
            told[f"admin {path}"] = deployment.answer(deployment.admin_port, path)[1]
        told["process list"] = Path(f"/proc/{deployment.pid}/cmdline").read_text()
        told["status afterwards"] = told_by(deployment, ["status"])
        deployment.stop(timeout_s=60)
    told["log"] = deployment.log.read_text()
    assert marks.seen_in(echo.told), "none was sent that could have come back"
    assert {name: marks.seen_in(text) for name, text in told.items() if marks.seen_in(text)} == {}
    # Nor is anything but the links in what the service keeps.
    links = [mark for mark in marks.every if "Link" in mark or "Userinfo" in mark]
    for file in deployment.folder.glob("archiver.db*"):
        kept = file.read_bytes()
        assert [mark for mark in marks.every if mark.encode() in kept and mark not in links] == []


def test_a_database_that_is_away_and_settings_that_are_wrong_tell_no_secret(
    tmp_path: Path, sender: Sender, marks: Marks
) -> None:
    (closed,) = free_ports(1)
    password = quote(marks("database"), safe="")
    away = Deployment(tmp_path, sender, admin_token=marks.plain("Other"))
    address = f"127.0.0.1:{closed}/x"
    for url, command in (
        (f"postgresql://me:{password}@{address}", "status"),
        (f"postgresql://{address}?user=me&password={password}", "check"),
    ):
        away.configure(database_url=url)
        assert marks.seen_in(told_by(away, [command])) == []
    wrong = Deployment(
        tmp_path, sender,
        database_url=f"mysql://me:{password}@127.0.0.1/x",
        admin_token=marks.plain("Broken") + " ",
        storage_config=f'{{"type": "aws", "secret": "{marks("broken")}", "bucket": [',
        api_key=marks("single"), api_token=marks.plain("Single"), provider="dyte",
        webhook_public_key=marks.pem(SshKey(Ed25519PrivateKey.generate()).private()),
    )  # fmt: skip
    done = wrong.command("serve")
    assert done.returncode == 1
    for name in ("DATABASE_URL", "ADMIN_TOKEN", "STORAGE_CONFIG", "WEBHOOK_PUBLIC_KEY"):
        assert f"ARCHIVER_{name}" in done.stderr
    assert marks.seen_in(done.stdout + done.stderr) == []


def test_settings_show_no_secret_however_they_are_dumped(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, marks: Marks
) -> None:
    for name, value in deployment.environment.items():
        if name.startswith("ARCHIVER_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv(
        "ARCHIVER_DATABASE_URL", f"postgresql://me:{quote(marks('dumped'), safe='')}@127.0.0.1/x"
    )
    settings = load_settings()
    assert {marks.plain("Admin"), marks("dumped"), marks("aws"), marks.plain("Cloudflare")} <= set(
        settings.secrets
    )
    dumps = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())]
    dumps += [repr(settings.apps), repr(settings.routing), repr(dict(settings.storages)), f"{vars(settings)}"]
    for storage in settings.storages.values():
        dumps += [str(storage), storage.model_dump_json(), storage.label]
    for text in dumps:
        assert marks.seen_in(text) == []
