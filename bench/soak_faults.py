"""The service under load with a random fault each half minute: what `bench/soak.py --faults` runs.

Jobs of good and bad photos are added at a steady rate to a service on embedded servers, behind proxies. A service that
ends is started again, as an orchestrator does; where no fault ended it, that is against it. So is a standstill.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import structs
from PIL import Image, ImageDraw

from fastproc.core.errors import Unreachable
from fastproc.embedded.seaweedfs import SeaweedFS
from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.faults import (
    MAINTENANCE,
    NOT_FOUND,
    Cut,
    Drip,
    Fault,
    Flip,
    Hang,
    Reset,
    page,
    refusal,
)
from fastproc.embedded.trial.invariants import Added, Process
from fastproc.embedded.trial.place import Place, place
from fastproc.embedded.trial.proxy import always

RATE_A_SECOND = 5
FAULT_EVERY_S = 30.0
FAULT_S = (2.0, 10.0)
#: A job of so many does not succeed, by its photo's fault.
BAD_EVERY = 20
#: A service with jobs waiting and none completed for so long is stuck; it is killed and started again.
STUCK_S = 45.0
#: Longest wait for the last job at the end.
END_S = 120.0
#: A lock that is held longer without progress, while nothing is wrong, is nobody's.
LOCKED_S = 30.0
SETTINGS = {
    "WORKER_CONCURRENCY": "2",
    "LOCK_DURATION_MS": "5000",
    "STALLED_INTERVAL_MS": "2000",
    "SHUTDOWN_GRACE_S": "5",
    "LOG_LEVEL": "info",
}
#: Snapshots and restarts keep what was confirmed.
VALKEY = ("--appendonly", "yes", "--appendfsync", "everysec")
#: An attempt may be counted where a worker was killed; a photo that is blamed for that fails all the same.
ATTEMPTS = 5

GET, PUT = b"GET /", b"PUT /"


class Run:
    """One soak: the place, the service that runs in it, and what was found."""

    def __init__(self, where: Place, dice: random.Random) -> None:
        self.place, self.dice = where, dice
        #: Names of photos, and how a job of each must end.
        self.photos: dict[str, str] = {}
        self.service = where.start(ready=True, **SETTINGS)
        self.added: list[Added] = []
        self.problems: list[str] = []
        self.fault = "none"
        self.workers_ended = 0
        self.ordered_end = False
        self._ends = threading.Event()

    def learn(self, names: Sequence[str]) -> None:
        """Run each photo once without a fault: a job of it must end so ever after."""
        clean = {f"clean-{number}": name for number, name in enumerate(names)}
        added = self.place.add(clean)
        self.place.until_ended(added, END_S)
        for job in added:
            reason = self.place.job(job.id).get("failedReason", "completed")
            ends = self.photos[clean[job.photo_id]] = reason.partition(":")[0]
            self.added.append(structs.replace(job, ends=ends))
        if "completed" not in self.photos.values():
            sys.exit("none of these photos can be processed")

    def add_jobs(self) -> None:
        """Add jobs at the rate until the end; go on after an outage of the queue's server."""
        good = [name for name, ends in self.photos.items() if ends == "completed"]
        bad = [name for name in self.photos if name not in good] or good
        numbers = itertools.count()
        while not self._ends.is_set():
            batch = {}
            for number in itertools.islice(numbers, RATE_A_SECOND):
                names, turn = (bad, number // BAD_EVERY) if number % BAD_EVERY == 0 else (good, number)
                batch[f"soak-{number}"] = names[turn % len(names)]
            self._add(batch)

    def _add(self, batch: Mapping[str, str]) -> None:
        began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        while not self._ends.is_set():
            with contextlib.suppress(Unreachable, TimeoutError, OSError):
                # Named, so that what was added before the connection broke is not added twice.
                for job in self.place.add(batch, named=True, attempts=ATTEMPTS, timestamp=now_ms):
                    ends = self.photos[batch[job.photo_id]]
                    self.added.append(Added(id=job.id, photo_id=job.photo_id, timestamp_ms=now_ms, ends=ends))
                break
            time.sleep(0.5)
        self._ends.wait(max(0.0, began + 1.0 - time.monotonic()))

    def stop_adding(self) -> None:
        self._ends.set()

    def tend(self) -> None:
        """Start the service again where it has ended."""
        if self.service.ended is None:
            return
        if not self.ordered_end:
            self.problems.append(
                f"the service ended by itself ({self.service.ended}) after {self.fault}: {self.service.lines[-2:]}"
            )
        self.ordered_end = False
        self.service = self.place.start(ready=True, **SETTINGS)

    def end_service(self) -> None:
        """End it for good or ill; the next one starts."""
        self.ordered_end = True
        self.service.kill()
        self.service.wait()


# --- faults: each is a block in which something is wrong


@contextlib.contextmanager
def store(run: Run, fault: Fault, *beginnings: bytes) -> Iterator[None]:
    run.place.s3_proxy.rule = always(fault, *beginnings)
    yield
    run.place.s3_proxy.rule = None


@contextlib.contextmanager
def store_refuses(run: Run) -> Iterator[None]:
    run.place.s3_proxy.refuse()
    yield
    run.place.s3_proxy.allow()


@contextlib.contextmanager
def some_of_store(run: Run, fault: Fault) -> Iterator[None]:
    """One request in eight meets the fault; the first that a photo's job meets is not its last."""
    run.place.s3_proxy.rule = lambda words: (
        fault if words.startswith(GET) and run.dice.random() < 0.125 else None
    )
    yield
    run.place.s3_proxy.rule = None


@contextlib.contextmanager
def redis_refuses(run: Run) -> Iterator[None]:
    run.place.redis_proxy.refuse()
    yield
    run.place.redis_proxy.allow()


@contextlib.contextmanager
def redis_hangs(run: Run) -> Iterator[None]:
    run.place.redis_proxy.rule = always(Hang())
    yield
    run.place.redis_proxy.rule = None


@contextlib.contextmanager
def redis_resets(run: Run) -> Iterator[None]:
    run.place.redis_proxy.break_all()
    yield
    run.place.redis_proxy.break_all()


@contextlib.contextmanager
def redis_stopped(run: Run) -> Iterator[None]:
    os.kill(run.place.valkey.pid, signal.SIGSTOP)
    yield
    os.kill(run.place.valkey.pid, signal.SIGCONT)


@contextlib.contextmanager
def redis_restarted(run: Run) -> Iterator[None]:
    run.place.valkey.stop()
    run.place.valkey.start()
    run.place.valkey.wait_ready()
    yield


@contextlib.contextmanager
def redis_refuses_writes(run: Run) -> Iterator[None]:
    run.place.redis.config_set("min-replicas-to-write", 1)
    yield
    run.place.redis.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def scripts_forgotten(run: Run) -> Iterator[None]:
    run.place.redis.script_flush()
    yield


@contextlib.contextmanager
def database_locked(run: Run) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(run.place.database, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def service_killed(run: Run) -> Iterator[None]:
    run.end_service()
    yield


@contextlib.contextmanager
def service_replaced(run: Run) -> Iterator[None]:
    run.ordered_end = True
    run.service.terminate()
    run.service.wait(5 + 10)
    yield


@contextlib.contextmanager
def service_stopped(run: Run) -> Iterator[None]:
    run.service.signal(signal.SIGSTOP)
    yield
    run.service.signal(signal.SIGCONT)


@contextlib.contextmanager
def worker_killed(run: Run) -> Iterator[None]:
    for worker in run.service.workers()[:1]:
        run.workers_ended += 1
        os.kill(worker, signal.SIGKILL)
    yield


@contextlib.contextmanager
def worker_stopped(run: Run) -> Iterator[None]:
    workers = run.service.workers()[:1]
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    yield
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)


@contextlib.contextmanager
def no_descriptors(run: Run) -> Iterator[None]:
    limits = resource.prlimit(run.service.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.service.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    yield
    if run.service.ended is None:
        resource.prlimit(run.service.pid, resource.RLIMIT_NOFILE, limits)


FAULTS: dict[str, Callable[[Run], contextlib.AbstractContextManager[None]]] = {
    "store-refuses": store_refuses,
    "store-503": lambda run: store(run, refusal(503, b"SlowDown")),
    "store-hangs": lambda run: store(run, Hang()),
    "store-resets": lambda run: store(run, Reset()),
    "store-404-page": lambda run: store(run, page(404, NOT_FOUND)),
    "store-200-page": lambda run: store(run, page(200, MAINTENANCE)),
    "store-no-bucket": lambda run: store(run, refusal(404, b"NoSuchBucket")),
    "uploads-503": lambda run: store(run, refusal(503, b"SlowDown"), PUT),
    "bodies-cut": lambda run: store(run, Cut(900), GET),
    "some-bodies-drip": lambda run: some_of_store(run, Drip(5.0)),
    "some-bits-flipped": lambda run: some_of_store(run, Flip(2000)),
    "redis-refuses": redis_refuses,
    "redis-hangs": redis_hangs,
    "redis-resets": redis_resets,
    "redis-stopped": redis_stopped,
    "redis-restarted": redis_restarted,
    "redis-refuses-writes": redis_refuses_writes,
    "scripts-forgotten": scripts_forgotten,
    "database-locked": database_locked,
    "service-killed": service_killed,
    "service-replaced": service_replaced,
    "service-stopped": service_stopped,
    "worker-killed": worker_killed,
    "worker-stopped": worker_stopped,
    "no-descriptors": no_descriptors,
}


# --- the run


def soak(folder: Path | None, minutes: float, seed: int | None, faults: list[str]) -> bool:
    """Run the soak, print its lines and its verdict; return whether everything held."""
    seed = random.randrange(1 << 32) if seed is None else seed
    print(
        f"seed {seed}: {minutes:g} minutes, {RATE_A_SECOND} jobs a second, faults: {', '.join(faults)}",
        flush=True,
    )
    dice = random.Random(seed)
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastproc-soak-")))
        seaweedfs = stack.enter_context(SeaweedFS(home / "seaweedfs"))
        client = stack.enter_context(contextlib.closing(seaweedfs.client()))
        where = stack.enter_context(place(home, seaweedfs.config, client, valkey=VALKEY))
        bodies = photo_bodies(folder)
        for name, body in bodies.items():
            where.put(name, body)
        run = Run(where, dice)
        run.learn([*bodies, "missing.jpg"])
        before = run.service.processes()
        adding = threading.Thread(target=run.add_jobs)
        adding.start()
        try:
            course(run, minutes * 60, faults)
        finally:
            run.stop_adding()
            adding.join()
        return verdict(run, before, seed, minutes)


def course(run: Run, seconds: float, faults: list[str]) -> None:
    """Faults, minute lines, restarts, until the time is over."""
    began = time.monotonic()
    next_fault, next_line = began + FAULT_EVERY_S / 2, began + 60
    deck: list[str] = []
    looks: list[tuple[float, Mapping[str, str]]] = []
    done, moved_at = 0, began
    while (now := time.monotonic()) < began + seconds:
        run.tend()
        if now >= next_fault:
            # Each fault once before any comes again.
            deck = deck or run.dice.sample(faults, len(faults))
            suffer(run, deck.pop(), run.dice.uniform(*FAULT_S))
            next_fault += FAULT_EVERY_S
            looks, moved_at = [], time.monotonic()
            continue
        ended = run.place.redis.zcard(run.place.key("completed"))
        if ended != done or not run.place.redis.llen(run.place.key("wait")):
            done, moved_at = ended, now
        elif now - moved_at > STUCK_S:
            run.problems.append(
                f"nothing was done for {STUCK_S:g} s after {run.fault}: {run.service.lines[-3:]}"
            )
            run.end_service()
            moved_at = now
        looks.append((now, run.place.locked()))
        if idle := invariants.locks_without_work(looks, LOCKED_S):
            run.problems += idle
            looks = []
        if now >= next_line:
            next_line += 60
            print(line(run, now - began), flush=True)
        time.sleep(1.0)


def suffer(run: Run, fault: str, seconds: float) -> None:
    """Let the fault last."""
    run.fault = f"{fault} for {seconds:.1f} s"
    lines, began = len(run.service.lines), time.monotonic()
    service = run.service
    with FAULTS[fault](run):
        time.sleep(seconds)
    if service.ended is None:
        found = invariants.quiet_log(service.lines[lines:], time.monotonic() - began)
        run.problems += [f"{run.fault}: {problem}" for problem in found]


def line(run: Run, seconds: float) -> str:
    """How the run stands."""
    completed, failed = (run.place.redis.zcard(run.place.key(state)) for state in ("completed", "failed"))
    supervisor, *workers = run.service.processes() or [Process(0, 0, 0)]
    return (
        f"minute {seconds / 60:4.0f}: {len(run.added)} added, {completed} completed, {failed} failed;"
        f" supervisor {supervisor.memory_bytes >> 20} MB, workers"
        f" {'+'.join(str(each.memory_bytes >> 20) for each in workers)} MB, {supervisor.descriptors} descriptors;"
        f" {len(run.problems)} problems; last fault: {run.fault}"
    )


def verdict(run: Run, before: list[Process], seed: int, minutes: float) -> bool:
    """Wait for the last job, audit, print one JSON line; return whether everything held."""
    run.tend()
    began = time.monotonic()
    try:
        run.place.until_ended(run.added, END_S)
    except AssertionError as error:
        # Stuck is not lost: that is what the next service finds.
        run.problems.append(f"at the end: {error}")
        run.end_service()
        run.tend()
        with contextlib.suppress(AssertionError):
            run.place.until_ended(run.added, END_S)
    last_job_after_s = time.monotonic() - began
    after = run.service.processes()
    world = run.place.look(run.added)
    good = [each for each in run.added if each.ends == "completed"]
    lost = invariants.nothing_lost(world, run.added)
    innocent = invariants.ends_as_it_must(world, good)
    # Which job a killed worker had cannot be seen from here; each may have cost one attempt.
    counted = invariants.uncounted(world, good)
    problems = [
        *run.problems,
        *lost,
        *invariants.ends_as_it_must(world, run.added),
        *invariants.one_end(world, run.added),
        *invariants.no_orphans(world, run.added),
        *invariants.in_agreement(world, run.added),
        *(counted if len(counted) > run.workers_ended else []),
        *invariants.bounded(before, after),
    ]
    for problem in problems[:40]:
        print(f"  {problem[:600]}")
    print(
        json.dumps(
            {
                "bench": "soak-faults",
                "seed": seed,
                "minutes": minutes,
                "jobs": len(run.added),
                "lost": len(lost),
                "innocent_failed": len(innocent),
                "attempts_counted": len(counted),
                "workers_killed": run.workers_ended,
                "problems": len(problems),
                "last_job_after_s": round(last_job_after_s, 1),
                "clean": not problems,
            }
        ),
        flush=True,
    )
    return not problems


def photo_bodies(folder: Path | None) -> dict[str, bytes]:
    """Names and bytes of photos, good ones and two that are not."""
    if folder:
        found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    else:
        found = {f"painted-{number}.jpg": body for number, body in enumerate(painted())}
    first = next(iter(found.values()), b"")
    return found | {
        "cut-short.jpg": first[: len(first) // 2],
        "text.jpg": b"no picture, whatever its name says",
    }


def painted() -> Iterator[bytes]:
    """JPEGs from a thumbnail's size to a phone's, plain and progressive."""
    for number, (width, height) in enumerate(
        ((320, 240), (640, 480), (1200, 900), (2000, 1500), (4000, 3000))
    ):
        slope = Image.linear_gradient("L").resize((width, height))
        picture = Image.merge(
            "RGB", (slope, slope.rotate(180), slope.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
        )
        draw = ImageDraw.Draw(picture)
        for at in range(0, width, max(1, width // 40)):
            draw.line((at, 0, width - at, height), (at * 255 // width, 90, 200), max(1, width // 300))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=92, progressive=number % 2 == 1)
        yield buffer.getvalue()
