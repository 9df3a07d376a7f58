"""Our consumer with the photo work replaced by a script: the real `bullmq` room, intake, locks and job line.

The script is the job's `s3Key`: steps separated by " | ", played by `play.js` in the same words.

    ok[:JSON]           end well, with that return value
    fail:CODE           an error of that code; fatal:CODE one that must not be tried again
    fail-then-ok:N      the first N attempts fail
    slow:MS             take time; gate:NAME wait until the key gate:<queue>:NAME is there
    progress:N progress-times:N log:TEXT

Run as a program (`python -m tests.conformance.ours JSON`) it serves until it is told to stop by SIGTERM, or killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.client import Client, greeting
from fastproc.bullmq.decode import Defaults
from fastproc.bullmq.fetcher import Fetcher
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.bullmq.queue import BullQueue, Sweep
from fastproc.bullmq.series import Series
from fastproc.bullmq.settle import JobsInHand
from fastproc.bullmq.waiter import Waiter
from fastproc.bullmq.watch import Watch
from fastproc.config.host import local_zone
from fastproc.config.redis import RedisConfig
from fastproc.core.errors import from_code
from fastproc.core.limit import TokenBucket
from fastproc.core.model import Completed, Job, Keep
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.budget import ByteBudget
from fastproc.supervisor.cancellations import Cancellations
from fastproc.supervisor.guards import Guards, guards
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.job import JobLine
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics
from fastproc.supervisor.outside import Ports
from fastproc.supervisor.took import Took


class Silent:
    """A row store and an event sink that keep nothing: conformance is about the queue."""

    endpoint = "nowhere"

    async def fail(self, *_: object, **__: object) -> None:
        pass

    async def probe(self, deep: bool) -> bool:
        return True

    async def publish(self, *_: object) -> None:
        pass

    def post(self, *_: object) -> None:
        pass


class ScriptedLine(JobLine):
    """The real line of a job but for the photo work, which is played from the job's script."""

    def __init__(self, ports: Ports, watched: Guards, locks: LockKeeper, pipe: Pipe, queue: str) -> None:
        super().__init__(ports, watched, locks, ByteBudget(1 << 20), ("validation",), Metrics())
        self._pipe, self._queue_name = pipe, queue

    async def _process(self, job: Job, took: Took) -> Completed:
        async with self._locks.cancellable(job):
            return await self._played(job)

    async def _played(self, job: Job) -> Completed:
        queue, value = self._ports.queue, "null"
        self._pipe.call("RPUSH", f"runs:{self._queue_name}", f"{job.id}/{job.attempt}")
        for step in job.s3_key.split(" | "):
            name, _, argument = step.partition(":")
            match name:
                case "ok":
                    value = argument or "null"
                case "progress":
                    queue.progress(job, int(argument))
                case "progress-times":
                    for percent in range(int(argument)):
                        queue.progress(job, percent)
                case "log":
                    queue.add_log(job, argument)
                case "slow":
                    await asyncio.sleep(int(argument) / 1000)
                case "gate":
                    await self._opened(argument)
                case "fail" | "fatal":
                    raise from_code(argument, f"attempt {job.attempt} went wrong")
                case "fail-then-ok":
                    if job.attempt <= int(argument):
                        raise from_code("STORAGE_UNAVAILABLE", f"attempt {job.attempt} went wrong")
                case _:
                    raise AssertionError(f"unknown step {step}")
        return Completed(value)

    async def _opened(self, gate: str) -> None:
        # Whoever opens it is in another process.
        while not await self._pipe.call("EXISTS", f"gate:{self._queue_name}:{gate}"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def consumer(port: int, queue: str, opts: Mapping[str, Any]) -> AsyncIterator[Intake]:
    """Serve the queue while the block runs. `opts` are the options of Node's Worker, as far as we have them."""
    redis = RedisConfig(host="127.0.0.1", port=port)
    commands = scripts.load(Path(opts["scripts"]) if opts.get("scripts") else None)
    keys = Keys("bull", queue)
    async with AsyncExitStack() as stack:
        pipe = Pipe(connector(redis, keys.base), greeting(commands))
        await pipe.open()
        stack.push_async_callback(pipe.close)
        client_name = f"{keys.client_name}:w:{opts['name']}"
        waiter = Waiter(connector(redis, keys.base), keys("marker"), client_name)
        stack.push_async_callback(waiter.close)
        client = Client(pipe, keys, commands, str(opts["name"]), int(opts["lockDuration"]))
        series = Series(client, local_zone())
        stack.push_async_callback(series.close)
        bull = _queue(client, waiter, series, opts)
        locks = LockKeeper(
            bull, opts["lockDuration"] / 1000, opts["stalledInterval"] / 1000, lambda _ids: None
        )
        silent: Any = Silent()
        watched = guards(silent, silent)
        line = ScriptedLine(Ports(bull, silent, silent, silent, silent), watched, locks, pipe, queue)
        intake = Intake(
            bull,
            line.run,
            opts["concurrency"],
            _bucket(opts.get("limiter")),
            Neighbours(watched.all),
            Metrics(),
        )
        running, keeping = asyncio.create_task(intake.run()), asyncio.create_task(locks.run())
        watching = asyncio.create_task(bull.watch())
        cancellations = Cancellations(bull, locks, intake.run_aside, intake.may_take)
        obeying = asyncio.create_task(cancellations.run())
        stack.push_async_callback(_ended, intake, running, keeping, watching, obeying)
        yield intake
        intake.stop()
        # Its last fetch may still bring a job.
        await running
        await intake.idle()


async def _ended(intake: Intake, *background: asyncio.Task[None]) -> None:
    """Take no more jobs and give back those in hand; where the block ended well, there are none."""
    intake.stop()
    await intake.interrupt()
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)


def _queue(client: Client, waiter: Waiter, series: Series, opts: Mapping[str, Any]) -> BullQueue:
    defaults = Defaults(
        bucket="photos",
        buckets=("photos",),
        attempts=1,
        keep_completed=Keep(**opts.get("removeOnComplete", {"count": -1})),
        keep_failed=Keep(**opts.get("removeOnFail", {"count": -1})),
    )
    sweep = Sweep(interval_ms=opts["stalledInterval"], max_stalled_count=opts["maxStalledCount"])
    in_hand = JobsInHand(client, str(uuid.uuid4()))
    fetcher = Fetcher(client, waiter, in_hand, series, defaults)
    return BullQueue(client, fetcher, in_hand, series, sweep, Watch(client, waiter, fetcher.rest))


def _bucket(limiter: Mapping[str, int] | None) -> TokenBucket | None:
    return TokenBucket(limiter["max"], limiter["duration"] / 1000, time.monotonic()) if limiter else None


async def _serve(port: int, queue: str, opts: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with consumer(port, queue, opts):
        print("serving", flush=True)
        await stop.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(_serve(**json.loads(sys.argv[1])))
