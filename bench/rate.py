"""How exact the rate limit is, on a real service and Valkey: one JSON line a case, exit code 1 where one is off.

When each job started is what the queue itself says (`processedOn`). The jobs are refused at once (INVALID_JOB), so that
the limiter and not the work is measured: with photos the rate cannot be more than the workers do. Counted are starts of
`--seconds` behind the first second, in which the bucket's burst goes; then, after idle time that fills the bucket, how
many start at most beyond the rate, in any window.

    python bench/rate.py [--rates 10 500 0] [--seconds 30]

`--rates 0` is no limit: as many as the service refuses, which must be far more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import needs  # noqa: F401  # tells what is not installed
import redis
from throughput import service
from waiting import fill

from fastproc.embedded.child import free_ports
from fastproc.embedded.stand import Stand, stand

#: How far the rate may be off, and the seconds by which two times in whole milliseconds are.
SHARE, ROUNDING_S = 0.02, 0.002
#: Idle time that fills any bucket of a rate a second.
IDLE_S = 1.5


def starts(client: Any, queue: str) -> list[int]:
    """When each job that has failed was started, in ms, in order."""
    with client.pipeline(transaction=False) as pipeline:
        for job in client.zrange(f"bull:{queue}:failed", 0, -1):
            pipeline.hget(f"bull:{queue}:{job.decode()}", "processedOn")
        return sorted(int(at) for at in pipeline.execute())


def beyond(at_ms: list[int], rate: int) -> float:
    """The most jobs, in any window, beyond the rate times the window's length: at most the burst."""
    # f(i) = i - rate * t(i): a window's excess is a rise of f from its first job on, and that job itself.
    lowest, most = float("inf"), 0.0
    for number, at in enumerate(at_ms):
        level = number - rate * at / 1000
        lowest = min(lowest, level)
        most = max(most, level - lowest + 1)
    return most


def case(place: Stand, rate: int, seconds: float) -> dict[str, object]:
    """Run a service at this rate: with jobs enough, then after idle time."""
    port, queue = free_ports(1)[0], f"rate-{rate}"
    settings = {"QUEUE_NAME": queue, "RATE_LIMIT_MAX": str(rate), "RATE_LIMIT_DURATION_MS": "1000"}
    settings |= {"HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1", "LOG_LEVEL": "error"}
    settings |= {"WORKER_CONCURRENCY": "1", "PREFETCH": "4"}
    jobs, kept = (rate or 500) * round(seconds + 2), {"removeOnFail": False}
    fill(place.valkey.port, queue, jobs, {"photoId": "no/name", "s3Key": "k"}, kept)
    with redis.Redis(port=place.valkey.port) as client, service(place.environment | settings, port):
        while client.zcard(f"bull:{queue}:failed") < jobs:
            time.sleep(0.2)
        first = starts(client, queue)
        time.sleep(IDLE_S)
        more = 2 * (rate or 500)
        script = "for n=1,ARGV[1] do redis.call('COPY',KEYS[1],KEYS[2]..n); redis.call('LPUSH',KEYS[3],'again-'..n) end"
        stem = f"bull:{queue}:"
        client.hset(
            f"{stem}copy", mapping={"name": "process-photo", "data": "{}", "opts": '{"removeOnFail":false}'}
        )
        client.hset(f"{stem}copy", mapping={"timestamp": "1", "delay": "0", "priority": "0"})
        client.eval(script, 3, f"{stem}copy", f"{stem}again-", f"{stem}wait", more)
        client.zadd(f"{stem}marker", {"0": 0})
        while client.zcard(f"bull:{queue}:failed") < jobs + more:
            time.sleep(0.2)
        everything = starts(client, queue)
    return judged(rate, seconds, first, everything)


def judged(rate: int, seconds: float, first: list[int], everything: list[int]) -> dict[str, object]:
    """The figures of a case, and whether they are right."""
    if not rate:
        reached = 1000 * len(first) / max(1, first[-1] - first[0])
        return {"rate": 0, "jobs_per_s": round(reached), "right": reached > 600}
    begin = first[0] + 1000
    counted = sum(begin <= at < begin + 1000 * seconds for at in first)
    off, burst = counted / (rate * seconds) - 1, beyond(everything, rate)
    return {
        "rate": rate,
        "seconds": seconds,
        "started": counted,
        "off_percent": round(100 * off, 2),
        "started_with_first_burst": sum(at < first[0] + 1000 * seconds for at in first),
        "most_beyond_the_rate": round(burst, 1),
        "right": abs(off) <= SHARE and burst <= rate * (1 + ROUNDING_S) + 1e-3,
    }


def main() -> None:
    """Parse the command line, run the cases, print one JSON line each."""
    parser = argparse.ArgumentParser(description="How exact the rate limit is.")
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 500, 0])
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder, stand(Path(folder), {}) as place:
        found = [case(place, rate, args.seconds) for rate in args.rates]
    for each in found:
        print(json.dumps(each), flush=True)
    sys.exit(not all(each["right"] for each in found))


if __name__ == "__main__":
    main()
