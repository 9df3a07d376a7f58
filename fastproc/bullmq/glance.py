"""A glance at the queue for people who look: jobs by state, whether it is paused, what holds it.

Rule 1: lengths alone are asked for: the cost does not grow with the queue.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastproc.bullmq.backlog import Call, read_backlog
from fastproc.bullmq.protocol import Keys
from fastproc.core.snapshot import QueueNow

LISTS: Final = ("wait", "active", "paused")
SETS: Final = ("prioritized", "delayed", "completed", "failed")


async def glance(call: Call, keys: Keys, name: str) -> QueueNow:
    """Return how the queue stands. Raises QueueUnavailable."""
    backlog, *numbers = await asyncio.gather(
        read_backlog(call, keys),
        *(call("LLEN", keys(state)) for state in LISTS),
        *(call("ZCARD", keys(state)) for state in SETS),
    )
    paused = await call("HGET", keys("meta"), "paused")
    counts = dict(zip((*LISTS, *SETS), numbers, strict=True))
    return QueueNow(name=name, counts=counts, paused=paused is not None, held=backlog.held)
