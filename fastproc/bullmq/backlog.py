"""What waits in the queue, and why no worker may take it now: the pause, the limits, the rest that BullMQ knows.

Source: BullMQ src/commands/includes/isQueuePausedOrMaxed, getRateLimitTTL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from fastproc.bullmq.protocol import Keys
from fastproc.core.health import Backlog

#: What `queue.rateLimit` sets the limiter's counter to. Source: BullMQ queue.ts rateLimit, Number.MAX_SAFE_INTEGER.
RESTING: Final = 2**53 - 1


class Call(Protocol):
    """Sends one Redis command soon; the future brings its reply."""

    def __call__(self, *command: str | bytes | int) -> asyncio.Future[Any]: ...


async def read_backlog(call: Call, keys: Keys) -> Backlog:
    """Ask by seven small commands, in one batch. Raises QueueUnavailable."""
    replies = await asyncio.gather(
        call("LLEN", keys("wait")),
        call("ZCARD", keys("prioritized")),
        # Where the jobs of a paused queue lie until version 5 of BullMQ.
        call("LLEN", keys("paused")),
        call("LLEN", keys("active")),
        call("HMGET", keys("meta"), "paused", "concurrency", "max"),
        call("GET", keys("limiter")),
        call("PTTL", keys("limiter")),
    )
    return judged(*replies)


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
