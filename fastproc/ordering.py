"""Gives the page's orders to whom they concern: the queue's own desk, or the services by the control channel.

Rule 1: what names no host and can be done in Redis is done there; the rest reaches the services, which answer.
Satisfies `desk.parts.Orders`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastproc.bullmq import control, hosts
from fastproc.bullmq.opening import queue_desk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.settings import Config
from fastproc.core.acts import Act, Outcome, Pause, Replay, Resume, RetryJobs, Set
from fastproc.core.errors import BY_CODE, FastprocError
from fastproc.core.job_view import STATES, Found, JobRow
from fastproc.core.snapshot import QueueNow, Snapshot


class Ordering:
    """The configured queue and its services, over the service's own connection."""

    def __init__(self, config: Config, pipe: Pipe) -> None:
        self._pipe = pipe
        self._keys = Keys(config.queue.prefix, config.queue.name)
        self._desk = queue_desk(config, pipe)

    async def now(self) -> QueueNow:
        """Return how the queue is. Raises QueueUnavailable."""
        return await self._desk.now()

    async def hosts(self) -> Sequence[Snapshot]:
        """Return what every supervisor of the queue says of itself. Raises QueueUnavailable."""
        return await hosts.read(self._pipe.call, self._keys)

    async def find(self, text: str) -> Found:
        """Look a job up. Raises QueueUnavailable."""
        return await self._desk.look_up(text)

    async def jobs(self, state: str, code: str, limit: int) -> Sequence[JobRow]:
        """Return the newest jobs. Raises QueueUnavailable; FastprocError for a state that there is not."""
        if state not in STATES:
            raise FastprocError(f"there is no state {state[:40]!r}, but {', '.join(STATES)}")
        _require(code)
        return await self._desk.jobs(state, code=code if state == "failed" else "", limit=limit)

    async def count(self, code: str) -> int:
        """Return how many failed jobs have the code. Raises QueueUnavailable."""
        _require(code)
        return len(await self._desk.chosen(RetryJobs(code=code)))

    async def act(self, act: Act, by: str) -> Outcome:
        """Do an act on the queue, or on hosts. Raises QueueUnavailable."""
        if isinstance(act, Replay):
            raise FastprocError("a replay is no affair of the queue")
        if isinstance(act, Set) or (isinstance(act, Pause | Resume) and act.host):
            return await control.order(self._pipe.call, self._keys, act, await self.hosts(), by=by)
        return await self._desk.act(act, by)


def _require(code: str) -> None:
    """Raises FastprocError for a code that there is not: all failed jobs would be read to find none."""
    if code and code not in BY_CODE:
        raise FastprocError(f"there is no code {code[:40]!r}")
