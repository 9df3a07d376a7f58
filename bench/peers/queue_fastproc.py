"""The queue's part of fastproc's supervisor, without photos, for bench/queue.py. Prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable

import uvloop

from fastproc.backends.factories import event_sink
from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.queue import BullQueue
from fastproc.config.settings import load
from fastproc.core import naming, record
from fastproc.core.model import Job
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.announcer import Announcer
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.ports import EventSink

RESULT = os.environ["RESULT"]
FACTS = json.loads(RESULT)


class Line:
    """The line of a job as in `supervisor/job.py`, with pauses instead of rows, transfers and stages."""

    def __init__(
        self, queue: BullQueue, events: EventSink, locks: LockKeeper, stages: tuple[str, ...], pause_s: float
    ) -> None:
        self._queue, self._locks, self._stages, self._pause_s = queue, locks, stages, pause_s
        self._tell = Announcer(queue, events, stages, locks.is_ours)
        self._marked = {stage for stage in stages if naming.is_news(stages, stage)}

    async def run(self, job: Job) -> None:
        """Bring the job to where it is finished."""
        tell = self._tell
        tell.progress(job, naming.ACCEPTED_PERCENT)
        await self._pause()  # The row of its beginning.
        tell.started(job)
        await self._pause()  # The photo is fetched.
        tell.progress(job, naming.FETCHED_PERCENT)
        for stage in self._stages:
            if stage in self._marked:
                await self._pause()
            tell.stage(job, stage)
        await self._pause()  # The stages without a mark.
        for stage in self._stages:
            self._queue.add_log(job, f"{stage}: 12.3 ms")
        await self._pause()  # Renditions are written.
        await self._pause()  # The row of its end.
        tell.progress(job, naming.RECORDED_PERCENT)
        await tell.completed(job, record.event_data(job, **FACTS))
        tell.progress(job, naming.DONE_PERCENT)

    async def _pause(self) -> None:
        await asyncio.sleep(random.uniform(0, 2 * self._pause_s))


async def work(port: int, name: str, jobs: int, slots: int, pause_s: float) -> None:
    """Open the queue, measure one run over it, and print what it cost."""
    config = load({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "QUEUE_NAME": name}, 1)
    async with open_pipe(config) as pipe, open_queue(config, pipe, "bench") as queue:
        locks = LockKeeper(queue, 30.0, 30.0, lambda ids: None)
        events = event_sink(pipe.call, config, Metrics())
        line = Line(queue, events, locks, config.pipeline.stages, pause_s)
        left, done = jobs, asyncio.Event()

        async def run_job(job: Job, may_fetch: Callable[[], bool]) -> Job | None:
            nonlocal left
            async with locks.hold(job):
                await line.run(job)
                following = await queue.complete(job, RESULT, fetch_next=may_fetch())
            left -= 1
            if not left:
                done.set()
            return following

        intake = Intake(queue, run_job, slots, None, Neighbours([]), Metrics())
        before, thread, started = time.process_time(), time.thread_time(), time.monotonic()
        background = [asyncio.create_task(intake.run()), asyncio.create_task(locks.run())]
        await done.wait()
        found = {
            "cpu_s": time.process_time() - before,
            "thread_s": time.thread_time() - thread,
            "seconds": time.monotonic() - started,
        }
        intake.stop()
        await intake.idle()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await events.close()
        print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        print(
            "usage: queue_fastproc.py PORT QUEUE JOBS SLOTS PAUSE_MS (bench/queue.py runs it)",
            file=sys.stderr,
        )
        sys.exit(2)
    port, name, jobs, slots, pause_ms = sys.argv[1:6]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(int(port), name, int(jobs), int(slots), float(pause_ms) / 1000))
