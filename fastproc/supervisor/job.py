"""The straight line of one job: the order of its effects can be read here and nowhere else.

    begin row -> started -> fetch into shared memory -> worker -> write renditions -> complete row -> completed
        -> finish the job                          (on error: decide -> record -> announce -> finish or retry)

Rule 1: every decision is a call into `core`; every effect is a call of a port; both are one line.
Rule 2: each effect is idempotent, so that a job that died between any two of them is simply run again.
Rule 3: the job is finished only when the row and the event are out. A lost lock ends the line: no further effect.
Rule 4: an order to cancel counts until the renditions are written: so no completed row ever has a failed event.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastproc.core import naming, record, retry
from fastproc.core.errors import (
    DatabaseUnavailable,
    FleetHalted,
    LockLost,
    NeighbourAway,
    ProcessingError,
    QueueUnavailable,
    RowRefused,
    TaskError,
)
from fastproc.core.fields import of_job
from fastproc.core.model import Completed, Ended, GiveUp, Job, Report, Retry, Stored
from fastproc.supervisor import tracing
from fastproc.supervisor.announcer import Announcer, log_end, utc
from fastproc.supervisor.budget import ByteBudget, Share
from fastproc.supervisor.guards import Guards
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.neighbours import Neighbour
from fastproc.supervisor.outputs import outputs
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.ports import Download, Row
from fastproc.supervisor.seldom import Seldom
from fastproc.supervisor.standing import waiting
from fastproc.supervisor.took import Took
from fastproc.supervisor.workers.loans import Loan
from fastproc.supervisor.workers.task import Result

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Longest wait for Redis to take a job back: a service that stops while Redis is away must still stop.
GIVE_BACK_S = 0.8


class JobLine:
    """Runs jobs, one call each. `given_back`, `stranded`: jobs that went back to the queue, and that could not."""

    given_back = stranded = 0

    def __init__(
        self,
        ports: Ports,
        guards: Guards,
        locks: LockKeeper,
        budget: ByteBudget,
        stages: tuple[str, ...],
        metrics: Metrics,
    ) -> None:
        self._ports, self._guards, self._locks, self._budget = ports, guards, locks, budget
        self._metrics, self._seldom = metrics, Seldom(log)
        self._tell = Announcer(ports.queue, ports.events, stages, locks.is_ours, metrics.step("event"))

    async def run(self, job: Job, may_fetch: Callable[[], bool]) -> Job | None:
        """Bring a job to an end and return the next one, where `may_fetch` allowed it and there was one.

        Cancelling gives the job back to the queue, with no attempt counted, and so does a neighbour that is away.
        Raises: FleetHalted.
        """
        took = Took()
        try:
            async with self._locks.hold(job):
                end = await self._attempt(job, took)
                following = await self._finish(job, end, fetch_next=may_fetch())
        except LockLost as lost:
            self._metrics.lost()
            if not lost.is_told:
                self._seldom.warn("abandoned, lock lost: %s", lost, extra=of_job(job, outcome="lost"))
            return None
        except QueueUnavailable as error:
            # The lock runs out, the sweep puts the job back, and it is run again: every effect may be repeated.
            self._metrics.lost()
            self._seldom.warn("cannot be finished: %s", error, extra=of_job(job))
            return None
        except NeighbourAway as away:
            await self._give_back(job, str(away), away.aside_s)
            return None
        except (asyncio.CancelledError, FleetHalted):
            await self._give_back(job, "interrupted")
            raise
        seconds = took.seconds
        self._metrics.ended(job, end, seconds)
        self._ports.books.ended(job, end, seconds)
        if self._ports.tracer:
            tracing.ended(end)
        log_end(job, end, took.fields(seconds))
        return following

    async def _attempt(self, job: Job, took: Took) -> Completed | Ended:
        try:
            if job.fault:
                return await self._ended(job, job.fault.code, job.fault.reason, GiveUp("cannot be run"))
            return await self._process(job, took)
        except TaskError as error:
            return await self._failed(job, error)
        except (FleetHalted, QueueUnavailable, LockLost, NeighbourAway):
            raise
        except Exception as error:
            return await self._failed(job, ProcessingError.unexpected(error))

    async def _process(self, job: Job, took: Took) -> Completed:
        async with self._locks.cancellable(job):
            report, stored = await self._processed(job, took)
        return await self._completed(job, report, stored)

    async def _processed(self, job: Job, took: Took) -> tuple[Report, list[Stored]]:
        """Fetch the photo, let a worker process it, and write the renditions."""
        ports = self._ports
        ports.results.require(job)
        self._tell.progress(job, naming.ACCEPTED_PERCENT)
        begin = ports.metadata.begin
        await self._row(job, lambda by: begin(job.photo_id, utc(), by=by), keep=False)
        self._tell.started(job)
        async with ports.workers.lend(job.photo_id) as loan, self._budget.share() as share:
            fetch = self._fetch
            with took.of("fetch"):
                got = await self._effect(self._guards.reads, job, lambda: fetch(job, loan, share), keep=False)
            loan.size = took.size = got.size
            self._tell.progress(job, naming.FETCHED_PERCENT)
            async with ports.quarantine.watch(job, loan):
                with waiting("a worker"), took.of("work"):
                    result = await ports.workers.run(
                        loan, got.content_type, lambda stage: self._tell.stage(job, stage)
                    )
        self._metrics.processed(got.size, result.report)
        for stage, ms in result.report.timings_ms.items():
            ports.queue.add_log(job, f"{stage}: {ms:.1f} ms")
        with took.of("store"):
            return result.report, await self._store(job, result)

    async def _fetch(self, job: Job, loan: Loan, share: Share) -> Download:
        # A try before this one may have been admitted.
        share.give_back()
        return await self._ports.objects.get_into(job.bucket, job.s3_key, loan.target, share.admit)

    async def _store(self, job: Job, result: Result) -> list[Stored]:
        """Write the renditions and return where they are."""
        objects = self._ports.objects
        out = outputs(job, result, self._ports.results, objects.url)
        put_all = objects.put_all
        await self._effect(self._guards.writes, job, lambda: put_all(out.bucket, out.uploads), keep=True)
        return out.stored

    async def _completed(self, job: Job, report: Report, stored: list[Stored]) -> Completed:
        """Commit the row, publish the event, and return what the job is finished with."""
        row = Row(
            width=report.width,
            height=report.height,
            processing_metadata=record.encoded(record.row_metadata(report, stored)),
        )
        complete = self._ports.metadata.complete
        await self._row(job, lambda by: complete(job.photo_id, row, utc(), by=by), keep=True)
        self._tell.progress(job, naming.RECORDED_PERCENT)
        duration_ms = max(0, time.time_ns() // 1_000_000 - job.timestamp_ms)
        data = record.completed_data(job, report, stored, duration_ms)
        self._require_lock(job)
        await self._tell.completed(job, data)
        self._tell.progress(job, naming.DONE_PERCENT)
        return Completed(record.encoded(record.return_value(job, report, stored, duration_ms)))

    async def _failed(self, job: Job, error: TaskError) -> Ended:
        if error.defect:
            who = {"jobId": job.id, "photoId": job.photo_id}
            self._ports.books.defects.seen(error.defect, error.message, **who)
        error = retry.final_error(job, error)
        decision = retry.decide(job, error, random.random())
        return await self._ended(job, error.code, error.reason, decision)

    async def _ended(self, job: Job, code: str, reason: str, decision: Retry | GiveUp) -> Ended:
        """Record and announce a failed attempt, and return what the job is finished with."""
        retrying = isinstance(decision, Retry)
        if job.photo_id:
            await self._record_failure(job, reason, final=not retrying)
        data = record.failed_data(job, code, reason, will_retry=retrying)
        self._require_lock(job)
        await self._tell.failed(job, data)
        return Ended(decision, code, reason, record.stack(reason, f"attempt {job.attempt} of {job.attempts}"))

    async def _record_failure(self, job: Job, reason: str, *, final: bool) -> None:
        """Write the failure into the row; wait while the database is away, go on where it does not take this row."""
        try:
            write = self._ports.metadata.fail
            await self._row(job, lambda by: write(job.photo_id, reason, utc(), final=final, by=by), keep=True)
        except (RowRefused, DatabaseUnavailable) as error:
            self._seldom.warn("its failure is not in its row: %s", error.message, extra=of_job(job))

    async def _row(self, job: Job, write: Callable[[float], Awaitable[None]], *, keep: bool) -> None:
        until = self._locks.ours_until  # At each try: the lock is renewed meanwhile.
        await self._effect(self._guards.rows, job, lambda: write(until(job)), keep=keep)

    async def _effect(
        self, guard: Neighbour, job: Job, operation: Callable[[], Awaitable[T]], *, keep: bool
    ) -> T:
        """Run an effect through its neighbour's guard, each try only while the lock can be ours. Raises LockLost."""

        async def owned() -> T:
            self._require_lock(job)
            return await operation()

        return await guard.call(job.photo_id, owned, keep=keep)

    def _require_lock(self, job: Job) -> None:
        # A process that was stopped for longer than the lock goes on here before anything could tell it.
        if not self._locks.is_ours(job):
            raise LockLost(f"job {job.id}: its lock must have run out")

    async def _finish(self, job: Job, end: Completed | Ended, *, fetch_next: bool) -> Job | None:
        queue = self._ports.queue
        if isinstance(end, Completed):
            return await queue.complete(job, end.return_value, fetch_next=fetch_next)
        if isinstance(end.decision, Retry):
            delay_ms = end.decision.delay_ms
            return await queue.retry(job, delay_ms, end.reason, end.stack, fetch_next=fetch_next)
        return await queue.fail(job, end.reason, end.stack, fetch_next=fetch_next)

    async def _give_back(self, job: Job, why: str, aside_s: float = 0.0) -> None:
        queue, is_back = self._ports.queue, False
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                await (queue.put_aside(job, round(aside_s * 1000)) if aside_s else queue.give_back(job))
            self._metrics.given_back()
            is_back = True
            log.debug("given back to the queue: %s", why, extra=of_job(job))
        except (LockLost, QueueUnavailable, TimeoutError) as error:
            self._seldom.warn("cannot be given back, it will be found stalled: %s", error, extra=of_job(job))
        finally:
            self.given_back += is_back
            self.stranded += not is_back
