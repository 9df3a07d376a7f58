"""Settings of the worker processes: how many, what each may use, and how much is in flight."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config.values import var
from fastproc.core.model import Sandbox
from fastproc.core.shares import WORKERS_PER_SUPERVISOR

#: What a worker allocates besides the largest decode: 70 MB when it is ready, and buffers of resampling and encoding.
WORKER_ROOM_BYTES = 256 << 20


class PoolConfig(Struct, frozen=True, kw_only=True):
    """The worker processes, and how much is in flight."""

    workers: Annotated[
        int,
        var(
            "WORKER_CONCURRENCY",
            "worker processes",
            extra={"shown": "the cores that the container may use"},
            ge=1,
            le=256,
        ),
    ] = 1
    supervisors: Annotated[
        int | None,
        var(
            "SUPERVISORS",
            "supervisor processes that share the workers, the rate limit and the memory; 1: no master process",
            extra={"shown": f"one for every {WORKERS_PER_SUPERVISOR} workers"},
            ge=1,
            le=64,
        ),
    ] = None
    prefetch: Annotated[
        int | None,
        var(
            "PREFETCH",
            "jobs taken beyond the busy workers, so that their photos are there in time",
            extra={"shown": "WORKER_CONCURRENCY"},
        ),
    ] = None
    max_inflight_bytes: Annotated[int, var("MAX_INFLIGHT_BYTES", "photo bytes held at once", ge=1 << 20)] = (
        512 << 20
    )
    job_timeout_s: Annotated[
        float,
        var(
            "JOB_TIMEOUT_S",
            "seconds that a task may run, or 30 plus 2 for each megapixel if that is less; a worker whose task"
            " runs longer is killed",
            gt=0,
            le=3600,
        ),
    ] = 120.0
    memory_bytes: Annotated[
        int,
        var(
            "WORKER_MEMORY_BYTES",
            "memory that a worker may allocate; a photo that needs more fails alone",
            ge=1,
        ),
    ] = 2 << 30
    sandbox: Annotated[
        Sandbox,
        var(
            "WORKER_SANDBOX",
            "`enforce`: no worker without its jail; `best-effort`: with what the kernel has; `off`: none",
        ),
    ] = "enforce"
    shutdown_grace_s: Annotated[
        float,
        var(
            "SHUTDOWN_GRACE_S",
            "seconds for the jobs in hand after SIGTERM; then the rest goes back to the queue",
            ge=0,
            le=3600,
        ),
    ] = 30.0

    @property
    def max_in_hand(self) -> int:
        """Most jobs in hand: one for each worker, and the prefetch."""
        return self.workers + (self.workers if self.prefetch is None else self.prefetch)

    def conflicts(self) -> list[str]:
        """Return the problems between these settings, each beginning with its variable."""
        if self.prefetch is None or 0 <= self.prefetch <= 4 * self.workers:
            return []
        return [f"PREFETCH: expected 0 to 4 for each of {self.workers} workers (it is {self.prefetch})"]
