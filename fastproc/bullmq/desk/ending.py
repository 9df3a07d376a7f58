"""Cancels one job and waits for what became of it: marks it, and a service that takes or has it ends it.

Rule 1: what is said is what was seen: a job that completes meanwhile has completed, and one that nobody ends in time is
        said to be marked, with where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from msgspec import Struct

from fastproc.bullmq import cancelling, control
from fastproc.bullmq.call import Call
from fastproc.bullmq.desk.reading import Jobs
from fastproc.bullmq.protocol import Keys, text
from fastproc.core.acts import Cancel, Outcome
from fastproc.core.errors import Cancelled, QueueRefused

#: Longest wait for the end of a job: services are told and look once a second, a row or an event may take a moment.
WAIT_S: Final = 5.0
_ASK_S: Final = 0.05

_REFUSALS: Final = {
    "unknown": "there is no such job",
    "completed": "it has completed already",
    "failed": "it has failed already",
    "scheduled": "it is the next job of its scheduler, which would end with it: remove the scheduler, or wait until it"
    " runs",
}


class _Now(Struct, frozen=True):
    """What a marked job is now."""

    exists: bool
    completed: bool
    reason: str | None


class Ending:
    """One queue's orders to cancel."""

    def __init__(self, call: Call, keys: Keys, jobs: Jobs) -> None:
        self._call, self._keys, self._jobs = call, keys, jobs

    async def cancel(self, act: Cancel, now_ms: int, by: str) -> Outcome:
        """Mark the job, and wait a while for its end. Raises QueueUnavailable."""
        mark = cancelling.made(act.why, by, now_ms)
        said = text(await cancelling.MARK.run(self._call, *cancelling.mark(self._keys, act.job, mark)))
        if why := _REFUSALS.get(said):
            return Outcome(ok=False, text=f"job {act.job}: {why}")
        # Without the right to publish it takes until the services' next look.
        with contextlib.suppress(QueueRefused):
            await self._call("PUBLISH", control.channel(self._keys), control.message(act, by=by))
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        while loop.time() < until:
            if ended := _ended(act.job, await self._now(act.job)):
                return ended
            await asyncio.sleep(_ASK_S)
        return Outcome(ok=False, text=f"job {act.job}: {await self._still(act.job)}")

    async def _now(self, job_id: str) -> _Now:
        exists, completed, failed, reason = await asyncio.gather(
            self._call("EXISTS", self._keys(job_id)),
            self._call("ZSCORE", self._keys("completed"), job_id),
            self._call("ZSCORE", self._keys("failed"), job_id),
            self._call("HGET", self._keys(job_id), "failedReason"),
        )
        return _Now(bool(exists), completed is not None, text(reason or b"") if failed is not None else None)

    async def _still(self, job_id: str) -> str:
        state = await self._jobs.state(job_id)
        words = f"it was told to end, and is still {state}"
        if state != "active":
            return f"{words}: it ends as soon as a service of fastproc that can work looks at it"
        worker = text(await self._call("HGET", self._keys(job_id), "pb") or b"?")
        return (
            f"{words}, with {worker}: a service of fastproc ends it, or completes it where its results are written;"
            " a worker of Node does not know the order"
        )


def _ended(job_id: str, now: _Now) -> Outcome | None:
    if not now.exists:
        return Outcome(ok=True, count=1, text=f"job {job_id}: it has ended, and none of it is kept")
    if now.completed:
        return Outcome(ok=False, text=f"job {job_id}: it had all but ended, and has completed")
    if now.reason is None:
        return None
    if now.reason.startswith(f"{Cancelled.code}:"):
        return Outcome(ok=True, count=1, text=f"job {job_id} is cancelled")
    return Outcome(ok=False, text=f"job {job_id}: it has failed meanwhile: {now.reason}")
