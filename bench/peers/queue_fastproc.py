"""The queue's part of fastproc's supervisor, without photos, for bench/queue.py. Prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable

import uvloop

from fastproc.backends.events_redis import RedisEventSink
from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.client import Client, greeting
from fastproc.bullmq.decode import Defaults
from fastproc.bullmq.fetcher import FetchedBy, Fetcher
from fastproc.bullmq.pipe import Pipe, Waiter
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.queue import BullQueue, Sweep
from fastproc.config.settings import RedisConfig
from fastproc.core.model import Event, Job
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics


async def work(port: int, name: str, jobs: int, slots: int) -> None:
    """Take `jobs` jobs, with eight progress updates and two events each, and finish them."""
    keys, config, commands = Keys("bull", name), RedisConfig(host="127.0.0.1", port=port), scripts.load()
    pipe = Pipe(connector(config, keys.base), greeting(commands))
    await pipe.open()
    waiter = Waiter(connector(config, keys.base, keys.client_name))
    client = Client(pipe, keys, commands, lambda: time.time_ns() // 1_000_000)
    by = FetchedBy(worker_id="bench", name="bench", lock_duration_ms=30_000)
    defaults = Defaults(bucket="photos", buckets=("photos",), attempts=3)
    fetcher = Fetcher(client, waiter, keys("marker"), by, defaults)
    queue = BullQueue(client, fetcher, by, Sweep(interval_ms=30_000, max_stalled_count=1))
    events = RedisEventSink(pipe.call)
    locks = LockKeeper(queue, 30.0, 30.0, lambda ids: None)
    left, done = jobs, asyncio.Event()

    async def run_job(job: Job, may_fetch: Callable[[], bool]) -> Job | None:
        nonlocal left
        async with locks.hold(job):
            events.post(Event(id=job.id, type="bench.started", timestamp="", data={"photoId": job.photo_id}))
            for percent in (10, 25, 35, 45, 75, 90, 95, 100):
                queue.progress(job, percent)
                await asyncio.sleep(0)
            await events.publish(
                Event(id=job.id, type="bench.completed", timestamp="", data={"photoId": job.photo_id})
            )
        following = await queue.complete(job, '{"success":true}', fetch_next=may_fetch())
        left -= 1
        if not left:
            done.set()
        return following

    intake = Intake(queue, run_job, slots, None, Metrics())
    before, started = time.process_time(), time.monotonic()
    background = [asyncio.create_task(intake.run()), asyncio.create_task(locks.run())]
    await done.wait()
    spent, seconds = time.process_time() - before, time.monotonic() - started
    intake.stop()
    await intake.idle()
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await waiter.close()
    await pipe.close()
    print(json.dumps({"cpu_s": spent, "seconds": seconds}))


if __name__ == "__main__":
    port, name, jobs, slots = sys.argv[1:5]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(int(port), name, int(jobs), int(slots)))
