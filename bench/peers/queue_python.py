"""The same queue work with the official Python worker, for bench/queue.py. Prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import bullmq
import redis.asyncio


async def work(port: int, name: str, jobs: int, slots: int) -> None:
    """Do the same as queue_fastproc.work."""
    events = redis.asyncio.Redis(port=port)
    left, done = jobs, asyncio.Event()

    async def process(job: Any, _token: str) -> dict[str, bool]:
        nonlocal left
        await events.publish("bench.started", json.dumps({"photoId": job.data["photoId"]}))
        for percent in (10, 25, 35, 45, 75, 90, 95, 100):
            await job.updateProgress(percent)
        await events.publish("bench.completed", json.dumps({"photoId": job.data["photoId"]}))
        return {"success": True}

    def completed(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    before, started = time.process_time(), time.monotonic()
    options = {"connection": {"host": "127.0.0.1", "port": port}, "concurrency": slots}
    worker = bullmq.Worker(name, process, options)
    worker.on("completed", completed)
    await done.wait()
    print(json.dumps({"cpu_s": time.process_time() - before, "seconds": time.monotonic() - started}))
    await worker.close()
    await events.aclose()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print("usage: queue_python.py PORT QUEUE JOBS SLOTS (bench/queue.py runs it)", file=sys.stderr)
        sys.exit(2)
    port, name, jobs, slots = sys.argv[1:5]
    asyncio.run(work(int(port), name, int(jobs), int(slots)))
