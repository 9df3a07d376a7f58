"""Settings of the queue: which one is served, its rules, and how many jobs may start in which time."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from fastproc.config import values
from fastproc.config.values import var


class QueueConfig(Struct, frozen=True, kw_only=True):
    """Which queue is served, and its rules."""

    name: Annotated[str, var("QUEUE_NAME", "BullMQ queue to serve", extra={"parse": values.queue_name})] = (
        "photo-processing"
    )
    prefix: Annotated[str, var("QUEUE_PREFIX", "BullMQ key prefix")] = "bull"
    max_retries: Annotated[
        int, var("WORKER_MAX_RETRIES", "attempts of a job that does not name its own", ge=1, le=100)
    ] = 3
    lock_duration_ms: Annotated[
        int,
        var(
            "LOCK_DURATION_MS",
            "lock of an active job in ms; renewed every quarter of it",
            ge=1000,
            le=3_600_000,
        ),
    ] = 30_000
    stalled_interval_ms: Annotated[
        int, var("STALLED_INTERVAL_MS", "ms between sweeps for stalled jobs", ge=500, le=3_600_000)
    ] = 30_000
    # BullMQ's own default is 1, because a stall may mean that the job kills its process. Here a photo that kills its
    # worker is caught by the supervisor, so a stall says that a host or a connection failed: nothing about the job.
    max_stalled_count: Annotated[
        int,
        var(
            "MAX_STALLED_COUNT",
            "times that one job may stall and be started again; each effect of a job can be repeated without harm"
            " (BullMQ's own default is 1)",
            ge=0,
            le=100,
        ),
    ] = 3


class LimiterConfig(Struct, frozen=True, kw_only=True):
    """How many jobs may start in which time."""

    max: Annotated[
        int, var("RATE_LIMIT_MAX", "jobs that may start per duration; 0 = no limit", ge=0, le=1_000_000)
    ] = 10
    duration_ms: Annotated[int, var("RATE_LIMIT_DURATION_MS", "that duration in ms", ge=1, le=86_400_000)] = (
        1000
    )
