"""What the outside learns of a job: its progress in the queue, its events, and one log line at its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from fastproc.core import naming, record
from fastproc.core.fields import of_job
from fastproc.core.model import Completed, Ended, Event, Job, Json, Retry
from fastproc.supervisor.ports import EventSink, Queue

log = logging.getLogger(__name__)


class Announcer:
    """Speaks of jobs to the queue and to the event sink. `stages` are the pipeline's, in order.

    Of a job whose lock cannot be ours any more (`is_ours`), nothing is announced. `on_published` is told the seconds
    that the sink has taken for an event which ends an attempt.
    """

    def __init__(
        self,
        queue: Queue,
        events: EventSink,
        stages: tuple[str, ...],
        is_ours: Callable[[Job], bool],
        on_published: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._queue, self._events, self._is_ours, self._on_published = queue, events, is_ours, on_published
        #: The marks of the stages that have one.
        self._percents = {
            stage: naming.stage_percent(stages, stage) for stage in stages if naming.is_news(stages, stage)
        }

    def started(self, job: Job) -> None:
        """The attempt has begun."""
        if self._is_ours(job):
            self._events.post(_event(job, naming.STARTED, record.event_data(job)))

    def progress(self, job: Job, percent: int) -> None:
        """The job has come this far."""
        if not self._is_ours(job):
            return
        self._queue.progress(job, percent)
        data = record.event_data(job, progress=percent)
        self._events.post(_event(job, naming.PROGRESS, data, percent))

    def stage(self, job: Job, stage: str) -> None:
        """A stage of the pipeline is done, which is progress where the contract has a mark for it."""
        if (percent := self._percents.get(stage)) is not None:
            self.progress(job, percent)

    async def completed(self, job: Job, data: dict[str, Json]) -> None:
        """The row is committed; returns when the sink has taken the event, or it was given up."""
        await self._publish(_event(job, naming.COMPLETED, data))

    async def failed(self, job: Job, data: dict[str, Json]) -> None:
        """The attempt has failed; returns as `completed` does."""
        await self._publish(_event(job, naming.FAILED, data))

    async def _publish(self, event: Event) -> None:
        began = time.monotonic()
        await self._events.publish(event)
        self._on_published(time.monotonic() - began)


def log_end(job: Job, end: Completed | Ended, times: Mapping[str, int | None]) -> None:
    """Log the attempt's end, with what it took: the one line of a job."""
    if isinstance(end, Completed):
        extra = of_job(job, attempts=job.attempts, outcome="completed", **times)
        log.info("completed", extra=extra)
        return
    words = end.reason.removeprefix(f"{end.code}: ")
    about = {"attempts": job.attempts, "code": end.code, "reason": words, **times}
    if isinstance(end.decision, Retry):
        log.warning("retrying", extra=of_job(job, outcome="retried", delayMs=end.decision.delay_ms, **about))
    else:
        log.warning("failed", extra=of_job(job, outcome="failed", why=end.decision.why, **about))


def utc() -> str:
    """Return the time now, ISO 8601 with milliseconds and `Z`."""
    seconds, ms = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    # There are many events in one second.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _event(job: Job, type_: str, data: dict[str, Json], mark: int | None = None) -> Event:
    return Event(id=naming.event_id(job.id, type_, job.attempt, mark), type=type_, timestamp=utc(), data=data)
