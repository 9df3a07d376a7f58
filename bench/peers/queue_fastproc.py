"""The queue's part of fastproc's supervisor, without photos, for bench/queue.py. Prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable

import uvloop

from fastproc.backends.events_redis import RedisEventSink
from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.queue import BullQueue
from fastproc.config.settings import load
from fastproc.core.model import Event, Job
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.neighbours import Neighbours


async def work(port: int, name: str, jobs: int, slots: int) -> None:
    """Open the queue and measure one run over it."""
    config = load({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "QUEUE_NAME": name}, 1)
    async with open_pipe(config) as pipe, open_queue(config, pipe, "bench") as queue:
        await measure(pipe, queue, jobs, slots)


async def measure(pipe: Pipe, queue: BullQueue, jobs: int, slots: int) -> None:
    """Take `jobs` jobs, with eight progress updates and two events each, and finish them; print what it cost."""
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

    intake = Intake(queue, run_job, slots, None, Neighbours([]), Metrics())
    before, started = time.process_time(), time.monotonic()
    background = [asyncio.create_task(intake.run()), asyncio.create_task(locks.run())]
    await done.wait()
    spent, seconds = time.process_time() - before, time.monotonic() - started
    intake.stop()
    await intake.idle()
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    print(json.dumps({"cpu_s": spent, "seconds": seconds}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print("usage: queue_fastproc.py PORT QUEUE JOBS SLOTS (bench/queue.py runs it)", file=sys.stderr)
        sys.exit(2)
    port, name, jobs, slots = sys.argv[1:5]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(int(port), name, int(jobs), int(slots)))
