"""Place, token, job: takes jobs as fast as there is room and the rate limit allows, and no faster.

Rule 1: a job is taken only when there is a place and a token for it: what is taken is begun at once.
Rule 2: a job that ends may bring the next one along; it needs a token like any other, and keeps the place.
Rule 3: no job is taken while a neighbour is away, or an operator has paused this host; one that comes at that moment
        goes back.
Rule 4: places and rate may change at any time. Fewer places wait for jobs to end; another rate begins without a burst.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from fastproc.core.errors import FleetHalted, LockLost, QueueUnavailable
from fastproc.core.fields import of_job
from fastproc.core.limit import TokenBucket
from fastproc.core.model import Job
from fastproc.core.pace import age_s, due_ms
from fastproc.core.rates import Rate
from fastproc.supervisor.all_neighbours import Neighbours, first_of
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.places import Places
from fastproc.supervisor.ports import Queue
from fastproc.supervisor.rate_limit import RateLimit
from fastproc.supervisor.seldom import Seldom

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
        self._queue, self._run_job, self._metrics = queue, run_job, metrics
        self.rate = RateLimit(bucket)
        self._neighbours = neighbours
        self.places = Places(max_in_hand)
        #: Whether an operator wants no jobs to be taken here.
        self.paused = False
        self._stirred = asyncio.Event()
        self._stopping = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._said_held_back = False
        self._seldom = Seldom(log)
        #: Jobs that came after `stop` and went back to the queue, and those that could not.
        self.given_back = self.stranded = 0

    @property
    def in_hand(self) -> int:
        """Jobs taken and not ended."""
        return len(self._jobs)

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are taken."""
        return self._stopping.is_set()

    def may_take(self) -> bool:
        """Whether a job may be taken that needs no place: no stop was asked for, and no neighbour is away."""
        return not self.stopping and self._neighbours.admit(self.in_hand)

    async def run(self) -> None:
        """Take jobs until `stop`."""
        while not self.stopping:
            if not await self._or_stop(self.places.take()):
                break
            if not await self._admitted():
                break
            asked_at = time.monotonic()
            if not (self.rate.at_once() or await self._or_stop(self.rate.token())):
                break
            if not self._admits(self.in_hand):
                self._unused()
                continue
            got_at = time.monotonic()
            job = await self._queue.take()
            if job is None:
                break
            if self.stopping:
                await self._return_unbegun(job)
                break
            if not self._admits(self.in_hand):
                await self._return_unbegun(job)
                self._unused()
                continue
            now = time.monotonic()
            self.rate.renew()
            if now - got_at < HELD_BACK_S < got_at - asked_at:
                self._held_back(got_at - asked_at)
            self._begin(job, self._serve(job))

    def run_aside(self, job: Job) -> None:
        """Run a job that was taken by somebody else, only to be ended: it needs no place and no token."""
        self._begin(job, self._end(job))

    def stop(self) -> None:
        """Take no more jobs; those in hand go on."""
        self._stopping.set()
        self._queue.stop()

    def pause(self, paused: bool) -> None:
        """Take no jobs for now, those in hand go on; or take them again."""
        self.paused = paused
        self._stirred.set()

    def limit(self, rate: Rate) -> None:
        """Let jobs start at this rate from now on."""
        self._said_held_back = False
        self.rate.change(rate)

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

    def _begin(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"job {job.id}")
        self._jobs.add(task)
        task.add_done_callback(partial(self._done, job))

    async def _end(self, job: Job) -> None:
        self._metrics.taken()
        await self._run_job(job, lambda: False)

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
            self.places.leave()
            if token_taken:
                self.rate.give_back()

    def _token_at_once(self) -> bool:
        # The job that asks is still in hand, and will not be.
        if self.stopping or self.places.are_over or not self._admits(self.in_hand - 1):
            return False
        return self.rate.at_once()

    def _admits(self, in_hand: int) -> bool:
        return not self.paused and self._neighbours.admit(in_hand)

    def _unused(self) -> None:
        """The place and the token that were taken are for no job."""
        self.places.leave()
        self.rate.give_back()

    async def _admitted(self) -> bool:
        """Wait until a job may be taken; False when stopped meanwhile."""
        while True:
            self._stirred.clear()
            if self._admits(self.in_hand):
                return True
            if not await self._or_stop(self._something_changed()):
                return False

    async def _something_changed(self) -> bool:
        await first_of(self._neighbours.changed(), self._stirred.wait())
        return True

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
            self._seldom.warn("cannot be given back, it will be found stalled: %s", error, extra=of_job(job))

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
            waiting.cancel()
            stop.cancel()

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._stirred.set()
        if not task.cancelled() and task.exception() and not isinstance(task.exception(), FleetHalted):
            log.error("a job's line broke", exc_info=task.exception(), extra=of_job(job))


async def _cancelled(tasks: list[asyncio.Task[None]], within_s: float) -> list[asyncio.Task[None]]:
    """Cancel the tasks, wait for their end at most `within_s`, and return those that have not ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=within_s)
    return [task for task in tasks if not task.done()]
