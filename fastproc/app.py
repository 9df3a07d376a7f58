"""Composition root: builds every part from the configuration, starts them in order, stops them in reverse.

Rule 1: every server is checked before the first job is taken; what is wrong ends the start with one message.
Rule 2: nothing runs here: `supervisor.service` runs what is built.
Rule 3: every close has a deadline (`supervisor.stopping`), and a request to stop ends a start that is under way.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TypeVar

from fastproc import operating
from fastproc.backends import factories
from fastproc.bullmq.opening import checked_server, open_pipe, open_queue, shared_failures
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.queue import BullQueue
from fastproc.config.host import free_ratio, memory_limit, memory_used, room, service_name
from fastproc.config.settings import Config
from fastproc.core.control import Order
from fastproc.core.shares import WHOLE, Share
from fastproc.core.snapshot import NeighbourNow
from fastproc.core.stuck import STEP_S
from fastproc.desk import errands
from fastproc.desk.routes import Counter
from fastproc.ipc.errands import Done, Errand
from fastproc.ipc.link import Told
from fastproc.live import Live, Whole, controlled
from fastproc.ordering import Ordering
from fastproc.parts import announce, checked_metadata, checked_objects, rules_of, started_pool
from fastproc.supervisor import health, series
from fastproc.supervisor.books import Books
from fastproc.supervisor.collector import calm
from fastproc.supervisor.defects import Defects
from fastproc.supervisor.evidence import Quarantine
from fastproc.supervisor.failures import Failures
from fastproc.supervisor.http import HttpServer
from fastproc.supervisor.kernel import Kernel
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.readiness import Readiness
from fastproc.supervisor.service import Service
from fastproc.supervisor.snapshots import Parts
from fastproc.supervisor.stopping import Closing, StopRequest
from fastproc.supervisor.vitals import Vitals
from fastproc.supervisor.watchdog import Watchdog
from fastproc.supervisor.workers.pool import Pool

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Longest wait for a start that was told to end, before what it had built is closed all the same.
START_ENDS_S = 0.5


class App:
    """`fastproc run`. Nothing is built before `serve`."""

    def __init__(self, config: Config, share: Share = WHOLE, whole: Config | None = None) -> None:
        """`config` is what this supervisor gets of the service's settings (`whole`), `share` which part of the rest."""
        self._config, self._share = config, share
        self._whole = Whole(whole or config, share, room())
        self._early: list[Order] = []
        self.on_kept: Callable[[Order], None] = lambda order: None
        self.live: Live | None = None
        #: Where each setting comes from, for the page.
        self.origins: Mapping[str, str] = {}
        self._outside: Callable[[], Sequence[NeighbourNow]] = tuple
        self._stop = StopRequest()
        self._readiness = Readiness()
        self._desk = operating.Operating(config, self._readiness)
        self._closing = Closing()
        self.serving = asyncio.Event()
        self.metrics = Metrics(config.pipeline.stages)
        window_s = 2 * config.limiter.duration_ms / 1000 if config.limiter.max else 0.0
        rules = health.Rules(max(config.http.stale_s, window_s), config.log.health_s)
        self._health, self._defects = health.Health(self._readiness, rules), Defects()
        self._breakers: dict[str, Callable[[], str]] = {}
        series.watch_service(self.metrics, self._readiness, share.of)
        series.watch_breakers(self.metrics, self._breakers)
        series.watch_queue(self.metrics, f"{config.queue.prefix}:{config.queue.name}", self._health)

    @property
    def gave_up(self) -> bool:
        """Whether something did not close in time, so that the process must not wait for it at its end."""
        return self._closing.gave_up

    def stop(self) -> None:
        """Take no more jobs, finish those in hand, then end; called again, end without waiting for them."""
        self._stop.ask()

    def order_stop(self, *, hurry: bool) -> None:
        """The same by the master, which says whether to wait for the jobs in hand."""
        self._stop.order(hurry=hurry)

    def told(self) -> Told:
        """What /health, /ready and /metrics answer now."""
        (failing, body), ready = self._health.answer(), self._readiness.now()
        return Told(failing, dict(body), dict(ready.conditions), dict(ready.problems), self.metrics.text())

    def keep(self, orders: Sequence[Order]) -> None:
        """Obey an operator's orders that hold already, as soon as there is something to obey with."""
        self._early += orders
        if self.live:
            self.live.keep(orders)

    async def done(self, errand: Errand) -> Done:
        """Do an errand for the page that the master serves."""
        return await errands.run(self._desk, errand)

    async def serve(self) -> None:
        """Run until `stop`. Raises: ConfigError, Unreachable at the start; FleetHalted; the error of a broken part."""
        async with AsyncExitStack() as stack:
            if reporter := factories.reporter(self._config.reports):
                self._defects = Defects(reporter)
                stack.push_async_callback(self._closing.close, "reports", reporter.close)
            stack.enter_context(self._defects.listening())
            if self._config.http.port:
                await self._serve_http(stack)
            kernel = Kernel()
            starting = asyncio.create_task(self._start(stack, kernel), name="start")
            if not await self._started(starting):
                log.info("stopped before it had started; no job was taken")
                return
            pipe, ports, pool = starting.result()
            watchdog = self._watchdog_of(pool)
            service = Service(
                ports, rules_of(self._config, self._share), self.metrics, self._stop, kernel, watchdog
            )
            for name, away in service.neighbours.items():
                self._readiness.watch(name, away)
            self._breakers |= service.breakers
            pool.idleness.is_full = service.is_full
            announce(self._config, pool, self._share)
            parts = self._parts(service, pool, watchdog)
            control = controlled(self._whole, pipe, parts, lambda order: self.on_kept(order))
            self.live = await self._enter(stack, "live control", control)
            self.live.keep(self._early)
            self._desk.open(
                Ordering(self._config, pipe), self.live.snapshot, ports.objects, ports.books.failures
            )
            self._readiness.started, self._readiness.stopping = True, lambda: service.stopping
            self.serving.set()
            try:
                with calm():
                    await service.run(pool.halted)
            finally:
                self._readiness.started = False

    def _parts(self, service: Service, pool: Pool, watchdog: Watchdog) -> Parts:
        return Parts(
            pool=pool, service=service, watchdog=watchdog, readiness=self._readiness, outside=self._outside
        )

    def _watchdog_of(self, pool: Pool) -> Watchdog:
        watchdog = Watchdog(pool.tend, max(STEP_S, self._config.pool.job_timeout_s))
        self._readiness.stuck, self._readiness.found = watchdog.stuck, watchdog.found
        metrics = self.metrics
        metrics.watch_total("watchdog_finds", "Faults that were found and mended", lambda: watchdog.finds)
        metrics.watch("loop_lag_seconds", "How late the loop was at its last look", lambda: watchdog.lag_s)
        return watchdog

    async def _serve_http(self, stack: AsyncExitStack) -> None:
        config = self._config.http
        page = Counter(self._desk, operating.rules(self._config, self.origins)).routes()
        http = HttpServer((config.host, config.port), self._readiness, self.metrics, self._health, page)
        await http.start()
        stack.push_async_callback(self._closing.close, "HTTP", http.close)

    async def _started(self, starting: asyncio.Task[tuple[Pipe, Ports, Pool]]) -> bool:
        """Wait for the start; False when it was given up because of a request to stop."""
        stop = asyncio.create_task(self._stop.asked.wait())
        try:
            await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                return True
            starting.cancel()
            await asyncio.wait((starting,), timeout=START_ENDS_S)
            self._closing.gave_up |= not starting.done()
            if starting.done() and not starting.cancelled():
                log.info("the start has ended with: %s", starting.exception())
            return False
        finally:
            stop.cancel()
            starting.cancel()

    async def _enter(self, stack: AsyncExitStack, name: str, part: AbstractAsyncContextManager[T]) -> T:
        """Enter a part, which the stack closes within the deadline."""
        value = await part.__aenter__()
        stack.push_async_callback(self._closing.close, name, lambda: part.__aexit__(None, None, None))
        return value

    async def _start(self, stack: AsyncExitStack, kernel: Kernel) -> tuple[Pipe, Ports, Pool]:
        """Start the parts in order; the stack stops them in reverse."""
        config = self._config
        pipe = await self._enter(stack, "Redis", open_pipe(config))
        server = await checked_server(pipe, config.redis.where)
        for warning in server.warnings if self._share.is_first else ():
            log.warning("Redis at %s: %s", config.redis.where, warning)
        queue = await self._enter(stack, "the queue", open_queue(config, pipe, service_name()))
        objects = await self._enter(stack, "S3", checked_objects(config, self._share))
        metadata = await self._enter(stack, "the database", checked_metadata(config))
        events = factories.event_sink(pipe.call, config, self.metrics)
        self._outside = factories.neighbours(events)
        stack.push_async_callback(self._closing.close, "the events", events.close)
        quarantine = Quarantine(factories.vault(config.quarantine, objects))
        await quarantine.prepare()
        pool = await self._enter(stack, "the workers", started_pool(config, kernel, self._share))
        kernel.spawning = lambda: pool.refusal
        failures = Failures(shared_failures(config, pipe))
        stack.push_async_callback(self._closing.close, "failures by code", failures.write)
        books = Books(health=self._health, failures=failures, defects=self._defects)
        tracer = factories.tracer(config.traces, config.queue.name)
        if tracer:
            stack.push_async_callback(self._closing.close, "traces", tracer.close)
        results = config.uploads.results
        ports = Ports(queue, objects, metadata, events, pool, quarantine, results, books, tracer)
        self._watch(pipe, queue, ports, pool)
        return pipe, ports, pool

    def _watch(self, pipe: Pipe, queue: BullQueue, ports: Ports, pool: Pool) -> None:
        self._readiness.watch("redis", lambda: pipe.outage.why)
        self._breakers["redis"] = lambda: "open" if pipe.outage.why else "closed"
        self._readiness.watch("workers", lambda: "" if pool.alive else "no worker process is running")
        self.metrics.registry.register(Vitals(lambda: pool.processes.living))
        series.watch_redis(self.metrics, lambda: pipe.reconnects, lambda: queue.broken_series)
        series.watch_workers(self.metrics, pool)
        series.watch_decoders(self.metrics, pool)
        series.watch_ports(self.metrics, ports)
        folder = os.path.dirname(self._config.database.sqlite_path) or "."
        disk = partial(free_ratio, folder) if self._config.database.sqlite_path else lambda: None
        series.watch_host(self.metrics, memory_limit, memory_used, disk)
