"""How busy many workers are under one service or several that share a queue: one JSON line a case.

The workers sleep instead of computing and answer as real ones do (`stand_in.py`), so 64 of them run on any machine; the
bytes, Redis, SQLite and events are real. The busy share is the workers' time in tasks by the clock. Services and
servers share the machine's cores: where the service's CPU (`supervisor_ms`) times jobs/s is near one core, the service
is what ends it; where the machine itself is full, so is its share no verdict on a larger one. With
`--set SUPERVISORS=4` it is the CPU of all four supervisors and of their master.

    python bench/scale.py [--workers 64] [--sleep-ms 150] [--photo phone|tiny|FILE] [--services 1] [--seconds 15]
                          [--prefetch 0 64 128] [--delay-ms 0 20 100] [--store memory|seaweedfs] [--set NAME=VALUE ...]

`--workers` is the number of all services together. `--store memory` (the default) is `memory_store.py`, because a real
store would take most of two cores; only it has `--delay-ms`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import needs  # noqa: F401  # tells what is not installed

# isort: split
import msgspec
import psutil
import redis
from stand_in import picture, record
from throughput import ready
from waiting import fill

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.embedded.child import free_ports
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.valkey import Valkey

HERE = Path(__file__).parent
QUEUE, KEY = "scale", "photos/scale.jpg"


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    """Run a program while the block runs."""
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, **environment})
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def store(kind: str, folder: Path, photo: bytes, delay_ms: float) -> Iterator[dict[str, str]]:
    """Run a store with the photo; yield the settings that lead there."""
    if kind == "seaweedfs":
        with SeaweedFS(folder / "store") as server:
            client = server.client()
            client.put_object(Bucket=server.config.bucket, Key=KEY, Body=photo, ContentType="image/jpeg")
            client.close()
            keys = (str(server.config.access_key), str(server.config.secret_key), server.config.bucket)
            yield _leading_to(server.port, *keys)
        return
    file, port = folder / "photo.jpg", free_ports(1)[0]
    file.write_bytes(photo)
    program = [str(HERE / "memory_store.py"), str(file), "--port", str(port), "--delay-ms", str(delay_ms)]
    with started(program, {}):
        yield _leading_to(port, "fastproc", "fastproc", "photos")


def _leading_to(port: int, key: str, secret: str, bucket: str) -> dict[str, str]:
    where = {"MINIO_ENDPOINT": "127.0.0.1", "MINIO_PORT": str(port), "MINIO_BUCKET": bucket}
    return {**where, "MINIO_ACCESS_KEY": key, "MINIO_SECRET_KEY": secret}


def taken(port: int) -> int:
    """How many jobs the service has taken."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("fastproc_jobs_taken_total "):
                return int(float(line.split()[1]))
    return 0


def cpu_s(process: psutil.Process) -> float:
    """User and system seconds."""
    return float(sum(process.cpu_times()[:2]))


def supervisors(service: psutil.Process) -> list[psutil.Process]:
    """The processes of a service that are no workers: one, or a master and its supervisors."""
    led = [each for each in service.children() if "supervisor" in each.cmdline()]
    return [service, *led]


def measured(
    args: argparse.Namespace, services: list[psutil.Process], ports: list[int], server: Valkey
) -> dict[str, object]:
    """Watch the services for some seconds, once each is ready and its workers are busy; return the figures."""
    while not all(map(ready, ports)):
        if not all(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in services):
            sys.exit("a service has ended")
        time.sleep(0.1)
    valkey = psutil.Process(server.pid)
    with redis.Redis(port=server.port) as client:

        def completed() -> int:
            return int(client.zcard(f"bull:{QUEUE}:completed"))

        while completed() < 2 * args.workers:
            time.sleep(0.05)
        ours = [each for service in services for each in supervisors(service)]
        processes = [*ours, valkey]
        before, shares = [cpu_s(each) for each in processes], [taken(port) for port in ports]
        done, began = completed(), time.monotonic()
        time.sleep(args.seconds)
        done, seconds = completed() - done, time.monotonic() - began
        spent = [cpu_s(each) - at for each, at in zip(processes, before, strict=True)]
        shares = [taken(port) - at for port, at in zip(ports, shares, strict=True)]
        left = int(client.llen(f"bull:{QUEUE}:wait"))
    return {
        "jobs_per_s": round(done / seconds, 1),
        "busy_share": round(done * args.sleep_ms / 1000 / seconds / args.workers, 3),
        "supervisor_ms": round(1000 * sum(spent[:-1]) / done, 2),
        "supervisor_cores": round(sum(spent[:-1]) / seconds, 2),
        "redis_ms": round(1000 * spent[-1] / done, 3),
        "jobs_by_service": shares,
        "descriptors": max(each.num_fds() for each in ours),
        "left_waiting": left,
    }


def case(args: argparse.Namespace, prefetch: int | None, delay_ms: float) -> dict[str, object]:
    """Run servers and services for one case."""
    photo, options = picture(args.photo), {"removeOnComplete": False}
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        answers, database = folder / "answers", folder / "photos.db"
        answers.write_bytes(msgspec.msgpack.encode(record([photo])))
        create_schema(str(database))
        server = stack.enter_context(Valkey(folder / "valkey"))
        where = stack.enter_context(store(args.store, folder, photo, delay_ms))
        jobs = round(args.workers * (args.seconds + 30) / args.sleep_ms * 1000)
        fill(server.port, QUEUE, jobs, {"photoId": "scale", "s3Key": KEY}, options)
        each = args.workers // args.services
        settings = {
            "REDIS_URL": server.url,
            "QUEUE_NAME": QUEUE,
            "SQLITE_PATH": str(database),
            "RATE_LIMIT_MAX": "0",
        }
        settings |= {**where, "WORKER_CONCURRENCY": str(each), "SUPERVISORS": "1"}
        settings |= {"LOG_LEVEL": "error", "SHUTDOWN_GRACE_S": "2"}
        settings |= {} if prefetch is None else {"PREFETCH": str(prefetch)}
        settings |= dict(pair.split("=", 1) for pair in args.set)
        program = [str(HERE / "stand_in.py"), "service", str(answers), "--sleep-ms", str(args.sleep_ms)]
        ports = free_ports(args.services)
        services = [
            stack.enter_context(
                started(program, {**settings, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)})
            )
            for port in ports
        ]
        return measured(args, services, ports, server)


def main() -> None:
    """Parse the command line, run the cases, print one JSON line each."""
    parser = argparse.ArgumentParser(description="How busy many sleeping workers are.")
    parser.add_argument("--workers", type=int, default=64, help="of all services together")
    parser.add_argument("--sleep-ms", type=float, default=150.0)
    parser.add_argument("--photo", default="phone", help="a file, `tiny` or `phone`")
    parser.add_argument("--services", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--prefetch", type=int, nargs="+", default=[None], help="of each service")
    parser.add_argument(
        "--delay-ms", type=float, nargs="+", default=[0.0], help="of each answer of the store"
    )
    parser.add_argument("--store", choices=("memory", "seaweedfs"), default="memory")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    args = parser.parse_args()
    for delay_ms, prefetch in itertools.product(args.delay_ms, args.prefetch):
        named = {"workers": args.workers, "sleep_ms": args.sleep_ms, "photo": args.photo, "store": args.store}
        named |= {"services": args.services, "prefetch": prefetch, "delay_ms": delay_ms}
        print(json.dumps({**named, **case(args, prefetch, delay_ms)}), flush=True)


if __name__ == "__main__":
    main()
