"""Sends traces by OpenTelemetry: one trace a job, in its producer's where there is one, made when an attempt has ended.

Rule 1: only what a timeline says is in a span: ids, keys, codes, sizes; no message of an error, no signed address.
Rule 2: spans go through the SDK's own queue (bounded, full: dropped) and thread. Spans that did not get there are one
        line in the log in LOG_EVERY_S.
Rule 3: the SDK is used as a library: no global provider, no instrumentation, no exit handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fastproc import __version__
from fastproc.config.host import host_name
from fastproc.config.traces import TracesConfig
from fastproc.core.model import Ended, Job
from fastproc.core.timeline import Step, Timeline
from fastproc.supervisor.book_ports import Tracer

log = logging.getLogger(__name__)

#: Longest wait for spans at the end: half of what all closes have together (`supervisor.stopping`).
FLUSH_S: Final = 0.5
LOG_EVERY_S: Final = 600.0
#: In the words of the SDK's exporter: a refusal's status, or the reason of one that is tried again (429, 503 ...).
_ANSWERED: Final = re.compile(r"\bcode: (\d{3})\b|^Transient error ([A-Z][A-Za-z ]{2,40}) encountered")
#: What it says of its own variables, and goes on with its default.
_MISREAD: Final = ("Unable to parse value", "Invalid key value resource attribute")


def create(config: TracesConfig, queue: str) -> Tracer:
    """Return the tracer of a queue's jobs. It connects to nothing before its first span.

    Raises ValueError for a variable of the SDK's own that makes no sense.
    """
    exporter = OTLPSpanExporter(endpoint=config.url, headers=dict(config.sent_headers) or None)
    return OtlpTracer(config, queue, exporter)


class OtlpTracer:
    """Satisfies the port Tracer."""

    def __init__(self, config: TracesConfig, queue: str, exporter: SpanExporter) -> None:
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        self._queue, self._propagator = queue, TraceContextTextMapPropagator()
        self._exporter = _Watched(exporter)
        # It says at each try what is wrong, and the address with it.
        heard = logging.getLogger("opentelemetry")
        heard.setLevel(logging.WARNING)
        heard.handlers[:], heard.propagate = [_SdkLog(self._exporter)], False
        self._provider = TracerProvider(
            sampler=_sampler(config), resource=_resource(config), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("fastproc", __version__)

    def ended(self, timeline: Timeline) -> None:
        """Make the attempt's spans; nobody waits for their delivery."""
        try:
            self._make(timeline)
        except Exception as error:
            log.warning("the trace of a job could not be made: %s", type(error).__name__)

    async def close(self) -> None:
        """Send what waits, for FLUSH_S at most."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.force_flush(round(FLUSH_S * 1000))
            with contextlib.suppress(RuntimeError):  # The loop may be gone: nobody waits any more.
                loop.call_soon_threadsafe(sent.set)

        # Not the loop's own threads, which its end waits for: the SDK waits for a silent collector as long as it likes.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_S):
                await sent.wait()
        except TimeoutError:
            log.warning("the last spans were not sent within %g s (OTEL_EXPORTER_OTLP_ENDPOINT)", FLUSH_S)

    def _make(self, timeline: Timeline) -> None:
        root = self._tracer.start_span(
            f"process {self._queue}",
            context=self._parent(timeline.job),
            kind=SpanKind.CONSUMER,
            attributes=_about(timeline, self._queue),
            start_time=timeline.began_ns,
        )
        if isinstance(timeline.end, Ended):
            root.set_status(Status(StatusCode.ERROR, timeline.end.code))
        # Of a job that nobody follows, there is no more to be made.
        if root.is_recording():
            within = set_span_in_context(root, Context())
            work = next((step for step in timeline.steps if step.name == "work" and not step.stage), None)
            inside = self._child(work, within) if work else within
            for step in timeline.steps:
                if step is not work:
                    self._child(step, inside if step.stage else within)
        root.end(timeline.ended_ns)

    def _child(self, step: Step, within: Context) -> Context:
        attributes = {f"fastproc.{name}": value for name, value in step.about.items()}
        span = self._tracer.start_span(
            f"stage {step.name}" if step.stage else step.name,
            context=within,
            kind=SpanKind.INTERNAL if step.stage or step.name == "work" else SpanKind.CLIENT,
            attributes=attributes | ({"error.type": step.problem} if step.problem else {}),
            start_time=step.began_ns,
        )
        if step.problem:
            span.set_status(Status(StatusCode.ERROR, step.problem))
        span.end(step.ended_ns)
        return set_span_in_context(span, within)

    def _parent(self, job: Job) -> Context:
        """The producer's context. Source: bullmq-otel, getMetadata: the propagator's fields, as a JSON object."""
        try:
            carrier = msgspec.json.decode(job.trace_context or "{}", type=dict[str, str])
        except ValueError:
            # Another telemetry's words.
            carrier = {}
        return self._propagator.extract(carrier, Context())


def _sampler(config: TracesConfig) -> Sampler:
    share = TraceIdRatioBased(config.share)
    roots: dict[str, Sampler] = {"traceidratio": share, "always_on": ALWAYS_ON, "always_off": ALWAYS_OFF}
    root = roots[config.sampler.removeprefix("parentbased_")]
    return ParentBased(root) if config.sampler.startswith("parentbased_") else root


def _resource(config: TracesConfig) -> Resource:
    """What is known of the service. OTEL_RESOURCE_ATTRIBUTES counts more, but for a service.name where one is set."""
    known = {"service.name": config.service_name, "service.version": __version__, "host.name": host_name()}
    given = dict(OTELResourceDetector().detect().attributes)
    if config.service_name != TracesConfig().service_name:
        given.pop("service.name", None)
    return Resource.create(known | given)


def _about(timeline: Timeline, queue: str) -> dict[str, Any]:
    """The attributes of a job's span. Source: OpenTelemetry's semantic conventions for messaging; bullmq-otel's."""
    job = timeline.job
    found: dict[str, Any] = {
        "messaging.system": "bullmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": queue,
        "messaging.message.id": job.id,
        "bullmq.queue.name": queue,
        "bullmq.job.id": job.id,
        "bullmq.job.name": job.name,
        "fastproc.photo.id": job.photo_id,
        "fastproc.attempt": job.attempt,
        "fastproc.outcome": timeline.outcome,
    }
    return found | ({"error.type": timeline.end.code} if isinstance(timeline.end, Ended) else {})


class _Watched(SpanExporter):
    """Says when spans do not get there; the SDK would say it at each try, or not at all."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._answered = ""
        self._said_at = -LOG_EVERY_S

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; called from the SDK's thread."""
        self._answered = ""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            where = f"{self._answered}OTEL_EXPORTER_OTLP_ENDPOINT"
            self._say(f"the collector did not take {len(spans)} spans ({where}); jobs are not affected")
        return result

    def heard(self, said: str) -> None:
        """The SDK says so: what the collector has answered, or that the queue is full."""
        if found := _ANSWERED.search(said):
            self._answered = f"it answered {found[1] or found[2]}; "
        elif said.startswith(_MISREAD):
            log.warning("OpenTelemetry: %s", said)
        elif said.startswith("Queue full"):
            where = "OTEL_BSP_MAX_QUEUE_SIZE"
            self._say(
                f"spans are dropped, the collector takes them too slowly ({where}); jobs are not affected"
            )

    def _say(self, words: str) -> None:
        if time.monotonic() - self._said_at >= LOG_EVERY_S:
            self._said_at = time.monotonic()
            log.warning("%s", words)

    def shutdown(self) -> None:
        """Close connections."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held here."""
        return self._inner.force_flush(timeout_millis)


class _SdkLog(logging.Handler):
    """Hears what the SDK logs, and tells nobody else."""

    def __init__(self, exporter: _Watched) -> None:
        super().__init__(logging.WARNING)
        self._exporter = exporter

    def emit(self, record: logging.LogRecord) -> None:
        """Called by whoever logs."""
        self._exporter.heard(record.getMessage())
