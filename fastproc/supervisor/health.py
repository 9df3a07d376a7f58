"""Knows how the service does, for /health and for the log: counts jobs, and asks the queue now and then what waits.

Rule 1: `core.health` judges; here is the clock, the question and the log line.
Rule 2: what jobs lack is not asked again: /ready's conditions are the reasons why none is taken.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from fastproc.core import health, pace
from fastproc.core.errors import QueueUnavailable
from fastproc.core.health import Backlog, Figures, Now
from fastproc.core.model import Completed, Ended
from fastproc.core.pace import Mark
from fastproc.supervisor.ports import Queue
from fastproc.supervisor.readiness import Readiness

log = logging.getLogger(__name__)

#: How often the queue is asked what waits (some twenty small commands), and the longest wait for the answer.
LOOK_S: Final = 10.0
ANSWER_S: Final = 2.0
#: So many looks at least make a service stale.
LOOKS: Final = 3


class Rules(Struct, frozen=True):
    """HEALTH_STALE_S, and HEALTH_LOG_S (0: no line)."""

    stale_s: float = 300.0
    log_s: float = 0.0


class Health:
    """`in_hand` counts the jobs in hand, `paused` says why no job shall be taken here; the service sets both."""

    def __init__(self, readiness: Readiness, rules: Rules | None = None) -> None:
        self._readiness, self._rules = readiness, rules or Rules()
        self._figures = Figures()
        self._backlog: Backlog | None = None
        self._waits_since: float | None = None
        self._marks: tuple[Mark, ...] = ()
        self._began_at = time.monotonic()
        self.in_hand: Callable[[], int] = lambda: 0
        self.paused: Callable[[], str] = lambda: ""

    def ended(self, end: Completed | Ended, seconds: float) -> None:
        """A job's attempt ended, `seconds` after it was taken."""
        self._figures = health.counted(self._figures, end, seconds, time.monotonic())

    def answer(self) -> tuple[bool, Mapping[str, Any]]:
        """Return whether an orchestrator shall restart the service, and the body of /health."""
        now = self._now()
        body = health.answer(self._figures, now, self._rules.stale_s, time.time_ns() // 1_000_000)
        problems = [*self._readiness.stuck(), *self._readiness.found()]
        failing = health.is_failing(body["status"], now.in_hand)
        return failing, {**body, **({"problems": problems} if problems else {})}

    @property
    def backlog(self) -> Backlog | None:
        """What the queue had at the last look, at most LOOK_S ago; None where nobody knows."""
        return self._backlog

    @property
    def pace(self) -> float | None:
        """Jobs a second that this service brings to their end while jobs wait; None where nobody knows."""
        return pace.pace(self._marks, time.monotonic(), self._ended_for_good)

    @property
    def backlog_s(self) -> float | None:
        """Seconds that this service alone takes for what waits; None where nobody knows."""
        waiting = self._backlog.waiting if self._backlog else None
        return pace.backlog_s(waiting, self.pace, stopped=self._is_stopped)

    @property
    def _is_stopped(self) -> bool:
        is_paused = bool(self.paused()) or (self._backlog is not None and self._backlog.paused)
        return is_paused or bool(self._readiness.now().problems)

    @property
    def _ended_for_good(self) -> int:
        return self._figures.processed + self._figures.failed

    async def run(self, queue: Queue) -> None:
        """Look at the queue and log, without end."""
        loops = [self._look_without_end(queue)]
        if self._rules.log_s:
            loops.append(self._log_without_end(self._rules.log_s))
        await asyncio.gather(*loops)

    async def look(self, queue: Queue) -> None:
        """Ask the queue once what waits."""
        try:
            async with asyncio.timeout(ANSWER_S):
                self._backlog = await queue.backlog()
        except (QueueUnavailable, TimeoutError):
            # /ready says so, and the outage has its own line in the log.
            self._backlog = None
        now = self._now()
        self._waits_since = now.waits_since
        waits = bool(now.waiting) and not self._is_stopped
        self._marks = pace.marked(self._marks, Mark(now.at, self._ended_for_good, waits))

    async def _look_without_end(self, queue: Queue) -> None:
        while True:
            await self.look(queue)
            await asyncio.sleep(min(LOOK_S, self._rules.stale_s / LOOKS))

    async def _log_without_end(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            now = self._now()
            is_well = health.status(self._figures, now, self._rules.stale_s) == "healthy"
            level = logging.INFO if is_well else logging.WARNING
            log.log(level, "%s", health.line(self._figures, now, self._rules.stale_s))

    def _now(self) -> Now:
        at = time.monotonic()
        waiting = self._backlog.waiting if self._backlog else None
        held = next(
            (f"{name}: {problem}" for name, problem in self._readiness.now().problems.items()),
            self.paused() or (self._backlog.held if self._backlog else ""),
        )
        return Now(
            at=at,
            uptime_s=at - self._began_at,
            in_hand=self.in_hand(),
            waiting=waiting,
            held=held,
            waits_since=health.waits_since(self._waits_since, waiting, held, at),
            stuck=bool(self._readiness.stuck()),
        )
