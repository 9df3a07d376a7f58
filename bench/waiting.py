"""Whether a job costs more when many others wait, or when several services take them: one JSON line each.

Fills a queue with copies of one job that the official package has added (its hash, its place in the list, the marker),
then lets the queue's part of one supervisor or of several take and finish some of them: no photos, no marks, no events,
because those do not know how many jobs wait. Completed jobs are removed or kept. A million jobs take 0.5 GB of memory.

    python bench/waiting.py [--waiting 100 10000 1000000] [--jobs 4000] [--services 1 2 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import needs  # noqa: F401  # tells what is not installed
import psutil
import redis
import uvloop

from fastproc.bullmq.opening import open_pipe, open_queue
from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.config.settings import load
from fastproc.core.model import Job
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.all_neighbours import Neighbours
from fastproc.supervisor.intake import Intake
from fastproc.supervisor.locks import LockKeeper
from fastproc.supervisor.metrics import Metrics

#: Jobs that each service has in hand.
SLOTS = 8
#: Jobs of one pipeline.
BATCH = 10_000


async def _first(port: int, name: str, data: dict[str, Any], options: dict[str, Any]) -> str:
    async with producer(RedisConfig(host="127.0.0.1", port=port), QueueConfig(name=name)) as queue:
        return await queue.add(data, options)


def fill(port: int, name: str, jobs: int, data: dict[str, Any], options: dict[str, Any]) -> None:
    """Make so many jobs wait in a new queue, each as BullMQ's addStandardJob leaves it."""
    first = asyncio.run(_first(port, name, data, options))
    with redis.Redis(port=port) as client:
        fields: Any = client.hgetall(f"bull:{name}:{first}")
        begin = int(first) + 1
        while begin <= jobs:
            end = min(begin + BATCH, jobs + 1)
            with client.pipeline(transaction=False) as pipeline:
                for number in range(begin, end):
                    pipeline.hset(f"bull:{name}:{number}", mapping=fields)
                pipeline.lpush(f"bull:{name}:wait", *range(begin, end))
                pipeline.execute()
            begin = end
        client.set(f"bull:{name}:id", jobs)


async def work(port: int, name: str, jobs: int) -> None:
    """Be a service: take and finish so many jobs; print what it cost."""
    config = load({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "QUEUE_NAME": name}, 1)
    async with open_pipe(config) as pipe, open_queue(config, pipe, "bench") as queue:
        locks = LockKeeper(queue, 30.0, 30.0, lambda ids: None)
        left, done = jobs, asyncio.Event()

        async def run_job(job: Job, may_fetch: Callable[[], bool]) -> Job | None:
            nonlocal left
            left -= 1
            if left <= 0:
                done.set()
            async with locks.hold(job):
                return await queue.complete(job, '{"success":true}', fetch_next=left > 0 and may_fetch())

        intake = Intake(queue, run_job, SLOTS, None, Neighbours([]), Metrics())
        spent, began = time.process_time(), time.monotonic()
        taking = asyncio.create_task(intake.run())
        await done.wait()
        intake.stop()
        await intake.idle()
        print(json.dumps({"cpu_s": time.process_time() - spent, "seconds": time.monotonic() - began}))
        taking.cancel()


def quiet(process: psutil.Process) -> float:
    """Wait until the server has tidied up (its tables grow step by step); return its CPU seconds."""
    before, now = -1.0, float(sum(process.cpu_times()[:2]))
    while now > before + 0.01:
        time.sleep(0.5)
        before, now = now, float(sum(process.cpu_times()[:2]))
    return now


def measure(server: Valkey, waiting: int, jobs: int, services: int, keep: bool) -> dict[str, float]:
    """Work off `jobs` of the waiting ones; return CPU ms a job of Redis and of the services."""
    name = f"waiting-{waiting}-{services}-{keep}"
    with redis.Redis(port=server.port) as client:
        client.execute_command("FLUSHALL", "SYNC")
    options = {"removeOnComplete": not keep}
    fill(server.port, name, waiting + jobs, {"photoId": "p", "s3Key": "photos/p.jpg"}, options)
    valkey = psutil.Process(server.pid)
    before = quiet(valkey)
    share = jobs // services
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", str(server.port), name, str(share)], stdout=subprocess.PIPE
        )
        for _ in range(services)
    ]
    found = [json.loads(each.communicate()[0]) for each in running]
    redis_s = sum(valkey.cpu_times()[:2]) - before
    return {
        "redis_ms_per_job": round(1000 * redis_s / jobs, 3),
        "queue_ms_per_job": round(1000 * sum(each["cpu_s"] for each in found) / jobs, 3),
        "seconds_first": round(min(each["seconds"] for each in found), 2),
        "seconds_last": round(max(each["seconds"] for each in found), 2),
    }


def main() -> None:
    """Parse the command line, measure in turns, print the best round of each."""
    parser = argparse.ArgumentParser(description="A job's cost against waiting jobs and services.")
    parser.add_argument("--waiting", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--services", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        port, name, jobs = args.work
        uvloop.run(work(int(port), name, int(jobs)))
        return
    cases = [(waiting, 1, keep) for waiting in args.waiting for keep in (False, True)]
    cases += [(args.waiting[0], services, False) for services in args.services if services > 1]
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder, Valkey(Path(folder)) as server:
        found: dict[tuple[int, int, bool], list[dict[str, float]]] = {case: [] for case in cases}
        for _ in range(args.rounds):
            for case in cases:
                waiting, services, keep = case
                found[case].append(measure(server, waiting, args.jobs, services, keep))
        for (waiting, services, keep), rounds in found.items():
            best = min(rounds, key=lambda figures: figures["redis_ms_per_job"])
            line = {"waiting": waiting, "services": services, "completed": "kept" if keep else "removed"}
            print(json.dumps({**line, **best}), flush=True)


if __name__ == "__main__":
    main()
