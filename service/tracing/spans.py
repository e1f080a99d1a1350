"""Spans by OpenTelemetry's SDK, sent by OTLP over http; loaded only where traces are asked for.

The ids of a recording's trace, and of the span that is the whole of it, are digests of the recording's id:
every process knows them, and nothing of them need be kept or handed on.
"""

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.model import Recording
from service.tracing import Fact

_NAME = "dyte-archiver"
_PREFIX = "dyte_archiver."
_CLOSE_S = 3.0


class _Ids(RandomIdGenerator):
    """Random ids, but for the span that is the whole of a recording's trace."""

    root: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return self.root[0] if self.root else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.root[1] if self.root else super().generate_span_id()


class Spans:
    """See :class:`~service.tracing.Tracing`. Used by the thread of the event loop alone."""

    def __init__(self, *, version: str) -> None:
        """What is sent, and where, is read from the environment."""
        # A collector that is away is said once for each batch, not for each try.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        ours = Resource({"service.name": _NAME, "service.version": version})
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()),
            id_generator=self._ids,
            shutdown_on_exit=False,  # it would be waited for without a limit
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME, version)

    def trace_id(self, recording_id: str) -> str:
        """See :class:`~service.tracing.Tracing`."""
        return f"{_root(recording_id)[0]:032x}"

    @contextlib.contextmanager
    def job(self, name: str, recording_id: str, **facts: Fact) -> Iterator[None]:
        """See :class:`~service.tracing.Tracing`."""
        told = _told({"recording_id": recording_id, **facts})
        with _open(self._tracer.start_span(name, self._within(recording_id), attributes=told)):
            yield

    @contextlib.contextmanager
    def step(self, name: str, **facts: Fact) -> Iterator[None]:
        """See :class:`~service.tracing.Tracing`."""
        with _open(self._tracer.start_span(name, attributes=_told(facts))):
            yield

    def begin(self, name: str, **facts: Fact) -> Callable[..., None]:
        """See :class:`~service.tracing.Tracing`."""
        span = self._tracer.start_span(name, attributes=_told(facts))

        def end(error: BaseException | None = None, **more: Fact) -> None:
            _tell(span, error, more)
            span.end()

        return end

    def tell(self, *, error: BaseException | None = None, **facts: Fact) -> None:
        """See :class:`~service.tracing.Tracing`."""
        _tell(get_current_span(), error, facts)

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
        """See :class:`~service.tracing.Tracing`."""
        span = self._tracer.start_span(
            "delivery",
            self._within(recording_id),
            kind=SpanKind.SERVER,
            attributes=_told({"recording_id": recording_id, **facts}),
            links=_links(traceparent),
            start_time=_ns(began_at),
        )
        within = set_span_in_context(span)
        for name, (since, until) in steps.items():
            self._tracer.start_span(name, within, start_time=_ns(since)).end(_ns(until))
        _tell(span, error, {})
        span.end()

    def archived(self, recording: Recording, *, began_at: float) -> None:
        """See :class:`~service.tracing.Tracing`."""
        told = {"recording_id": recording.id, "app": recording.app, "meeting_id": recording.meeting_id}
        self._ids.root = _root(recording.id)
        try:
            span = self._tracer.start_span(
                recording.scope.value, Context(), attributes=_told(told), start_time=_ns(began_at)
            )
        finally:
            self._ids.root = None
        span.end()

    async def close(self) -> None:
        """See :class:`~service.tracing.Tracing`."""
        # A thread that nobody waits for at the end: a collector may be silent for longer than a pod may stop.
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await closed.wait()

    def _within(self, recording_id: str) -> Context:
        """The context of a recording's trace, sampled or not as every process decides by its id."""
        trace_id, span_id = _root(recording_id)
        decision = self._provider.sampler.should_sample(None, trace_id, "recording").decision
        is_sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        root = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(root), Context())


@contextlib.contextmanager
def _open(span: Span) -> Iterator[None]:
    try:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    except BaseException as error:
        _tell(span, error, {})
        raise
    finally:
        span.end()


def _tell(span: Span, error: BaseException | None, facts: Mapping[str, Fact]) -> None:
    span.set_attributes(_told(facts))
    if error is not None:
        # By its family alone: what it says may be long, and is in the log.
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))


def _told(facts: Mapping[str, Fact]) -> dict[str, str | int | float | bool]:
    return {f"{_PREFIX}{name}": fact for name, fact in facts.items() if fact is not None}


def _root(recording_id: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{_NAME}/{recording_id}".encode()).digest()
    # Neither may be 0.
    return int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1


def _links(traceparent: str | None) -> list[Link]:
    if not traceparent:
        return []
    given = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    sender = get_current_span(given).get_span_context()
    return [Link(sender)] if sender.is_valid else []


def _ns(moment: float) -> int:
    return int(moment * 1e9)
