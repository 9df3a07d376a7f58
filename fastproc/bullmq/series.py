"""Continues a job scheduler's series: BullMQ has no timer, so the consumer of one job produces the next.

Rule 1: the next job is produced when this one is taken and not when it ends, so that the series goes on whatever
        becomes of this one.
Rule 2: the taken job waits for that at most SERIES_PATIENCE_S. While Redis is away, producing is tried again until it
        is done, or the service stops.
Rule 3: a series that cannot be continued is no failure of the taken job. Its error is logged once, counted, and kept in
        the scheduler's record (`fastproc status`) until a later job of it is produced.
Source: BullMQ src/classes/worker.ts, nextJobFromJobData.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo

import msgspec

from fastproc.bullmq import scheduler
from fastproc.bullmq.client import Client, now_ms
from fastproc.bullmq.outage import retry_pause_s
from fastproc.bullmq.protocol import text
from fastproc.bullmq.scheduler import ERROR_FIELD, Iteration
from fastproc.core.errors import QueueUnavailable
from fastproc.core.fields import fields as about

log = logging.getLogger(__name__)

#: Longest wait for the next job of a series to be there before the taken one starts.
SERIES_PATIENCE_S = 2.0

#: Names of schedulers that are remembered for rule 3; those beyond are logged each time.
MAX_BROKEN = 1000

#: What reading options raises that are not what BullMQ writes: patterns, zones, dates and numbers out of any range.
_UNREADABLE = (ArithmeticError, KeyError, OSError, RecursionError, TypeError, ValueError)


class Series:
    """The series of all schedulers of one queue."""

    def __init__(self, client: Client, local: tzinfo) -> None:
        """`local`: the zone of patterns that name none."""
        self._client, self._local = client, local
        #: Schedulers whose series could not be continued, each with the reason.
        self.broken: dict[str, str] = {}
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
            data = text(fields.get("data", b"{}"))
            iteration = scheduler.following(name, data, options, now_ms(), self._local)
            if iteration is not None:
                await self._until_answered(name, lambda: self._produce(job_id, iteration))
        except _UNREADABLE as error:
            why = str(error) or type(error).__name__
            if self.broken.get(name) != why:
                log.error(
                    "scheduler %s: cannot be continued after job: %s", name, why, extra=about(jobId=job_id)
                )
            if name in self.broken or len(self.broken) < MAX_BROKEN:
                self.broken[name] = why
            await self._until_answered(name, lambda: self._keep_error(name, why))

    async def _until_answered(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await ask()
                return
            except QueueUnavailable as error:
                failures += 1
                log.debug("scheduler %s: Redis does not answer: %s", name, error)
                await asyncio.sleep(retry_pause_s(failures))

    async def _keep_error(self, name: str, why: str) -> None:
        # Without a record there is no scheduler any more; writing would make one.
        if await self._client.scheduler_fields(name):
            await self._client.set_scheduler_error(name, why)

    async def _produce(self, job_id: str, iteration: Iteration) -> None:
        name, data = iteration.scheduler_id, iteration.data
        known = await self._client.scheduler_fields(name)
        self.broken.pop(name, None)
        if ERROR_FIELD in known:
            await self._client.set_scheduler_error(name, "")
        if scheduler.looks_legacy(name) and "ic" not in known:
            log.warning(
                "repeats by a rule of BullMQ 4 or older (%s), which is not continued",
                name,
                extra=about(jobId=job_id),
            )
            return
        if known and "data" not in known and data not in ("", "{}"):
            # The v6 script takes the data from here alone, where jobs added with `repeat` by v5 have put none.
            await self._client.set_scheduler_data(name, data)
        await self._client.update_job_scheduler(job_id, iteration)
