"""What waits in the queue, since when, and why no worker may take it now: the pause, the limits, the rest BullMQ knows.

Rule 1: asked by plain commands that BullMQ's scripts use as well, so that the rights of docs/security.md suffice.
Rule 2: the cost does not grow with the queue: lengths, and the jobs at the ends of lists and sets.
Source: BullMQ src/commands/includes/isQueuePausedOrMaxed, getRateLimitTTL; queue-getters.ts getJobCounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fastproc.bullmq.call import Call
from fastproc.bullmq.protocol import Keys, text
from fastproc.core.health import Backlog
from fastproc.core.pace import due_ms

#: What `queue.rateLimit` sets the limiter's counter to. Source: BullMQ queue.ts rateLimit, Number.MAX_SAFE_INTEGER.
RESTING: Final = 2**53 - 1
#: A prioritized job's score is its priority times this, and a counter. Source: BullMQ includes/getPriorityScore.
PRIORITY: Final = 2**32
#: States in which a job has ended.
FINISHED: Final = ("completed", "failed")


#: What says since when a job could have been taken. BullMQ before version 5 counts attempts in `attemptsMade`.
AGE: Final = ("timestamp", "opts", "atm", "attemptsMade")


class _Options(Struct):
    delay: float = 0.0


_options_decoder = msgspec.json.Decoder(_Options)


async def read_backlog(call: Call, keys: Keys) -> Backlog:
    """Ask by some twenty small commands, in three batches. Raises QueueUnavailable."""
    lists, sets = ("wait", "active", "paused"), ("delayed", "prioritized", "waiting-children", *FINISHED)
    replies = await asyncio.gather(
        *(call("LLEN", keys(state)) for state in lists),
        *(call("ZCARD", keys(state)) for state in sets),
        call("HMGET", keys("meta"), "paused", "concurrency", "max"),
        call("GET", keys("limiter")),
        call("PTTL", keys("limiter")),
        # The next to be taken and the last, since `lifo` turns the order around. `paused` is where the jobs of a paused
        # queue lie, until version 5 of BullMQ.
        *(call("LRANGE", keys(state), end, end) for state in ("wait", "paused") for end in (0, -1)),
        call("ZRANGE", keys("prioritized"), 0, 0),
        call("ZRANGE", keys("prioritized"), -1, -1, "WITHSCORES"),
    )
    counts = dict(zip((*lists, *sets), replies, strict=False))
    meta, count, left_ms, *ends, last = replies[len(counts) :]
    found = judged(
        counts["wait"], counts["prioritized"], counts["paused"], counts["active"], meta, count, left_ms
    )
    ids = [job_id for end in (*ends, await _first_of_the_last(call, keys, last)) for job_id in end]
    return replace(
        found,
        counts={"waiting" if state == "wait" else state: number for state, number in counts.items()},
        oldest_ms=await _oldest_ms(call, keys, ids),
        paused=meta[0] is not None,
    )


async def _first_of_the_last(call: Call, keys: Keys, last: Sequence[Any]) -> Sequence[Any]:
    """Return the oldest job of the lowest priority, which waits the longest: all others are taken before it."""
    if not last:
        return ()
    first = int(float(last[1])) // PRIORITY * PRIORITY
    found: Sequence[Any] = await call("ZRANGEBYSCORE", keys("prioritized"), first, "+inf", "LIMIT", 0, 1)
    return found


async def _oldest_ms(call: Call, keys: Keys, ids: Sequence[Any]) -> int | None:
    """Return since when the oldest of these jobs could have been taken; None where nobody knows.

    Those that are gone by now do not count, nor those that had an attempt: no field of theirs says when they were put
    back, after a pause or by an operator days later.
    """
    jobs = await asyncio.gather(*(call("HMGET", keys(text(job_id)), *AGE) for job_id in {*ids}))
    return min(
        (
            due_ms(int(at), _delay_ms(opts))
            for at, opts, *made in jobs
            if at and at.isdigit() and not any(_number(count, 0) for count in made)
        ),
        default=None,
    )


def _delay_ms(opts: bytes | None) -> float:
    """Return the delay that a job's options ask for; 0 where they make no sense, which its job is failed for."""
    try:
        return _options_decoder.decode(opts or b"{}").delay
    except (ValueError, RecursionError):
        return 0.0


def judged(
    wait: int, prioritized: int, paused: int, active: int, meta: Sequence[Any], count: Any, left_ms: int
) -> Backlog:
    """Return what the replies mean."""
    waiting = wait + prioritized + paused
    is_paused, concurrency, most = meta
    if is_paused is not None:
        return Backlog(waiting, "the queue is paused")
    if concurrency is not None and active >= _number(concurrency, active + 1):
        return Backlog(waiting, "the queue's global concurrency is in use")
    # Without a limit of its own, only a queue that was told to rest has a counter that counts.
    if left_ms > 0 and _number(count, 0) >= _number(most, RESTING):
        return Backlog(waiting, "the queue's rate limit is used up")
    return Backlog(waiting)


def _number(reply: Any, otherwise: int) -> int:
    return int(reply) if isinstance(reply, bytes) and reply.isdigit() else otherwise
