"""The real process tells the customer's own system, after a kill -9 too, and leaves no secret behind."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

from service.ledger.tables import notices
from tests.contract.ledgers import opened
from tests.doubles.content import Content
from tests.doubles.notice_receiver import OLD_SECRET, SECRET, Fault, NoticeReceiver, threaded
from tests.doubles.sender import Sender
from tests.doubles.servers import SeaweedFS
from tests.doubles.source import FaultySource
from tests.e2e.deployment import Deployment

ROOT = Path(__file__).resolve().parents[2]
SIZE = 100_000


async def _lapse(url: str) -> list[dict[str, Any]]:
    async with opened(url) as ledger:
        over = sa.update(notices).where(notices.c.due_at.is_not(None)).values(due_at=0.0)
        await ledger.database.write(lambda connection: connection.execute(over))
        return await ledger.rows("notices")


def receive(headers: dict[str, str], body: bytes) -> None:
    """What the README tells a customer to do."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(from standardwebhooks.*?)^```", readme, re.MULTILINE | re.DOTALL)
    known: dict[str, Any] = {}
    exec(code.replace('"whsec_..."', repr(SECRET)), known)
    known["receive"](headers, body)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_archived_before_a_kill_is_told_after_it(
    kind: str,
    tmp_path: Path,
    sender: Sender,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"sqlite:///{tmp_path}/archiver.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with threaded(FaultySource()) as source, threaded(NoticeReceiver()) as receiver:
        receiver.always = {"archived": Fault(hangs=True)}
        deployment = Deployment(
            tmp_path,
            sender,
            database_url=url,
            notice_url=receiver.url,
            notice_secret=f"{OLD_SECRET},{SECRET}",
        )
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", source.add("one.mp4", SIZE), size=SIZE))
            deployment.wait_until(lambda: len(receiver.told) == 1)
        assert receiver.events == {}
        (row,) = asyncio.run(_lapse(url))  # as if a while had gone by
        assert (row["type"], row["taken_at"]) == ("archived", None)

        receiver.always = {}
        with deployment.running():
            deployment.wait_until(lambda: len(receiver.events) == 1)
            deployment.wait_until(lambda: bool(deployment.lines("notice_taken")))
            assert deployment.metric("dyte_archiver_notices_total", type="archived", outcome="taken") == 1
            assert deployment.stop() == 0
    first, second = receiver.told
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == row["id"]
    (file,) = second.event["data"]["files"]
    assert (file["key"], file["size_bytes"]) == ("one.mp4", SIZE)
    assert Path(deployment.folder, "archive", file["key"]).read_bytes() == Content(0, SIZE).read()
    receive(dict(second.headers), second.body)
    assert "one.mp4" in capsys.readouterr().out


def test_a_link_in_a_notice_gives_the_file_and_is_left_nowhere(
    tmp_path: Path, sender: Sender, seaweedfs: SeaweedFS
) -> None:
    config = seaweedfs.storage_config(seaweedfs.bucket(), path="calls of/2026")
    with threaded(FaultySource()) as source, threaded(NoticeReceiver()) as receiver:
        deployment = Deployment(
            tmp_path, sender, storage_config=config, log_level="debug", notice_url=receiver.url,
            notice_secret=SECRET, notice_link_hours=1,
        )  # fmt: skip
        with deployment.running():
            deployment.hand_over(sender.uploaded("one", source.add("one.mp4", SIZE), size=SIZE))
            deployment.wait_until(lambda: bool(deployment.lines("notice_taken")))
            assert deployment.stop() == 0
    (event,) = receiver.events.values()
    assert event["data"]["storage"]["bucket"] == config["bucket"]
    (file,) = event["data"]["files"]
    assert file["full_key"] == "calls of/2026/one.mp4"
    with urlopen(file["link"]["url"], timeout=30) as answer:
        assert answer.read() == Content(0, SIZE).read()
    said = [
        deployment.log.read_text(),
        *(each.read_bytes().decode("latin-1") for each in tmp_path.glob("*.db*")),
    ]
    for text in said:
        for secret in ("Amz-Signature", "ofthereceiver", SECRET, SECRET.removeprefix("whsec_")):
            assert secret not in text


def test_slack_is_told_in_a_text_what_errored_before_anybody_was_to_be_told(
    tmp_path: Path, sender: Sender
) -> None:
    deployment = Deployment(tmp_path, sender)
    with deployment.running():
        deployment.hand_over(sender.status("broken", "ERRORED", stopReason={"reason": "INTERNAL_ERROR"}))
        assert deployment.stop() == 0
    with threaded(NoticeReceiver(secret=None)) as receiver:
        deployment.configure(notice_url=receiver.url, notice_format="slack", notice_on="errored,expired")
        with deployment.running():
            deployment.wait_until(lambda: len(receiver.told) == 1)
        (told,) = receiver.told
    message = json.loads(told.body)
    assert list(message) == ["text"]
    assert message["text"].startswith("*Errored*: ")
    assert "broken" in message["text"]
    assert not [name for name in told.headers if name.lower().startswith("webhook-")]


def test_the_check_says_whether_the_receiver_can_be_reached_and_sends_it_nothing(
    tmp_path: Path, sender: Sender
) -> None:
    with threaded(NoticeReceiver()) as receiver:
        deployment = Deployment(tmp_path, sender, notice_url=receiver.url, notice_secret=SECRET)
        there = deployment.command("check")
    away = deployment.command("check")

    assert re.search(r"^pass +notices to 127.0.0.1: connect", there.stdout, re.MULTILINE), there.stdout
    assert not receiver.told
    assert not receiver.unsigned
    assert there.returncode == 0
    assert away.returncode == 1
    (line,) = [line for line in away.stdout.splitlines() if "notices" in line]
    assert line.startswith("fault")
    assert "To mend: let this machine reach that address, or correct ARCHIVER_NOTICE_URL" in line
    assert "ofthereceiver" not in there.stdout + away.stdout
