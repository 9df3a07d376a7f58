"""Adds jobs and reads a queue's state, through the official Python package: for the command line, demo and bench.

Rule 1: the service itself never imports that package; it only reads its Lua commands, as files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import bullmq
from msgspec import Struct
from redis.exceptions import NoScriptError, RedisError, ResponseError

from fastproc.bullmq import failures as failure_hash
from fastproc.bullmq.address import plain_client
from fastproc.bullmq.outcomes import Outcomes
from fastproc.bullmq.protocol import Keys, text
from fastproc.bullmq.scheduler import ERROR_FIELD
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.core.errors import Unreachable
from fastproc.core.failures import Failure, table

#: States of BullMQ's getJobCounts, in the order of a job's life.
STATES = ("wait", "prioritized", "delayed", "paused", "active", "completed", "failed")

JOB_NAME = "process-photo"

#: How often a job is added whose script the server has forgotten; each time the client loads it again by itself.
SCRIPT_TRIES = 3

#: Schedulers that are looked at for errors: those whose next run is the earliest, among them all that stand still.
MAX_SCHEDULERS = 1000


class FailedJob(Struct, frozen=True):
    """A job that has failed and is not tried again."""

    id: str
    reason: str


class BrokenScheduler(Struct, frozen=True):
    """A job scheduler whose series could not be continued, and why."""

    id: str
    reason: str


class Status(Struct, frozen=True):
    """A queue's state: jobs by state, workers' names, whether it is paused, newest failures, broken schedulers.

    `workers_unknown` says why nobody can know the workers, "" where they are known. `errors` are the failures by code
    of the last days.
    """

    counts: dict[str, int]
    workers: tuple[str, ...]
    paused: bool
    failures: tuple[FailedJob, ...]
    broken_schedulers: tuple[BrokenScheduler, ...]
    errors: tuple[Failure, ...] = ()
    workers_unknown: str = ""


class Producer:
    """One queue, seen from the application's side."""

    def __init__(self, queue: Any, redis: Any, keys: Keys) -> None:
        self._queue, self._redis, self._keys = queue, redis, keys

    async def add(self, data: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """Add a job; return its id. `options` are BullMQ's. Raises RedisError."""
        for tries_left in reversed(range(SCRIPT_TRIES)):
            try:
                job = await self._queue.add(JOB_NAME, dict(data), dict(options))
                break
            except NoScriptError:
                # Forgotten between its loading and its call (SCRIPT FLUSH): nothing ran, so nothing is added twice.
                if not tries_left:
                    raise
        return text(job.id) if isinstance(job.id, bytes) else str(job.id)

    async def add_all(self, jobs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Add jobs, data and options of each, in one transaction. Raises RedisError."""
        rows = [{"name": JOB_NAME, "data": dict(data), "opts": dict(options)} for data, options in jobs]
        await self._queue.addBulk(rows)

    async def remove(self, job_id: str) -> bool:
        """Remove a job; return whether it is gone: one that a worker holds stays. Raises RedisError."""
        return bool(await self._queue.remove(job_id))

    @property
    def outcomes(self) -> Outcomes:
        """What becomes of this queue's jobs."""
        return Outcomes(self._redis, self._keys)

    async def status(self, failures: int = 5) -> Status:
        """Read the queue's state, with the newest `failures` failed jobs."""
        counts = await self._queue.getJobCounts(*STATES)
        paused = bool(await self._redis.hexists(self._keys("meta"), "paused"))
        # In Redis' words `0 -1` would be all of them.
        ids = await self._redis.zrevrange(self._keys("failed"), 0, failures - 1) if failures else []
        newest = [text(job_id) for job_id in ids]
        failed = [
            FailedJob(job_id, text(await self._redis.hget(self._keys(job_id), "failedReason") or b""))
            for job_id in newest
        ]
        in_order = {state: int(counts[state]) for state in STATES}
        workers, unknown = await self._workers()
        return Status(
            in_order,
            workers,
            paused,
            tuple(failed),
            await self._broken_schedulers(),
            tuple(await self.errors()),
            unknown,
        )

    async def errors(self) -> list[Failure]:
        """Return the failures by code of all services in the last days, the newest first."""
        days = [await self._redis.hgetall(key) for key in failure_hash.day_keys(self._keys)]
        return table(row for fields in days for row in failure_hash.rows(fields))

    async def _broken_schedulers(self) -> tuple[BrokenScheduler, ...]:
        names = [text(name) for name in await self._redis.zrange(self._keys("repeat"), 0, MAX_SCHEDULERS - 1)]
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hget(self._keys(f"repeat:{name}"), ERROR_FIELD)
            reasons = await pipeline.execute() if names else []
        return tuple(
            BrokenScheduler(name, text(reason))
            for name, reason in zip(names, reasons, strict=True)
            if isinstance(reason, bytes)
        )

    async def _workers(self) -> tuple[tuple[str, ...], str]:
        """Return the names of the queue's workers, or why nobody can know them.

        Source: BullMQ Queue.getWorkers, which reads the names of Redis' clients. An ACL may keep the list from us, and
        some managed servers and proxies do not have it.
        """
        prefix = f"{self._keys.client_name}:w:"
        try:
            clients = await self._redis.client_list()
        except ResponseError as error:
            return (), f"unknown, because Redis does not list its clients ({error})"
        named = [each for each in clients if each["name"].startswith(prefix)]
        unnamed = [each for each in clients if each["name"] == self._keys.client_name]
        names = sorted(each["name"].removeprefix(prefix) for each in named)
        return (*names, *(f"unnamed at {each['addr']}" for each in unnamed)), ""


@asynccontextmanager
async def producer(redis_config: RedisConfig, queue_config: QueueConfig) -> AsyncIterator[Producer]:
    """Open a producer. Raises Unreachable from the block when Redis fails."""
    keys = Keys(queue_config.prefix, queue_config.name)
    try:
        redis = await plain_client(redis_config, keys.base)
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis at {redis_config.where} cannot be used: {error}") from None
    queue = bullmq.Queue(queue_config.name, {"connection": redis, "prefix": queue_config.prefix})
    try:
        yield Producer(queue, redis, keys)
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis at {redis_config.where} cannot be used: {error}") from None
    finally:
        await queue.close()
        await redis.aclose()
