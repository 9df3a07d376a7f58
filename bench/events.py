"""What the ways of the events cost per job, in the service and in Redis. One JSON line for each way.

A job has ten events: one started, eight of progress, one completed with the metadata of a camera's photo. Those of
eight jobs are sent side by side, nobody listens, and the round with the least CPU of the process counts.

    python bench/events.py [--jobs 2000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import tempfile
import time

import needs  # noqa: F401  # tells what is not installed
import psutil
import redis

from fastproc.backends.factories import event_sink
from fastproc.bullmq.address import connector
from fastproc.bullmq.pipe import Pipe
from fastproc.config.redis import RedisConfig
from fastproc.config.settings import load
from fastproc.core import naming
from fastproc.core.model import Event, Json
from fastproc.embedded.valkey import Valkey
from fastproc.supervisor.metrics import Metrics

WAYS = {
    "Pub/Sub alone": {},
    "and Socket.IO, pubsub": {"EVENTS_SOCKETIO": "pubsub"},
    "and Socket.IO, sharded": {"EVENTS_SOCKETIO": "sharded"},
    "and Socket.IO, streams": {"EVENTS_SOCKETIO": "streams"},
    "and a stream": {"EVENTS_STREAM": "events"},
    "and a stream without progress": {"EVENTS_STREAM": "events", "EVENTS_STREAM_PROGRESS": "false"},
}
SIDE_BY_SIDE = 8
#: 1.7 KB as JSON, which is the mean of camera JPEGs.
METADATA: dict[str, Json] = {f"field{number}": f"some value {number}" for number in range(48)}


def event(number: int, type_: str, **more: Json) -> Event:
    """One event of a job, as long as a service's are."""
    about: dict[str, Json] = {
        "photoId": f"photo-{number}",
        "jobId": str(number),
        "clientId": f"client-{number % 10}",
        "sessionId": f"session-{number}",
    }
    id_ = naming.event_id(str(number), type_, 1)
    return Event(id=id_, type=type_, timestamp="2026-01-01T00:00:00.000Z", data={**about, **more})


def of_job(number: int) -> list[Event]:
    """All events of a job, in their order."""
    progress = [event(number, naming.PROGRESS, progress=percent) for percent in (10, 25, 35, 45, 75, 90, 95)]
    completed = event(number, naming.COMPLETED, metadata=METADATA)
    return [
        event(number, naming.STARTED),
        *progress,
        completed,
        event(number, naming.PROGRESS, progress=100),
    ]


async def measure(server: Valkey, settings: dict[str, str], jobs: int) -> dict[str, float]:
    """Send the events of so many jobs; return microseconds of CPU per job, and bytes of the stream per entry."""
    pipe = Pipe(connector(RedisConfig(host=server.host, port=server.port), "any-key"))
    await pipe.open()
    sink = event_sink(pipe.call, load(settings, 1), Metrics())
    valkey = psutil.Process(server.pid)
    await sink.publish(event(0, naming.STARTED))
    before, ours = sum(valkey.cpu_times()[:2]), time.process_time()
    for first in range(0, jobs, SIDE_BY_SIDE):
        numbers = range(first, min(jobs, first + SIDE_BY_SIDE))
        for moment in zip(*map(of_job, numbers), strict=True):
            for each in moment:
                sink.post(each)
            # Posted events wait for a command like this one; without it each moment would end in an idle wait.
            await pipe.call("PING")
    found = {
        "cpu_us_per_job": round(1e6 * (time.process_time() - ours) / jobs, 1),
        "redis_cpu_us_per_job": round(1e6 * (sum(valkey.cpu_times()[:2]) - before) / jobs, 1),
    }
    await pipe.close()
    with redis.Redis(host=server.host, port=server.port, protocol=2) as client:
        for key in client.scan_iter():
            found["bytes_per_entry"] = round(client.memory_usage(key, samples=0) / client.xlen(key))
            client.delete(key)
    return found


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="What the ways of the events cost per job.")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fastproc-bench-") as folder,
        Valkey(pathlib.Path(folder)) as server,
    ):
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, settings in WAYS.items():
                rounds[way].append(asyncio.run(measure(server, settings, args.jobs)))
        for way, found in rounds.items():
            best = min(found, key=lambda figures: figures["cpu_us_per_job"])
            print(json.dumps({"way": way, "jobs": args.jobs, **best}))


if __name__ == "__main__":
    main()
