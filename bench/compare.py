"""fastproc beside other workers of the same queue: Node's reference design, an expert's, and a Python one.

All make the same outputs on the same embedded servers, which is checked first: each photo of FOLDER is processed by
every system, and whatever differs ends the program (bench/compare_equal.py has the ranges). Then each system's best
concurrency is searched for in short runs. Then rounds: in each, every system processes FOLDER (`mix`) and tiny painted
photos (`tiny`) once, for about `--seconds`, in an order that rotates. Servers and system share all cores.

Jobs/s is wall clock from adding the first job to the end of the last; CPU is user and system of the system's
processes, memory the peak of their PSS together. Ratios are taken within a round. On a machine that does other things
wall clock says little; CPU is less touched. One JSON line a run; the tables come last. The Node packages are installed
on first use.

    python bench/compare.py FOLDER [--rounds 3] [--seconds 8] [--systems fastproc,expert] [--concurrency 1,2,4]
        [--check] [--table FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import needs

# isort: split
import bullmq
import msgspec
import numpy as np
import psutil
import redis
from compare_equal import Outcome, differences
from compare_systems import Meter, System, cpu_s, install, running, systems
from compare_table import Run, plot, table, verdicts
from PIL import Image, ImageDraw

from fastproc.backends.metadata_sqlite import create_schema
from fastproc.config.host import usable_cores
from fastproc.embedded.stand import Stand, stand

#: Of a job, whatever happens around it.
PATIENCE_S = 120.0
LOOK_S = 0.01
#: The search takes so much of a round's time for each try.
SEARCH_SHARE = 0.4
#: What comes so near to the best rate is as good, and takes less memory.
NEAR = 0.97
TINY, TINY_SIZE = 8, (160, 120)
OURS, FOUR = "fastproc", "fastproc-four"


def painted(number: int) -> bytes:
    """Return a tiny photo, a JPEG: discs of all colours before a wall that is plainly the largest area."""
    chance = np.random.default_rng(number)
    width, height = TINY_SIZE
    # The middle of one of 16 steps, so that no system finds half of the wall in the next one.
    wall = tuple(int(step) * 16 + 8 for step in chance.integers(2, 14, 3))
    picture = Image.new("RGB", TINY_SIZE, wall)
    draw = ImageDraw.Draw(picture)
    for x, y, radius, *colour in chance.integers(0, (width, height, 14, 256, 256, 256), (60, 6)).tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(colour))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Bench:
    """The servers with the photos, and runs of systems on them."""

    def __init__(self, place: Stand, folder: Path, photos: dict[str, list[bytes]]) -> None:
        self._place, self._folder = place, folder
        self._numbers = itertools.count()
        self._redis: Any = redis.Redis.from_url(place.valkey.url)
        self._s3 = place.seaweedfs.client()
        self._bucket = place.config.s3.bucket
        self._keys: dict[str, list[str]] = {}
        for name, files in photos.items():
            self._keys[name] = [f"photos/{name}-{number}.jpg" for number in range(len(files))]
            for key, data in zip(self._keys[name], files, strict=True):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._s3.close()

    def size(self, photos: str) -> int:
        """How many photos a set has."""
        return len(self._keys[photos])

    def measured(self, system: System, photos: str, concurrency: int, jobs: int, round_: int) -> Run:
        """Start the system, let it warm up, and measure `jobs` jobs."""
        servers = [psutil.Process(server.pid) for server in (self._place.valkey, self._place.seaweedfs)]
        with self._queue(system, concurrency) as (queue, process, _):
            self._add(queue, photos, max(4, concurrency))
            warm = self._finished(queue, max(4, concurrency))
            meter = Meter(process)
            before, servers_before = meter.cpu_s(), sum(map(cpu_s, servers))
            started = time.monotonic()
            self._add(queue, photos, jobs)
            self._finished(queue, warm + jobs)
            seconds = time.monotonic() - started
            spent, by_servers = meter.cpu_s() - before, sum(map(cpu_s, servers)) - servers_before
            memory = meter.peak_pss_bytes()
        return Run(
            system=system.name,
            photos=photos,
            round=round_,
            concurrency=concurrency,
            jobs=jobs,
            jobs_per_s=round(jobs / seconds, 2),
            cpu_ms_per_job=round(1e3 * spent / jobs, 1),
            servers_cpu_ms_per_job=round(1e3 * by_servers / jobs, 1),
            pss_mb=round(memory / 1e6, 1),
        )

    def outcomes(self, system: System, photos: str) -> list[Outcome]:
        """Process each photo once (of the painted ones two), one after another, and return what each left."""
        found = []
        with self._queue(system, 1) as (queue, _, database), self._redis.pubsub() as listener:
            listener.psubscribe("photo.processing.*")
            for number in range(min(self.size(photos), 2 if photos == "tiny" else sys.maxsize)):
                job = self._add(queue, photos, 1, number)[0]
                self._finished(queue, number + 1)
                found.append(self._outcome(queue, job, database, listener))
        return found

    @contextlib.contextmanager
    def _queue(self, system: System, concurrency: int) -> Iterator[tuple[str, psutil.Process, Path]]:
        """Run the system on a queue and a database of its own; what was in them does not matter afterwards."""
        queue = f"{system.name}-{next(self._numbers)}"
        database = self._folder / f"{queue}.db"
        create_schema(str(database))
        variables = self._place.environment | {
            "QUEUE_NAME": queue,
            "SQLITE_PATH": str(database),
            "WORKER_CONCURRENCY": str(concurrency),
        }
        log = self._folder / f"{queue}.log"
        with running(system, variables, log) as process:
            try:
                yield queue, process, database
            except RuntimeError as error:
                sys.exit(f"{system.title}: {error}\n" + "\n".join(log.read_text().splitlines()[-10:]))

    def _add(self, queue: str, photos: str, count: int, first: int = 0) -> list[str]:
        """Add jobs for the photos in turn, mixed, the same for every system."""
        keys = [self._keys[photos][(first + number) % self.size(photos)] for number in range(count)]
        if count > 1:
            random.Random(7).shuffle(keys)
        number = self._counted(queue, "id")
        jobs = [
            {
                "name": "process-photo",
                "data": {"photoId": f"{queue}-{number + each}", "s3Key": key},
                # Ours keeps 1,000 completed jobs where a job says nothing, and they are counted.
                "opts": {"attempts": 1, "removeOnComplete": False},
            }
            for each, key in enumerate(keys)
        ]

        async def add() -> list[str]:
            open_queue = bullmq.Queue(queue, {"connection": self._place.valkey.url})
            try:
                return [str(job.id) for job in await open_queue.addBulk(jobs)]
            finally:
                await open_queue.close()

        return asyncio.run(add())

    def _counted(self, queue: str, key: str) -> int:
        return int(self._redis.get(f"bull:{queue}:{key}") or 0)

    def _finished(self, queue: str, jobs: int) -> int:
        """Wait until so many jobs are completed; return that number. Raises RuntimeError where one fails."""
        deadline = time.monotonic() + PATIENCE_S
        while (done := self._redis.zcard(f"bull:{queue}:completed")) < jobs:
            for failed in self._redis.zrange(f"bull:{queue}:failed", 0, 0):
                reason = self._redis.hget(f"bull:{queue}:{failed.decode()}", "failedReason")
                raise RuntimeError(f"job {failed.decode()} failed: {(reason or b'').decode()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{done} of {jobs} jobs after {PATIENCE_S:.0f} s")
            time.sleep(LOOK_S)
        return int(done)

    def _outcome(self, queue: str, job: str, database: Path, listener: Any) -> Outcome:
        value = json.loads(self._redis.hget(f"bull:{queue}:{job}", "returnvalue") or b"null")
        photo = value["photoId"]
        with contextlib.closing(sqlite3.connect(database)) as rows:
            rows.row_factory = sqlite3.Row
            row = dict(rows.execute("SELECT * FROM photos WHERE id = ?", (photo,)).fetchone())
        row["processing_metadata"] = json.loads(row["processing_metadata"])
        files, metadata = {}, {}
        for prefix in (f"thumbnails/{photo}/", f"photos/optimized/{photo}_"):
            for entry in self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix).get("Contents", ()):
                answer = self._s3.get_object(Bucket=self._bucket, Key=entry["Key"])
                name = entry["Key"].rpartition("/")[2].replace(photo, "").split("_1")[0]
                files[name], metadata[name] = answer["Body"].read(), answer["Metadata"]
        return Outcome(files, metadata, row, value, self._heard(listener))

    def _heard(self, listener: Any) -> list[str]:
        found = list[str]()
        while not found or not found[-1].endswith("progress 100"):
            message = listener.get_message(timeout=5.0)
            if message is None:
                break
            if message["type"] == "pmessage":
                event = json.loads(message["data"])
                found.append(
                    f"{event['type'].rpartition('.')[2]} {event['data'].get('progress', '')}".strip()
                )
        return found


def check(bench: Bench, taking: list[System]) -> None:
    """Exit with what differs, where the systems' outputs are not equal."""
    wrong, four = [], systems(usable_cores())[FOUR]
    made = {four.name: {photos: bench.outcomes(four, photos) for photos in ("mix", "tiny")}}
    for system in taking:
        if system.name.startswith(OURS):
            continue
        made[system.name] = {photos: bench.outcomes(system, photos) for photos in ("mix", "tiny")}
        for photos, found in made[system.name].items():
            for number, (one, other) in enumerate(zip(made[four.name][photos], found, strict=True)):
                wrong += [f"{system.name}, {photos} {number}: {words}" for words in differences(one, other)]
    if wrong:
        sys.exit("the outputs are not equal:\n" + "\n".join(wrong))
    print(f"equal outputs: {', '.join(made)}", file=sys.stderr)


def searched(
    bench: Bench, system: System, photos: str, tries: list[int], seconds: float
) -> tuple[int, float]:
    """Return the concurrency with most jobs a second, and its rate; the least of those that come near."""
    rates: dict[int, float] = {}
    whole = bench.size(photos)
    jobs = 2 * whole
    for concurrency in tries:
        rates[concurrency] = bench.measured(system, photos, concurrency, jobs, 0).jobs_per_s
        jobs = passes(max(rates.values()), seconds * SEARCH_SHARE, whole)
    best = min(each for each, rate in rates.items() if rate >= NEAR * max(rates.values()))
    print(f"{system.name}, {photos}: {best} at once is best of {rates}", file=sys.stderr)
    return best, rates[best]


def passes(rate: float, seconds: float, whole: int) -> int:
    """Return how many jobs take about `seconds`: whole passes over the photos, at least two."""
    return whole * max(2, round(rate * seconds / whole))


def machine() -> str:
    """Describe where and when this is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{usable_cores()} cores of {model}, load {load}, Python {platform.python_version()}, {time.strftime('%F')}"


def main() -> None:
    """Parse the command line, check, search, run the rounds, print."""
    parser = argparse.ArgumentParser(description="fastproc beside other workers of the same queue.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--systems", default=",".join(systems(1)), help="separated by commas")
    parser.add_argument("--concurrency", default="1,2,3,4,8", help="what the search tries")
    parser.add_argument("--check", action="store_true", help="check that outputs are equal, and end")
    parser.add_argument("--table", type=Path, help="write the tables (Markdown) to this file too")
    parser.add_argument("--plot", type=Path, help="write the plot (SVG) to this file")
    args = parser.parse_args()
    known = systems(usable_cores())
    if unknown := set(args.systems.split(",")) - set(known):
        parser.error(f"no system is called {', '.join(sorted(unknown))}: {', '.join(known)}")
    files = needs.photos(args.folder)
    if why := install():
        needs.end(why)
    taking = [known[name] for name in known if name in args.systems.split(",")]
    photos = {"mix": [path.read_bytes() for path in files], "tiny": [painted(each) for each in range(TINY)]}
    with tempfile.TemporaryDirectory(prefix="fastproc-compare-") as folder, stand(Path(folder), {}) as place:
        bench = Bench(place, Path(folder), photos)
        try:
            check(bench, taking)
            if not args.check:
                compare(bench, taking, [int(each) for each in args.concurrency.split(",")], args)
        finally:
            bench.close()


def compare(bench: Bench, taking: list[System], tries: list[int], args: argparse.Namespace) -> None:
    """Search, run the rounds, print and write the tables."""
    about, runs = machine(), list[Run]()
    best = {
        (system.name, photos): searched(bench, system, photos, tries, args.seconds)
        for photos in ("mix", "tiny")
        for system in taking
    }
    for number in range(args.rounds):
        turned = taking[number % len(taking) :] + taking[: number % len(taking)]
        for photos, system in itertools.product(("mix", "tiny"), turned):
            concurrency, rate = best[system.name, photos]
            jobs = passes(rate, args.seconds, bench.size(photos))
            runs.append(bench.measured(system, photos, concurrency, jobs, number + 1))
            print(msgspec.json.encode(runs[-1]).decode(), flush=True)
    titles = {system.name: system.title for system in taking}
    lines = [about]
    for photos in ("mix", "tiny"):
        lines += [
            "",
            f"**{photos}**",
            "",
            *table([run for run in runs if run.photos == photos], titles, OURS),
        ]
    lines += ["", *(f"- {line}" for ours in (OURS, FOUR) for line in verdicts(runs, ours))]
    print("", *lines, sep="\n")
    if args.table:
        args.table.write_text("\n".join(lines) + "\n")
    if args.plot:
        args.plot.write_text(plot(runs, titles))


if __name__ == "__main__":
    main()
