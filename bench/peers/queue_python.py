"""The same queue work with the official Python worker, for bench/queue.py. Prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from typing import Any

import bullmq
import redis.asyncio

STAGES = ("validation", "metadata", "thumbnails", "optimization", "placeholder", "phash")


async def work(port: int, name: str, jobs: int, slots: int, pause_s: float) -> None:
    """Do the same as queue_fastproc.work."""
    events = redis.asyncio.Redis(port=port)
    result = json.loads(os.environ["RESULT"])
    left, done = jobs, asyncio.Event()

    async def say(job: Any, word: str, mark: str = "", **more: Any) -> None:
        channel = f"photo.processing.{word}"
        about = {"photoId": job.data["photoId"], "jobId": job.id, "clientId": job.data["clientId"]}
        event = {
            "id": f"{job.id}:{word}:1{mark}",
            "type": channel,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {**about, "sessionId": None, **more},
        }
        await events.publish(channel, json.dumps(event))

    async def mark(job: Any, progress: int) -> None:
        await job.updateProgress(progress)
        await say(job, "progress", f":{progress}", progress=progress)

    async def pause() -> None:
        await asyncio.sleep(random.uniform(0, 2 * pause_s))

    async def process(job: Any, _token: str) -> dict[str, Any]:
        await mark(job, 10)
        await pause()
        await say(job, "started")
        await pause()
        await mark(job, 25)
        for percent in (35, 45, 75, 90):
            await pause()
            await mark(job, percent)
        await pause()
        for stage in STAGES:
            await job.log(f"{stage}: 12.3 ms")
        await pause()
        await pause()
        await mark(job, 95)
        await say(job, "completed", **result)
        await mark(job, 100)
        return dict(result)

    def completed(*_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    before, started = time.process_time(), time.monotonic()
    options = {
        "connection": {"host": "127.0.0.1", "port": port},
        "concurrency": slots,
        "removeOnComplete": {"age": 86400, "count": 1000},
    }
    worker = bullmq.Worker(name, process, options)
    worker.on("completed", completed)
    await done.wait()
    print(json.dumps({"cpu_s": time.process_time() - before, "seconds": time.monotonic() - started}))
    await worker.close()
    await events.aclose()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        print(
            "usage: queue_python.py PORT QUEUE JOBS SLOTS PAUSE_MS (bench/queue.py runs it)", file=sys.stderr
        )
        sys.exit(2)
    port, name, jobs, slots, pause_ms = sys.argv[1:6]
    asyncio.run(work(int(port), name, int(jobs), int(slots), float(pause_ms) / 1000))
