"""Composition root: which object is given to which, started in order, stopped in reverse.

Rule 1: every server is checked before the first job is taken; what is wrong ends the start with one message.
Rule 2: whatever dies of the parts that must live stops the service, with the jobs in hand given back.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec import structs

from fastproc import __version__
from fastproc.backends.events_redis import RedisEventSink
from fastproc.backends.metadata_sqlite import SqliteMetadataStore
from fastproc.backends.objects_s3 import S3ObjectStore
from fastproc.backends.quarantine import vault_of
from fastproc.bullmq.opening import opened
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.scripts import installed_version
from fastproc.config.host import service_name
from fastproc.config.settings import Config
from fastproc.core.errors import ConfigError, FleetHalted
from fastproc.core.limit import TokenBucket
from fastproc.ipc.messages import Ready, Settings
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.evidence import Quarantine
from fastproc.supervisor.http import HttpServer
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.job import JobLine, Ports
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.workers.pool import Pool

log = logging.getLogger(__name__)

#: Longest wait for a fetch that is under way when the service stops; Redis answers in microseconds.
LAST_FETCH_S = 2.0


class Service:
    """`fastproc run`: everything built from the configuration; nothing runs before `serve`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.metrics = Metrics()
        self.stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ready = False
        self._checks: dict[str, Callable[[], bool]] = {}

    def stop(self) -> None:
        """Take no more jobs, finish those in hand, then end; called again, end without waiting for them."""
        if self.stopping.is_set():
            self._hurry.set()
        self.stopping.set()

    async def serve(self) -> None:
        """Run until `stop`. Raises: ConfigError, Unreachable at the start; FleetHalted; whatever broke."""
        config = self._config
        async with AsyncExitStack() as stack:
            if config.http.port:
                http = HttpServer(config.http.host, config.http.port, self._conditions, self.metrics)
                await http.start()
                stack.push_async_callback(http.close)
            queue = await stack.enter_async_context(opened(config, service_name()))
            for warning in queue.server.warnings:
                log.warning("Redis at %s: %s", config.redis.where, warning)
            objects = S3ObjectStore(config.s3)
            stack.push_async_callback(objects.close)
            await objects.check(config.s3.buckets)
            metadata = SqliteMetadataStore(config.database.sqlite_path)
            stack.push_async_callback(metadata.close)
            await metadata.check()
            events = RedisEventSink(queue.pipe.call)
            stack.push_async_callback(events.close)
            quarantine = Quarantine(vault_of(config.quarantine, objects))
            await quarantine.prepare()
            pool = await stack.enter_async_context(started_pool(config))
            self._watch(queue.pipe, pool, metadata, events)
            await self._work(Ports(queue.queue, objects, metadata, events, pool, quarantine), pool)

    async def _work(self, ports: Ports, pool: Pool) -> None:
        config = self._config
        locks = LockKeeper(
            ports.queue,
            config.queue.lock_duration_ms / 1000,
            config.queue.stalled_interval_ms / 1000,
            lambda ids: self.metrics.stalled(len(ids)),
        )
        budget = ByteBudget(config.pool.max_inflight_bytes)
        line = JobLine(ports, locks, budget, config.pipeline.stages, self.metrics)
        intake = Intake(ports.queue, line.run, config.pool.max_in_hand, _bucket(config), self.metrics)
        self.metrics.watch("jobs_in_hand", "Jobs taken and not ended", lambda: intake.in_hand)
        self.metrics.watch("inflight_bytes", "Photo bytes held", lambda: budget.held)
        self.metrics.watch("quarantined", "Photos kept in quarantine", lambda: ports.quarantine.kept)
        self._announce(pool)
        background = [
            asyncio.create_task(locks.run(), name="locks"),
            asyncio.create_task(intake.run(), name="intake"),
            asyncio.create_task(ports.quarantine.tend(), name="quarantine"),
        ]
        try:
            await self._until_stopped_or_broken(pool, background)
        finally:
            self._ready = False
            intake.stop()
            # Its last fetch may still bring a job, which must be known before the jobs in hand are counted.
            await asyncio.wait(background[1:2], timeout=LAST_FETCH_S)
            left = await self._finish(intake, self._grace_s())
            log.info("stopped; %d jobs were still in hand and went back to the queue", left)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _until_stopped_or_broken(self, pool: Pool, background: list[asyncio.Task[None]]) -> None:
        stop: asyncio.Future[bool] = asyncio.ensure_future(self.stopping.wait())
        parts: list[asyncio.Future[Any]] = [stop, pool.halted, *background]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done - {stop}:
                part.result()
                raise RuntimeError(f"{part} has ended")
        finally:
            stop.cancel()

    async def _finish(self, intake: Intake, grace_s: float) -> int:
        """Wait for the jobs in hand, at most `grace_s` seconds or until a second `stop`."""
        log.info("stopping: %d jobs in hand, %g s for them (SHUTDOWN_GRACE_S)", intake.in_hand, grace_s)
        idle = asyncio.create_task(intake.idle())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait((idle, hurry), timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        return await intake.interrupt()

    def _grace_s(self) -> float:
        return self._config.pool.shutdown_grace_s if self.stopping.is_set() else 0.0

    def _announce(self, pool: Pool) -> None:
        config = self._config
        self._ready = True
        limit = config.limiter
        greeting = pool.greeting or Ready(encoders={}, versions={})
        for part in greeting.unprotected:
            log.warning("the workers' jail lacks: %s (WORKER_SANDBOX=%s)", part, config.pool.sandbox)
        log.info(
            "fastproc %s serves %s:%s: %d workers, %d jobs in hand at most, rate limit %s, encoders %s,"
            " sandbox %s",
            __version__,
            config.queue.prefix,
            config.queue.name,
            config.pool.workers,
            config.pool.max_in_hand,
            f"{limit.max} per {limit.duration_ms} ms (RATE_LIMIT_MAX)" if limit.max else "off",
            greeting.encoders,
            greeting.sandbox,
        )

    def _conditions(self) -> Mapping[str, bool]:
        return {"started": self._ready, **{name: check() for name, check in self._checks.items()}}

    def _watch(self, pipe: Pipe, pool: Pool, metadata: SqliteMetadataStore, events: RedisEventSink) -> None:
        self._checks.update(redis=lambda: pipe.connected, workers=lambda: pool.alive > 0)
        watch = self.metrics.watch
        watch("workers_alive", "Workers that have a task or could take one", lambda: pool.alive)
        watch("workers_busy", "Workers that have a task", lambda: pool.busy)
        watch("worker_deaths", "Worker processes that ended before the service", lambda: pool.deaths)
        watch("photos_moved", "Photos that changed the worker slot while they waited", lambda: pool.moves)
        watch("redis_reconnects", "Times that the connection to Redis came back", lambda: pipe.reconnects)
        watch("events_dropped", "Events that could not be published", lambda: events.dropped)
        watch(
            "rows_missing", "Photos without a row that could not be given one", lambda: metadata.missing_rows
        )


def require_stages(names: Sequence[str]) -> None:
    """Raises ConfigError for a stage that no worker could load; here, because a worker could only die of it."""
    outside = {point.name for point in importlib.metadata.entry_points(group="fastproc.stages")}
    unknown = [
        name
        for name in names
        if name not in outside
        and not (name.isidentifier() and importlib.util.find_spec(f"fastproc.worker.stages.{name}"))
    ]
    if unknown:
        raise ConfigError([f"PIPELINE: there is no stage {name!r}" for name in unknown])


@asynccontextmanager
async def started_pool(config: Config) -> AsyncIterator[Pool]:
    """Run the workers while the block runs; the first is ready when it begins. Raises FleetHalted."""
    require_stages(config.pipeline.stages)
    settings = Settings(
        options=config.pipeline.options(),
        sandbox=config.pool.sandbox,
        memory_bytes=config.pool.memory_bytes,
    )
    pool = Pool(config.pool.workers, settings, config.pool.job_timeout_s)
    pool.start()
    try:
        ready = asyncio.create_task(pool.ready.wait())
        await asyncio.wait((ready, pool.halted), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if pool.halted.done():
            pool.halted.result()
        yield pool
    finally:
        await pool.stop()


async def ping_redis(config: Config) -> str:
    """Open the queue as the service would, and say what the server is. Raises Unreachable, ConfigError."""
    async with opened(config, service_name()) as queue:
        words = (f"{queue.server.name} at {config.redis.where}", *queue.server.warnings)
    return f"{'; '.join(words)}; scripts of bullmq {installed_version()}"


async def greet_workers(config: Config) -> Ready:
    """Start one worker, see it get ready, stop it, and return what it said. Raises FleetHalted."""
    one = structs.replace(config.pool, workers=1)
    async with started_pool(structs.replace(config, pool=one)) as pool:
        if pool.greeting is None:
            raise FleetHalted("a worker is ready and has said nothing")
        return pool.greeting


def _bucket(config: Config) -> TokenBucket | None:
    limit = config.limiter
    return TokenBucket(limit.max, limit.duration_ms / 1000, time.monotonic()) if limit.max else None
