"""BullMQ's scripts as methods, one a script, with the few plain reads beside them: call, send, read. No policy.

Rule 1: a script that refuses to move a job raises LockLost where the job is not ours any more, else Refused.
Rule 2: a move that frees an active place without a fetch writes the marker, since the scripts do not: a queue at its
        global concurrency has idle workers that nothing else would wake, and so has a prioritized job that goes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastproc.bullmq import cancelling, marks, protocol
from fastproc.bullmq.backlog import RESTING, read_backlog
from fastproc.bullmq.calls import ScriptCalls
from fastproc.bullmq.layouts import OF_ORDERS
from fastproc.bullmq.outage import Outage
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Arg, Fetch, Fetched, Keys, Outcome, Standing
from fastproc.bullmq.scheduler import ERROR_FIELD, Iteration
from fastproc.bullmq.scripts import Script
from fastproc.core.cancellation import Mark
from fastproc.core.errors import FastprocError, LockLost
from fastproc.core.health import Backlog


class Refused(FastprocError):
    """A script refused to move the job, which is still ours; `code` is its reply, the message BullMQ's own."""

    def __init__(self, job_id: str, code: int, script: str) -> None:
        super().__init__(protocol.refusal(job_id, code, script))
        self.code = code


class Client:
    """One queue's scripts, over one pipe, for one worker.

    `name` is what `processedBy` shows, `lock_duration_ms` how long a lock lasts.
    """

    def __init__(
        self, pipe: Pipe, keys: Keys, scripts: Mapping[str, Script], name: str, lock_duration_ms: int
    ) -> None:
        self._pipe, self._keys, self._calls = pipe, keys, ScriptCalls(pipe, keys, scripts)
        self._name, self._lock_duration_ms = name, lock_duration_ms

    @property
    def outage(self) -> Outage:
        """Where failures are reported."""
        return self._pipe.outage

    async def check(self) -> None:
        """Ask whether Redis takes our scripts and writes, by two commands that change nothing. Raises QueueUnavailable.

        A script is refused for its own rights, and a write that needs memory for all else: MISCONF, NOREPLICAS,
        READONLY, OOM. `ZADD XX` of the marker changes the score of one that is there, which is 0 already.
        """
        args = protocol.extend_locks(self._keys, [], [], self._lock_duration_ms)
        await asyncio.gather(
            self._calls.run("extendLocks", args), self._pipe.call("ZADD", self._keys("marker"), "XX", 0, "0")
        )

    async def move_to_active(self, token: str) -> Fetched:
        """Take the next job and lock it with the token, or learn when to ask again."""
        args = protocol.move_to_active(self._keys, now_ms(), self._fetch(token))
        return protocol.read_fetched(await self._calls.run("moveToActive", args))

    async def move_to_finished(
        self, job_id: str, token: str, outcome: Outcome, *, fetch_next: bool
    ) -> Fetched:
        """Finish a job and, with `fetch_next`, take the next one in the same step, locked with the same token."""
        args = protocol.move_to_finished(
            self._keys, now_ms(), self._fetch(token), job_id=job_id, outcome=outcome, fetch_next=fetch_next
        )
        reply = await self._calls.run("moveToFinished", args, job_id, outcome.target, wake=not fetch_next)
        return protocol.read_fetched(_accepted(reply, job_id, "moveToFinished"))

    async def move_to_delayed(
        self, job_id: str, token: str, delay_ms: int, fields: Mapping[str, str], *, fetch_next: bool
    ) -> Fetched:
        """Put a failed job aside for `delay_ms`, and take the next one likewise; counts the attempt."""
        args = protocol.move_to_delayed(
            self._keys,
            now_ms(),
            self._fetch(token),
            job_id=job_id,
            delay_ms=delay_ms,
            fields=fields,
            fetch_next=fetch_next,
        )
        reply = await self._calls.run("moveToDelayed", args, job_id, wake=not fetch_next)
        return protocol.read_fetched(_accepted(reply, job_id, "moveToDelayed"))

    async def delay_uncounted(self, job_id: str, token: str, delay_ms: int) -> None:
        """Put an active job aside for `delay_ms`; counts no attempt."""
        args = protocol.move_to_delayed(
            self._keys,
            now_ms(),
            self._fetch(token),
            job_id=job_id,
            delay_ms=delay_ms,
            fields={},
            fetch_next=False,
            skip_attempt=True,
        )
        _accepted(await self._calls.run("moveToDelayed", args, job_id, wake=True), job_id, "moveToDelayed")

    async def retry_job(self, job_id: str, token: str, fields: Mapping[str, str], *, first: bool) -> None:
        """Put a failed job back to wait, without delay; counts the attempt."""
        args = protocol.retry_job(
            self._keys, now_ms(), job_id=job_id, token=token, first=first, fields=fields
        )
        _accepted(await self._calls.run("retryJob", args, job_id), job_id, "retryJob")

    async def move_to_wait(self, job_id: str, token: str) -> None:
        """Give an active job back, to the head of the queue; counts no attempt."""
        args: list[Arg] = [job_id, token, self._keys(job_id)]
        reply = await self._calls.run("moveJobFromActiveToWait", args, wake=True)
        _accepted(reply, job_id, "moveJobFromActiveToWait")

    async def extend_locks(self, tokens: Sequence[str], job_ids: Sequence[str]) -> set[str]:
        """Renew the locks of jobs, by token and id side by side; return the ids whose lock is gone or another's."""
        args = protocol.extend_locks(self._keys, tokens, job_ids, self._lock_duration_ms)
        return {protocol.text(job_id) for job_id in await self._calls.run("extendLocks", args)}

    async def move_stalled_to_wait(self, max_stalled: int, interval_ms: int) -> list[str]:
        """Sweep for jobs whose worker is gone; return the ids that were moved. One sweep an interval at most."""
        args: list[Arg] = [max_stalled, self._keys.base, now_ms(), interval_ms]
        return [protocol.text(job_id) for job_id in await self._calls.run("moveStalledJobsToWait", args)]

    def update_progress(self, job_id: str, progress: str) -> None:
        """Set the job's progress, JSON text, soon, and before anything that is called later. Not worth a reply."""
        self._calls.marks.progress(job_id, progress)

    def add_log(self, job_id: str, row: str, keep: int | None) -> None:
        """Append a row to the job's log, likewise."""
        self._calls.marks.add_log(job_id, row, keep)

    async def update_job_scheduler(self, job_id: str, iteration: Iteration) -> None:
        """Produce a scheduler's next job; nothing happens when that was done before, or the scheduler is gone."""
        args = protocol.update_job_scheduler(
            self._keys,
            now_ms(),
            scheduler_id=iteration.scheduler_id,
            next_ms=iteration.next_ms,
            data=iteration.data,
            options=iteration.options,
            job_id=job_id,
        )
        await self._calls.run("updateJobScheduler", args, job_id)

    async def rest_ms(self) -> int:
        """Return for how long a queue without a limit was told to rest (`queue.rateLimit`); 0: it was not.

        Where the queue has a limit BullMQ's scripts look themselves.
        """
        key, call = self._keys("limiter"), self._pipe.call
        limit, count, left_ms = await asyncio.gather(
            call("HGET", self._keys("meta"), "max"), call("GET", key), call("PTTL", key)
        )
        if limit is not None or count is None or not count.isdigit() or int(count) < RESTING:
            return 0
        return max(0, int(left_ms))

    async def backlog(self) -> Backlog:
        """Return what waits, and why nobody may take it now."""
        return await read_backlog(self._pipe.call, self._keys)

    async def scheduler_fields(self, scheduler_id: str) -> frozenset[str]:
        """Return the names of the fields that a scheduler's record has; none where there is no record."""
        names = await self._pipe.call("HKEYS", self._keys(f"repeat:{scheduler_id}"))
        return frozenset(protocol.text(name) for name in names)

    async def set_scheduler_data(self, scheduler_id: str, data: str) -> None:
        """Give a scheduler's record the data of its jobs, JSON text, where it has none."""
        await self._pipe.call("HSETNX", self._keys(f"repeat:{scheduler_id}"), "data", protocol.clean(data))

    async def set_scheduler_error(self, scheduler_id: str, why: str) -> None:
        """Keep in a scheduler's record why its series cannot be continued; "": it can."""
        key = self._keys(f"repeat:{scheduler_id}")
        if why:
            await self._pipe.call("HSET", key, ERROR_FIELD, protocol.clean(why))
        else:
            await self._pipe.call("HDEL", key, ERROR_FIELD)

    async def standing(self, job_id: str) -> Standing:
        """Read where a job stands, for a move whose outcome is unknown."""
        key, call = self._keys(job_id), self._pipe.call
        lock, exists, completed, failed = await asyncio.gather(
            call("GET", f"{key}:lock"),
            call("EXISTS", key),
            call("ZSCORE", self._keys("completed"), job_id),
            call("ZSCORE", self._keys("failed"), job_id),
        )
        finished = completed is not None or failed is not None
        return Standing(protocol.text(lock) if lock is not None else None, bool(exists), finished)

    async def active_locks(self) -> dict[str, str]:
        """Return the lock tokens of all active jobs that have one, by job id."""
        ids = [protocol.text(raw) for raw in await self._pipe.call("LRANGE", self._keys("active"), 0, -1)]
        locks = await asyncio.gather(
            *(self._pipe.call("GET", f"{self._keys(job_id)}:lock") for job_id in ids)
        )
        return {
            job_id: protocol.text(lock) for job_id, lock in zip(ids, locks, strict=True) if lock is not None
        }

    async def cancelled(self) -> dict[str, Mark | None]:
        """Return the jobs that were told to end, each with its mark; None: it has ended, or is gone."""
        found = await self._pipe.call("ZRANGE", self._keys(cancelling.SET), 0, cancelling.MOST - 1)
        ids = [protocol.text(raw) for raw in found]
        fields = await asyncio.gather(
            *(self._pipe.call("HGET", self._keys(job_id), cancelling.FIELD) for job_id in ids)
        )
        return {job_id: cancelling.asked(raw) for job_id, raw in zip(ids, fields, strict=True)}

    async def take_cancelled(self, job_id: str, token: str) -> Fetched:
        """Take a job by its id that was told to end and waits, whatever its state."""
        args = cancelling.take(self._keys, job_id, token, self._lock_duration_ms, now_ms(), self._name)
        fields = cancelling.taken(await cancelling.TAKE.run(self._pipe.call, *args))
        return Fetched(job_id=job_id, fields=fields) if fields is not None else Fetched()

    def _fetch(self, token: str) -> Fetch:
        return Fetch(token=token, lock_duration_ms=self._lock_duration_ms, name=self._name)


def now_ms() -> int:
    """The wall clock, which is what BullMQ's times are by."""
    return time.time_ns() // 1_000_000


def greeting(scripts: Mapping[str, Script]) -> list[list[Arg]]:
    """The commands that load the scripts, for every new connection: BullMQ's that are called, and ours."""
    called = [each.source for name, each in scripts.items() if name not in marks.MIRRORED | OF_ORDERS]
    return [["SCRIPT", "LOAD", source] for source in (*called, marks.SCRIPT)]


def _accepted(reply: Any, job_id: str, script: str) -> Any:
    if not isinstance(reply, int) or reply >= 0:
        return reply
    if reply in protocol.NOT_OURS:
        raise LockLost(protocol.refusal(job_id, reply, script))
    raise Refused(job_id, reply, script)
