"""From adding a small photo's job to its end, on a service that has nothing else to do: one JSON line.

Adds the photos one after another, each when the one before it has ended. `over_ms` is what a job takes beyond its
worker's stages, whose times are in the job's log: the queue, the transfers, the rows, the packets and the check of the
header. Times are BullMQ's own (`timestamp`, `finishedOn`), wall clock in milliseconds: a busy machine adds to them.

    python bench/latency.py [--photo tiny|phone|FILE] [--jobs 200] [--rest-ms 20] [--set NAME=VALUE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import needs
import redis.asyncio
from stand_in import picture
from throughput import service

from fastproc.bullmq.producer import producer
from fastproc.embedded.child import HOST, free_ports
from fastproc.embedded.stand import Stand, stand

#: Jobs before the measure: connections are open, code is warm.
WARM_UP = 20
PATIENCE_S = 30


async def ended(client: Any, base: str, job_id: str) -> tuple[float, float]:
    """Wait for the end of the job; return its milliseconds from its adding on, and those of its stages."""
    deadline = time.monotonic() + PATIENCE_S
    while not (finished := await client.hget(f"{base}:{job_id}", "finishedOn")):
        if time.monotonic() > deadline:
            sys.exit(f"job {job_id} has not ended")
        await asyncio.sleep(0.005)
    added, why = await client.hmget(f"{base}:{job_id}", "timestamp", "failedReason")
    if why:
        sys.exit(f"job {job_id} has failed: {why}")
    lines = await client.lrange(f"{base}:{job_id}:logs", 0, -1)
    stages = (float(found[1]) for line in lines if (found := re.search(r": ([\d.]+) ms$", line)))
    return float(finished) - float(added), sum(stages)


async def measure(place: Stand, key: str, jobs: int, rest_s: float) -> dict[str, object]:
    """Add one job after another, and return the figures."""
    config, took, over, stages = place.config, [], [], []
    base = f"{config.queue.prefix}:{config.queue.name}"
    client = redis.asyncio.Redis(host=HOST, port=place.valkey.port, decode_responses=True)
    async with producer(config.redis, config.queue) as queue, client:
        for number in range(WARM_UP + jobs):
            data = {"photoId": f"bench-{number}", "s3Key": key}
            # Some clients give a job its time before they have connected.
            options = {"removeOnComplete": False, "timestamp": time.time_ns() // 1_000_000}
            ms, kernels_ms = await ended(client, base, await queue.add(data, options))
            if number >= WARM_UP:
                took.append(ms)
                stages.append(kernels_ms)
                over.append(ms - kernels_ms)
            await asyncio.sleep(rest_s)
    figures = {"ms": took, "stages_ms": stages, "over_ms": over}
    return {"jobs": jobs, **{name: percentiles(values) for name, values in figures.items()}}


def percentiles(values: list[float]) -> dict[str, float]:
    """The usual figures of a list of times."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = {name: round(cuts[at - 1], 1) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}
    return {"min": round(min(values), 1), **found}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Latency of single photos on an idle service.")
    parser.add_argument("--photo", default="tiny", help="a file, `tiny` or `phone`")
    parser.add_argument("--jobs", type=needs.at_least(2), default=200)
    parser.add_argument("--rest-ms", type=float, default=20.0, help="pause behind each job")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    args = parser.parse_args()
    photo, port = picture(args.photo), free_ports(1)[0]
    settings = {"HTTP_PORT": str(port), "HTTP_HOST": HOST, "LOG_LEVEL": "warn", "WORKER_CONCURRENCY": "1"}
    settings |= dict(pair.split("=", 1) for pair in args.set)
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder,
        stand(Path(folder), settings) as place,
    ):
        client, key = place.seaweedfs.client(), "photos/bench.jpg"
        client.put_object(Bucket=place.config.s3.bucket, Key=key, Body=photo)
        client.close()
        with service(place.environment, port):
            found = asyncio.run(measure(place, key, args.jobs, args.rest_ms / 1000))
            print(json.dumps({"photo": args.photo, **found}))


if __name__ == "__main__":
    main()
