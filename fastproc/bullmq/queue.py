"""The queue as the supervisor sees it: take a job, say how it goes, finish it. Satisfies the port `Queue`.

Rule 1: finishing a job fetches the next one in the same step where the caller has room for it.
Rule 2: a move whose reply never came is settled by reading where the job stands, and sent again only when it is certain
        that it has not happened.
Rule 3: what BullMQ itself refuses is the job's failure, in BullMQ's own words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct

from fastproc.bullmq import protocol
from fastproc.bullmq.client import Client, Refused
from fastproc.bullmq.fetcher import TROUBLE_PAUSE_S, FetchedBy, Fetcher
from fastproc.bullmq.protocol import Fetched, Outcome, Settled
from fastproc.core import retry
from fastproc.core.errors import JobError, LockLost, ProcessingError, QueueUnavailable
from fastproc.core.model import Job, Keep, Retry

log = logging.getLogger(__name__)

#: The reply of moveToFinished for a parent one of whose children has failed: nothing can mend that.
_FAILED_CHILDREN = -9


class Sweep(Struct, frozen=True, kw_only=True):
    """The rules of the sweep for stalled jobs."""

    interval_ms: int
    max_stalled_count: int


class BullQueue:
    """One BullMQ queue."""

    def __init__(self, client: Client, fetcher: Fetcher, by: FetchedBy, sweep: Sweep) -> None:
        self._client, self._fetcher, self._by, self._sweep = client, fetcher, by, sweep

    async def take(self) -> Job | None:
        """Wait for the next job and return it; None once `stop` was called. Survives outages of Redis."""
        return await self._fetcher.take()

    def stop(self) -> None:
        """Take no more jobs; a waiting `take` returns None. Jobs in hand can still be finished."""
        self._fetcher.stop()

    # --- saying how it goes

    def progress(self, job: Job, percent: int) -> None:
        """Set the job's progress; nobody waits for it, but it is there before the job is finished."""
        self._client.update_progress(job.id, str(percent))

    def add_log(self, job: Job, row: str) -> None:
        """Append a row to the job's log; likewise."""
        self._client.add_log(job.id, row, job.keep_logs)

    async def extend_locks(self, jobs: Sequence[Job]) -> list[str]:
        """Renew the jobs' locks; return the ids of those that are not ours any more."""
        tokens, ids = [job.token for job in jobs], [job.id for job in jobs]
        lost = await self._client.extend_locks(tokens, ids, self._by.lock_duration_ms)
        for job_id in lost:
            self._fetcher.released(job_id)
        return lost

    async def sweep_stalled(self) -> list[str]:
        """Put jobs of dead workers back to wait; return their ids."""
        sweep = self._sweep
        return await self._client.move_stalled_to_wait(sweep.max_stalled_count, sweep.interval_ms)

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
        outcome = Outcome(
            target="failed",
            value=reason,
            keep=job.keep_failed,
            attempts=job.attempts,
            fields=_failure(job, reason, stack),
        )
        return await self._finish(job, outcome, fetch_next)

    async def retry(
        self, job: Job, delay_ms: int, reason: str, stack: str, *, fetch_next: bool
    ) -> Job | None:
        """End the attempt as failed and let the job run again after `delay_ms`, at once for 0."""
        fields = _failure(job, reason, stack)

        async def move(fetch_next: bool) -> Fetched | None:
            if not delay_ms:
                await self._client.retry_job(job.id, job.token, fields, first=job.retry_first)
                return None
            by = self._by.fetch(job.token)
            fetched = await self._client.move_to_delayed(job.id, by, delay_ms, fields, fetch_next=fetch_next)
            return fetched if fetch_next else None

        return await self._move(job, move, fetch_next, finishing=False)

    async def give_back(self, job: Job) -> None:
        """Put the job back to the head of the queue as if it had not been taken: no attempt is counted."""
        self._fetcher.released(job.id)
        await self._client.move_to_wait(job.id, job.token)

    async def _finish(self, job: Job, outcome: Outcome, fetch_next: bool) -> Job | None:
        async def move(fetch_next: bool) -> Fetched | None:
            by = self._by.fetch(job.token)
            fetched = await self._client.move_to_finished(job.id, by, outcome, fetch_next=fetch_next)
            return fetched if fetch_next else None

        return await self._move(job, move, fetch_next, finishing=True, removed=outcome.keep == Keep(count=0))

    async def _move(
        self,
        job: Job,
        move: Callable[[bool], Awaitable[Fetched | None]],
        fetch_next: bool,
        *,
        finishing: bool,
        removed: bool = False,
    ) -> Job | None:
        """Make the move, surely and once. Raises LockLost, Refused."""
        while True:
            try:
                fetched = await move(fetch_next)
            except QueueUnavailable as error:
                log.warning("job %s: the outcome of its end is unknown: %s", job.id, error)
                if fetch_next:
                    self._fetcher.unsure()
                if await self._settled(job, finishing, removed):
                    self._fetcher.released(job.id)
                    return None
                fetch_next = False
            except LockLost:
                self._fetcher.released(job.id)
                raise
            else:
                self._fetcher.released(job.id)
                return await self._fetcher.note(fetched, job.token) if fetched is not None else None

    async def _settled(self, job: Job, finishing: bool, removed: bool) -> bool:
        """Whether the move has happened after all; False when it must be sent again. Raises LockLost."""
        while True:
            try:
                standing = await self._client.standing(job.id)
            except QueueUnavailable:
                await asyncio.sleep(TROUBLE_PAUSE_S)
                continue
            settled = protocol.settle(standing, job.token, finishing=finishing, removed=removed)
            log.info("job %s: %s", job.id, settled.value)
            if settled is Settled.LOST:
                self._fetcher.released(job.id)
                raise LockLost(f"job {job.id}: somebody else has it, or it stalled")
            return settled is Settled.DONE

    async def _refused(self, job: Job, refused: Refused, fetch_next: bool) -> Job | None:
        """Fail the job as Node does: pending children may be gone at the next attempt, failed ones never."""
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
