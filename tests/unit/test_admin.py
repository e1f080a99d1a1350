"""The admin port tells the truth about readiness and gives metrics that Prometheus can read."""

import asyncio
from pathlib import Path

import pytest
from multidict import CIMultiDict
from yarl import URL

from service.admin import Admin
from service.errors import SettingsError
from service.ledger import Database
from service.settings import load_settings
from service.telemetry import Metrics
from tests.doubles.sender import Sender
from tests.unit.public_port import Answer, Stage, receiving, samples_in


async def answer_of(stage: Stage, admin: Admin, path: str) -> Answer:
    async with stage.serving(admin.app) as http, http.get(path) as response:
        return Answer(response.status, await response.json())


TOKEN = "s3cret-of-the-admin-port"


def admin_of(
    database: Database, metrics: Metrics | None = None, *, draining: bool = False, token: str | None = None
) -> Admin:
    return Admin(
        check=database.check,
        draining=lambda: draining,
        metrics=metrics or Metrics(),
        database=database,
        token=token,
    )


async def test_with_its_ledger_the_service_is_ready(stage: Stage, ledger: Path) -> None:
    database = Database(f"sqlite:///{ledger}")
    assert await answer_of(stage, admin_of(database), "/readyz") == Answer(200, {"status": "ready"})
    assert await answer_of(stage, admin_of(database), "/healthz") == Answer(200, {"status": "ok"})
    await database.close()


async def test_while_it_drains_the_service_is_alive_but_not_ready(stage: Stage, ledger: Path) -> None:
    database = Database(f"sqlite:///{ledger}")
    admin = admin_of(database, draining=True)
    assert await answer_of(stage, admin, "/readyz") == Answer(503, {"status": "draining"})
    assert (await answer_of(stage, admin, "/healthz")).status == 200
    await database.close()


async def test_without_its_ledger_the_service_is_alive_but_not_ready(stage: Stage, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.db")
    admin = admin_of(database)
    answer = await answer_of(stage, admin, "/readyz")
    assert answer.status == 503
    assert "ledger" in answer.fields["status"]
    assert (await answer_of(stage, admin, "/healthz")).status == 200
    await database.close()


async def test_the_metrics_are_what_prometheus_reads(stage: Stage, ledger: Path, sender: Sender) -> None:
    async with receiving(stage, ledger, sender) as port:
        for _ in range(2):
            await port.deliver(sender, sender.event("meeting.ended"), "rtk")
        await port.post(b"{}", {})
        metrics = port.metrics
    database = Database(f"sqlite:///{ledger}")
    async with stage.serving(admin_of(database, metrics).app) as http, http.get("/metrics") as response:
        assert response.content_type == "text/plain"
        samples = samples_in(await response.text())
    await database.close()
    deliveries = {
        name.partition("[")[2]: value
        for name, value in samples.items()
        if name.startswith("dyte_archiver_deliveries_total") and value
    }
    assert sorted(deliveries.values()) == [1, 2]
    assert any("'realtimekit'" in labels and "'ignored'" in labels for labels in deliveries)


async def test_the_public_port_has_nothing_of_the_admin_port(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    async with receiving(stage, ledger, sender) as port:
        for path in ("/metrics", "/readyz", "/api/recordings", "/"):
            assert (await port.request("GET", path)).status == 404, path


# ---- the token


async def test_with_a_token_only_what_a_kubelet_asks_for_is_open(stage: Stage, ledger: Path) -> None:
    database = Database(f"sqlite:///{ledger}")
    async with stage.serving(admin_of(database, token=TOKEN).app) as http:
        for path, status in (
            ("/healthz", 200), ("/readyz", 200), ("/metrics", 401), ("/", 401), ("/nowhere", 401),
            ("/healthz/", 401), ("/healthz/../metrics", 401), ("/%6detrics", 401), ("//metrics", 401),
            ("/metrics?/healthz", 401), ("/healthz%2f..%2fmetrics", 401), ("/HEALTHZ", 401),
        ):  # fmt: skip
            url = URL(f"http://127.0.0.1:{stage.port}{path}", encoded=True)
            async with http.get(url, allow_redirects=False) as response:
                assert response.status == status, path
                if status == 401:
                    assert response.headers["WWW-Authenticate"] == "Bearer"
                    assert (
                        "ARCHIVER_ADMIN_TOKEN"
                        in (await response.json(content_type="application/problem+json"))["detail"]
                    )
        for method in ("POST", "HEAD", "OPTIONS", "DELETE"):
            async with http.request(method, "/metrics") as response:
                assert response.status == 401, method
        sent = {"Authorization": f"Bearer {TOKEN}"}
        for path, status in (("/metrics", 200), ("/nowhere", 404), ("/healthz", 200)):
            async with http.get(path, headers=sent) as response:
                assert response.status == status, path
    await database.close()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), (f"BEARER   {TOKEN}", 200),
        (TOKEN, 401), ("Bearer", 401), ("Bearer ", 401), (f"Basic {TOKEN}", 401), (f"Bearer{TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401), (f"Bearer {TOKEN[:-1]}", 401), (f"Bearer {TOKEN.upper()}", 401),
        (f"Bearer {TOKEN}, Bearer {TOKEN}", 401), (f"Bearer {TOKEN[:-1]}\u00e9", 401), ("\u00ff" * 100, 401),
    ],
)  # fmt: skip
async def test_nothing_but_the_whole_token_is_let_in(
    stage: Stage, ledger: Path, given: str, status: int
) -> None:
    database = Database(f"sqlite:///{ledger}")
    async with stage.serving(admin_of(database, token=TOKEN).app) as http:
        async with http.get("/metrics", headers={"Authorization": given}) as response:
            assert response.status == status
        if status == 200:
            twice = CIMultiDict([("Authorization", given), ("Authorization", "Bearer other")])
            async with http.get("/metrics", headers=twice) as response:
                assert response.status == 401
    await database.close()


async def test_a_token_of_bytes_that_are_no_text_is_refused_without_a_fault(
    stage: Stage, ledger: Path
) -> None:
    database = Database(f"sqlite:///{ledger}")
    async with stage.serving(admin_of(database, token=TOKEN).app):
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        for raw in (b"\xff\xfe\x80", b"Bearer \xff\xfe\x80", b"\xe2\x80\xa8", b"Bearer " + b"a" * 60_000):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: h\r\nAuthorization: " + raw + b"\r\n\r\n")
            async with asyncio.timeout(30):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 401 ")
                await reader.readuntil(b"}")
        writer.close()
        await writer.wait_closed()
    await database.close()


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ("short-of-sixteen", None),
        ("a" * 15, "ARCHIVER_ADMIN_TOKEN: is short"),
        ("a" * 20 + "\n", "ARCHIVER_ADMIN_TOKEN: has what a header cannot carry"),
        ("a" * 20 + " b", "ARCHIVER_ADMIN_TOKEN: has what a header cannot carry"),
        ("\u00e9" * 20, "ARCHIVER_ADMIN_TOKEN: has what a header cannot carry"),
    ],
)
def test_a_token_that_is_short_or_cannot_be_sent_is_a_fault_that_does_not_tell_it(
    monkeypatch: pytest.MonkeyPatch, token: str, fault: str | None
) -> None:
    monkeypatch.setenv("ARCHIVER_ADMIN_TOKEN", token)
    if fault is None:
        settings = load_settings({"ARCHIVER_ADMIN_TOKEN": token})
        assert token in settings.secrets
        assert token not in repr(settings) + str(settings) + settings.model_dump_json()
        return
    with pytest.raises(SettingsError, match=fault) as caught:
        load_settings({"ARCHIVER_ADMIN_TOKEN": token})
    assert token not in str(caught.value)
