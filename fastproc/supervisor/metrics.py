"""Names, labels and buckets of all series. Nothing is computed here but inc, observe and set.

Rule 1: a registry of its own, so that two services in one process (tests) do not meet.
Rule 2: series live in the supervisor alone, fed by reports: no multiprocess mode is needed.
Rule 3: what only grows is a counter. Each outcome and code is there from the start, at zero: a rate needs two values.
Rule 4: what every job counts is found once and kept: looking labels up costs more than counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fastproc.core.errors import BY_CODE
from fastproc.core.model import Completed, Ended, Job, Report, Retry
from fastproc.supervisor.tally import Tally

# Else each counter has a gauge beside it: `fastproc_jobs_created`, which counts no jobs but says when counting began.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: Seconds. A photo takes 0.02 to 1 s of work; waiting for storage and retries makes the rest.
SECONDS: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0, 120.0)
#: Seconds of a request: from Redis and SQLite (1 ms) to the longest request to S3 (tuning.md, "buckets").
REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 120.0)
#: Seconds in the queue: from a job that is taken at once to one that waits for a night (the same row).
WAIT_SECONDS: Final = (0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0)

OUTCOMES: Final = ("completed", "retried", "failed", "lost", "given_back")
DELIVERIES: Final = ("delivered", "failed")
#: What a job asks other servers for.
STEPS: Final = ("fetch", "upload", "row", "event")

#: Label values in the order of the labels, and the value.
Sample = tuple[tuple[str, ...], float]
_Row = tuple[
    type[GaugeMetricFamily] | type[CounterMetricFamily],
    str,
    str,
    Sequence[str],
    Callable[[], Iterable[Sample]],
]
Child = TypeVar("Child", Counter, Histogram)


class Metrics:
    """The service's series. `stages`: those of its pipeline."""

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self.registry = CollectorRegistry()
        #: The same in plain numbers, for snapshots.
        self.tally = Tally()
        ProcessCollector(namespace="fastproc_supervisor", registry=self.registry)
        self._read_at_scrape = _ReadAtScrape()
        self.registry.register(self._read_at_scrape)
        self._count_jobs(stages)
        self._read = self._counter("source_bytes", "Bytes of photos processed")
        self._written = self._counter("rendition_bytes", "Bytes of renditions made")
        self._held = self._counter(
            "rate_limit_held_seconds", "Seconds that waiting jobs were held by the limit"
        )
        self._stalled = self._counter(
            "stalled_jobs", "Jobs of dead workers put back by this service's sweeps"
        )
        deliveries = self._counter(
            "webhook_deliveries", "Attempts to deliver webhooks: delivered, failed", "outcome"
        )
        self._webhooks = {outcome: deliveries.labels(outcome) for outcome in DELIVERIES}
        self._webhook = self._histogram("webhook_seconds", "From sending a webhook to its answer")
        self._webhooks_lost = self._counter("webhooks_lost", "Webhooks that were given up")
        self._waiting = Gauge(
            "fastproc_webhooks_waiting", "Webhooks in Redis", ("endpoint",), registry=self.registry
        )
        #: How each receiver of webhooks stands: `closed`, `trial`, `open`.
        self.receivers: dict[str, Callable[[], str]] = {}

    def _count_jobs(self, stages: Sequence[str]) -> None:
        self._taken = self._counter("jobs_taken", "Jobs taken from the queue")
        ended = self._counter("jobs", f"Jobs' attempts ended: {', '.join(OUTCOMES)}", "outcome")
        self._ended = {outcome: ended.labels(outcome) for outcome in OUTCOMES}
        self._errors = _Children(self._counter("errors", "Attempts that failed, by code", "code"), BY_CODE)
        self._seconds = self._histogram("job_seconds", "From taking a job to its end")
        self._queued = self._histogram(
            "queue_wait_seconds", "From when a job was due to its first start", buckets=WAIT_SECONDS
        )
        steps = self._histogram(
            "step_seconds", f"One request of a job: {', '.join(STEPS)}", "step", buckets=REQUEST_SECONDS
        )
        self._steps = {step: steps.labels(step) for step in STEPS}
        self._stage = _Children(
            self._histogram("stage_seconds", "Wall time of a stage in the worker", "stage"), stages
        )
        self._cpu = self._counter("worker_cpu_seconds", "CPU time of tasks in the workers")
        self._decodes = self._counter("decodes", "Times that pixels of a source were decoded")

    def taken(self) -> None:
        """A job was taken."""
        self._taken.inc()

    def waited(self, seconds: float) -> None:
        """A job was taken for the first time, so long after it was due."""
        self._queued.observe(seconds)

    def step(self, name: str) -> Callable[[float], None]:
        """Return what is told the seconds of each request of a job of this kind (STEPS)."""
        observe: Callable[[float], None] = self._steps[name].observe
        return observe

    def ended(self, job: Job, end: Completed | Ended, seconds: float) -> None:
        """A job's attempt ended, `seconds` after it was taken."""
        self._seconds.observe(seconds)
        self.tally.seconds.append(seconds)
        if isinstance(end, Completed):
            self.tally.completed += 1
            self._ended["completed"].inc()
            return
        is_retried = isinstance(end.decision, Retry)
        self.tally.retried += is_retried
        self.tally.failed += not is_retried
        self.tally.codes[end.code] += not is_retried
        self._ended["retried" if is_retried else "failed"].inc()
        self._errors[end.code].inc()

    def lost(self) -> None:
        """A job was abandoned: its lock was lost, or Redis did not answer."""
        self.tally.lost += 1
        self._ended["lost"].inc()

    def given_back(self) -> None:
        """A job went back to the queue unprocessed."""
        self.tally.given_back += 1
        self._ended["given_back"].inc()

    def processed(self, source_bytes: int, report: Report) -> None:
        """A worker has processed a photo."""
        self._read.inc(source_bytes)
        self._written.inc(sum(rendition.size for rendition in report.renditions))
        self._cpu.inc(max(0.0, report.cpu_ms) / 1000)
        self._decodes.inc(max(0, report.decodes))
        for stage, ms in report.timings_ms.items():
            self._stage[stage].observe(max(0.0, ms) / 1000)

    def held_back(self, seconds: float) -> None:
        """A job that was there waited for the rate limit."""
        self.tally.held_back(seconds)
        self._held.inc(seconds)

    def stalled(self, count: int) -> None:
        """A sweep put jobs back."""
        self._stalled.inc(count)

    def webhook(self, outcome: str, seconds: float) -> None:
        """An attempt to deliver a webhook ended: `delivered`, `failed`."""
        self._webhooks[outcome].inc()
        self._webhook.observe(seconds)

    def webhooks_lost(self, count: int) -> None:
        """Webhooks were given up."""
        self._webhooks_lost.inc(count)

    def webhooks_waiting(self, endpoint: str, count: int) -> None:
        """So many webhooks are in Redis for a receiver, whichever service put them there."""
        self._waiting.labels(endpoint).set(count)

    def webhook_receiver(self, endpoint: str, state: Callable[[], str]) -> None:
        """There is a receiver; `state` says how it stands when the series are asked for."""
        self.receivers[endpoint] = state

    # --- read when they are asked for; a value of None is absent

    def watch(self, name: str, meaning: str, value: Callable[[], float | None]) -> None:
        """Add a series that rises and falls."""
        self.watch_each(name, meaning, (), _alone(value))

    def watch_total(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a counter whose value somebody else keeps; `name` without `_total`."""
        self.watch_each_total(name, meaning, (), _alone(value))

    def watch_each(
        self, name: str, meaning: str, labels: Sequence[str], values: Callable[[], Iterable[Sample]]
    ) -> None:
        """Add series with labels that rise and fall."""
        self._read_at_scrape.rows.append((GaugeMetricFamily, f"fastproc_{name}", meaning, labels, values))

    def watch_each_total(
        self, name: str, meaning: str, labels: Sequence[str], values: Callable[[], Iterable[Sample]]
    ) -> None:
        """Add counters with labels whose values somebody else keeps."""
        self._read_at_scrape.rows.append((CounterMetricFamily, f"fastproc_{name}", meaning, labels, values))

    def text(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"fastproc_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, *labels: str, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return Histogram(f"fastproc_{name}", meaning, labels, registry=self.registry, buckets=buckets)


class _Children(dict[str, Child], Generic[Child]):
    """A family's children by the value of its only label, made when they are first asked for, and kept."""

    def __init__(self, family: Child, names: Iterable[str]) -> None:
        super().__init__()
        self._family: Child = family
        for name in names:
            self[name]

    def __missing__(self, name: str) -> Child:
        child: Child = self._family.labels(name)
        self[name] = child
        return child


class _ReadAtScrape(Collector):
    """Families whose values are read when all series are asked for."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []

    def collect(self) -> Iterator[Metric]:
        for family, name, meaning, labels, values in self.rows:
            made = family(name, meaning, labels=labels)
            for label_values, value in values():
                made.add_metric(label_values, value)
            yield made


def _alone(value: Callable[[], float | None]) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        found = value()
        return () if found is None else (((), found),)

    return samples
