"""Opens the parts that the service and the commands use alike: object store, database, workers.

Rule 1: inside the block a part has answered its check, or its first worker is ready; when the block ends it is closed.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from functools import partial

from fastproc import __version__
from fastproc.backends import factories
from fastproc.config.host import memory_limit, oom_kills, sees_oom_kills
from fastproc.config.misspelt import likely
from fastproc.config.pipeline import PipelineConfig
from fastproc.config.settings import Config
from fastproc.core import admission
from fastproc.core.errors import ConfigError
from fastproc.core.model import Options, own_stages
from fastproc.core.shares import WHOLE, Share
from fastproc.ipc.messages import Ready, Settings
from fastproc.ipc.stage_check import Row
from fastproc.supervisor import decoders
from fastproc.supervisor.kernel import Kernel
from fastproc.supervisor.ports import MetadataStore, ObjectStore
from fastproc.supervisor.service import Rules
from fastproc.supervisor.workers.host import Host
from fastproc.supervisor.workers.own_stages import stages_as_found
from fastproc.supervisor.workers.pool import Pool

log = logging.getLogger(__name__)


@asynccontextmanager
async def checked_objects(config: Config, share: Share = WHOLE) -> AsyncIterator[ObjectStore]:
    """Open the object store, which has answered for every bucket when the block begins. Raises Unreachable.

    Of several supervisors with the same store the first tries for all what leaves an object or a line of the log.
    """
    objects = factories.object_store(config.s3, config.uploads)
    try:
        await objects.check(config.s3.buckets, trial=share.is_first)
        if share.is_first:
            if config.s3.has_default_keys:
                log.warning(
                    "S3: MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set: MinIO's well-known keys are used"
                )
            log.info("S3: %s", objects.about)
        yield objects
    finally:
        await objects.close()


@asynccontextmanager
async def checked_metadata(config: Config) -> AsyncIterator[MetadataStore]:
    """Open the metadata store, whose table can be written when the block begins. Raises Unreachable, ConfigError."""
    metadata = factories.metadata_store(config.database)
    try:
        await metadata.check()
        yield metadata
    finally:
        await metadata.close()


def plan(config: Config, kernel: Kernel, share: Share = WHOLE) -> tuple[Settings, Host]:
    """Return what each of so many workers gets, and the budget that they have together."""
    workers, limit = config.pool.workers, share.memory(memory_limit())
    settings = Settings(
        options=config.pipeline.options(),
        sandbox=config.pool.sandbox,
        memory_bytes=config.pool.memory_bytes,
        kept_bytes=admission.kept_bytes(limit, workers),
    )
    host = Host(
        budget_of=partial(admission.budget_bytes, limit, workers, config.pool.memory_bytes),
        oom_kills=oom_kills,
        sees_kills=sees_oom_kills(),
        refused=kernel.refused,
    )
    return settings, host


@asynccontextmanager
async def started_pool(
    config: Config, kernel: Kernel | None = None, share: Share = WHOLE
) -> AsyncIterator[Pool]:
    """Run the workers while the block runs; the first is ready when it begins. Raises FleetHalted, ConfigError."""
    await required_stages(config.pipeline)
    settings, host = plan(config, kernel or Kernel(), share)
    pool = Pool(config.pool.workers, settings, config.pool.job_timeout_s, host=host)
    pool.start()
    try:
        ready = asyncio.create_task(pool.ready.wait())
        try:
            await asyncio.wait((ready, pool.halted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if pool.halted.done():
            pool.halted.result()
        require_formats(config.pipeline.formats, pool.greeting)
        yield pool
    finally:
        await pool.stop()


async def required_stages(pipeline: PipelineConfig) -> tuple[Row, ...]:
    """Return the settings of stages of your own. Raises ConfigError for stages that a worker could only die of."""
    points = importlib.metadata.entry_points(group="fastproc.stages")
    known = (*(point.name for point in points), *Options().stages)
    problems = []
    for name in pipeline.stages:
        owners = sorted(
            {point.dist.name if point.dist else point.value for point in points.select(name=name)}
        )
        if name.isidentifier() and importlib.util.find_spec(f"fastproc.worker.stages.{name}"):
            owners.insert(0, "fastproc")
        if not owners:
            problems.append(f"PIPELINE: there is no stage {name!r}{likely(name, known)}")
        elif len(owners) > 1:
            problems.append(
                f"PIPELINE: {' and '.join(owners)} each have a stage {name!r}: rename or remove one"
            )
    if problems:
        raise ConfigError(problems)
    return await stages_as_found(own_stages(pipeline.stages), pipeline.stage_settings)


def require_formats(names: Sequence[str], greeting: Ready | None) -> None:
    """Raises ConfigError for a format that the workers have no decoder for: libvips differs from build to build."""
    unknown = [name for name in names if greeting and name not in greeting.formats]
    if unknown:
        raise ConfigError([f"ALLOWED_FORMATS: the installed libvips cannot read {name}" for name in unknown])


def announce(config: Config, pool: Pool, share: Share) -> None:
    """Log what serves, and with what: the service's first lines."""
    limit = config.limiter
    greeting = pool.greeting or Ready(encoders={}, versions={})
    if share.is_first:
        for part in greeting.unprotected:
            log.warning("the workers' jail lacks: %s (WORKER_SANDBOX=%s)", part, config.pool.sandbox)
        log.info("decoders: %s", decoders.named(greeting.versions))
        for hole in decoders.holes(greeting.versions, date.today()):
            log.warning("decoders: %s", hole)
    log.info(
        "fastproc %s serves %s:%s: %d workers, %d jobs in hand at most, rate limit %s, encoders %s, sandbox %s",
        __version__,
        config.queue.prefix,
        config.queue.name,
        config.pool.workers,
        config.pool.max_in_hand,
        f"{limit.max} per {limit.duration_ms} ms (RATE_LIMIT_MAX)" if limit.max else "off",
        greeting.encoders,
        greeting.sandbox,
    )


def rules_of(config: Config, share: Share = WHOLE) -> Rules:
    """The service's own numbers out of the configuration."""
    return Rules(
        stages=config.pipeline.stages,
        max_in_hand=config.pool.max_in_hand,
        max_inflight_bytes=admission.staged_bytes(
            share.memory(memory_limit()), config.pool.max_inflight_bytes
        ),
        lock_s=config.queue.lock_duration_ms / 1000,
        sweep_s=config.queue.stalled_interval_ms / 1000,
        grace_s=config.pool.shutdown_grace_s,
        rate_max=config.limiter.max,
        rate_s=config.limiter.duration_ms / 1000,
        rate_full=not share.again,
    )
