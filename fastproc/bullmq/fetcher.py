"""When to ask for the next job, and how to wait without asking: the official worker's loop, for one fetch at a time.

Rule 1: one fetch at a time, one blocking wait at a time, and a wait only for a job that can be taken: a marker that is
        popped is gone for everybody.
Rule 2: `drained`, `next_at` and `limit_until` mean what they mean in the official worker.
        Source: BullMQ src/classes/worker.ts, mainLoop, waitForJob, getBlockTimeout.
Rule 3: who takes a scheduler's job produces the next one before running this one, as the official worker does.
Rule 4: a fetch whose reply never came may have given us a job that we do not know of: before the next fetch the active
        jobs are looked through for locks of ours, and strays go back to the queue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from fastproc.bullmq import decode, scheduler
from fastproc.bullmq.client import Client
from fastproc.bullmq.pipe import Waiter
from fastproc.bullmq.protocol import Fetch, Fetched, text
from fastproc.core.errors import LockLost, QueueUnavailable
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
#: Longest wait for the next job of a scheduler's series to be there before this one starts.
SERIES_PATIENCE_S = 2.0


class Fetcher:
    """Takes jobs of one queue and knows which are in hand. `worker_id` begins every lock token."""

    def __init__(
        self, client: Client, waiter: Waiter, marker: str, by: FetchedBy, defaults: decode.Defaults
    ) -> None:
        self._client, self._waiter, self._marker = client, waiter, marker
        self._by, self._defaults = by, defaults
        self._tokens = itertools.count()
        # As the official worker: the first fetch is direct, in case jobs are there without a marker.
        self._drained = False
        self._next_at_ms = 0
        self._limit_until_ms = 0
        self._stopped = asyncio.Event()
        self._in_hand: dict[str, str] = {}
        self._strays_possible = False
        self._producing: set[asyncio.Task[None]] = set()

    async def take(self) -> Job | None:
        """Wait for the next job and return it; None once `stop` was called. Survives outages of Redis."""
        while not self._stopped.is_set():
            try:
                if self._strays_possible:
                    await self._give_back_strays()
                if await self._worth_asking():
                    job = await self._fetch()
                    if job is not None:
                        return job
            except QueueUnavailable as error:
                log.warning("queue: cannot take a job: %s", error)
                await self._pause(TROUBLE_PAUSE_S)
        return None

    def stop(self) -> None:
        """Take no more jobs; a waiting `take` returns None."""
        self._stopped.set()

    async def note(self, fetched: Fetched, token: str) -> Job | None:
        """Learn from a fetch, wherever it was made; return its job, if it brought one, with its series continued."""
        self._drained = fetched.job_id is None
        self._next_at_ms = fetched.next_at_ms
        self._limit_until_ms = _now_ms() + fetched.limit_ms if fetched.limit_ms else 0
        if fetched.job_id is None:
            return None
        self._in_hand[fetched.job_id] = token
        if series := scheduler.scheduler_id(fetched.fields):
            producing = asyncio.create_task(self._continue(series, fetched.job_id, fetched.fields))
            self._producing.add(producing)
            producing.add_done_callback(self._producing.discard)
            # Listeners expect the next job before this one's end; but Redis' trouble must not keep this one.
            await asyncio.wait((producing,), timeout=SERIES_PATIENCE_S)
        return decode.job(fetched.job_id, token, fetched.fields, self._defaults)

    def released(self, job_id: str) -> None:
        """The job is not in hand any more."""
        self._in_hand.pop(job_id, None)

    def unsure(self) -> None:
        """A fetch was made whose reply never came."""
        self._strays_possible = True

    async def _continue(self, series: str, job_id: str, fields: Mapping[str, bytes]) -> None:
        """Produce the next job of a scheduler's series, now that this one is taken."""
        try:
            options = msgspec.json.decode(fields.get("opts", b"{}"), type=dict[str, Any])
            local = datetime.now().astimezone().tzinfo
            data = text(fields.get("data", b"{}"))
            iteration = scheduler.following(series, data, options, _now_ms(), local)
            while iteration is not None:
                try:
                    await self._client.update_job_scheduler(job_id, iteration)
                    return
                except QueueUnavailable as error:
                    log.warning("scheduler %s: not continued yet: %s", series, error)
                    await asyncio.sleep(TROUBLE_PAUSE_S)
        except (ValueError, TypeError, KeyError) as error:
            log.error("scheduler %s: cannot be continued after job %s: %s", series, job_id, error)

    async def _fetch(self) -> Job | None:
        token = f"{self._by.worker_id}:{next(self._tokens)}"
        try:
            return await self.note(await self._client.move_to_active(self._by.fetch(token)), token)
        except QueueUnavailable:
            self.unsure()
            raise

    async def _give_back_strays(self) -> None:
        """Raises QueueUnavailable; then it is tried again before the next fetch."""
        locks = await self._client.active_locks()
        for job_id, token in locks.items():
            ours = token.startswith(f"{self._by.worker_id}:")
            if ours and self._in_hand.get(job_id) != token:
                try:
                    await self._client.move_to_wait(job_id, token)
                    log.warning(
                        "job %s: was given to us without our knowing, and goes back to the queue", job_id
                    )
                except LockLost as lost:
                    log.info("job %s: a stray that is ours no more: %s", job_id, lost)
        self._strays_possible = False

    async def _worth_asking(self) -> bool:
        now_ms = _now_ms()
        if self._limit_until_ms > now_ms:
            await self._pause(min((self._limit_until_ms - now_ms) / 1000, MAX_LIMIT_S))
            self._limit_until_ms = 0
            return not self._stopped.is_set()
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


class FetchedBy(Struct, frozen=True, kw_only=True):
    """Who fetches: an id for tokens, a name for `processedBy`, and the lock's duration in ms."""

    worker_id: str
    name: str
    lock_duration_ms: int

    def fetch(self, token: str) -> Fetch:
        """What a fetch with this token says of us."""
        return Fetch(token=token, lock_duration_ms=self.lock_duration_ms, name=self.name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
