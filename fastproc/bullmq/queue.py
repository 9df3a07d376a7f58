"""The queue as the supervisor sees it: take a job, say how it goes, finish it. Satisfies the port `Queue`.

Rule 1: one fetch at a time, one blocking wait at a time, and a wait only for a job that can be taken: a marker that is
        popped is gone for everybody.
Rule 2: finishing a job fetches the next one in the same step where the caller has room for it.
Rule 3: `drained`, `next_at` and `limit_until` mirror the official worker's loop. Source: BullMQ src/classes/worker.ts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from fastproc.bullmq import decode, protocol
from fastproc.bullmq.client import Client
from fastproc.bullmq.connection import Waiter
from fastproc.bullmq.protocol import Fetch, Fetched, Outcome
from fastproc.core.errors import QueueUnavailable
from fastproc.core.model import Job

log = logging.getLogger(__name__)

#: Longest blocking waits, in seconds. Source: BullMQ worker.ts drainDelay, maximumBlockTimeout, maximumRateLimitDelay.
DRAIN_DELAY_S = 5.0
MAX_BLOCK_S = 10.0
MAX_LIMIT_S = 30.0
#: Shortest one: Redis before 7.0.8 may take 1 ms for ever.
MIN_BLOCK_S = 0.002
#: Pause after a fetch that failed: the connection itself reconnects with backoff.
TROUBLE_PAUSE_S = 0.2


class Rules(Struct, frozen=True, kw_only=True):
    """Who we are on the queue, and its times in ms. `worker_id` begins every lock token; `name` is `processedBy`."""

    worker_id: str
    name: str
    lock_duration_ms: int
    stalled_interval_ms: int
    max_stalled_count: int


class BullQueue:
    """One BullMQ queue."""

    def __init__(
        self, client: Client, waiter: Waiter, marker: str, rules: Rules, defaults: decode.Defaults
    ) -> None:
        self._client, self._waiter, self._marker = client, waiter, marker
        self._rules, self._defaults = rules, defaults
        self._tokens = itertools.count()
        # As the official worker: the first fetch is direct, in case jobs are there without a marker.
        self._drained = False
        self._next_at_ms = 0
        self._limit_until_ms = 0
        self._stopped = asyncio.Event()

    # --- taking

    async def take(self) -> Job | None:
        """Wait for the next job and return it; None once `stop` was called. Survives outages of Redis."""
        while not self._stopped.is_set():
            try:
                if await self._worth_asking():
                    job = await self._fetch()
                    if job is not None:
                        return job
            except QueueUnavailable as error:
                log.warning("queue: cannot take a job: %s", error)
                await self._pause(TROUBLE_PAUSE_S)
        return None

    def stop(self) -> None:
        """Take no more jobs; a waiting `take` returns None. Jobs in hand can still be finished."""
        self._stopped.set()

    async def _fetch(self) -> Job | None:
        token = f"{self._rules.worker_id}:{next(self._tokens)}"
        # The reply must be seen whatever happens to the caller: an unseen job would be ours without our knowing.
        return self._note(await asyncio.shield(self._client.move_to_active(self._by(token))), token)

    async def _worth_asking(self) -> bool:
        now_ms = _now_ms()
        if self._limit_until_ms > now_ms:
            await self._pause(min((self._limit_until_ms - now_ms) / 1000, MAX_LIMIT_S))
            self._limit_until_ms = 0
            return True
        if not self._drained:
            return True
        timeout_s = DRAIN_DELAY_S
        if self._next_at_ms:
            timeout_s = min((self._next_at_ms - now_ms) / 1000, MAX_BLOCK_S)
            if timeout_s <= 0:
                return True
        score = await self._wait_for_marker(max(timeout_s, MIN_BLOCK_S))
        if score is not None and score > _now_ms():
            self._next_at_ms = min(score, self._next_at_ms or score)
            return False
        self._next_at_ms = 0
        return not self._stopped.is_set()

    async def _wait_for_marker(self, timeout_s: float) -> int | None:
        wait = asyncio.ensure_future(self._waiter.wait(self._marker, timeout_s))
        stop = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((wait, stop), return_when=asyncio.FIRST_COMPLETED)
            return wait.result() if wait.done() else None
        finally:
            for task in (wait, stop):
                task.cancel()
            await asyncio.gather(wait, stop, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    def _note(self, fetched: Fetched, token: str) -> Job | None:
        self._drained = fetched.job_id is None
        self._next_at_ms = fetched.next_at_ms
        self._limit_until_ms = _now_ms() + fetched.limit_ms if fetched.limit_ms else 0
        if fetched.job_id is None:
            return None
        return decode.job(fetched.job_id, token, fetched.fields, self._defaults)

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
        return await self._client.extend_locks(tokens, ids, self._rules.lock_duration_ms)

    async def sweep_stalled(self) -> list[str]:
        """Put jobs of dead workers back to wait; return their ids."""
        rules = self._rules
        return await self._client.move_stalled_to_wait(rules.max_stalled_count, rules.stalled_interval_ms)

    # --- finishing: each returns the next job, where one was asked for and there

    async def complete(self, job: Job, return_value: str, *, fetch_next: bool) -> Job | None:
        """Finish the job with its return value, JSON text."""
        outcome = Outcome(
            target="completed", value=return_value, keep=job.keep_completed, attempts=job.attempts
        )
        return await self._finish(job, outcome, fetch_next)

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
        if not delay_ms:
            await self._client.retry_job(job.id, job.token, fields, first=job.retry_first)
            return None
        fetched = await self._client.move_to_delayed(
            job.id, self._by(job.token), delay_ms, fields, fetch_next=fetch_next
        )
        return self._note(fetched, job.token) if fetch_next else None

    async def give_back(self, job: Job) -> None:
        """Put the job back to the head of the queue as if it had not been taken: no attempt is counted."""
        await self._client.move_to_wait(job.id, job.token)

    async def _finish(self, job: Job, outcome: Outcome, fetch_next: bool) -> Job | None:
        fetched = await self._client.move_to_finished(
            job.id, self._by(job.token), outcome, fetch_next=fetch_next
        )
        return self._note(fetched, job.token) if fetch_next else None

    def _by(self, token: str) -> Fetch:
        return Fetch(token=token, lock_duration_ms=self._rules.lock_duration_ms, name=self._rules.name)


def _failure(job: Job, reason: str, stack: str) -> dict[str, str]:
    """The hash fields of a failed attempt. Source: BullMQ job.ts moveToFailed, updateStacktrace."""
    trace = [*job.trace, stack]
    if job.trace_limit is not None:
        trace = trace[len(trace) - job.trace_limit :] if job.trace_limit else []
    return {
        "failedReason": reason,
        "stacktrace": msgspec.json.encode([protocol.clean(s) for s in trace]).decode(),
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
