"""Serves the queue with parts that are built and started: runs jobs until it is asked to stop, or a part breaks.

Rule 1: a part that ends by itself (a loop of the service, the worker pool) ends the service; the jobs in hand go back.
Rule 2: after a request to stop no job is taken; those in hand have the grace period, then they go back uncounted. The
        last line says how many did, and how many could not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from fastproc.core.limit import TokenBucket
from fastproc.core.rates import Rate
from fastproc.supervisor import series, tracing
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.cancellations import Cancellations
from fastproc.supervisor.guards import guards
from fastproc.supervisor.health import Health
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.kernel import Kernel
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.stopping import StopRequest
from fastproc.supervisor.watchdog import Watchdog

log = logging.getLogger(__name__)

#: Longest waits, after the grace: for a fetch that is under way, for jobs to go back, for loops to end. Together with
#: `stopping.CLOSE_S` they are less than the 3 s that a stop may take longer than the grace.
LAST_FETCH_S, RETURN_S, LOOPS_S = 0.3, 1.2, 0.2


class Rules(Struct, frozen=True, kw_only=True):
    """The service's numbers. `rate_max` jobs may start in `rate_s` seconds (0: no limit); the rest as in the README.

    `rate_full`: at once, at the start.
    """

    stages: tuple[str, ...]
    max_in_hand: int
    max_inflight_bytes: int
    lock_s: float
    sweep_s: float
    grace_s: float
    rate_max: int
    rate_s: float
    rate_full: bool = True


class Service:
    """One queue, served by one supervisor."""

    def __init__(
        self,
        ports: Ports,
        rules: Rules,
        metrics: Metrics,
        stop: StopRequest,
        kernel: Kernel,
        watchdog: Watchdog,
    ) -> None:
        self._rules, self._stop = rules, stop
        self._queue, self._quarantine = ports.queue, ports.quarantine
        self.kernel, self._watchdog = kernel, watchdog
        self._locks = LockKeeper(
            ports.queue, rules.lock_s, rules.sweep_s, lambda ids: metrics.stalled(len(ids))
        )
        budget = ByteBudget(rules.max_inflight_bytes)
        self.guards = guards(ports.objects, ports.metadata)
        self._neighbours = Neighbours((*self.guards.all, kernel))
        if ports.tracer:
            ports = tracing.traced(ports)
        line = self._line = JobLine(ports, self.guards, self._locks, budget, rules.stages, metrics)
        run = tracing.followed(line.run, ports.tracer) if ports.tracer else line.run
        limit = _bucket(rules)
        self.rate = Rate(rules.rate_max, round(rules.rate_s * 1000))
        self._intake = Intake(
            ports.queue, watchdog.watched(run), rules.max_in_hand, limit, self._neighbours, metrics
        )
        #: Orders to cancel jobs; `look` obeys at once.
        self.cancellations = Cancellations(
            ports.queue, self._locks, self._intake.run_aside, self._intake.may_take
        )
        self._books, self.tally = ports.books, metrics.tally
        self._books.health.in_hand = lambda: self._intake.in_hand
        self._books.health.paused = lambda: "an operator has paused this host" if self.paused else ""
        self.guards.timed(metrics.step)
        series.watch_intake(metrics, self._intake)
        metrics.watch("inflight_bytes", "Photo bytes held", lambda: budget.held)

    def is_full(self) -> bool:
        """Whether there is no place for further jobs."""
        return self._intake.in_hand >= self._intake.places.size

    @property
    def health(self) -> Health:
        """How it does, for /health."""
        return self._books.health

    @property
    def in_hand(self) -> int:
        """Jobs taken and not ended."""
        return self._intake.in_hand

    @property
    def max_in_hand(self) -> int:
        """Most jobs in hand at once."""
        return self._intake.places.size

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are taken, until the end."""
        return self._intake.stopping

    @property
    def paused(self) -> bool:
        """Whether an operator has paused this host."""
        return self._intake.paused

    def pause(self, paused: bool) -> None:
        """Take no jobs for now, or take them again."""
        self._intake.pause(paused)

    def resize(self, max_in_hand: int) -> None:
        """Have so many jobs in hand at most from now on."""
        self._intake.places.resize(max_in_hand)

    def limit(self, rate: Rate) -> None:
        """Let jobs start at this rate from now on."""
        self.rate = rate
        self._intake.limit(rate)

    @property
    def neighbours(self) -> Mapping[str, Callable[[], str]]:
        """By name: says why a neighbour is away, "" where it is not."""
        reads, writes, rows = self.guards.reads, self.guards.writes, self.guards.rows
        return {
            "storage": lambda: reads.away or writes.away,
            "database": lambda: rows.away,
            "kernel": lambda: self.kernel.away,
        }

    @property
    def breakers(self) -> series.Breakers:
        """By name: how a neighbour's breaker stands."""
        guards = self.guards
        named = {"storage_reads": guards.reads, "storage_writes": guards.writes, "database": guards.rows}
        return {
            name: partial(getattr, each, "state") for name, each in (named | {"kernel": self.kernel}).items()
        }

    async def run(self, halted: asyncio.Future[None]) -> None:
        """Run jobs until the stop. `halted` fails when no worker will ever start. Raises: what broke; FleetHalted."""
        intake = asyncio.create_task(self._intake.run(), name="intake")
        locks = asyncio.create_task(self._locks.run(), name="locks")
        quarantine = asyncio.create_task(self._quarantine.tend(), name="quarantine")
        neighbours = asyncio.create_task(self._neighbours.watch(), name="neighbours")
        watchdog = asyncio.create_task(self._watchdog.run(), name="watchdog")
        queue = asyncio.create_task(self._queue.watch(), name="queue")
        books = asyncio.create_task(self._books.run(self._queue), name="books")
        cancellations = asyncio.create_task(self.cancellations.run(), name="cancellations")
        loops = (intake, locks, quarantine, neighbours, watchdog, queue, books, cancellations)
        try:
            await self._until_stopped_or_broken(halted, *loops)
        finally:
            self._intake.stop()
            await self._finish(intake)
            for loop in loops:
                loop.cancel()
            done, _ = await asyncio.wait(loops, timeout=LOOPS_S)
            await asyncio.gather(*done, return_exceptions=True)

    async def _until_stopped_or_broken(self, *parts: asyncio.Future[Any]) -> None:
        stop: asyncio.Future[Any] = asyncio.ensure_future(self._stop.asked.wait())
        try:
            done, _ = await asyncio.wait((stop, *parts), return_when=asyncio.FIRST_COMPLETED)
            for part in done - {stop}:
                part.result()
                raise RuntimeError(f"{part} has ended")
        finally:
            stop.cancel()

    async def _finish(self, intake: asyncio.Task[None]) -> None:
        """Wait for the jobs in hand as long as the rules and the request to stop allow; then they go back."""
        grace_s = self._rules.grace_s if self._stop.asked.is_set() else 0.0
        in_hand = self._intake.in_hand
        log.info("stopping: %d jobs in hand, %g s for them (SHUTDOWN_GRACE_S)", in_hand, grace_s)
        idle = asyncio.create_task(self._idle(intake))
        hurry = asyncio.create_task(self._stop.hurried.wait())
        await asyncio.wait((idle, hurry), timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.wait((intake,), timeout=LAST_FETCH_S)
        given_back, stranded = self._line.given_back, self._line.stranded
        await self._intake.interrupt(RETURN_S)
        log.info(
            "stopped; %d jobs went back to the queue, %d could not and will be found stalled%s",
            self._line.given_back - given_back + self._intake.given_back,
            self._line.stranded - stranded + self._intake.stranded + self._intake.in_hand,
            "" if intake.done() else "; a fetch got no answer, its job, if any, will be found stalled too",
        )

    async def _idle(self, intake: asyncio.Task[None]) -> None:
        # Its last fetch may still bring a job.
        await asyncio.wait((intake,))
        await self._intake.idle()


def _bucket(rules: Rules) -> TokenBucket | None:
    if not rules.rate_max:
        return None
    return TokenBucket(rules.rate_max, rules.rate_s, time.monotonic(), full=rules.rate_full)
