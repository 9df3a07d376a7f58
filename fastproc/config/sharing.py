"""Says how many supervisors the settings ask for, and which settings each of them gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from fastproc.core import shares
from fastproc.core.shares import Share

if TYPE_CHECKING:
    from fastproc.config.settings import Config


def supervisors(config: Config) -> int:
    """Return the number of supervisors."""
    return config.pool.supervisors or shares.supervisors(*_whole(config))


def every_share(config: Config) -> list[Share]:
    """Return the share of each supervisor."""
    count = supervisors(config)
    return [Share(number, count) for number in range(1, count + 1)]


def conflicts(config: Config) -> list[str]:
    """Return what forbids so many supervisors, beginning with the variable."""
    asked, (workers, rate_max, inflight_bytes, source_bytes) = config.pool.supervisors, _whole(config)
    if not asked or asked == 1:
        return []
    found = []
    if asked > workers:
        found.append(f"SUPERVISORS: {asked} is more than WORKER_CONCURRENCY ({workers}): each needs a worker")
    if rate_max and asked > rate_max:
        found.append(
            f"SUPERVISORS: {asked} is more than RATE_LIMIT_MAX ({rate_max}): each needs a part of it"
        )
    if asked > inflight_bytes // source_bytes:
        found.append(
            f"SUPERVISORS: MAX_INFLIGHT_BYTES ({inflight_bytes}) divided by {asked} is less than MAX_SOURCE_BYTES"
            f" ({source_bytes}): a photo of that size could never be fetched"
        )
    return found


def shared(config: Config, share: Share) -> Config:
    """Return the settings of one supervisor: its part of what is divided; HTTP and the figures are not its own."""
    pool, limiter = config.pool, config.limiter
    return structs.replace(
        config,
        pool=structs.replace(
            pool,
            supervisors=1,
            workers=share.part(pool.workers),
            prefetch=None if pool.prefetch is None else share.part(pool.prefetch),
            max_inflight_bytes=share.part(pool.max_inflight_bytes),
        ),
        limiter=structs.replace(limiter, max=share.part(limiter.max)),
        http=structs.replace(config.http, port=0),
        log=structs.replace(config.log, health_s=0.0),
    )


def _whole(config: Config) -> tuple[int, int, int, int]:
    pool = config.pool
    return pool.workers, config.limiter.max, pool.max_inflight_bytes, config.pipeline.max_source_bytes
