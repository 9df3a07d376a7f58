"""One queue as an operator sees and orders it: the shell's commands and the page ask it alike.

Rule 1: orders are BullMQ's own moves; what BullMQ has no move for (to cancel a job) is in `bullmq.cancelling`.
Rule 2: it needs a connection's `call` and no more: the service's own, or one that a command has opened.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from fastproc.bullmq.backlog import read_backlog
from fastproc.bullmq.call import Call
from fastproc.bullmq.client import now_ms
from fastproc.bullmq.desk.ending import Ending
from fastproc.bullmq.desk.moves import Moves
from fastproc.bullmq.desk.reading import PAGE, Jobs
from fastproc.bullmq.desk.retrying import Retrying
from fastproc.bullmq.protocol import Keys, text
from fastproc.bullmq.scripts import Script
from fastproc.core.acts import Cancel, Drain, Outcome, Pause, Resume, RetryJobs
from fastproc.core.job_view import STATES, Found, JobDetail, JobRow
from fastproc.core.pace import Trend, age_s
from fastproc.core.snapshot import QueueNow

QueueAct = RetryJobs | Cancel | Pause | Resume | Drain

#: Failed jobs that are looked through for those of one code.
MOST_LOOKED: Final = 20_000
#: From this version on BullMQ leaves the jobs of a paused queue where they wait, and counts no others.
COUNTS_NO_PAUSED: Final = 6
_MAJOR: Final = re.compile(r"bullmq:(\d{1,3})\.")
_ONE_HOST: Final = "one host alone is not the queue's affair: nothing was done"


class QueueDesk:
    """One queue. All methods raise QueueUnavailable."""

    def __init__(self, call: Call, keys: Keys, scripts: Mapping[str, Script]) -> None:
        self._call, self._keys = call, keys
        self._jobs, self._moves = Jobs(call, keys), Moves(call, keys, scripts)
        self._retrying = Retrying(call, keys, self._moves, self._jobs)
        self._ending = Ending(call, keys, self._jobs)
        self._trend = Trend()

    async def now(self) -> QueueNow:
        """Return how many jobs are in each state, since when the oldest waits, and why nobody may take one."""
        backlog = await read_backlog(self._call, self._keys)
        paused = backlog.counts["paused"]
        counts = {state: backlog.counts[state] for state in STATES} | {"paused": paused}
        now = QueueNow(
            name=self._keys.base.removesuffix(":"),
            # BullMQ 5 moves what waits to a list of its own while the queue is paused.
            counts=counts | {"waiting": backlog.counts["waiting"] + paused},
            paused=backlog.paused,
            held=backlog.held,
            oldest_s=age_s(backlog.oldest_ms, now_ms()),
        )
        return replace(now, growth_per_s=self._trend.of(now.waiting, time.monotonic()))

    async def jobs(self, state: str, *, code: str = "", offset: int = 0, limit: int = 50) -> list[JobRow]:
        """Return a page of the jobs in a state: what is next first, or what ended last. `code` is for `failed`.

        Of a code, the newest MOST_LOOKED failures are looked through.
        """
        if not code:
            return await self._jobs.rows(state, await self._jobs.ids(state, offset, limit))
        found: list[str] = []
        for first in range(0, MOST_LOOKED, PAGE):
            ids = await self._jobs.ids(state, first, PAGE)
            found += await self._retrying.of_code(code, ids)
            if len(ids) < PAGE or len(found) >= offset + limit:
                break
        return await self._jobs.rows(state, found[offset : offset + limit])

    async def find(self, words: str) -> JobDetail | None:
        """Return the job of that id, or one of the photo of that id."""
        return (await self._jobs.find(words)).job

    async def look_up(self, words: str) -> Found:
        """The same, with how many jobs were looked at for the photo."""
        return await self._jobs.find(words)

    async def chosen(self, act: RetryJobs) -> Sequence[str]:
        """Return the jobs that the order means at this moment."""
        return await self._retrying.chosen(act)

    async def act(self, act: QueueAct, by: str = "") -> Outcome:
        """Obey an order, and return what became of it. `by`: who gives it, for the services' logs."""
        match act:
            case RetryJobs():
                return await self._retrying.retry(act)
            case Cancel():
                return await self._ending.cancel(act, now_ms(), by)
            case Pause() | Resume() if act.host:
                return Outcome(ok=False, text=_ONE_HOST)
            case Pause():
                return await self._paused(wanted=True)
            case Resume():
                return await self._paused(wanted=False)
            case Drain():
                count = await self._moves.drain(delayed=act.delayed)
                return Outcome(ok=True, count=count, text=f"{count} jobs that waited are removed")

    async def _paused(self, *, wanted: bool) -> Outcome:
        changes = await self._moves.is_paused() is not wanted
        if changes:
            await (self._moves.pause() if wanted else self._moves.resume())
            said = "is paused: no worker takes a job, those in hand go on" if wanted else "is served again"
        else:
            said = "was paused before" if wanted else "was not paused"
        return Outcome(ok=True, count=int(changes), text=f"the queue {said}{await self._surprise()}")

    async def _surprise(self) -> str:
        """What the operator may not expect: a queue that is none, waiting jobs that BullMQ 6 does not count."""
        last_id, version, hidden = await asyncio.gather(
            self._call("GET", self._keys("id")),
            self._call("HGET", self._keys("meta"), "version"),
            self._call("LLEN", self._keys("paused")),
        )
        if last_id is None and version is None:
            name = self._keys.base.removesuffix(":")
            return f"; but no application has used {name} yet: are QUEUE_NAME and QUEUE_PREFIX right?"
        if hidden and (major := _MAJOR.match(text(version or b""))) and int(major[1]) >= COUNTS_NO_PAUSED:
            return f"; BullMQ {major[1]}, which the application has, counts {hidden} that wait again after `resume`"
        return ""
