"""When to ask for the next job, and how to wait without asking: the official worker's loop, for one fetch at a time.

Rule 1: one fetch at a time, one blocking wait at a time, and a wait only for a job that can be taken: a marker that is
        popped is gone for everybody. A fetch that comes with the end of a job is made by `queue`, and reported here.
Rule 2: while the blocking wait fails, jobs are asked for now and then without it: no job depends on it alone.
Rule 3: `drained`, `next_at` and `limit_until` mean what they mean in the official worker.
        Source: BullMQ src/classes/worker.ts, mainLoop, waitForJob, getBlockTimeout.
"""

from __future__ import annotations

import asyncio

from fastproc.bullmq import decode
from fastproc.bullmq.client import Client, now_ms
from fastproc.bullmq.outage import retry_pause_s
from fastproc.bullmq.protocol import Fetched
from fastproc.bullmq.series import Series
from fastproc.bullmq.settle import JobsInHand
from fastproc.bullmq.waiter import Waiter
from fastproc.core.errors import QueueUnavailable
from fastproc.core.model import Job

#: Longest blocking waits, in seconds. Source: BullMQ worker.ts drainDelay, maximumBlockTimeout, maximumRateLimitDelay.
DRAIN_DELAY_S = 5.0
MAX_BLOCK_S = 10.0
MAX_LIMIT_S = 30.0
#: Shortest one: Redis before 7.0.8 may take 1 ms for no limit at all.
MIN_BLOCK_S = 0.002
#: How often a fetcher checks whether the queue still rests, in seconds.
REST_S = 0.5
#: Longest one after a wait that has failed, so that the end of the failure is soon known.
TRIAL_BLOCK_S = 0.1


class Fetcher:
    """Takes jobs of one queue. `defaults` are for what a job does not say itself."""

    def __init__(
        self, client: Client, waiter: Waiter, in_hand: JobsInHand, series: Series, defaults: decode.Defaults
    ) -> None:
        self._client, self._waiter, self._in_hand = client, waiter, in_hand
        self._series, self._defaults = series, defaults
        # As the official worker: the first fetch is direct, in case jobs are there without a marker.
        self._drained = False
        self._next_at_ms = 0
        self._limit_until_ms = 0
        self._rest_until_ms = 0
        self._failed_waits = 0
        self._stopped = asyncio.Event()

    async def take(self) -> Job | None:
        """Wait for the next job and return it; None once `stop` was called. Survives outages of Redis."""
        failures = 0
        while not self._stopped.is_set():
            try:
                await self._in_hand.give_back_strays()
                job = await self._fetch() if await self._worth_asking() else None
            except QueueUnavailable as error:
                failures += 1
                self._client.outage.failed("fetch", str(error))
                await self._pause(retry_pause_s(failures))
                continue
            failures = 0
            self._client.outage.passed("fetch")
            if job is not None:
                return job
        return None

    def stop(self) -> None:
        """Take no more jobs; a waiting `take` returns None."""
        self._stopped.set()

    def rest(self, ms: int) -> None:
        """Take no jobs for so long; 0: take them again."""
        self._rest_until_ms = now_ms() + ms if ms else 0

    @property
    def may_fetch(self) -> bool:
        """Whether jobs may be taken now, as far as is known."""
        return now_ms() >= self._rest_until_ms

    async def receive(self, fetched: Fetched, token: str) -> Job | None:
        """Learn from a fetch, whoever made it; return its job, if it brought one, with its series continued."""
        self._drained = fetched.job_id is None
        self._next_at_ms = fetched.next_at_ms
        self._limit_until_ms = now_ms() + fetched.limit_ms if fetched.limit_ms else 0
        return await self.taken(fetched, token)

    async def taken(self, fetched: Fetched, token: str) -> Job | None:
        """Return the job that was brought, if one was, with its series continued. It says nothing of what waits."""
        if fetched.job_id is None:
            return None
        self._in_hand.add(fetched.job_id, token)
        await self._series.job_taken(fetched.job_id, fetched.fields)
        return decode.job(fetched.job_id, token, fetched.fields, self._defaults)

    async def _fetch(self) -> Job | None:
        token = self._in_hand.new_token()
        try:
            fetched = await self._client.move_to_active(token)
        except QueueUnavailable:
            self._in_hand.fetch_unanswered()
            raise
        return await self.receive(fetched, token)

    async def _worth_asking(self) -> bool:
        asked_at_ms = now_ms()
        if not self.may_fetch:
            # A marker that was popped meanwhile is gone: the first fetch after the rest is direct.
            self._drained = False
            await self._pause(min((self._rest_until_ms - asked_at_ms) / 1000, REST_S))
            return False
        if self._limit_until_ms > asked_at_ms:
            await self._pause(min((self._limit_until_ms - asked_at_ms) / 1000, MAX_LIMIT_S))
            self._limit_until_ms = 0
            return not self._stopped.is_set()
        if not self._drained:
            return True
        timeout_s = DRAIN_DELAY_S
        if self._next_at_ms:
            timeout_s = min((self._next_at_ms - asked_at_ms) / 1000, MAX_BLOCK_S)
            if timeout_s <= 0:
                return True
        score = await self._wait_for_marker(timeout_s)
        if score is not None and score > now_ms():
            self._next_at_ms = min(score, self._next_at_ms or score)
            return False
        self._next_at_ms = 0
        return self.may_fetch and not self._stopped.is_set()

    async def _wait_for_marker(self, timeout_s: float) -> int | None:
        """Return the marker's score; None where none came, the service stops, or the wait failed and pauses."""
        try:
            longest_s = TRIAL_BLOCK_S if self._failed_waits else timeout_s
            score = await self._marker(max(min(timeout_s, longest_s), MIN_BLOCK_S))
        except QueueUnavailable as error:
            self._failed_waits += 1
            self._client.outage.failed("wait", f"waiting for jobs: {error}")
            await self._pause(retry_pause_s(self._failed_waits))
            return None
        self._failed_waits = 0
        self._client.outage.passed("wait")
        return score

    async def _marker(self, timeout_s: float) -> int | None:
        wait = asyncio.ensure_future(self._waiter.wait(timeout_s))
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
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return
