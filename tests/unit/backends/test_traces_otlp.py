"""Spans of a timeline: one trace, the producer's where there is one, and no word that nobody should see."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fastproc.backends import factories
from fastproc.backends.traces_otlp import OtlpTracer
from fastproc.config.traces import TracesConfig
from fastproc.core.errors import ConfigError
from fastproc.core.model import Completed, Ended, GiveUp, Job
from fastproc.core.timeline import Step, Timeline

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JOB = Job(
    id="7",
    name="process-photo",
    token="t",
    photo_id="p-1",
    s3_key="k",
    bucket="b",
    attempt=2,
    trace_context=f'{{"traceparent":"{PARENT}","tracestate":"vendor=1"}}',
)
STEPS = [
    Step(name="fetch", began_ns=100, ended_ns=200, about={"bucket": "b", "key": "k"}),
    Step(name="work", began_ns=200, ended_ns=900, about={"bytes": 5}),
    Step(name="thumbnails", began_ns=300, ended_ns=800, stage=True),
    Step(name="upload", began_ns=900, ended_ns=950, problem="STORAGE_UNAVAILABLE"),
]
DONE = Timeline(job=JOB, began_ns=50, ended_ns=1000, steps=STEPS, end=Completed('{"secret": 1}'))


class Made:
    """The spans that a tracer makes of timelines, by name."""

    def __init__(self, **settings: Any) -> None:
        self.memory = InMemorySpanExporter()
        self.tracer = OtlpTracer(TracesConfig(exporter="otlp", **settings), "photos", self.memory)

    def of(self, *timelines: Timeline) -> dict[str, ReadableSpan]:
        for timeline in timelines:
            self.tracer.ended(timeline)
        self.tracer._provider.force_flush()
        return {span.name: span for span in self.memory.get_finished_spans()}


@pytest.fixture
def made() -> Iterator[Made]:
    tracers: list[Made] = [Made()]
    yield tracers[0]
    tracers[0].tracer._provider.shutdown()


def test_a_job_is_one_trace_in_its_producers(made: Made) -> None:
    spans = made.of(DONE)
    assert set(spans) == {"process photos", "fetch", "work", "stage thumbnails", "upload"}
    root = spans["process photos"]
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {PARENT.split("-")[1]}
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == PARENT.split("-")[2]
    assert root.context.trace_state.get("vendor") == "1"
    assert (root.kind, root.start_time, root.end_time) == (SpanKind.CONSUMER, 50, 1000)
    parents = {name: span.parent and span.parent.span_id for name, span in spans.items()}
    assert parents["fetch"] == parents["work"] == parents["upload"] == root.context.span_id
    assert parents["stage thumbnails"] == spans["work"].context.span_id
    assert (spans["stage thumbnails"].start_time, spans["stage thumbnails"].end_time) == (300, 800)


def test_attributes_are_the_conventions_and_ours(made: Made) -> None:
    spans = made.of(DONE)
    about = dict(spans["process photos"].attributes or {})
    assert about["messaging.system"] == "bullmq"
    assert about["messaging.destination.name"] == "photos"
    assert (about["messaging.message.id"], about["fastproc.photo.id"]) == ("7", "p-1")
    assert (about["fastproc.attempt"], about["fastproc.outcome"]) == (2, "completed")
    assert spans["fetch"].attributes == {"fastproc.bucket": "b", "fastproc.key": "k"}
    assert spans["upload"].attributes == {"error.type": "STORAGE_UNAVAILABLE"}
    assert spans["upload"].status.status_code is StatusCode.ERROR
    assert spans["process photos"].status.status_code is not StatusCode.ERROR
    assert "secret" not in "".join(span.to_json() for span in spans.values())


def test_a_failed_job_has_its_code_and_not_its_message(made: Made) -> None:
    end = Ended(GiveUp("final"), "FILE_CORRUPTED", "FILE_CORRUPTED: hush", "hush")
    root = made.of(structs.replace(DONE, end=end))["process photos"]
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, "FILE_CORRUPTED")
    assert (root.attributes or {})["error.type"] == "FILE_CORRUPTED"
    assert "hush" not in root.to_json()


@pytest.mark.parametrize(
    "context", ["", "no json", "[1]", '{"traceparent": 7}', '{"traceparent":"00-zz-01"}', '{"other":"x"}']
)
def test_a_context_that_says_nothing_begins_a_trace_of_its_own(made: Made, context: str) -> None:
    root = made.of(structs.replace(DONE, job=structs.replace(JOB, trace_context=context)))["process photos"]
    assert root.parent is None
    assert root.context.trace_id


def test_a_producer_that_does_not_sample_decides_for_the_job(made: Made) -> None:
    quiet = JOB.trace_context.replace(f"{PARENT}", PARENT[:-2] + "00")
    assert made.of(structs.replace(DONE, job=structs.replace(JOB, trace_context=quiet))) == {}


def test_without_a_producers_decision_a_share_is_traced() -> None:
    alone = structs.replace(DONE, job=structs.replace(JOB, trace_context=""))
    none = Made(share=0.0)
    assert none.of(alone, alone) == {}
    # What the producer follows is followed all the same.
    assert none.of(DONE)
    none.tracer._provider.shutdown()


def test_the_sampler_that_is_set_decides() -> None:
    quiet = structs.replace(
        DONE, job=structs.replace(JOB, trace_context=JOB.trace_context.replace("-01", "-00"))
    )
    alone = structs.replace(DONE, job=structs.replace(JOB, trace_context=""))
    jobs = (DONE, quiet, alone)
    followed = {}
    for sampler in (
        "always_on", "always_off", "traceidratio",
        "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
    ):  # fmt: skip
        made = Made(sampler=sampler, share=0.0)
        made.of(*jobs)
        roots = [span for span in made.memory.get_finished_spans() if span.name == "process photos"]
        followed[sampler] = len(roots)
        made.tracer._provider.shutdown()
    assert followed == {
        "always_on": 3, "always_off": 0, "traceidratio": 0,
        "parentbased_always_on": 2, "parentbased_always_off": 1, "parentbased_traceidratio": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), [("fastproc", "theirs"), ("photos", "photos")])
def test_what_the_environment_says_of_the_service_is_kept(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,host.name=node-7,team=night")
    made = Made(service_name=name)
    about = made.tracer._provider.resource.attributes
    assert (about["service.name"], about["host.name"], about["team"]) == (expected, "node-7", "night")
    assert about["service.version"]
    made.tracer._provider.shutdown()


def test_a_whole_address_is_taken_as_it_is() -> None:
    assert TracesConfig(endpoint="http://a:1/").url == "http://a:1/v1/traces"
    assert TracesConfig(endpoint="http://a:1", traces_endpoint="http://b/in").url == "http://b/in"


def test_spans_that_the_sdk_drops_are_one_line_of_ours(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    # As SDKs newer than the lowest that is allowed log for each span that is dropped; that one says nothing.
    for _ in range(3):
        logging.getLogger("opentelemetry.sdk.x").warning("Queue full, dropping %s.", "Span")
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("fastproc")]
    assert line.startswith("spans are dropped, the collector takes them too slowly (OTEL_BSP_MAX_QUEUE_SIZE)")


def test_a_setting_of_the_sdks_own_that_it_does_not_understand_is_told(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    words = "Unable to parse value for %s as integer. Defaulting to %s."
    logging.getLogger("opentelemetry.sdk.x").warning(words, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)
    [line] = [record.getMessage() for record in caplog.records if record.name.startswith("fastproc")]
    assert line.startswith("OpenTelemetry: Unable to parse value for OTEL_BSP_MAX_QUEUE_SIZE")


def test_a_collector_that_asks_for_patience_is_told_with_its_reason(made: Made) -> None:
    # As the SDK logs an answer that it tries again, 503 here.
    words = "Transient error %s encountered while exporting span batch, retrying in %.2fs."
    logging.getLogger("opentelemetry.exporter.x").warning(words, "Service Unavailable", 1)
    assert made.tracer._exporter._answered == "it answered Service Unavailable; "


def test_headers_of_spans_count_more_than_those_of_all_signals() -> None:
    assert TracesConfig(headers=(("a", "1"),)).sent_headers == (("a", "1"),)
    assert TracesConfig(headers=(("a", "1"),), traces_headers=(("b", "2"),)).sent_headers == (("b", "2"),)


def test_a_wrong_setting_of_the_sdks_own_is_an_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigError, match=r"OTEL_\*: .*max_queue_size"):
        factories.tracer(TracesConfig(exporter="otlp"), "q")


def test_what_cannot_be_made_costs_nothing_but_a_line(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    made.tracer.ended(None)  # type: ignore[arg-type]
    assert "could not be made" in caplog.text


def test_without_its_setting_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, fastproc.app, fastproc.backends.factories as f; from fastproc.config.traces import *;"
        "assert f.tracer(TracesConfig(), 'q') is None;"
        # Its metrics are redis-py's import, which looks for them.
        "assert not {'opentelemetry.sdk.trace.export', 'opentelemetry.exporter'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "fastproc.backends.traces_otlp", raising=False)
    with pytest.raises(ConfigError) as caught:
        factories.tracer(TracesConfig(exporter="otlp"), "q")
    assert "pip install 'fastproc[otel]'" in caught.value.problems[0]
