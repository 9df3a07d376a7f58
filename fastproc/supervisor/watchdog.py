"""Watches the service itself: jobs without progress, tasks in no list, slots without a process, a loop that lags.

Rule 1: what must never be is mended and not waited for; each find is one line in the log, a count, and a word in
        /health for KEEP_S. `core.stuck` judges jobs; the pool mends its own.
Rule 2: /health fails only for what cannot be mended here. A loop that stands still answers nobody: what it does then
        goes to stderr, from a thread of its own, after STANDSTILL_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from fastproc.core.model import Job
from fastproc.core.stuck import LAG_S, Standing, Verdict, judge
from fastproc.supervisor import standing

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
#: How long /health shows a find.
KEEP_S: Final = 60.0
#: A loop that stands still for so long is shown on stderr (descriptor 2), frame by frame.
STANDSTILL_S: Final = 20.0
_STDERR: Final = 2

RunJob = Callable[[Job, Callable[[], bool]], Awaitable[Job | None]]


class Watchdog:
    """Looks once a second. `tend` mends the pool and returns what it found; a job's longest step takes `step_s`."""

    def __init__(self, tend: Callable[[], list[str]], step_s: float) -> None:
        self._tend, self._step_s = tend, step_s
        self._jobs: dict[asyncio.Task[object], tuple[Job, Standing]] = {}
        self._found: list[tuple[float, str]] = []
        self._stuck: list[str] = []
        self.finds = 0
        self.lag_s = 0.0

    def watched(self, run: RunJob) -> RunJob:
        """Return `run` for jobs that this watchdog sees."""

        async def seen(job: Job, may_fetch: Callable[[], bool]) -> Job | None:
            task = asyncio.current_task()
            assert task is not None
            with standing.standing() as at:
                self._jobs[task] = (job, at)
                try:
                    return await run(job, may_fetch)
                finally:
                    del self._jobs[task]

        return seen

    def jobs(self) -> Sequence[tuple[Job, Standing]]:
        """The jobs in hand, and where each stands."""
        return tuple(self._jobs.values())

    def found(self) -> Sequence[str]:
        """What was found, and mended, in the last minute."""
        since = time.monotonic() - KEEP_S
        return [what for at, what in self._found if at >= since]

    def stuck(self) -> Sequence[str]:
        """What is stuck and cannot be mended here."""
        return tuple(self._stuck)

    async def run(self) -> None:
        """Look, without end."""
        with _without_waits(_STDERR) as told:
            try:
                while True:
                    with contextlib.suppress(ValueError, OSError):
                        # A service without stderr has nobody to tell.
                        faulthandler.dump_traceback_later(STANDSTILL_S, file=told)
                    asleep_at = time.monotonic()
                    await asyncio.sleep(LOOK_S)
                    self.look(time.monotonic() - asleep_at - LOOK_S)
            finally:
                faulthandler.cancel_dump_traceback_later()

    def look(self, late_s: float) -> None:
        """Look once, `late_s` later than intended."""
        now = time.monotonic()
        self.lag_s = max(0.0, late_s)
        self._found = [each for each in self._found if now - each[0] <= KEEP_S]
        if late_s > LAG_S:
            self._report(f"the event loop was {late_s:.1f} s late")
        for what in self._tend():
            self._report(what)
        self._stuck = []
        for task, (job, at) in list(self._jobs.items()):
            self._look_at(task, job, at, now)

    def _look_at(self, task: asyncio.Task[object], job: Job, at: Standing, now: float) -> None:
        match judge(at, now, self._step_s):
            case Verdict.INTERRUPT:
                self._report(f"job {job.id} made no progress for {now - at.since:.0f} s: {at.step}")
                at.interrupted_at = now
                task.cancel()
            case Verdict.STUCK:
                self._stuck.append(f"job {job.id} does not end: {at.step}")
            case Verdict.FINE:
                pass

    def _report(self, what: str) -> None:
        self.finds += 1
        self._found.append((time.monotonic(), what))
        log.error("watchdog: %s", what)


@contextlib.contextmanager
def _without_waits(fd: int) -> Iterator[int]:
    """Yield another descriptor of the same pipe, terminal or file, in which no write waits for a reader.

    faulthandler writes in a thread of its own, for which the next call waits. A socket has no other: `fd` itself.
    """
    try:
        other = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        yield fd
        return
    try:
        yield other
    finally:
        os.close(other)
