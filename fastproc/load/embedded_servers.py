"""A load test on servers of its own: Valkey, SeaweedFS, SQLite and as many services as hosts were asked for.

Rule 1: the servers are started once, the services anew for each run, so that each begins alike: warmed up by a photo
        for each worker slot, which is not counted.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from msgspec import structs

from fastproc.bullmq.producer import Producer, producer
from fastproc.config.host import usable_cores
from fastproc.config.settings import Config, load
from fastproc.core import uploads
from fastproc.core.errors import Unreachable
from fastproc.embedded.child import ServerFailed
from fastproc.embedded.stand import Stand, stand
from fastproc.embedded.trial.process import Service
from fastproc.load import photos
from fastproc.load.arrivals import times
from fastproc.load.generator import Generator
from fastproc.load.measure import measure, memory_watched
from fastproc.load.order import Order, Step, Tell, run_name
from fastproc.load.report import Run
from fastproc.load.usage import Cpu, Processes

_START_S: Final = 60.0
_END_S: Final = 60.0


@contextmanager
def servers(folder: Path, order: Order) -> Iterator[Stand]:
    """Start the servers, their data in `folder`. Raises Unreachable, ConfigError."""
    try:
        with stand(folder, {"PATH": os.environ.get("PATH", ""), **order.settings}) as running:
            yield running
    except ServerFailed as error:
        raise Unreachable(str(error)) from error


def upload(ground: Stand, files: Sequence[Path]) -> list[str]:
    """Put the photos into the bucket; return their keys. Raises ConfigError."""
    client, keys = ground.seaweedfs.client(), []
    for file in files:
        keys.append(f"photos/{file.name}")
        client.put_object(
            Bucket=ground.config.s3.bucket,
            Key=keys[-1],
            Body=photos.read(file),
            ContentType=uploads.content_type(file.name),
        )
    client.close()
    return keys


async def run(ground: Stand, keys: Sequence[str], order: Order, tell: Tell) -> list[Run]:
    """Measure every step. Raises Unreachable, ConfigError."""
    runs, name = [], run_name(order.seed)
    for number, step in enumerate(order.steps):
        concurrency = _config(ground, step).pool.workers
        hosts = f"{order.hosts} services, each " if order.hosts > 1 else ""
        tell.line(f"starting {hosts}WORKER_CONCURRENCY={concurrency}")
        async with (
            _services(ground, step, order.hosts) as pids,
            producer(ground.config.redis, ground.config.queue) as queue,
        ):
            slots = order.hosts * _config(ground, step).pool.max_in_hand
            await Generator(queue, keys, f"{name}-{number}-warm-", lambda _: None).run([0.0] * slots, 0)
            found = await _one(queue, keys, order, step, tell, f"{name}-{number}-", pids)
        cores = min(usable_cores(), concurrency * order.hosts)
        runs.append(
            structs.replace(
                found,
                value=concurrency if order.varied == "concurrency" else found.value,
                hosts=order.hosts,
                concurrency=concurrency,
                photos_per_s_per_core=round(found.figures.jobs_per_s / cores, 2),
            )
        )
    return runs


async def _one(
    queue: Producer, keys: Sequence[str], order: Order, step: Step, tell: Tell, prefix: str, pids: list[int]
) -> Run:
    processes = Processes(pids)

    async def cpu() -> Cpu:
        return processes.cpu()

    # The same arrivals for each step: what differs is what is varied.
    due = times(step.load, random.Random(order.seed))
    with tell.progress("jobs", len(due)) as on_end:
        async with memory_watched(processes):
            found = await measure(Generator(queue, keys, prefix, on_end), step.load, due, cpu)
    workers = len((await queue.status(0)).workers)
    return structs.replace(found, pss_bytes=processes.pss_bytes, workers=workers)


def _settings(ground: Stand, step: Step) -> dict[str, str]:
    own = {} if step.concurrency is None else {"WORKER_CONCURRENCY": str(step.concurrency)}
    return {**ground.environment, **own}


def _config(ground: Stand, step: Step) -> Config:
    return load(_settings(ground, step), usable_cores())


@asynccontextmanager
async def _services(ground: Stand, step: Step, hosts: int) -> AsyncIterator[list[int]]:
    """Run the services, ready when the block begins; yield the process id of each."""
    started: list[Service] = []
    try:
        for _ in range(hosts):
            started.append(Service(_settings(ground, step), ground.database.parent))
        deadline = time.monotonic() + _START_S
        for service in started:
            while (await asyncio.to_thread(service.get, "/ready"))[0] != 200:
                if service.ended is not None or time.monotonic() > deadline:
                    raise Unreachable("\n".join(["the service did not become ready:", *service.lines[-15:]]))
                await asyncio.sleep(0.1)
        yield [service.pid for service in started]
        for service in started:
            service.signal(signal.SIGTERM)
        for service in started:
            await asyncio.to_thread(service.wait, _END_S)
    finally:
        for service in started:
            service.close()
