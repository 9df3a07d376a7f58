"""Lets failed jobs run again: these, those of one code, or all that have failed by now.

Rule 1: which jobs they are is decided before the first is retried, so that what fails meanwhile, again or for the first
        time, is not among them: no order goes on without end.
Rule 2: each job is one short call of BullMQ's own script, BATCH of them travel together: Redis serves others between.
Rule 3: what could not be retried is named with its reason.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final

from fastproc.bullmq.call import Call
from fastproc.bullmq.desk import rows
from fastproc.bullmq.desk.moves import Moves
from fastproc.bullmq.desk.reading import Jobs
from fastproc.bullmq.protocol import Keys, text
from fastproc.core.acts import Outcome, RetryJobs

#: Jobs that are read, or retried, in one batch: some milliseconds of Redis' time, and of ours. tuning.md
BATCH: Final = 200
#: Jobs that are named in words.
_NAMED: Final = 5


class Retrying:
    """One queue's failed jobs."""

    def __init__(self, call: Call, keys: Keys, moves: Moves, jobs: Jobs) -> None:
        self._call, self._keys, self._moves, self._jobs = call, keys, moves, jobs

    async def chosen(self, act: RetryJobs) -> list[str]:
        """Return the jobs that the order means now, the oldest failure first."""
        if act.ids:
            return list(dict.fromkeys(act.ids))[: act.limit or None]
        newest = await self._call("ZREVRANGE", self._keys("failed"), 0, 0)
        if not newest or not (act.code or act.everything):
            return []
        until = await self._call("ZSCORE", self._keys("failed"), newest[0])
        found: list[str] = []
        async for ids in self._pages(until):
            found += await self.of_code(act.code, ids) if act.code else ids
            if act.limit and len(found) >= act.limit:
                break
        return found[: act.limit or None]

    async def of_code(self, code: str, ids: Sequence[str]) -> list[str]:
        """Return those of the failed jobs whose reason begins with the code."""
        found = await asyncio.gather(*(self._call("HGET", self._keys(each), "failedReason") for each in ids))
        return [
            job_id for job_id, raw in zip(ids, found, strict=True) if raw and rows.code(text(raw)) == code
        ]

    async def retry(self, act: RetryJobs) -> Outcome:
        """Retry what the order means. Raises QueueUnavailable: some may run again already."""
        ids = await self.chosen(act)
        done = 0
        wrong: list[tuple[str, int]] = []
        for first in range(0, len(ids), BATCH):
            batch = ids[first : first + BATCH]
            replies = await self._batch(batch)
            done += sum(reply == 1 for reply in replies)
            wrong += [(job_id, reply) for job_id, reply in zip(batch, replies, strict=True) if reply != 1]
        words = f"{done} of {len(ids)} jobs run again"
        if not ids:
            return Outcome(ok=not act.ids, text="no such job has failed")
        if wrong:
            words += f"; not: {await self._why(wrong)}"
        return Outcome(ok=not wrong, count=done, text=words)

    async def _batch(self, ids: Sequence[str]) -> list[int]:
        asked = (self._call("HGET", self._keys(each), "opts") for each in ids)
        options = await asyncio.gather(*asked, return_exceptions=True)
        for error in options:
            # One of the queue's own keys, such as `wait`, is no job.
            if isinstance(error, BaseException) and not str(error).startswith("WRONGTYPE"):
                raise error
        return await asyncio.gather(
            *(
                self._moves.retry(job_id, first=not isinstance(raw, BaseException) and rows.pushes_first(raw))
                for job_id, raw in zip(ids, options, strict=True)
            )
        )

    async def _pages(self, until: bytes) -> AsyncIterator[list[str]]:
        """Yield the ids of failed jobs up to that score, each once, whatever is removed before it meanwhile.

        By score, not by place: Redis counts its way to a place, which is slow far behind.
        """
        since, skipped = b"-inf", 0
        while True:
            found = await self._call(
                "ZRANGEBYSCORE",
                self._keys("failed"),
                since,
                until,
                "WITHSCORES",
                "LIMIT",
                skipped,
                BATCH,
            )
            ids, scores = found[::2], found[1::2]
            if not ids:
                return
            yield [text(each) for each in ids]
            # Of several that failed in the same millisecond some may come with the next page.
            same = sum(score == scores[-1] for score in scores)
            skipped = skipped + same if scores[-1] == since else same
            since = scores[-1]

    async def _why(self, wrong: Sequence[tuple[str, int]]) -> str:
        named = wrong[:_NAMED]
        states = [(await self._jobs.state(job_id)).replace("unknown", "") for job_id, _ in named]
        words = [
            f"{job_id} ({f'it is {state}' if state else 'there is no such job'})"
            for (job_id, _), state in zip(named, states, strict=True)
        ]
        if more := len(wrong) - len(named):
            gone = Counter(reply for _, reply in wrong[_NAMED:])[-1]
            words.append(f"{more} more, {gone} of them gone")
        return ", ".join(words)
