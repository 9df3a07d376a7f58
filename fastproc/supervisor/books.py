"""The books of a service: how it does, what has failed, what nobody expected. The line of a job writes, others read."""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from fastproc.core.model import Completed, Ended, Job
from fastproc.supervisor.defects import Defects
from fastproc.supervisor.failures import Failures
from fastproc.supervisor.health import Health
from fastproc.supervisor.ports import Queue
from fastproc.supervisor.readiness import Readiness


class Books(Struct, frozen=True, kw_only=True):
    """Three books, each of its own kind."""

    health: Health = field(default_factory=lambda: Health(Readiness()))
    failures: Failures = field(default_factory=Failures)
    defects: Defects = field(default_factory=Defects)

    def ended(self, job: Job, end: Completed | Ended, seconds: float) -> None:
        """A job's attempt ended, `seconds` after it was taken."""
        self.health.ended(end, seconds)
        self.failures.ended(job, end)

    async def run(self, queue: Queue) -> None:
        """Keep them, without end."""
        await asyncio.gather(self.health.run(queue), self.failures.run())
