"""Measures one run: the jobs by their plan, and what the services and the load generator used meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from fastproc.load.arrivals import Burst, Load
from fastproc.load.figures import figures
from fastproc.load.generator import Generator
from fastproc.load.report import CpuPerJob, Run
from fastproc.load.usage import Cpu, Processes

#: Reads the services' CPU; None where it cannot be seen.
ReadCpu = Callable[[], Awaitable[Cpu]] | None


async def measure(generator: Generator, load: Load, due: list[float], read_cpu: ReadCpu) -> Run:
    """Run the load. What is known of the services' side is the caller's to add. Raises RedisError, Unreachable."""
    before = await read_cpu() if read_cpu else None
    own_s = time.process_time()
    await generator.run(due, load.outstanding if isinstance(load, Burst) else 0)
    own_s = time.process_time() - own_s
    after = await read_cpu() if read_cpu else None
    began = generator.began_ms
    window = None if isinstance(load, Burst) else (began, began + 1000 * load.seconds)
    found = figures(await generator.courses(), window)
    ended = max(1, found.completed + found.failed)
    return Run(
        load=load,
        value=load.outstanding or load.jobs if isinstance(load, Burst) else load.rate,
        hosts=1,
        workers=0,
        concurrency=None,
        figures=found,
        cpu_ms_per_job=per_job(after.since(before), ended) if before and after else None,
        load_generator_cpu_ms_per_job=round(1000 * own_s / max(1, found.jobs), 2),
    )


def per_job(used: Cpu, jobs: int) -> CpuPerJob:
    """Return what each of the jobs has cost."""
    return CpuPerJob(
        all=round(1000 * (used.supervisor_s + used.workers_s) / jobs, 2),
        supervisor=round(1000 * used.supervisor_s / jobs, 2),
        workers=round(1000 * used.workers_s / jobs, 2),
    )


@asynccontextmanager
async def memory_watched(processes: Processes) -> AsyncIterator[None]:
    """Look at the processes' memory while the block runs, and at its end."""
    watching = asyncio.create_task(processes.watch_memory())
    try:
        yield
        processes.look_at_memory()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
