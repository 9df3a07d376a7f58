"""Blast radius: some photos end the process that holds them; in the service and in the official Node worker.

The mix is the same for both, on one Valkey: attempts 3, lock 2 s, stalled interval 1 s. In the service an additional
stage kills: a package with an entry point on the interpreter's path, as any user's stage, in a virtual environment made
for this run. It ends the jailed worker by a signal, an abort or an exit, or hangs. The Node worker's handler aborts its
process, which is restarted immediately. One JSON line for each run.

    python bench/crashmix.py [--photos 60] [--killers 6] [--concurrency 3 16] [--no-node]
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import needs
import psutil
import redis
from PIL import Image
from throughput import finished, service

import fastproc
from fastproc.bullmq.producer import producer
from fastproc.config.queue import QueueConfig
from fastproc.embedded.child import free_ports
from fastproc.embedded.stand import Stand, stand

HERE = Path(__file__).resolve().parent
#: The stage recognises a killer by its width, and chooses the end by its height.
WIDTH, HEIGHT, KILLERS_WIDTH = 1200, 900, 1201
STAGE = f"""
import ctypes, os
from fastproc.worker.stage import StageResult, Work

NAME = "crashmix"


def spin():
    while True:
        pass


ENDS = [lambda: ctypes.string_at(0), os.abort, lambda: os._exit(3), lambda: ctypes.string_at(0), os.abort, spin]


def run(work: Work) -> StageResult:
    width, height = work.source.sides
    if width == {KILLERS_WIDTH}:
        ENDS[height % len(ENDS)]()
    return StageResult({{}})
"""
SETTINGS = {
    "PIPELINE": "validation,metadata,thumbnails,crashmix,optimization",
    "PREFETCH": "0",
    "LOCK_DURATION_MS": "2000",
    "STALLED_INTERVAL_MS": "1000",
    "JOB_TIMEOUT_S": "5",
    "LOG_LEVEL": "error",
    "HTTP_HOST": "127.0.0.1",
}
PATIENCE_S = 300.0


def interpreter(folder: Path) -> str:
    """Make a virtual environment with all packages of this one, and the stage; return its Python."""
    site = folder / "site"
    about = site / "crashmix-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "crashmix.py").write_text(STAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: crashmix\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[fastproc.stages]\ncrashmix = crashmix\n")
    place = folder / "venv"
    venv.EnvBuilder(symlinks=True).create(place)
    paths = [
        str(site),
        str(Path(fastproc.__file__).parents[1]),
        *(p for p in sys.path if "site-packages" in p),
    ]
    [packages] = place.glob("lib/python3*/site-packages")
    (packages / "everything.pth").write_text("\n".join(paths) + "\n")
    return str(place / "bin" / "python")


def upload(place: Stand, killers: int) -> None:
    """Upload one harmless photo, and the killers, each one pixel higher than the one before."""
    client, bucket = place.seaweedfs.client(), place.config.s3.bucket
    sizes = {"fine": (WIDTH, HEIGHT)} | {f"kills-{n}": (KILLERS_WIDTH, HEIGHT + n) for n in range(killers)}
    for name, size in sizes.items():
        body = io.BytesIO()
        Image.radial_gradient("L").resize(size).convert("RGB").save(body, "JPEG")
        client.put_object(Bucket=bucket, Key=f"{name}.jpg", Body=body.getvalue())
    client.close()


def mix(photos: int, killers: int) -> list[dict[str, Any]]:
    """The jobs' data, the killers spread evenly."""
    every = photos // killers
    jobs = []
    for n in range(photos):
        kills = n % every == every // 2 and n // every < killers
        key = f"kills-{n // every}.jpg" if kills else "fine.jpg"
        jobs.append({"photoId": f"p-{n}", "s3Key": key, "kills": kills})
    return jobs


async def play(place: Stand, queue: str, jobs: list[dict[str, Any]]) -> tuple[list[str], float]:
    """Add the jobs, wait for their end, and return their ids and the seconds taken."""
    options = {"attempts": 3, "removeOnComplete": False, "removeOnFail": False}
    async with producer(place.config.redis, QueueConfig(name=queue)) as added:
        started = time.monotonic()
        ids = [await added.add(data, options) for data in jobs]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await finished(added, len(jobs))
        return ids, time.monotonic() - started


def outcome(place: Stand, queue: str, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the mix, and count how each kind ended."""
    ids, seconds = asyncio.run(play(place, queue, jobs))
    failed: collections.Counter[str] = collections.Counter()
    innocent_failed = innocent_twice = killers_failed = unfinished = 0
    with redis.Redis(port=place.valkey.port, host=place.valkey.host, decode_responses=True) as client:
        for job_id, data in zip(ids, jobs, strict=True):
            job = client.hgetall(f"bull:{queue}:{job_id}")
            if "failedReason" in job and "returnvalue" not in job and "finishedOn" in job:
                reason = job["failedReason"]
                failed[reason.partition(":")[0] if re.match("[A-Z_]+:", reason) else reason] += 1
                innocent_failed += not data["kills"]
                killers_failed += data["kills"]
            unfinished += "finishedOn" not in job
            innocent_twice += not data["kills"] and (job.get("ats") != "1" or job.get("stc", "0") != "0")
    return {
        "photos": len(jobs),
        "killers": sum(data["kills"] for data in jobs),
        "failed": killers_failed + innocent_failed,
        "innocent_failed": innocent_failed,
        "innocent_run_twice": innocent_twice,
        "unfinished": unfinished,
        "reasons": dict(failed),
        "seconds": round(seconds, 1),
    }


def in_service(place: Stand, python: str, concurrency: int, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The mix in the service, with `concurrency` workers."""
    queue, port = f"service-{concurrency}", free_ports(1)[0]
    environment = place.environment | SETTINGS
    environment |= {"QUEUE_NAME": queue, "WORKER_CONCURRENCY": str(concurrency), "HTTP_PORT": str(port)}
    with service(environment, port, python) as supervisor:
        all_alive(port, concurrency)
        result = outcome(place, queue, jobs)
        return result | {
            "worker_deaths": int(metric(port, "worker_deaths_total")),
            "supervisor_is_the_same": supervisor.is_running() and supervisor.status() != psutil.STATUS_ZOMBIE,
        }


def metric(port: int, name: str) -> float:
    """One value of the service's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = re.search(rf"^fastproc_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else -1.0


def all_alive(port: int, workers: int) -> None:
    """Wait until every worker is ready, so that all have photos when the first is killed."""
    deadline = time.monotonic() + 60
    while metric(port, "workers_alive") < workers and time.monotonic() < deadline:
        time.sleep(0.1)


def in_node(place: Stand, concurrency: int, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The mix in the official worker."""
    queue = f"node-{concurrency}"
    with node(place.valkey.port, queue, concurrency) as deaths:
        result = outcome(place, queue, jobs)
    return result | {"worker_deaths": len(deaths)}


@contextlib.contextmanager
def node(port: int, queue: str, concurrency: int) -> Iterator[list[int]]:
    """Run the Node worker, restarted whenever it dies; yields the list of its deaths so far."""
    modules = HERE.parent / "tests" / "conformance" / "node_modules"
    command = ["node", str(HERE / "peers" / "crashmix_node.js"), str(port), queue, str(concurrency)]
    deaths: list[int] = []
    ended, running = threading.Event(), list[subprocess.Popen[bytes]]()

    def loop() -> None:
        while not ended.is_set():
            process = subprocess.Popen(
                command, env={**os.environ, "NODE_PATH": str(modules)}, stderr=subprocess.DEVNULL
            )
            running[:] = [process]
            code = process.wait()
            if not ended.is_set():
                deaths.append(code)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield deaths
    finally:
        ended.set()
        for process in running:
            process.kill()
        thread.join()


def main() -> None:
    """Parse the command line, run, print one JSON line for each run."""
    parser = argparse.ArgumentParser(description="Photos that end their process, and the photos beside them.")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--killers", type=int, default=6)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[3, 16])
    parser.add_argument("--no-node", action="store_true")
    args = parser.parse_args()
    if not args.no_node:
        needs.node(HERE.parent / "tests/conformance/node_modules", "bullmq")
    jobs = mix(args.photos, args.killers)
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as name:
        folder = Path(name)
        python = interpreter(folder)
        with stand(folder, {}) as place:
            upload(place, args.killers)
            for concurrency in args.concurrency:
                about = {"worker": "fastproc", "concurrency": concurrency}
                print(json.dumps(about | in_service(place, python, concurrency, jobs)), flush=True)
                if not args.no_node:
                    about = {"worker": "node bullmq", "concurrency": concurrency}
                    print(json.dumps(about | in_node(place, concurrency, jobs)), flush=True)


if __name__ == "__main__":
    main()
