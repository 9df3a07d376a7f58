"""The queue as the supervisor sees it: take a job, report its progress, finish it. Satisfies the port `Queue`.

Rule 1: finishing a job fetches the next one in the same step where the caller has room for it.
Rule 2: a job that BullMQ refuses to complete has failed, for BullMQ's own reason.
Rule 3: an interruption does not tear a move that is under way: its outcome is waited for, for a moment, and the job
        that it has brought goes back to the queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from fastproc.bullmq import cancelling, protocol
from fastproc.bullmq.client import Client, Refused
from fastproc.bullmq.fetcher import Fetcher
from fastproc.bullmq.protocol import Fetched, Outcome
from fastproc.bullmq.series import Series
from fastproc.bullmq.settle import JobsInHand, Move
from fastproc.bullmq.watch import Watch
from fastproc.core import retry
from fastproc.core.cancellation import Mark
from fastproc.core.errors import Cancelled, JobError, LockLost, ProcessingError, QueueUnavailable
from fastproc.core.fields import of_job
from fastproc.core.health import Backlog
from fastproc.core.model import Job, Keep, Retry

log = logging.getLogger(__name__)

#: Longest wait of an interrupted job for the outcome of its end, and for what came with it to go back. Redis answers in
#: microseconds.
LAST_REPLY_S = 0.3

#: The reply of moveToFinished for a parent one of whose children has failed: nothing can mend that.
_FAILED_CHILDREN = -9


class Sweep(Struct, frozen=True, kw_only=True):
    """The rules of the sweep for stalled jobs."""

    interval_ms: int
    max_stalled_count: int


class BullQueue:
    """One BullMQ queue."""

    def __init__(
        self,
        client: Client,
        fetcher: Fetcher,
        in_hand: JobsInHand,
        series: Series,
        sweep: Sweep,
        watch: Watch,
    ) -> None:
        self._client, self._fetcher, self._in_hand, self._sweep = client, fetcher, in_hand, sweep
        self._series, self._watch = series, watch

    @property
    def broken_series(self) -> int:
        """Job schedulers whose series this service could not continue."""
        return len(self._series.broken)

    async def watch(self) -> None:
        """Notice outages of Redis, until cancelled."""
        await self._watch.run()

    async def take(self) -> Job | None:
        """Wait for the next job and return it; None once `stop` was called. Survives outages of Redis."""
        return await self._fetcher.take()

    async def backlog(self) -> Backlog:
        """Return what waits, and why nobody may take it now. Raises QueueUnavailable."""
        return await self._client.backlog()

    def stop(self) -> None:
        """Take no more jobs; a waiting `take` returns None. Jobs in hand can still be finished."""
        self._fetcher.stop()

    # --- while a job runs

    def progress(self, job: Job, percent: int) -> None:
        """Set the job's progress; nobody waits for it, but it is there before the job is finished."""
        self._client.update_progress(job.id, str(percent))

    def add_log(self, job: Job, row: str) -> None:
        """Append a row to the job's log; likewise."""
        self._client.add_log(job.id, row, job.keep_logs)

    async def extend_locks(self, jobs: Sequence[Job]) -> list[Job]:
        """Renew the jobs' locks; return the jobs that are not ours any more."""
        return await self._in_hand.extend_locks(jobs)

    async def sweep_stalled(self) -> list[str]:
        """Put jobs of dead workers back to wait; return their ids."""
        sweep = self._sweep
        return await self._client.move_stalled_to_wait(sweep.max_stalled_count, sweep.interval_ms)

    # --- jobs that an operator has cancelled

    async def cancelled(self) -> Mapping[str, Mark | None]:
        """Return jobs that were told to end, with the order; None where only the note of it is left."""
        return await self._client.cancelled()

    async def take_cancelled(self, job_id: str) -> Job | None:
        """Take such a job where it waits, whatever waits before it; None where it cannot be taken."""
        token = self._in_hand.new_token()
        try:
            fetched = await self._client.take_cancelled(job_id, token)
        except (QueueUnavailable, asyncio.CancelledError):
            # It may be ours: the sweep finds it.
            self._in_hand.fetch_unanswered()
            raise
        return await self._fetcher.taken(fetched, token)

    # --- finishing: each returns the next job, where one was asked for and there

    async def complete(self, job: Job, return_value: str, *, fetch_next: bool) -> Job | None:
        """Finish the job with its return value, JSON text."""
        keep = job.keep_completed
        outcome = Outcome(target="completed", value=return_value, keep=keep, attempts=job.attempts)
        try:
            return await self._finish(job, outcome, fetch_next)
        except Refused as refused:
            return await self._refused(job, refused, fetch_next)

    async def fail(self, job: Job, reason: str, stack: str, *, fetch_next: bool) -> Job | None:
        """Finish the job as failed, for good."""
        fields = _failure(job, reason, stack)
        if reason.startswith(f"{Cancelled.code}: "):
            # Obeyed: a retry of the job runs.
            fields[cancelling.FIELD] = ""
        outcome = Outcome(
            target="failed", value=reason, keep=job.keep_failed, attempts=job.attempts, fields=fields
        )
        return await self._finish(job, outcome, fetch_next)

    async def retry(
        self, job: Job, delay_ms: int, reason: str, stack: str, *, fetch_next: bool
    ) -> Job | None:
        """End the attempt as failed and let the job run again after `delay_ms`; nothing is fetched for 0."""
        fields = _failure(job, reason, stack)

        async def move_to_delayed(fetch_next: bool) -> Fetched:
            return await self._client.move_to_delayed(
                job.id, job.token, delay_ms, fields, fetch_next=fetch_next
            )

        async def retry_job(_: bool) -> Fetched:
            await self._client.retry_job(job.id, job.token, fields, first=job.retry_first)
            return Fetched()

        if delay_ms:
            return await self._move(job, move_to_delayed, fetch_next=fetch_next, finishing=False)
        return await self._move(job, retry_job, fetch_next=False, finishing=False)

    async def give_back(self, job: Job) -> None:
        """Put the job back to the head of the queue as if it had not been taken: no attempt is counted."""
        await self._in_hand.give_back(job)

    async def put_aside(self, job: Job, delay_ms: int) -> None:
        """Put the job back, to be taken again after `delay_ms` at the earliest: no attempt is counted."""
        await self._in_hand.put_aside(job, delay_ms)

    async def _finish(self, job: Job, outcome: Outcome, fetch_next: bool) -> Job | None:
        async def move_to_finished(fetch_next: bool) -> Fetched:
            return await self._client.move_to_finished(job.id, job.token, outcome, fetch_next=fetch_next)

        removed = outcome.keep == Keep(count=0)
        return await self._move(job, move_to_finished, fetch_next=fetch_next, finishing=True, removed=removed)

    async def _move(
        self, job: Job, make: Move, *, fetch_next: bool, finishing: bool, removed: bool = False
    ) -> Job | None:
        """Make the move, surely and once. Raises LockLost, Refused."""
        fetch_next = fetch_next and self._fetcher.may_fetch

        async def moved() -> Job | None:
            fetched = await self._in_hand.move(
                job, make, fetch_next=fetch_next, finishing=finishing, removed=removed
            )
            return await self._fetcher.receive(fetched, job.token) if fetched is not None else None

        moving = asyncio.ensure_future(moved())
        try:
            return await asyncio.shield(moving)
        except asyncio.CancelledError:
            await self._interrupted(moving)
            return None

    async def _interrupted(self, moving: asyncio.Future[Job | None]) -> None:
        """Wait for the move's outcome and give back what it has brought. Raises what it raises, or CancelledError."""
        try:
            async with asyncio.timeout(LAST_REPLY_S):
                following = await asyncio.shield(moving)
        except TimeoutError:
            raise asyncio.CancelledError from None
        finally:
            moving.cancel()
        if following is None:
            return
        try:
            async with asyncio.timeout(LAST_REPLY_S):
                await self._in_hand.give_back(following)
            log.debug("given back to the queue: it came with the end of another", extra=of_job(following))
        except (LockLost, QueueUnavailable, TimeoutError) as error:
            why = str(error) or type(error).__name__
            log.warning("cannot be given back, it will be found stalled: %s", why, extra=of_job(following))

    async def _refused(self, job: Job, refused: Refused, fetch_next: bool) -> Job | None:
        """Fail the attempt as Node does: pending children may be gone at the next one, failed ones never."""
        reason = str(refused)
        error = JobError(reason) if refused.code == _FAILED_CHILDREN else ProcessingError(reason)
        decision = retry.decide(job, error, 0.5)
        if isinstance(decision, Retry):
            return await self.retry(job, decision.delay_ms, reason, reason, fetch_next=fetch_next)
        return await self.fail(job, reason, reason, fetch_next=fetch_next)


def _failure(job: Job, reason: str, stack: str) -> dict[str, str]:
    """The hash fields of a failed attempt. Source: BullMQ job.ts moveToFailed, updateStacktrace."""
    trace = [*job.trace, stack]
    if job.trace_limit is not None:
        trace = trace[len(trace) - job.trace_limit :] if job.trace_limit else []
    return {
        "failedReason": reason,
        "stacktrace": msgspec.json.encode([protocol.clean(s) for s in trace]).decode(),
    }
