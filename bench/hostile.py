"""How a running service handles files that break decoders: results against a list, deaths, times, memory.

Runs `fastproc run` as it is deployed, on embedded servers, with jobs added by BullMQ (`--node`: by the npm package),
one for each file of `expected.tsv` (path, then `accept` or `reject CODE`) and of a folder of odd photos, with the
limits that the list assumes. Prints a table of the differences and one JSON line; exits 1 after any fault: a
difference that `verdicts.py` does not explain, a worker's death, a job that does not end, a supervisor that ended.

    python bench/hostile.py [--hostile FOLDER] [--odd FOLDER] [--sample N] [--node] [--workers N] [--set NAME=VALUE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import needs
import psutil
import redis
from msgspec import Struct
from throughput import finished, service
from verdicts import Verdict, verdict, verdicts

from fastproc.bullmq.producer import producer
from fastproc.embedded.child import free_ports
from fastproc.embedded.stand import Stand, stand

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"

#: The odd photos that are not accepted.
ODD = {
    "corrupt_header.jpg": "reject E_CORRUPT",
    "truncated.jpg": "reject E_TRUNCATED",
    "truncated.png": "reject E_TRUNCATED",
    # For its pixels; its sides are within the list's limit.
    "over_10000px.jpg": "reject E_DIMENSIONS",
}
LIMITS = {
    "ALLOWED_FORMATS": "jpeg,png,webp,heic,avif,gif",
    "MIN_SIDE_PX": "1",
    "MAX_SIDE_PX": "32767",
    "MAX_PIXELS": "100000000",
    "MAX_SOURCE_BYTES": "67108864",
    "MAX_DECODED_BYTES": "1500000000",
}
#: Between two samples of the processes.
SAMPLE_S = 0.05
#: Longest wait for all jobs to end.
PATIENCE_S = 1800.0


class File(Struct, frozen=True):
    """One file to send: its name in the tables, its path, and what must become of it."""

    name: str
    path: Path
    verdict: Verdict


def listed(folder: Path) -> list[File]:
    """The files of the folder's list."""
    return [File(name, folder / name, found) for name, found in verdicts(folder).items()]


def odd(folder: Path) -> list[File]:
    """The files of a folder of odd photos."""
    return [
        File(name := f"odd/{path.name}", path, verdict(name, ODD.get(path.name, "accept")))
        for path in sorted(folder.iterdir())
    ]


class Watch(threading.Thread):
    """Samples the service's processes: the peak of each one's resident memory, as the kernel records it."""

    def __init__(self, supervisor: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._supervisor, self._ended = supervisor, threading.Event()
        self.peaks: dict[int, int] = {}

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            for process in (self._supervisor, *self._supervisor.children()):
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    continue
                if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                    self.peaks[process.pid] = int(found[1]) * 1024

    def stop(self) -> None:
        self._ended.set()
        self.join()


def upload(place: Stand, files: list[File]) -> None:
    """Upload the files under neutral keys and a neutral content type: the service must find out what they are."""
    client = place.seaweedfs.client()
    bucket = place.config.s3.bucket
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda pair: client.put_object(
                    Bucket=bucket,
                    Key=key_of(pair[0]),
                    Body=pair[1].path.read_bytes(),
                    ContentType="application/octet-stream",
                ),
                enumerate(files),
            )
        )
    client.close()


def key_of(number: int) -> str:
    """The object key of file `number`."""
    return f"hostile/{number:05d}"


async def send(place: Stand, count: int, *, node: bool) -> list[str]:
    """Add one job for each file and wait until all have ended; return their ids in order."""
    options = {"attempts": 3, "removeOnComplete": False, "removeOnFail": False}
    jobs = [{"photoId": f"hostile-{n:05d}", "s3Key": key_of(n)} for n in range(count)]
    async with producer(place.config.redis, place.config.queue) as queue:
        if node:
            ids = await asyncio.to_thread(add_by_npm, place, jobs, options)
        else:
            ids = [await queue.add(data, options) for data in jobs]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await finished(queue, count)
    return ids


def add_by_npm(place: Stand, jobs: list[dict[str, str]], options: dict[str, Any]) -> list[str]:
    """Add the jobs with the official npm package that the tests install; return their ids."""
    modules = HERE.parent / "tests" / "conformance" / "node_modules"
    done = subprocess.run(
        ["node", str(HERE / "peers" / "add_jobs.js"), str(place.valkey.port), place.config.queue.name],
        input="\n".join(json.dumps({"data": data, "opts": options}) for data in jobs),
        env={**os.environ, "NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def ends(place: Stand, ids: list[str]) -> list[tuple[str, float]]:
    """Each job's code ("" = completed) and its seconds from being taken to its end."""
    prefix = f"{place.config.queue.prefix}:{place.config.queue.name}"
    with redis.Redis(port=place.valkey.port, host=place.valkey.host, decode_responses=True) as client:
        pipe = client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hgetall(f"{prefix}:{job_id}")
        found = pipe.execute()
    return [
        (
            "" if "returnvalue" in job else str(job.get("failedReason", "?")).partition(":")[0],
            (int(job.get("finishedOn", 0)) - int(job.get("processedOn", 0))) / 1000,
        )
        for job in found
    ]


def metric(port: int, name: str) -> float:
    """One value of the service's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = re.search(rf"^fastproc_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else -1.0


def differences(files: list[File], codes: list[str]) -> list[dict[str, Any]]:
    """The files that did not end as the list says, or not as they must. `why` is "?" for the latter."""
    found = []
    for file, code in zip(files, codes, strict=True):
        right = code in file.verdict.wanted
        if right and code in file.verdict.listed:
            continue
        wanted = file.verdict.listed if right else file.verdict.wanted
        found.append(
            {
                "file": file.name,
                "wanted": sorted(each or "completed" for each in wanted),
                "got": code or "completed",
                "why": file.verdict.why if right else "?",
            }
        )
    return found


def measure(place: Stand, supervisor: psutil.Process, files: list[File], args: argparse.Namespace) -> Any:
    """Send everything, and return the results."""
    watch = Watch(supervisor)
    watch.start()
    started = time.monotonic()
    try:
        ids = asyncio.run(send(place, len(files), node=args.node))
    finally:
        seconds = time.monotonic() - started
        watch.stop()
    found = ends(place, ids)
    codes = collections.Counter(code or "completed" for code, _ in found)
    different = differences(files, [code for code, _ in found])
    slowest, longest = max(zip(files, found, strict=True), key=lambda pair: pair[1][1])
    workers = {pid: peak for pid, peak in watch.peaks.items() if pid != supervisor.pid}
    port = int(place.environment["HTTP_PORT"])
    return {
        "files": len(files),
        "seconds": round(seconds, 1),
        "by": "npm bullmq" if args.node else "bullmq (PyPI)",
        "codes": dict(sorted(codes.items())),
        "differences": different,
        "unexplained": sum(each["why"] == "?" for each in different),
        "worker_deaths": int(metric(port, "worker_deaths_total")),
        "worker_processes": len(workers),
        "longest_s": longest[1],
        "longest_file": slowest.name,
        "worker_peak_mb": round(max(workers.values()) / 1e6, 1),
        "supervisor_peak_mb": round(watch.peaks[supervisor.pid] / 1e6, 1),
        "supervisor_is_the_same": supervisor.is_running() and metric(port, "jobs_in_hand") == 0,
        "left": left(place),
    }


def left(place: Stand) -> dict[str, int]:
    """Jobs that have not ended, by state; all must be 0."""

    async def counts() -> dict[str, int]:
        async with producer(place.config.redis, place.config.queue) as queue:
            return (await queue.status(0)).counts

    return {
        state: n for state, n in asyncio.run(counts()).items() if state not in ("completed", "failed") and n
    }


def show(result: Any) -> bool:
    """Print the table and the JSON line; return whether there was no fault."""
    for code, count in result["codes"].items():
        print(f"{count:6} {code}")
    for each in result["differences"]:
        print(f"  differs: {each['file']}: {each['got']}, not {'/'.join(each['wanted'])}: {each['why']}")
    print(json.dumps(result))
    return not (result["unexplained"] or result["worker_deaths"] or result["left"]) and bool(
        result["supervisor_is_the_same"]
    )


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description="Send hostile files through a running service.")
    parser.add_argument("--hostile", type=Path, default=SHARED / "hostile")
    parser.add_argument("--odd", type=Path, default=SHARED / "photos" / "odd")
    parser.add_argument("--sample", type=int, default=0, help="only N files, chosen at random by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--node", action="store_true", help="add the jobs with the npm package")
    parser.add_argument("--workers", type=int, default=0, help="default: the number of cores")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    if not (args.hostile / "expected.tsv").is_file():
        needs.end(
            f"it needs --hostile, a folder of files with their list: {args.hostile} has no expected.tsv"
        )
    if args.node:
        needs.node(HERE.parent / "tests/conformance/node_modules", "bullmq")
    files = listed(args.hostile) + (odd(args.odd) if args.odd.is_dir() else [])
    random.Random(args.seed).shuffle(files)
    files = files[: args.sample or None]
    settings = {"HTTP_PORT": str(free_ports(1)[0]), "HTTP_HOST": "127.0.0.1", "LOG_LEVEL": "error", **LIMITS}
    settings |= {"WORKER_CONCURRENCY": str(args.workers)} if args.workers else {}
    settings |= dict(pair.split("=", 1) for pair in args.set)
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder,
        stand(Path(folder), settings) as place,
    ):
        upload(place, files)
        with service(place.environment, int(settings["HTTP_PORT"])) as supervisor:
            passed = show(measure(place, supervisor, files, args))
    sys.exit(not passed)


if __name__ == "__main__":
    main()
