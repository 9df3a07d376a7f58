"""What one job costs the supervisor, by thread: one JSON line.

Runs the real service on embedded Valkey, SeaweedFS and SQLite, with workers that do not compute (`stand_in.py`). Jobs
are added before it starts, so that nothing but the service is busy beside the servers; the first are not measured. CPU
is user + system from /proc, so a busy machine changes it little; compare runs that were made in turns.

    python bench/supervisor.py [--photo tiny|phone|FILE] [--jobs 400] [--workers 4] [--sleep-ms 41]
                               [--profile FILE] [--set NAME=VALUE ...]

`--profile`: raw stacks of its loop's thread, by CPU (`cpu_stacks.py`); the start is among them, so take 2,000 jobs.
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
from collections.abc import Iterator
from pathlib import Path

import needs

# isort: split
import msgspec
import psutil
from stand_in import picture, record
from throughput import finished

from fastproc.bullmq.producer import Producer, producer
from fastproc.embedded.stand import Stand, stand

#: Jobs before the measure: connections are open, code and memory are warm.
WARM_UP = 60


def threads_cpu_s(pid: int) -> dict[str, float]:
    """Seconds of CPU by thread, named after what the thread does; threads that have ended are not among them."""
    ticks, found = os.sysconf("SC_CLK_TCK"), {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, rest = (task / "stat").read_text().partition("(")[2].rsplit(")", 1)
        # man 5 proc: utime and stime are the 12th and 13th field behind the name. schedstat is finer, where it exists.
        cpu = sum(map(int, rest.split()[11:13])) / ticks
        if (fine := task / "schedstat").exists():
            cpu = int(fine.read_text().split()[0]) / 1e9
        label = "loop" if int(task.name) == pid else f"{name} {task.name}"
        found[label] = cpu
    return found


def busy_s(pid: int) -> float:
    """CPU seconds of a process."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


async def fill(place: Stand, key: str, jobs: int) -> None:
    """Add the jobs."""
    async with producer(place.config.redis, place.config.queue) as queue:
        for number in range(jobs):
            await queue.add({"photoId": f"bench-{number}", "s3Key": key}, {"removeOnComplete": False})


@contextlib.contextmanager
def service(
    answers: Path, sleep_ms: float, place: Stand, profile: Path | None = None
) -> Iterator[psutil.Process]:
    """Run the service with stand-ins; exit if it does not end with 0."""
    program = [sys.executable, str(Path(__file__).with_name("stand_in.py")), "service", str(answers)]
    program += ["--sleep-ms", str(sleep_ms), *(("--profile", str(profile)) if profile else ())]
    process = subprocess.Popen(program, env={**os.environ, **place.environment})
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    # Not where the block has failed: its error would be lost.
    if process.returncode:
        sys.exit(f"the service ended with {process.returncode}")


async def _done(queue: Producer, jobs: int, process: psutil.Process) -> int:
    """Wait until so many jobs have ended, and return how many were completed. Exits where the service has ended."""
    done = asyncio.create_task(finished(queue, jobs))
    while not (await asyncio.wait((done,), timeout=1.0))[0]:
        if process.status() == psutil.STATUS_ZOMBIE:
            done.cancel()
            sys.exit("the service has ended before its jobs")
    return done.result()


async def measure(place: Stand, process: psutil.Process, jobs: int, sleep_s: float) -> dict[str, object]:
    """Wait for the end of the jobs, and return the figures of those behind the warm-up."""
    servers = {"redis_ms_per_job": place.valkey.pid, "s3_ms_per_job": place.seaweedfs.pid}
    async with producer(place.config.redis, place.config.queue) as queue:
        first = await _done(queue, WARM_UP, process)
        before, served = threads_cpu_s(process.pid), {name: busy_s(pid) for name, pid in servers.items()}
        all_before, began = busy_s(process.pid), time.monotonic()
        completed = await _done(queue, WARM_UP + jobs, process)
        seconds, all_after, after = time.monotonic() - began, busy_s(process.pid), threads_cpu_s(process.pid)
    measured, workers = completed - first, len(process.children())
    spent = {name: 1000 * (cpu - before.get(name, 0.0)) / measured for name, cpu in after.items()}
    return {
        "jobs": measured,
        "failed": WARM_UP + jobs - completed,
        "jobs_per_s": round(measured / seconds, 1),
        "workers": workers,
        "busy_share": round(measured * sleep_s / seconds / workers, 3) if sleep_s else None,
        "loop_ms_per_job": round(spent["loop"], 3),
        "all_ms_per_job": round(1000 * (all_after - all_before) / measured, 3),
        "threads_ms_per_job": {name: round(ms, 3) for name, ms in sorted(spent.items()) if ms > 0.001},
        **{name: round(1000 * (busy_s(pid) - served[name]) / measured, 3) for name, pid in servers.items()},
    }


def run(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Start the servers and the service, and return the figures."""
    body, answers, key = picture(args.photo), folder / "answers", "photos/bench.jpg"
    answers.write_bytes(msgspec.msgpack.encode(record([body])))
    settings = {"WORKER_CONCURRENCY": str(args.workers), "LOG_LEVEL": "info"}
    settings |= dict(pair.split("=", 1) for pair in args.set)
    with stand(folder, settings) as place:
        client = place.seaweedfs.client()
        client.put_object(Bucket=place.config.s3.bucket, Key=key, Body=body, ContentType="image/jpeg")
        client.close()
        asyncio.run(fill(place, key, WARM_UP + args.jobs))
        with service(answers, args.sleep_ms, place, args.profile) as process:
            found = asyncio.run(measure(place, process, args.jobs, args.sleep_ms / 1000))
    return {"photo": args.photo, "sleep_ms": args.sleep_ms, **found}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="CPU of the supervisor a job, with workers that sleep.")
    parser.add_argument("--photo", default="tiny", help="a file, `tiny` or `phone`")
    parser.add_argument("--jobs", type=needs.at_least(20), default=400)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sleep-ms", type=float, default=41.0)
    parser.add_argument("--profile", type=Path, help="write raw stacks of the loop's thread there")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder:
        print(json.dumps(run(args, Path(folder))))


if __name__ == "__main__":
    main()
