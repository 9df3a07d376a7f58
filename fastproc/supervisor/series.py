"""Which series are read when the metrics are asked for, and from where: queue, breakers, limiter, workers, decoders.

Rule 1: nothing here waits: what a server must be asked for was asked before (`health`), so that a scrape is answered
        while Redis hangs. What nobody knows has no series.
Rule 2: labels are names of the code, slots and libraries: their number is bounded.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping

from fastproc import __version__
from fastproc.core import advisories
from fastproc.core.breaker import State
from fastproc.core.pace import age_s
from fastproc.core.slot import task_ages
from fastproc.supervisor.health import Health
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.metrics import Metrics, Sample
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.readiness import Readiness
from fastproc.supervisor.workers.pool import Pool

#: By name: `closed`, `trial` or `open`.
Breakers = Mapping[str, Callable[[], str]]


def watch_service(metrics: Metrics, readiness: Readiness, supervisors: int) -> None:
    """What it is, and whether it can work: there from the first moment. `supervisors`: how many the service has."""
    metrics.watch_each(
        "build_info",
        "1; what runs",
        ("version", "python"),
        lambda: [((__version__, platform.python_version()), 1)],
    )
    metrics.watch("supervisors_ready", "Supervisors that can process jobs now", lambda: readiness.now().ready)
    metrics.watch("supervisors_configured", "Supervisors that the service shall have", lambda: supervisors)


def watch_queue(metrics: Metrics, queue: str, health: Health) -> None:
    """What waits in the queue, at the last look. `queue`: its prefix and its name."""

    def states() -> Iterator[Sample]:
        for state, count in (health.backlog.counts if health.backlog else {}).items():
            yield (queue, state), count

    def one(value: float | None) -> Iterator[Sample]:
        if health.backlog and value is not None:
            yield (queue,), value

    def oldest_s() -> float | None:
        if health.backlog and not health.backlog.waiting:
            return 0.0
        since_ms = health.backlog.oldest_ms if health.backlog else None
        return age_s(since_ms, time.time_ns() // 1_000_000)

    label = ("queue",)
    metrics.watch_each("queue_jobs", "Jobs of the queue by state", ("queue", "state"), states)
    metrics.watch_each(
        "queue_oldest_job_seconds",
        "Since when the oldest waiting job could have been taken; 0: none waits",
        label,
        lambda: one(oldest_s()),
    )
    metrics.watch_each(
        "queue_paused",
        "1 while the queue is paused",
        label,
        lambda: one(health.backlog.paused if health.backlog else None),
    )
    metrics.watch_each(
        "backlog_seconds",
        "Until this service alone has done what waits; absent where nobody knows",
        label,
        lambda: one(health.backlog_s),
    )


def watch_breakers(metrics: Metrics, breakers: Breakers) -> None:
    """How each neighbour stands, and each receiver of webhooks."""

    def states() -> Iterator[Sample]:
        found = {(name, state()): 1 for name, state in breakers.items()}
        for state in metrics.receivers.values():
            key = ("webhooks", state())
            found[key] = found.get(key, 0) + 1
        names = (*breakers, "webhooks") if metrics.receivers else tuple(breakers)
        for name in names:
            for each in State:
                yield (name, each.value), found.get((name, each.value), 0)

    metrics.watch_each("breaker_state", "Breakers of a neighbour in a state", ("neighbour", "state"), states)


def watch_intake(metrics: Metrics, intake: Intake) -> None:
    """The jobs in hand, and the rate limit."""
    watch, rate = metrics.watch, intake.rate
    watch("jobs_in_hand", "Jobs taken and not ended", lambda: intake.in_hand)
    watch("jobs_in_hand_max", "Jobs that may be in hand at once", lambda: intake.places.size)
    watch("rate_limit_per_second", "Jobs that may start a second; 0: no limit", lambda: rate.per_s)
    watch("rate_limit_tokens", "Jobs that may start at once; absent without a limit", rate.tokens)
    watch("rate_limit_waiting", "1 while the next job waits for the rate limit", lambda: rate.waits)


def watch_workers(metrics: Metrics, pool: Pool) -> None:
    """The fleet, slot by slot where it has slots."""
    watch, total = metrics.watch, metrics.watch_total
    watch("workers_configured", "Workers that there shall be", lambda: pool.size)
    watch("workers_alive", "Workers that have a task or could take one", lambda: pool.alive)
    watch("workers_busy", "Workers that have a task", lambda: pool.busy)
    total(
        "worker_idle_seconds",
        "Seconds that workers waited while there was work",
        lambda: pool.idleness.seconds,
    )
    total("worker_deaths", "Worker processes that ended and were not asked to", lambda: pool.deaths)
    total(
        "kernel_kills", "Workers that the kernel killed for lack of memory", lambda: pool.memory.kernel_kills
    )
    total("photos_moved", "Photos that changed the worker slot while they waited", lambda: pool.moves)
    metrics.watch_each(
        "worker_task_age_seconds",
        "Since when a slot has its task; 0: it has none",
        ("slot",),
        lambda: _by_slot(task_ages(pool.fleet.slots, time.monotonic())),
    )
    metrics.watch_each_total(
        "worker_restarts",
        "Processes that were started in a slot after its first",
        ("slot",),
        lambda: _by_slot([max(0, pool.processes.starts[slot] - 1) for slot in range(len(pool.fleet.slots))]),
    )


def _by_slot(values: list[float] | list[int]) -> list[Sample]:
    return [((str(slot),), value) for slot, value in enumerate(values)]


def watch_decoders(metrics: Metrics, pool: Pool) -> None:
    """The libraries that decode photos, as the workers have said; none before the first is ready."""

    def versions() -> Mapping[str, str]:
        return pool.greeting.versions if pool.greeting else {}

    metrics.watch_each(
        "decoder_info",
        "1; a library that decodes photos",
        ("library", "version"),
        lambda: [((name, version), 1) for name, version in versions().items()],
    )
    metrics.watch_each(
        "decoder_holes",
        "Published holes of a library's version",
        ("library",),
        lambda: [((name,), count) for name, count in advisories.counted(versions()).items()],
    )


def watch_ports(metrics: Metrics, ports: Ports) -> None:
    """What the stores and sinks count themselves."""
    total, metadata, events, quarantine = metrics.watch_total, ports.metadata, ports.events, ports.quarantine
    total("events_dropped", "Events that could not be published", lambda: events.dropped)
    total("rows_missing", "Photos without a row that could not be given one", lambda: metadata.missing_rows)
    total("quarantined", "Photos put into quarantine", lambda: quarantine.kept)


def watch_redis(metrics: Metrics, reconnects: Callable[[], int], broken: Callable[[], int]) -> None:
    """The connection to Redis, and series of jobs in it."""
    metrics.watch_total("redis_reconnects", "Times that the connection to Redis came back", reconnects)
    metrics.watch("broken_schedulers", "Job schedulers whose series this service could not continue", broken)


def watch_host(
    metrics: Metrics, limit: Callable[[], int], used: Callable[[], int], disk: Callable[[], float | None]
) -> None:
    """What the container and the disk have left: bytes of memory (0: no limit), the free share of SQLite's disk."""
    metrics.watch("memory_limit_bytes", "The container's limit; absent without one", lambda: limit() or None)
    metrics.watch(
        "memory_used_bytes", "Of that limit, without files that can be dropped", lambda: used() or None
    )
    metrics.watch("database_disk_free_ratio", "Free share of SQLite's disk", disk)
