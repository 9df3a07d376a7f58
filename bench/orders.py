"""What an operator's orders cost: retry by code, drain and look-ups, by the number of jobs; a look for cancelled jobs.

    python bench/orders.py --jobs 10000

One JSON line a measurement. `cpu_ms`: of the process that orders; `redis_ms`: of Valkey, in all; `longest_ms`: the
longest single call in Valkey (wall time), during which it serves nobody else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import needs  # noqa: F401  # tells what is not installed
import uvloop

from fastproc.bullmq import scripts
from fastproc.bullmq.address import connector
from fastproc.bullmq.client import Client, greeting
from fastproc.bullmq.desk.queue_desk import QueueDesk
from fastproc.bullmq.pipe import Pipe
from fastproc.bullmq.protocol import Keys
from fastproc.config.redis import RedisConfig
from fastproc.core.acts import Drain, RetryJobs
from fastproc.embedded.valkey import Valkey

KEYS = Keys("bull", "orders")
LOOKS = 2000


async def main(jobs: int) -> None:
    """Measure each order on a Valkey of its own."""
    commands = scripts.load()
    with tempfile.TemporaryDirectory() as folder, Valkey(Path(folder)) as valkey:
        where = RedisConfig(host=valkey.host, port=valkey.port)
        pipe = Pipe(connector(where, KEYS.base), greeting(commands))
        await pipe.open()
        desk = QueueDesk(pipe.call, KEYS, commands)
        await pipe.call("CONFIG", "SET", "slowlog-log-slower-than", "100", "slowlog-max-len", "100000")
        await _failed(pipe, jobs)
        await _measured(pipe, "a look-up by photo", jobs, lambda: desk.look_up("nobody"))
        await _measured(pipe, "counts", jobs, desk.now)
        await _measured(pipe, "retry by code", jobs, lambda: desk.act(RetryJobs(code="FILE_CORRUPTED")))
        await _measured(pipe, "drain", jobs, lambda: desk.act(Drain()))
        client = Client(pipe, KEYS, commands, "bench", 30_000)

        async def look() -> None:
            for _ in range(LOOKS):
                await client.cancelled()

        await _measured(pipe, "a look for cancelled jobs", LOOKS, look)
        await pipe.close()


async def _measured(pipe: Pipe, what: str, count: int, work: Callable[[], Awaitable[Any]]) -> None:
    await pipe.call("SLOWLOG", "RESET")
    redis_before, cpu_before, began = await _redis_cpu_s(pipe), time.process_time(), time.perf_counter()
    await work()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before
    redis_s = await _redis_cpu_s(pipe) - redis_before
    slow = await pipe.call("SLOWLOG", "GET", -1)
    longest_us = max((entry[2] for entry in slow), default=0)
    figures = {
        "what": what,
        "jobs": count,
        "seconds": round(seconds, 3),
        "cpu_ms": round(cpu_s * 1000, 2),
        "redis_ms": round(redis_s * 1000, 2),
        "longest_ms": round(longest_us / 1000, 2),
        "cpu_us_each": round(cpu_s * 1e6 / count, 2),
    }
    print(json.dumps(figures), flush=True)


async def _redis_cpu_s(pipe: Pipe) -> float:
    lines = (await pipe.call("INFO", "cpu")).decode().splitlines()
    fields = dict(line.split(":") for line in lines if ":" in line)
    return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])


async def _failed(pipe: Pipe, jobs: int) -> None:
    now = time.time_ns() // 1_000_000
    for first in range(0, jobs, 500):
        calls = []
        for number in range(first, min(first + 500, jobs)):
            data = json.dumps({"photoId": f"p-{number}", "s3Key": f"uploads/p-{number}.jpg"})
            fields = ("name", "photo", "data", data, "opts", '{"attempts":3}', "timestamp", now, "atm", 3)
            ended = ("finishedOn", now, "failedReason", "FILE_CORRUPTED: cut short", "stacktrace", "[]")
            calls.append(pipe.call("HSET", KEYS(str(number)), *fields, *ended))
            calls.append(pipe.call("ZADD", KEYS("failed"), now + number, str(number)))
        await asyncio.gather(*calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10_000, help="failed jobs, then jobs that wait")
    uvloop.run(main(parser.parse_args().jobs))
