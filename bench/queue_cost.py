"""The queue's own cost per job: fetch, eight progress updates, two publishes, finish. One JSON line for each system.

The same jobs go through fastproc's queue code, the official Python worker and the official Node worker, one after the
other in one run on one Valkey, `--rounds` times; the round with the least CPU of the process counts.
Node's BullMQ comes from tests/conformance/node_modules (scripts/test installs it).

    python bench/queue.py [--jobs 2000] [--slots 8] [--rounds 3]
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
    "bullmq python": [sys.executable, str(HERE / "peers/queue_python.py")],
    "bullmq node": ["node", str(HERE / "peers/queue_node.js")],
}


async def fill(port: int, name: str, jobs: int) -> None:
    """Add the jobs before any worker starts."""
    async with producer(RedisConfig(host="127.0.0.1", port=port), QueueConfig(name=name)) as queue:
        for number in range(jobs):
            await queue.add(
                {"photoId": f"p{number}", "s3Key": f"photos/p{number}.jpg"}, {"removeOnComplete": True}
            )


def measure(system: str, server: Valkey, jobs: int, slots: int) -> dict[str, float]:
    """Run one system on a new queue; return ms of CPU per job, and jobs/s."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    asyncio.run(fill(server.port, name, jobs))
    valkey = psutil.Process(server.pid)
    before = sum(valkey.cpu_times()[:2])
    command = [*SYSTEMS[system], str(server.port), name, str(jobs), str(slots)]
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    found = json.loads(done.stdout)
    return {
        "cpu_ms_per_job": round(1000 * found["cpu_s"] / jobs, 3),
        "redis_cpu_ms_per_job": round(1000 * (sum(valkey.cpu_times()[:2]) - before) / jobs, 3),
        "jobs_per_s": round(jobs / found["seconds"], 1),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description="The queue's own cost per job, compared with BullMQ's own workers."
    )
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    needs.node(NODE_MODULES, "bullmq5")
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder,
        Valkey(pathlib.Path(folder)) as server,
    ):
        rounds: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
        for _ in range(args.rounds):
            for system in SYSTEMS:
                rounds[system].append(measure(system, server, args.jobs, args.slots))
        for system, found in rounds.items():
            best = min(found, key=lambda figures: figures["cpu_ms_per_job"])
            print(json.dumps({"system": system, "jobs": args.jobs, "slots": args.slots, **best}))


if __name__ == "__main__":
    main()
