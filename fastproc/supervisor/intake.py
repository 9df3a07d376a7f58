"""Place, token, job: takes jobs as fast as there is room and the rate limit allows, and no faster.

Rule 1: a job is taken only when there is a place and a token for it: what is taken is begun at once.
Rule 2: a job that ends may bring the next one along; it needs a token like any other, and keeps the place.
Rule 3: no job is taken while a neighbour is away; one that comes at that moment goes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fastproc.core.errors import FleetHalted, LockLost, QueueUnavailable
from fastproc.core.limit import TokenBucket
from fastproc.core.model import Job
from fastproc.core.pace import age_s, due_ms
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.neighbours import Neighbours
from fastproc.supervisor.ports import Queue

log = logging.getLogger(__name__)

RunJob = Callable[[Job, Callable[[], bool]], Awaitable[Job | None]]

#: The limiter held a job back when its token took longer than this, and the job itself was there at once.
HELD_BACK_S = 0.05

#: Longest wait for interrupted jobs to go back, and for those that had to be interrupted again.
INTERRUPT_S, AGAIN_S = 1.2, 0.1


class Intake:
    """Feeds jobs to `run_job`, at most `max_in_hand` at once."""

    def __init__(
        self,
        queue: Queue,
        run_job: RunJob,
        max_in_hand: int,
        bucket: TokenBucket | None,
        neighbours: Neighbours,
        metrics: Metrics,
    ) -> None:
        self._queue, self._run_job, self._bucket, self._metrics = queue, run_job, bucket, metrics
        self._neighbours = neighbours
        self._places = asyncio.Semaphore(max_in_hand)
        self._ended = asyncio.Event()
        self._stopping = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._said_held_back = False
        #: Whether the next job, if there is one, waits for the rate limit.
        self.waits_for_token = False
        #: Jobs that came after `stop` and went back to the queue, and those that could not.
        self.given_back = self.stranded = 0

    @property
    def in_hand(self) -> int:
        """Jobs taken and not ended."""
        return len(self._jobs)

    @property
    def bucket(self) -> TokenBucket | None:
        """The rate limit; None where there is none."""
        return self._bucket

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are taken."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Take jobs until `stop`."""
        while not self.stopping:
            if not await self._or_stop(self._places.acquire()):
                break
            if not await self._admitted():
                break
            asked_at = time.monotonic()
            if not await self._token():
                break
            got_at = time.monotonic()
            job = await self._queue.take()
            if job is None:
                break
            if self.stopping:
                await self._return_unbegun(job)
                break
            if not self._neighbours.admit(self.in_hand):
                await self._return_unbegun(job)
                self._places.release()
                if self._bucket:
                    self._bucket.give_back(time.monotonic())
                continue
            now = time.monotonic()
            if self._bucket:
                self._bucket.renew(now)
            if now - got_at < HELD_BACK_S < got_at - asked_at:
                self._held_back(got_at - asked_at)
            task = asyncio.create_task(self._serve(job), name=f"job {job.id}")
            self._jobs.add(task)
            task.add_done_callback(self._done)

    def stop(self) -> None:
        """Take no more jobs; those in hand go on."""
        self._stopping.set()
        self._queue.stop()

    async def idle(self) -> None:
        """Wait until no job is in hand."""
        while self._jobs:
            await asyncio.wait(self._jobs)

    async def interrupt(self, within_s: float = INTERRUPT_S) -> int:
        """Interrupt the jobs in hand, which gives them back to the queue; return how many they were.

        One that has not ended after `within_s` is interrupted again.
        """
        left = list(self._jobs)
        await _cancelled(await _cancelled(left, within_s), AGAIN_S)
        return len(left)

    async def _serve(self, job: Job) -> None:
        following: Job | None = job
        token_taken = False

        def may_fetch() -> bool:
            nonlocal token_taken
            token_taken = self._token_at_once()
            return token_taken

        try:
            while following is not None:
                self._taken(following)
                token_taken = False
                following = await self._run_job(following, may_fetch)
        finally:
            self._places.release()
            if token_taken and self._bucket:
                self._bucket.give_back(time.monotonic())

    def _token_at_once(self) -> bool:
        # The job that asks is still in hand, and will not be.
        if self.stopping or not self._neighbours.admit(self.in_hand - 1):
            return False
        return self._bucket is None or self._bucket.take(time.monotonic()) == 0.0

    async def _admitted(self) -> bool:
        """Wait until every neighbour admits a job; False when stopped meanwhile."""
        while not self._neighbours.admit(self.in_hand):
            if not await self._or_stop(self._something_changed()):
                return False
        return True

    async def _something_changed(self) -> bool:
        self._ended.clear()
        waits = [asyncio.ensure_future(wait) for wait in (self._neighbours.changed(), self._ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return True

    async def _token(self) -> bool:
        """Wait for a token; False when stopped meanwhile."""
        if self._bucket is None:
            return True
        try:
            while wait_s := self._bucket.take(time.monotonic()):
                self.waits_for_token = True
                if not await self._or_stop(asyncio.sleep(wait_s, result=True)):
                    return False
            return True
        finally:
            self.waits_for_token = False

    def _taken(self, job: Job) -> None:
        self._metrics.taken()
        waited_s = age_s(due_ms(job.timestamp_ms, job.delay_ms), time.time_ns() // 1_000_000)
        # Of a later attempt, nobody knows since when it was due.
        if job.attempt == 1 and job.timestamp_ms and waited_s is not None:
            self._metrics.waited(waited_s)

    async def _return_unbegun(self, job: Job) -> None:
        """Give back a job that came when it was too late to begin it."""
        try:
            await self._queue.give_back(job)
            self.given_back += self.stopping
        except (LockLost, QueueUnavailable) as error:
            self.stranded += self.stopping
            log.warning("job %s: cannot be given back, it will be found stalled: %s", job.id, error)

    def _held_back(self, seconds: float) -> None:
        self._metrics.held_back(seconds)
        if not self._said_held_back:
            self._said_held_back = True
            log.info("the rate limit is what holds the service back (RATE_LIMIT_MAX, RATE_LIMIT_DURATION_MS)")

    async def _or_stop(self, wait: Awaitable[bool]) -> bool:
        waiting = asyncio.ensure_future(wait)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((waiting, stop), return_when=asyncio.FIRST_COMPLETED)
            return waiting.done() and not self.stopping
        finally:
            for task in (waiting, stop):
                task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._ended.set()
        if not task.cancelled() and task.exception() and not isinstance(task.exception(), FleetHalted):
            log.error("a job's line broke", exc_info=task.exception())


async def _cancelled(tasks: list[asyncio.Task[None]], within_s: float) -> list[asyncio.Task[None]]:
    """Cancel the tasks, wait for their end at most `within_s`, and return those that have not ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=within_s)
    return [task for task in tasks if not task.done()]
