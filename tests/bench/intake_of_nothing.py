"""The receiver as it is, with an intake that keeps nothing: what is left is HTTP, signature and log."""

import asyncio
from typing import cast

import uvloop

from service.keys import key_rings
from service.ledger import Intake
from service.ledger.intake import Outcome
from service.model import Delivery, Event
from service.receiver import Receiver
from service.server import Server, listen
from service.settings import load_settings
from service.telemetry import Metrics, configure_logging


class _Nothing:
    async def record(self, delivery: Delivery, event: Event) -> Outcome:
        return Outcome.ANNOUNCED


async def _serve() -> None:
    settings = load_settings()
    configure_logging(level="info", form="json")
    senders = key_rings(settings.apps, cast("object", None), clock=lambda: 0.0)  # type: ignore[arg-type]
    app = Receiver(senders, cast("Intake", _Nothing()), metrics=Metrics(), announced=lambda _: None).app
    await Server(app).serve(sockets=[listen(settings.host, settings.port)])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
