"""The queue's own cost per job, in the service and in Redis. One JSON line for each system.

A job does what one of the service does: it is taken, marks its progress eight times, sends ten events, writes a log row
for each of six stages, and is finished with a return value of 2 kB, kept as the service keeps it. Instead of the work
between (rows, transfers, stages) it pauses nine times, for `--pause-ms` in the mean, 0 for none. The same jobs go
through fastproc's queue code, the official Python worker and the official Node worker, one after the other in one run
on one Valkey, `--rounds` times; the round with the least CPU of the process counts. `thread_us_per_job` is the CPU of
the thread that runs the event loop, pauses included. Node's BullMQ comes from tests/conformance/node_modules
(scripts/test installs it).

    python bench/queue.py [--jobs 2000] [--slots 8] [--pause-ms 3] [--rounds 3] [--systems fastproc,node,python]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

import needs
import psutil

from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.config.redis import RedisConfig
from fastproc.embedded.valkey import Valkey

HERE = pathlib.Path(__file__).parent
NODE_MODULES = HERE.parent / "tests/conformance/node_modules"

SYSTEMS = {
    "fastproc": [sys.executable, str(HERE / "peers/queue_fastproc.py")],
    "python": [sys.executable, str(HERE / "peers/queue_python.py")],
    "node": ["node", str(HERE / "peers/queue_node.js")],
}
#: What a job is finished with: 2 kB as JSON, as of a camera's JPEG.
RESULT = {"success": True, "metadata": {f"field{number}": f"some value {number}" for number in range(56)}}


async def fill(port: int, name: str, jobs: int) -> None:
    """Add the jobs before any worker starts."""
    async with producer(RedisConfig(host="127.0.0.1", port=port), QueueConfig(name=name)) as queue:
        for number in range(jobs):
            data = {
                "photoId": f"p{number}",
                "s3Key": f"photos/p{number}.jpg",
                "clientId": f"client-{number % 10}",
            }
            await queue.add(data, {"attempts": 3, "backoff": {"type": "exponential", "delay": 500}})


def measure(system: str, server: Valkey, args: argparse.Namespace) -> dict[str, float]:
    """Run one system on a new queue; return ms of CPU per job, and jobs/s."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    asyncio.run(fill(server.port, name, args.jobs))
    valkey = psutil.Process(server.pid)
    before = sum(valkey.cpu_times()[:2])
    command = [*SYSTEMS[system], str(server.port), name, str(args.jobs), str(args.slots), str(args.pause_ms)]
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES), "RESULT": json.dumps(RESULT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    found = json.loads(done.stdout)
    figures = {
        "cpu_ms_per_job": round(1000 * found["cpu_s"] / args.jobs, 3),
        "redis_cpu_ms_per_job": round(1000 * (sum(valkey.cpu_times()[:2]) - before) / args.jobs, 3),
        "jobs_per_s": round(args.jobs / found["seconds"], 1),
    }
    if "thread_s" in found:
        figures["thread_us_per_job"] = round(1e6 * found["thread_s"] / args.jobs, 1)
    return figures


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        prog="queue.py", description="The queue's own cost per job, compared with BullMQ's own workers."
    )
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--pause-ms", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    args = parser.parse_args()
    systems = args.systems.split(",")
    if "node" in systems:
        needs.node(NODE_MODULES, "bullmq5")
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder,
        Valkey(pathlib.Path(folder)) as server,
    ):
        rounds: dict[str, list[dict[str, float]]] = {system: [] for system in systems}
        for _ in range(args.rounds):
            for system in systems:
                rounds[system].append(measure(system, server, args))
        shape = {"jobs": args.jobs, "slots": args.slots, "pause_ms": args.pause_ms}
        for system, found in rounds.items():
            best = min(found, key=lambda figures: figures["cpu_ms_per_job"])
            print(json.dumps({"system": system, **shape, **best}))


if __name__ == "__main__":
    main()
