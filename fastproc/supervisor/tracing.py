"""Follows each job through the ports, and hands its timeline to a tracer when the attempt has ended.

Rule 1: without a tracer none of this exists: the ports are the ports themselves, and a job pays nothing.
Rule 2: a port behaves as it does without; what is noted is when it was called, for how long, and its error's code.
Rule 3: a call belongs to the job of the running task. Calls of no job (checks, probes) are not noted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from msgspec import structs

from fastproc.core.errors import TaskError
from fastproc.core.model import Completed, Ended, Event, Job
from fastproc.core.timeline import Step, Timeline, stages
from fastproc.supervisor.book_ports import Tracer
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.ports import (
    Admit,
    Download,
    Row,
    Upload,
)
from fastproc.supervisor.workers.loans import Loan
from fastproc.supervisor.workers.task import OnStage, Result

RunJob = Callable[[Job, Callable[[], bool]], Awaitable[Job | None]]

_of_this_job: ContextVar[Timeline | None] = ContextVar("timeline", default=None)


def followed(run: RunJob, tracer: Tracer) -> RunJob:
    """Return `run` for jobs whose timelines go to the tracer."""

    async def seen(job: Job, may_fetch: Callable[[], bool]) -> Job | None:
        timeline = Timeline(job=job, began_ns=time.time_ns())
        token = _of_this_job.set(timeline)
        try:
            return await run(job, may_fetch)
        finally:
            _of_this_job.reset(token)
            timeline.ended_ns = time.time_ns()
            tracer.ended(timeline)

    return seen


def ended(end: Completed | Ended) -> None:
    """The attempt of the running job ended so."""
    if timeline := _of_this_job.get():
        timeline.end = end


def traced(ports: Ports) -> Ports:
    """Return the ports, whose calls are noted in the timeline of the job that makes them."""
    return structs.replace(
        ports,
        objects=_Objects(ports.objects),
        metadata=_Metadata(ports.metadata),
        events=_Events(ports.events),
        workers=_Workers(ports.workers),
    )


@contextmanager
def _noted(name: str, **about: str | int) -> Iterator[None]:
    timeline = _of_this_job.get()
    if timeline is None:
        yield
        return
    began_ns, problem = time.time_ns(), ""
    try:
        yield
    except BaseException as error:
        problem = error.code if isinstance(error, TaskError) else type(error).__name__
        raise
    finally:
        timeline.steps.append(
            Step(name=name, began_ns=began_ns, ended_ns=time.time_ns(), problem=problem, about=about)
        )


class _Passing:
    """Has whatever the port has; its heirs note some of it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Objects(_Passing):
    async def get_into(self, bucket: str, key: str, target: memoryview, admit: Admit) -> Download:
        with _noted("fetch", bucket=bucket, key=key):
            found: Download = await self._inner.get_into(bucket, key, target, admit)
            return found

    async def put_all(self, bucket: str, uploads: Sequence[Upload]) -> None:
        size = sum(len(upload.body) for upload in uploads)
        with _noted("upload", bucket=bucket, objects=len(uploads), bytes=size):
            await self._inner.put_all(bucket, uploads)


class _Metadata(_Passing):
    async def begin(self, photo_id: str, at: str, *, by: float = float("inf")) -> None:
        with _noted("row", status="processing"):
            await self._inner.begin(photo_id, at, by=by)

    async def complete(self, photo_id: str, row: Row, at: str, *, by: float = float("inf")) -> None:
        with _noted("row", status="completed"):
            await self._inner.complete(photo_id, row, at, by=by)

    async def fail(
        self, photo_id: str, error: str, at: str, *, final: bool, by: float = float("inf")
    ) -> None:
        with _noted("row", status="failed" if final else "processing"):
            await self._inner.fail(photo_id, error, at, final=final, by=by)


class _Events(_Passing):
    """Nobody waits for `post`: it takes no time of the job."""

    async def publish(self, event: Event) -> None:
        with _noted("event", type=event.type):
            await self._inner.publish(event)


class _Workers(_Passing):
    async def run(self, loan: Loan, content_type: str | None, on_stage: OnStage) -> Result:
        timeline, ends_ns = _of_this_job.get(), dict[str, int]()

        def heard(stage: str) -> None:
            ends_ns[stage] = time.time_ns()
            on_stage(stage)

        began_ns = time.time_ns()
        with _noted("work", bytes=loan.size):
            result: Result = await self._inner.run(loan, content_type, heard)
        if timeline:
            timeline.steps += stages(ends_ns, result.report.timings_ms, began_ns)
        return result
