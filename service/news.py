"""What is done about an event once it is committed: who has work by it is told, and what is lost is said."""

from collections.abc import Callable

import structlog

from service.model import Event, Scope
from service.telemetry import Metrics

log = structlog.get_logger()


class News:
    """Call it with every event that brought something new."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        to_archive: Callable[[], None] | None = None,
        to_ask: Callable[[], None] | None = None,
    ) -> None:
        """``to_archive``: there are artifacts; ``to_ask``: the provider's API knows more than the event.

        Where this process does neither, others find it in the ledger.
        """
        self._metrics = metrics
        self._to_archive = to_archive
        self._to_ask = to_ask

    def __call__(self, event: Event) -> None:
        """Tell of ``event``."""
        recording = event.recording
        if recording is None:
            return
        if recording.scope is Scope.RECORDING:
            self._metrics.recordings.labels(recording.app, recording.status).inc()
        if recording.status == "ERRORED":
            log.error(
                "recording_errored",
                app=recording.app,
                recording_id=recording.id,
                meeting_id=recording.meeting_id,
                title=recording.title,
                reason=recording.stop_reason,
            )
        to_do = self._to_archive if event.artifacts else self._to_ask
        if to_do is not None and recording.status in ("UPLOADED", "ENDED"):
            to_do()
