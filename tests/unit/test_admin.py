"""The admin port tells the truth about readiness and gives metrics that Prometheus can read."""

from pathlib import Path

from service.admin import Admin
from service.ledger import Database
from service.telemetry import Metrics
from tests.doubles.sender import Sender
from tests.unit.public_port import Answer, Stage, receiving, samples_in


async def answer_of(stage: Stage, admin: Admin, path: str) -> Answer:
    async with stage.serving(admin.app) as http, http.get(path) as response:
        return Answer(response.status, await response.json())


def admin_of(database: Database, metrics: Metrics | None = None, *, draining: bool = False) -> Admin:
    return Admin(check=database.check, draining=lambda: draining, metrics=metrics or Metrics())


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
        if name.startswith("dyte_archiver_deliveries_total")
    }
    assert sorted(deliveries.values()) == [1, 2]
    assert any("'realtimekit'" in labels and "'ignored'" in labels for labels in deliveries)


async def test_the_public_port_has_nothing_of_the_admin_port(
    stage: Stage, ledger: Path, sender: Sender
) -> None:
    async with receiving(stage, ledger, sender) as port:
        for path in ("/metrics", "/readyz", "/api/recordings", "/"):
            assert (await port.request("GET", path)).status == 404, path
