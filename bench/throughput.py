"""Jobs per second and CPU per job of the whole service over a folder of photos: one JSON line.

Runs `fastproc run` as it is deployed, on embedded servers on the same cores, with jobs added by BullMQ. Times are wall
clock from the first job added to the last one finished; CPU is user + system of the service's processes in that time,
the supervisor separately, and the servers'. The machine may be shared: compare ratios within one run.

    python bench/throughput.py FOLDER [--jobs 64] [--workers N] [--postgresql] [--set NAME=VALUE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import needs
import psutil

from fastproc.bullmq.producer import Producer, producer
from fastproc.embedded.child import free_ports
from fastproc.embedded.postgresql import PostgreSQL
from fastproc.embedded.stand import Stand, stand


def cpu_s(process: psutil.Process) -> float:
    """User and system seconds of a live process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def ready(port: int) -> bool:
    """Whether the service says that it can process jobs."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def service(environment: dict[str, str], port: int, python: str = sys.executable) -> Iterator[psutil.Process]:
    """Run the service, ready when the block begins; exit if it does not end with 0."""
    command = [python, "-m", "fastproc", "run"]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 30
        while not ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the service was not ready in time")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            sys.exit(f"the service ended with {process.returncode}")


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[dict[str, str]]:
    """Run a PostgreSQL with the table, while the block runs; yield the setting that leads there."""
    from fastproc.backends.metadata_postgresql import PostgresMetadataStore

    async def create(store: PostgresMetadataStore) -> None:
        await store.create_schema()
        await store.close()

    with PostgreSQL(folder) as server:
        asyncio.run(create(PostgresMetadataStore(server.url())))
        yield {"DATABASE_URL": server.url()}


async def finished(queue: Producer, jobs: int) -> int:
    """Wait until `jobs` have ended, and return how many of them completed."""
    while True:
        counts = (await queue.status(0)).counts
        if counts["completed"] + counts["failed"] >= jobs:
            return counts["completed"]
        await asyncio.sleep(0.05)


async def measure(place: Stand, supervisor: psutil.Process, keys: list[str], jobs: int) -> dict[str, float]:
    """Add the jobs, wait for their end, and return the figures."""
    workers = supervisor.children()
    servers = [psutil.Process(place.valkey.pid), psutil.Process(place.seaweedfs.pid)]
    async with producer(place.config.redis, place.config.queue) as queue:
        before = [cpu_s(p) for p in (supervisor, *workers, *servers)]
        started = time.monotonic()
        for number in range(jobs):
            data = {"photoId": f"bench-{number}", "s3Key": keys[number % len(keys)]}
            await queue.add(data, {"removeOnComplete": False})
        completed = await finished(queue, jobs)
        seconds = time.monotonic() - started
    spent = [cpu_s(p) - b for p, b in zip((supervisor, *workers, *servers), before, strict=True)]
    service_s, workers_s = sum(spent[: 1 + len(workers)]), sum(spent[1 : 1 + len(workers)])
    rss = max(worker.memory_info().rss for worker in workers)
    return {
        "jobs": jobs,
        "completed": completed,
        "jobs_per_s": round(jobs / seconds, 2),
        "cpu_ms_per_job": round(1000 * service_s / jobs, 1),
        "supervisor_cpu_ms_per_job": round(1000 * spent[0] / jobs, 2),
        "worker_cpu_ms_per_job": round(1000 * workers_s / jobs, 1),
        "redis_cpu_ms_per_job": round(1000 * spent[-2] / jobs, 2),
        "s3_cpu_ms_per_job": round(1000 * spent[-1] / jobs, 2),
        "largest_worker_mb": round(rss / 1e6, 1),
        "workers": len(workers),
    }


def main() -> None:
    """Parse the command line, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description="Throughput of the whole service over a folder of photos.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="default: the number of cores")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the service"
    )
    parser.add_argument("--postgresql", action="store_true", help="rows in a PostgreSQL instead of a file")
    args = parser.parse_args()
    photos = needs.photos(args.folder)
    port = free_ports(1)[0]
    settings = {"HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1", "LOG_LEVEL": "warn"}
    settings |= {"WORKER_CONCURRENCY": str(args.workers)} if args.workers else {}
    settings |= dict(pair.split("=", 1) for pair in args.set)
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder, contextlib.ExitStack() as stack:
        if args.postgresql:
            settings |= stack.enter_context(postgresql(Path(folder) / "postgresql"))
        place = stack.enter_context(stand(Path(folder), settings))
        client = place.seaweedfs.client()
        keys = []
        for path in photos:
            keys.append(f"photos/{path.name}")
            client.put_object(Bucket=place.config.s3.bucket, Key=keys[-1], Body=path.read_bytes())
        client.close()
        with service(place.environment, port) as supervisor:
            print(json.dumps(asyncio.run(measure(place, supervisor, keys, args.jobs))))


if __name__ == "__main__":
    main()
