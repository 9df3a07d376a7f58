"""A burst of large photos in a service whose memory is limited by a cgroup: one JSON line for each limit.

Needs root, and a cgroup hierarchy for memory that can be written (v1 or v2). The servers run outside the limit. Counted
are jobs by outcome, kills by the kernel, and the most memory that was used; `blamed` are failed jobs.

    python bench/overload.py FOLDER [--jobs 300] [--limits 512 1024 2048] [--workers 2]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import needs
import psutil
import redis
from throughput import service

from fastproc.bullmq.producer import producer
from fastproc.config.host import oom_kills
from fastproc.config.queue import QueueConfig
from fastproc.embedded.child import free_ports
from fastproc.embedded.stand import Stand, stand

ROOT = Path("/sys/fs/cgroup")
PATIENCE_S = 1200.0


@contextlib.contextmanager
def limited(megabytes: int) -> Iterator[Path]:
    """Make a cgroup with this limit."""
    is_v1 = (ROOT / "memory").is_dir()
    if not is_v1:
        (ROOT / "cgroup.subtree_control").write_text("+memory")
    group = (ROOT / "memory" if is_v1 else ROOT) / f"fastproc-bench-{os.getpid()}-{megabytes}"
    group.mkdir()
    (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(megabytes << 20))
    try:
        yield group
    finally:
        group.rmdir()


def interpreter(folder: Path, group: Path) -> str:
    """Write a program that enters the cgroup and becomes this Python; return its path."""
    path = folder / f"python-{group.name}"
    path.write_text(f'#!/bin/sh\necho $$ > {group}/cgroup.procs\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def peak(group: Path) -> int:
    """The most bytes that were charged to the cgroup."""
    names = ("memory.max_usage_in_bytes", "memory.peak")
    return next((int((group / name).read_text()) for name in names if (group / name).exists()), 0)


def kills(group: Path) -> int:
    """How many processes the kernel killed there."""
    kind = "memory" if (ROOT / "memory").is_dir() else ""
    with tempfile.NamedTemporaryFile("w") as own:
        own.write(f"1:{kind}:/{group.name}\n")
        own.flush()
        return oom_kills(ROOT, Path(own.name))


async def burst(place: Stand, queue: str, keys: list[str], jobs: int, supervisor: psutil.Process) -> float:
    """Add the jobs, wait for their end, and return the supervisor's largest RSS in bytes meanwhile."""
    largest = 0.0
    async with producer(place.config.redis, QueueConfig(name=queue)) as added:
        for number in range(jobs):
            data = {"photoId": f"large-{number}", "s3Key": keys[number % len(keys)]}
            await added.add(data, {"attempts": 3, "removeOnComplete": False, "removeOnFail": False})
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            counts = (await added.status(0)).counts
            largest = max(largest, supervisor.memory_info().rss)
            if counts["completed"] + counts["failed"] >= jobs:
                break
            await asyncio.sleep(0.2)
    return largest


def outcome(place: Stand, queue: str) -> dict[str, object]:
    """Count the jobs by how they ended."""
    with redis.Redis(port=place.valkey.port, host=place.valkey.host, decode_responses=True) as client:
        failed = client.zrange(f"bull:{queue}:failed", 0, -1)
        reasons = collections.Counter(
            str(client.hget(f"bull:{queue}:{job}", "failedReason")).partition(":")[0] for job in failed
        )
        completed = client.zcard(f"bull:{queue}:completed")
    return {"completed": completed, "blamed": len(failed), "reasons": dict(reasons)}


def main() -> None:
    """Parse the command line, run each limit, print one JSON line for each."""
    parser = argparse.ArgumentParser(description="A burst of large photos under a memory limit.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--limits", type=int, nargs="+", default=[512, 1024, 2048], metavar="MB")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    photos = needs.photos(args.folder)
    needs.root("it limits the service's memory by a cgroup")
    if not os.access(ROOT / "memory" if (ROOT / "memory").is_dir() else ROOT, os.W_OK):
        needs.end(f"it needs a cgroup hierarchy that can be written: {ROOT} cannot")
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as name, stand(Path(name), {}) as place:
        client, keys = place.seaweedfs.client(), []
        for path in photos:
            keys.append(f"photos/{path.name}")
            client.put_object(Bucket=place.config.s3.bucket, Key=keys[-1], Body=path.read_bytes())
        client.close()
        for limit in args.limits:
            port, queue = free_ports(1)[0], f"limit-{limit}"
            settings = {"HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1", "LOG_LEVEL": "error"}
            settings |= {"QUEUE_NAME": queue, "WORKER_CONCURRENCY": str(args.workers)}
            with limited(limit) as group:
                python = interpreter(Path(name), group)
                began = time.monotonic()
                with service(place.environment | settings, port, python) as supervisor:
                    rss = asyncio.run(burst(place, queue, keys, args.jobs, supervisor))
                    found = {
                        "limit_mb": limit,
                        "jobs": args.jobs,
                        **outcome(place, queue),
                        "kernel_kills": kills(group),
                        "peak_mb": round(peak(group) / 2**20),
                        "supervisor_mb": round(rss / 2**20),
                        "seconds": round(time.monotonic() - began, 1),
                    }
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
