"""Keeps the locks of all jobs in hand, and sweeps for the jobs of dead workers.

Rule 1: one renewal for all jobs, at a quarter of the lock's duration, as the official worker does. One that has failed
        is made again much sooner: the locks may be saved in the last moment of an outage.
Rule 2: a lock that is gone, or that could not be renewed until it must have run out, ends its job's effects at once.
        Time is the monotonic clock's: a wall clock that jumps costs no lock.
Rule 3: the queue allows one sweep an interval, whoever makes it. Each service asks several times an interval, at odd
        moments: one that slept for exactly the interval would come too early now and then, and lose the whole sweep.
Rule 4: an outage of the queue is logged by the queue, not here.
Rule 5: an operator's order interrupts a job only while that is in a `cancellable` block; after it the job ends as it
        would have. A lock that is lost at the same time, or the service's stop, goes before the order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastproc.core.cancellation import Mark
from fastproc.core.errors import Cancelled, LockLost, QueueUnavailable
from fastproc.core.fields import fields, of_job
from fastproc.core.model import Job
from fastproc.supervisor.ports import Queue

log = logging.getLogger(__name__)

#: How often locks are renewed in the time that they last, and how often that is tried while the queue is away.
NORMAL_TURNS, HASTY_TURNS = 4, 20
#: How often a sweep is asked for in the interval of which the queue allows one. It comes late by a part of that.
SWEEPS_ASKED = 10
#: Jobs that one line of the log names.
MOST_NAMED = 32


class _Held:
    """A job in hand: when its lock was last known good, and the task to interrupt when it is lost."""

    def __init__(self, job: Job, task: asyncio.Task[object]) -> None:
        self.job, self.task = job, task
        self.key = (job.id, job.token)
        self.good_at = time.monotonic()
        self.lost = False
        #: Whether an operator's order may interrupt it now, and the order once it has.
        self.cancellable = False
        self.cancelled: Mark | None = None


class LockKeeper:
    """The locks of this service's jobs. `on_stalled` is called with the ids that a sweep has put back."""

    def __init__(
        self, queue: Queue, lock_s: float, sweep_s: float, on_stalled: Callable[[list[str]], None]
    ) -> None:
        self._queue, self._lock_s, self._sweep_s = queue, lock_s, sweep_s
        self._on_stalled = on_stalled
        #: By id and token, as the lock itself: one id can be in hand twice (removed and added again while it runs).
        self._held: dict[tuple[str, str], _Held] = {}

    @asynccontextmanager
    async def hold(self, job: Job) -> AsyncIterator[None]:
        """Keep the job's lock while the block runs. Raises LockLost out of the block when it is lost."""
        task = asyncio.current_task()
        assert task is not None
        key = (job.id, job.token)
        held = self._held[key] = _Held(job, task)
        try:
            yield
        except asyncio.CancelledError:
            # As asyncio.timeout does: our own interruption becomes an error, anybody else's stays what it is.
            if held.lost and task.uncancel() == 0:
                raise LockLost(f"job {job.id}: its lock was lost", is_told=True) from None
            raise
        finally:
            self._held.pop(key, None)

    @asynccontextmanager
    async def cancellable(self, job: Job) -> AsyncIterator[None]:
        """Let `cancel` interrupt the job while the block runs, for a job that is held. Raises Cancelled out of it."""
        held = self._held[job.id, job.token]
        held.cancellable = True
        try:
            yield
        except asyncio.CancelledError:
            if held.cancelled and held.task.uncancel() == 0:
                raise Cancelled(held.cancelled.message) from None
            raise
        finally:
            held.cancellable = False

    def cancel(self, job_id: str, mark: Mark) -> bool:
        """Interrupt the job of that id, where that may be; return whether it is in hand."""
        found = [held for held in self._held.values() if held.job.id == job_id]
        for held in found:
            if held.cancellable and not held.cancelled and not held.lost:
                about = of_job(held.job, why=mark.why or None)
                log.warning("interrupted by an order of %s", mark.by or "an operator", extra=about)
                held.cancelled = mark
                held.task.cancel()
        return bool(found)

    def is_ours(self, job: Job) -> bool:
        """Whether the job's lock can still be ours: false once it must have run out, as after a stop of the process."""
        return time.monotonic() <= self.ours_until(job)

    def ours_until(self, job: Job) -> float:
        """The moment (monotonic) from which on the lock may be another's, unless it is renewed before."""
        held = self._held.get((job.id, job.token))
        return held.good_at + self._lock_s if held is not None and not held.lost else -math.inf

    async def run(self) -> None:
        """Renew and sweep until cancelled."""
        await asyncio.gather(self._renew_for_ever(), self._sweep_for_ever())

    async def renew(self) -> bool:
        """Renew the locks of all jobs that were not renewed just now, and interrupt those whose lock is lost.

        Returns False where the queue did not renew them.
        """
        asked_at = time.monotonic()
        due = [held for held in self._held.values() if asked_at - held.good_at > self._lock_s / 5]
        if not due:
            return True
        try:
            lost = await self._queue.extend_locks([held.job for held in due])
        except QueueUnavailable as error:
            log.debug("locks of %d jobs not renewed: %s", len(due), error)
            return False
        for held in due:
            if held.job not in lost:
                held.good_at = asked_at
        still = [held for held in due if held.job in lost and self._held.get(held.key) is held]
        self._interrupt(still, "it is gone or somebody else's")
        return True

    def expire(self) -> None:
        """Interrupt the jobs whose lock must have run out by now."""
        now = time.monotonic()
        late = [held for held in self._held.values() if now - held.good_at > self._lock_s]
        self._interrupt(late, "it could not be renewed in time")

    def _interrupt(self, those: list[_Held], why: str) -> None:
        """End the effects of these jobs. One line for all: an outage takes the locks of all in the same moment."""
        lost = [held for held in those if not held.lost]
        for held in lost:
            held.lost = True
            if not (held.cancelled and held.cancellable):
                held.task.cancel()
        if lost:
            ids = [held.job.id for held in lost[:MOST_NAMED]]
            log.warning(
                "abandoned, lock lost: %s", why, extra=fields(outcome="lost", jobs=len(lost), jobIds=ids)
            )

    async def _renew_for_ever(self) -> None:
        turns = NORMAL_TURNS
        while True:
            await asyncio.sleep(self._lock_s / turns)
            try:
                # Not longer than a turn: a Redis that hangs must not keep `expire` from its work.
                async with asyncio.timeout(self._lock_s / NORMAL_TURNS):
                    turns = NORMAL_TURNS if await self.renew() else HASTY_TURNS
            except TimeoutError:
                log.debug("locks not renewed: no answer")
                turns = HASTY_TURNS
            self.expire()

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                moved = await self._queue.sweep_stalled()
            except QueueUnavailable as error:
                log.debug("no sweep for stalled jobs: %s", error)
            else:
                if moved:
                    ids = moved[:MOST_NAMED]
                    log.warning("jobs of dead workers put back", extra=fields(jobs=len(moved), jobIds=ids))
                    self._on_stalled(moved)
            await asyncio.sleep(self._sweep_s / SWEEPS_ASKED * random.uniform(0.5, 1.5))
