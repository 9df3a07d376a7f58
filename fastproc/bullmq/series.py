"""Continues a job scheduler's series: BullMQ has no timer, so the consumer of one job produces the next.

Rule 1: the next job is produced when this one is taken and not when it ends, so that the series goes on whatever
        becomes of this one.
Rule 2: the taken job waits for that at most SERIES_PATIENCE_S. While Redis is away, producing is tried again until it
        is done, or the service stops.
Rule 3: a series that cannot be continued ends with an error in the log, and is no failure of the taken job.
Source: BullMQ src/classes/worker.ts, nextJobFromJobData.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

import msgspec

from fastproc.bullmq import scheduler
from fastproc.bullmq.client import Client, now_ms
from fastproc.bullmq.outage import retry_pause_s
from fastproc.bullmq.protocol import text
from fastproc.bullmq.scheduler import Iteration
from fastproc.core.errors import QueueUnavailable

log = logging.getLogger(__name__)

#: Longest wait for the next job of a series to be there before the taken one starts.
SERIES_PATIENCE_S = 2.0

#: What reading options raises that are not what BullMQ writes: patterns, zones, dates and numbers out of any range.
_UNREADABLE = (ArithmeticError, KeyError, OSError, RecursionError, TypeError, ValueError)


class Series:
    """The series of all schedulers of one queue."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._producing: set[asyncio.Task[None]] = set()

    async def job_taken(self, job_id: str, fields: Mapping[str, bytes]) -> None:
        """Produce the next job where a scheduler made this one; `fields` are its hash."""
        name = scheduler.scheduler_id(fields)
        if name is None:
            return
        producing = asyncio.create_task(self._continue(name, job_id, fields), name=f"scheduler {name}")
        self._producing.add(producing)
        producing.add_done_callback(self._producing.discard)
        # Listeners expect the next job before this one's end; but Redis' trouble must not keep this one.
        await asyncio.wait((producing,), timeout=SERIES_PATIENCE_S)

    async def close(self) -> None:
        """Stop producing; what is not produced yet stays undone. Idempotent."""
        tasks = list(self._producing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _continue(self, name: str, job_id: str, fields: Mapping[str, bytes]) -> None:
        try:
            options = msgspec.json.decode(fields.get("opts", b"{}"), type=dict[str, object])
            local = datetime.now().astimezone().tzinfo
            iteration = scheduler.following(name, text(fields.get("data", b"{}")), options, now_ms(), local)
            failures = 0
            while iteration is not None:
                try:
                    await self._produce(job_id, iteration)
                    return
                except QueueUnavailable as error:
                    failures += 1
                    log.debug("scheduler %s: not continued yet: %s", name, error)
                    await asyncio.sleep(retry_pause_s(failures))
        except _UNREADABLE as error:
            log.error("scheduler %s: cannot be continued after job %s: %s", name, job_id, error)

    async def _produce(self, job_id: str, iteration: Iteration) -> None:
        name, data = iteration.scheduler_id, iteration.data
        known = await self._client.scheduler_fields(name)
        if scheduler.looks_legacy(name) and "ic" not in known:
            log.warning(
                "job %s: repeats by a rule of BullMQ 3 or older (%s), which is not continued", job_id, name
            )
            return
        if known and "data" not in known and data not in ("", "{}"):
            # The v6 script takes the data from here alone, where jobs added with `repeat` by v5 have put none.
            await self._client.set_scheduler_data(name, data)
        await self._client.update_job_scheduler(job_id, iteration)
