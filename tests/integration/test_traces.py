"""Traces of a real service: a job's trace is that of its Node producer with bullmq-otel; no collector holds it up.

The SDKs are the real ones; the collector speaks OTLP over HTTP, and reads it with OpenTelemetry's own messages.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from fastproc.core.model import Options
from tests import pictures
from tests.collecting import Collecting
from tests.conformance import peer as peers
from tests.integration.service import PATIENCE_S, Place, Service, Start, eventually

PRODUCER = Path(__file__).parents[1] / "conformance" / "traced.js"


class Collector(Collecting):
    """Takes spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.services: set[str] = set()
        super().__init__()
        self.url = f"http://{self.address}"

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.headers.append((path, dict(headers)))
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {pair.key: pair.value.string_value for pair in each.resource.attributes}
            self.services.add(about["service.name"])
            for scope in each.scope_spans:
                self.spans.extend(scope.spans)

    def of(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def traced(start: Start, collector: Collector, **more: str) -> Service:
    settings = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=night%20shift",
        # The SDK's own: how long spans gather. Its 5 s would be waited for here.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        **more,
    }
    return start(**settings)


def produced(place: Place, photo_id: str, key: str, **options: Any) -> dict[str, str]:
    """Add a job by Node, inside a span; return the job's id and the span's ids."""
    data = {"photoId": photo_id, "s3Key": key}
    peers.require()
    done = subprocess.run(
        [
            "node",
            str(PRODUCER),
            str(place.valkey.port),
            place.queue,
            json.dumps(data),
            json.dumps(options),
        ],
        cwd=PRODUCER.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_a_jobs_trace_is_its_producers(place: Place, start: Start, collector: Collector) -> None:
    place.put("one.jpg", pictures.jpeg(400, 300))
    traced(start, collector)
    made = produced(place, "p-1", "one.jpg")
    place.until("completed", made["id"])
    [root] = eventually(lambda: collector.of(f"process {place.queue}"), "the job's span comes")
    assert (root.trace_id.hex(), root.kind) == (made["traceId"], Span.SpanKind.SPAN_KIND_CONSUMER)
    ours = [span for span in collector.spans if span.trace_id == root.trace_id]
    assert {"fetch", "work", "upload", "row", "event", *(f"stage {name}" for name in Options().stages)} == {
        span.name for span in ours
    } - {root.name}
    assert all(span.start_time_unix_nano >= root.start_time_unix_nano for span in ours)
    assert all(span.end_time_unix_nano <= root.end_time_unix_nano for span in ours)
    by_id = {span.span_id: span for span in ours}
    stages = [span for span in ours if span.name.startswith("stage ")]
    assert {by_id[span.parent_span_id].name for span in stages} == {"work"}
    # BullMQ's producer has a span of its own between the API's and ours.
    assert root.parent_span_id not in by_id
    assert root.parent_span_id.hex() != ""
    assert collector.services == {"fastproc"}
    path, headers = collector.headers[0]
    assert (path, headers["x-team"]) == ("/v1/traces", "night shift")


def test_a_producer_that_does_not_sample_and_a_job_without_context(
    place: Place, start: Start, collector: Collector
) -> None:
    place.put("one.jpg", pictures.jpeg())
    traced(start, collector)
    quiet = produced(place, "p-1", "one.jpg", sampled=False)
    omitted = produced(place, "p-2", "one.jpg", telemetry={"omitContext": True})
    failing = asyncio.run(place.add({"photoId": "p-3", "s3Key": "none.jpg"}))
    place.until("completed", quiet["id"], omitted["id"])
    place.until("failed", failing)
    eventually(lambda: len(collector.of(f"process {place.queue}")) == 2, "two jobs are traced")
    roots = collector.of(f"process {place.queue}")
    assert quiet["traceId"] not in {root.trace_id.hex() for root in roots}
    assert omitted["traceId"] not in {root.trace_id.hex() for root in roots}
    assert [root.parent_span_id for root in roots] == [b"", b""]
    assert {root.status.message for root in roots} == {"", "OBJECT_NOT_FOUND"}


@pytest.mark.parametrize("trouble", ["away", "refuses", "silent"])
def test_a_collector_in_trouble_costs_no_job_and_one_line(
    place: Place, start: Start, collector: Collector, trouble: str
) -> None:
    place.put("one.jpg", pictures.jpeg())
    url = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if trouble == "away" else {}
    collector.status, collector.slow_s = (400, 0.0) if trouble == "refuses" else (200, 60.0)
    service = traced(start, collector, **url, OTEL_EXPORTER_OTLP_HEADERS="authorization=swordfish")
    ids = [asyncio.run(place.add({"photoId": f"p-{n}", "s3Key": "one.jpg"})) for n in range(5)]
    place.until("completed", *ids)
    if trouble == "refuses":
        eventually(lambda: "spans (it answered 400; OTEL" in service.said, "it is said")
    began = time.monotonic()
    assert service.terminate() == 0
    assert time.monotonic() - began < PATIENCE_S / 4
    about = [line for line in service.said.splitlines() if "OTEL_EXPORTER_OTLP_ENDPOINT" in line]
    assert len(about) <= 2
    assert "swordfish" not in service.said
    assert "export" not in service.said.replace("OTEL_EXPORTER", ""), "the SDK says it at each try"
    assert "Traceback" not in service.said


def test_the_last_spans_are_sent_when_the_service_stops(
    place: Place, start: Start, collector: Collector
) -> None:
    place.put("one.jpg", pictures.jpeg())
    service = traced(start, collector, OTEL_BSP_SCHEDULE_DELAY="60000")
    job_id = asyncio.run(place.add({"photoId": "p-1", "s3Key": "one.jpg"}))
    place.until("completed", job_id)
    assert collector.spans == []
    assert service.terminate() == 0
    assert len(collector.of(f"process {place.queue}")) == 1
