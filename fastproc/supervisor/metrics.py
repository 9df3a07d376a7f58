"""Names, labels and buckets of all series. Nothing is computed here but inc, observe and set.

Rule 1: a registry of its own, so that two services in one process (tests) do not meet.
Rule 2: series live in the supervisor alone, fed by reports: no multiprocess mode is needed.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from fastproc.core.model import Completed, Ended, Job, Report, Retry
from fastproc.supervisor.tally import Tally

#: Seconds. A photo takes 0.02 to 1 s of work; waiting for storage and retries makes the rest.
SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0, 120.0)


class Metrics:
    """The service's series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: The same in plain numbers, for snapshots.
        self.tally = Tally()
        ProcessCollector(namespace="fastproc_supervisor", registry=self.registry)
        self._taken = self._counter("jobs_taken", "Jobs taken from the queue")
        self._ended = self._counter(
            "jobs", "Jobs' attempts ended: completed, retried, failed, lost, given_back", "outcome"
        )
        self._errors = self._counter("errors", "Attempts that failed, by code", "code")
        self._seconds = self._histogram("job_seconds", "From taking a job to its end")
        self._stage = self._histogram("stage_seconds", "Wall time of a stage in the worker", "stage")
        self._cpu = self._counter("worker_cpu_seconds", "CPU time of tasks in the workers")
        self._decodes = self._counter("decodes", "Times that pixels of a source were decoded")
        self._read = self._counter("source_bytes", "Bytes of photos fetched")
        self._written = self._counter("rendition_bytes", "Bytes of renditions made")
        self._held = self._counter(
            "rate_limit_held_seconds", "Seconds that waiting jobs were held by the limit"
        )
        self._stalled = self._counter(
            "stalled_jobs", "Jobs of dead workers put back by this service's sweeps"
        )
        self._webhooks = self._counter(
            "webhook_deliveries", "Attempts to deliver webhooks: delivered, failed", "outcome"
        )
        self._webhook = self._histogram("webhook_seconds", "From sending a webhook to its answer")
        self._webhooks_lost = self._counter("webhooks_lost", "Webhooks that were given up")
        self._waiting = Gauge(
            "fastproc_webhooks_waiting", "Webhooks in Redis", ("endpoint",), registry=self.registry
        )

    def taken(self) -> None:
        """A job was taken."""
        self._taken.inc()

    def ended(self, job: Job, end: Completed | Ended, seconds: float) -> None:
        """A job's attempt ended, `seconds` after it was taken."""
        self._seconds.observe(seconds)
        self.tally.seconds.append(seconds)
        if isinstance(end, Completed):
            self.tally.completed += 1
            self._ended.labels("completed").inc()
            return
        is_retried = isinstance(end.decision, Retry)
        self.tally.retried += is_retried
        self.tally.failed += not is_retried
        self._ended.labels("retried" if is_retried else "failed").inc()
        self._errors.labels(end.code).inc()

    def lost(self) -> None:
        """A job was abandoned: its lock was lost, or Redis did not answer."""
        self.tally.lost += 1
        self._ended.labels("lost").inc()

    def given_back(self) -> None:
        """A job went back to the queue unprocessed."""
        self.tally.given_back += 1
        self._ended.labels("given_back").inc()

    def processed(self, source_bytes: int, report: Report) -> None:
        """A worker has processed a photo."""
        self._read.inc(source_bytes)
        self._written.inc(sum(rendition.size for rendition in report.renditions))
        self._cpu.inc(max(0.0, report.cpu_ms) / 1000)
        self._decodes.inc(max(0, report.decodes))
        for stage, ms in report.timings_ms.items():
            self._stage.labels(stage).observe(max(0.0, ms) / 1000)

    def held_back(self, seconds: float) -> None:
        """A job that was there waited for the rate limit."""
        self.tally.held_back(seconds)
        self._held.inc(seconds)

    def stalled(self, count: int) -> None:
        """A sweep put jobs back."""
        self._stalled.inc(count)

    def webhook(self, outcome: str, seconds: float) -> None:
        """An attempt to deliver a webhook ended: `delivered`, `failed`."""
        self._webhooks.labels(outcome).inc()
        self._webhook.observe(seconds)

    def webhooks_lost(self, count: int) -> None:
        """Webhooks were given up."""
        self._webhooks_lost.inc(count)

    def webhooks_waiting(self, endpoint: str, count: int) -> None:
        """So many webhooks are in Redis for a receiver, whichever service put them there."""
        self._waiting.labels(endpoint).set(count)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a series that is read when it is asked for."""
        Gauge(f"fastproc_{name}", meaning, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"fastproc_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"fastproc_{name}", meaning, labels, registry=self.registry, buckets=SECONDS)
