"""Traces, if they are asked for: one for each recording, from the delivery to the manifest.

What is not asked for is not loaded: who makes spans is given None instead, and nothing more is done. What
is asked for, and where it goes, OpenTelemetry's own variables say (``OTEL_...``; its specification, "SDK
environment variables" and "OTLP exporter").
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from service.errors import SettingsError, add
from service.model import Event, Recording

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_NOTHING: Final = contextlib.nullcontext()

Fact = str | int | float | bool | None
"""What a span may carry: never a link, never a secret. None is left out."""


class Tracing(Protocol):
    """Makes spans; moments are seconds since the epoch. Nothing in it fails or waits for a network."""

    def trace_id(self, recording_id: str) -> str:
        """The id of a recording's trace, as it is written: hexadecimal."""
        ...

    def job(self, name: str, recording_id: str, **facts: Fact) -> AbstractContextManager[object]:
        """A span in a recording's trace, around what is done within; it fails with what is raised there."""
        ...

    def step(self, name: str, **facts: Fact) -> AbstractContextManager[object]:
        """A span within the one that is open, likewise."""
        ...

    def begin(self, name: str, **facts: Fact) -> Callable[..., None]:
        """A span beside others within the one that is open; call ``end(error=None, **facts)`` to end it."""
        ...

    def tell(self, *, error: BaseException | None = None, **facts: Fact) -> None:
        """More of the span that is open; with an ``error`` it has failed."""
        ...

    def delivery(
        self,
        recording_id: str,
        began_at: float,
        steps: Mapping[str, tuple[float, float]],
        *,
        traceparent: str | None,
        error: BaseException | None,
        **facts: Fact,
    ) -> None:
        """A delivery that ends now, and its steps, each with when it began and ended.

        ``traceparent`` is what the sender gave (W3C Trace Context): the span has a link to it.
        """
        ...

    def archived(self, recording: Recording, *, began_at: float) -> None:
        """The whole of a recording's trace, which began with the news of its files and ends now."""
        ...

    async def close(self) -> None:
        """Send what is not sent yet, for some seconds at most."""
        ...


def step(tracing: Tracing | None, name: str, **facts: Fact) -> AbstractContextManager[object]:
    """A step where there is tracing, else nothing."""
    return _NOTHING if tracing is None else tracing.step(name, **facts)


def committing(
    tracing: Tracing | None, event: Event, traceparent: str | None, moments: tuple[float, float, float]
) -> AbstractContextManager[object]:
    """Around a delivery's commit: tells of the delivery, if it has news of files and there is tracing.

    ``moments``: when it began, its verifying, and the end of that, in monotonic seconds.
    """
    if tracing is None or event.recording is None or not event.artifacts:
        return _NOTHING
    return _committing(tracing, event, event.recording, traceparent, moments)


def open_tracing(environ: Mapping[str, str], *, version: str) -> Tracing | None:
    """The tracing that OpenTelemetry's variables ask for; None if they ask for none.

    Raises :class:`~service.errors.SettingsError` if it cannot be had.
    """
    asked = next((name for name in _ENDPOINTS if environ.get(name)), None)
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if asked is None or is_off or environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return None
    chosen = next((name for name in _PROTOCOLS if environ.get(name)), None)
    if chosen is not None and environ[chosen] != _PROTOCOL:
        raise SettingsError(
            f"{chosen}: traces are sent by {_PROTOCOL} alone",
            mend=f"set it to {_PROTOCOL}, and {asked} to that port of the collector, as a rule 4318",
        )
    try:
        from service.tracing.spans import Spans

        return Spans(version=version)
    except ImportError as error:
        raise SettingsError(
            f"{asked} asks for traces, and their packages are not here ({error.name})", mend=add("tracing")
        ) from error
    except ValueError as error:  # a number that is none
        raise SettingsError(f"the variables of OpenTelemetry: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _committing(
    tracing: Tracing,
    event: Event,
    recording: Recording,
    traceparent: str | None,
    moments: tuple[float, float, float],
) -> Iterator[None]:
    committing_at, failure = time.monotonic(), None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        ended_at = time.monotonic()
        zero_at = time.time() - ended_at
        began_at, verifying_at, verified_at = (zero_at + moment for moment in moments)
        steps = {
            "verify": (verifying_at, verified_at),
            "commit": (zero_at + committing_at, zero_at + ended_at),
        }
        tracing.delivery(
            recording.id,
            began_at,
            steps,
            traceparent=traceparent,
            error=failure,
            event_name=event.name,
            app=recording.app,
        )
