"""SIGKILL at named moments of a job: the next service makes of it what a clean run makes, byte for byte, and no more.

A chain of points costs one service each: the one that completes the last point's job is killed at the next point.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing

import pytest

from fastproc.bullmq.marks import SHA1
from fastproc.bullmq.scripts import load as scripts
from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.faults import Cut, Fault, Hang, Lose
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import Service, eventually
from tests.chaos.conftest import Make, Wrong

ABOUT_S = 15
PHOTO = "detailed.jpg"
#: Every job has it, so that its keys differ by nothing but the photo's id.
TIMESTAMP_MS = 1_764_000_000_000
#: Three thumbnails and an optimised copy.
RENDITIONS = 4
SETTINGS = {"LOCK_DURATION_MS": "1000", "STALLED_INTERVAL_MS": "500", "OPTIMIZE_THRESHOLD_BYTES": "1000"}
#: From the moment when the next service is ready: lock, sweep, a job, and a busy machine.
TAKEOVER_S = 12.0

SHA = {name: script.sha1.encode() for name, script in scripts().items()}

#: Makes ready that the service is killed at its point; what it returns is called when the job was added.
Point = Callable[[Place, Service], Callable[[], None]]


def scenario(make: Make, name: str) -> list[str]:
    wrong = []
    with make() as place:
        service = place.start(**SETTINGS)
        added = place.add({"clean": PHOTO}, timestamp=TIMESTAMP_MS)
        place.until_ended(added)
        for number, (point, kill) in enumerate(CHAINS[name].items()):
            kill_at = kill(place, service)
            [job] = place.add({f"killed{number}": PHOTO}, timestamp=TIMESTAMP_MS)
            added.append(job)
            kill_at()
            eventually(lambda old=service: old.ended is not None, lambda at=point: f"it is killed {at}", 15.0)
            place.s3_proxy.rule = place.redis_proxy.rule = None
            service = place.start(**SETTINGS)
            began = time.monotonic()
            place.until_ended([job])
            if time.monotonic() - began > TAKEOVER_S:
                wrong.append(f"{point}: taken over after {time.monotonic() - began:.1f} s")
            if service.ended is not None:
                wrong.append(f"{point}: the second service has ended")
        world = place.look(added)
        clean = made(world, "clean")
        wrong += [] if len(clean) == RENDITIONS else [f"the clean run made {sorted(clean)}"]
        for number, point in enumerate(CHAINS[name]):
            if made(world, f"killed{number}") != clean:
                wrong.append(f"{point}: other objects than in a clean run: {made(world, f'killed{number}')}")
        return wrong + invariants.broken(world, added)


def made(world: invariants.World, photo_id: str) -> Mapping[str, str]:
    """Hashes of a photo's objects, by keys without its id."""
    return {
        key.replace(photo_id, "*"): stored.sha256 for key, stored in world.objects.items() if photo_id in key
    }


# --- where: before or after a command or a request


def before(*words: bytes) -> Point:
    """When the command that has all these words is seen, which does not reach Redis."""
    return _at_command(lambda kill: Hang(kill), *words)


def after(*words: bytes) -> Point:
    """When Redis has done the command that has all these words; its reply does not reach the service."""
    return _at_command(lambda kill: Lose(kill, hold=True), *words)


def _at_command(fault: Callable[[Callable[[], None]], Fault], *words: bytes) -> Point:
    def arm(place: Place, service: Service) -> Callable[[], None]:
        def rule(seen: bytes) -> Fault | None:
            return fault(service.kill) if all(word in seen for word in words) else None

        place.redis_proxy.rule = rule
        return done

    return arm


def at_read(fault: Callable[[Callable[[], None]], Fault]) -> Point:
    """When the photo is asked for."""

    def arm(place: Place, service: Service) -> Callable[[], None]:
        def rule(seen: bytes) -> Fault | None:
            return fault(service.kill) if seen.startswith(b"GET ") and PHOTO.encode() in seen else None

        place.s3_proxy.rule = rule
        return done

    return arm


def stored(count: int) -> Point:
    """When so many of the renditions are stored, and the others are not; the service knows of none."""

    def arm(place: Place, service: Service) -> Callable[[], None]:
        uploads, stored_now = [], []

        def judge() -> None:
            if len(uploads) == RENDITIONS and len(stored_now) == count:
                service.kill()

        def store() -> None:
            stored_now.append(1)
            judge()

        def rule(seen: bytes) -> Fault | None:
            if not seen.startswith(b"PUT "):
                return None
            uploads.append(seen)
            return Lose(store, hold=True) if len(uploads) <= count else Hang(judge)

        place.s3_proxy.rule = rule
        return done

    return arm


def done() -> None:
    """The rule does it."""


# --- where: without a command


def first_row_waits(place: Place, service: Service) -> Callable[[], None]:
    """While another writer holds the database, so that the job has not begun."""
    other = sqlite3.connect(place.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def kill() -> None:
        eventually(lambda: place.locked_at(10), lambda: "the job begins")
        time.sleep(0.3)
        service.kill()
        other.execute("ROLLBACK")
        other.close()

    return kill


def last_row_waits(place: Place, service: Service) -> Callable[[], None]:
    """While another writer holds the database, so that everything is stored and the row is not."""
    other = sqlite3.connect(place.database, isolation_level=None, check_same_thread=False)

    def rule(seen: bytes) -> Fault | None:
        if seen.startswith(b"PUT ") and not other.in_transaction:
            other.execute("BEGIN IMMEDIATE")
        return None

    have = len(place.objects())
    place.s3_proxy.rule = rule

    def kill() -> None:
        eventually(lambda: len(place.objects()) == have + RENDITIONS, lambda: "everything is stored")
        time.sleep(0.3)
        service.kill()
        with closing(other):
            other.execute("ROLLBACK")

    return kill


def worker_has_it(place: Place, service: Service) -> Callable[[], None]:
    """While the worker, which is stopped, has the photo; it must end with its supervisor."""
    [worker] = service.workers()
    os.kill(worker, signal.SIGSTOP)

    def kill() -> None:
        eventually(lambda: place.locked_at(25), lambda: "the photo is fetched")
        time.sleep(0.2)
        service.kill()
        eventually(
            lambda: not os.path.exists(f"/proc/{worker}") or _zombie(worker), lambda: "the worker ends"
        )

    return kill


def _zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "ZX"


PROGRESS, EVENT = SHA1.encode(), b"PUBLISH photo.processing."

CHAINS: dict[str, dict[str, Point]] = {
    "while a job is taken": {
        "before it is taken": before(SHA["moveToActive"]),
        "after it is taken": after(SHA["moveToActive"]),
        "before progress 10": before(PROGRESS, b" 10"),
        "after progress 10": after(PROGRESS, b" 10"),
        "while the row of its beginning waits": first_row_waits,
    },
    "while a photo is fetched": {
        "before the started event": before(EVENT + b"started"),
        "after the started event": after(EVENT + b"started"),
        "before the photo is asked for": at_read(Hang),
        "after the photo is asked for": at_read(lambda kill: Lose(kill, hold=True)),
        "in the middle of the photo": at_read(lambda kill: Cut(8000, kill)),
    },
    "while a photo is processed": {
        "before progress 25": before(PROGRESS, b" 25"),
        "while the worker has the photo": worker_has_it,
        "before progress 35": before(PROGRESS, b" 35"),
        "before progress 75": before(PROGRESS, b" 75"),
        "after progress 90": after(PROGRESS, b" 90"),
    },
    "while renditions are stored": {
        f"when {count} of {RENDITIONS} are stored": stored(count) for count in range(RENDITIONS + 1)
    },
    "while the row is written": {
        "while the row of its end waits": last_row_waits,
        "before progress 95": before(PROGRESS, b" 95"),
        "after progress 95": after(PROGRESS, b" 95"),
        "before the completed event": before(EVENT + b"completed"),
    },
    "while a job is finished": {
        "after the completed event": after(EVENT + b"completed"),
        "before progress 100": before(PROGRESS, b" 100"),
        "after progress 100": after(PROGRESS, b" 100"),
        "before the job is finished": before(SHA["moveToFinished"]),
        "after the job is finished": after(SHA["moveToFinished"]),
    },
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_killed_service_leaves_nothing_that_the_next_one_does_not_mend(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []


def test_there_are_at_least_twenty_points() -> None:
    points = [point for chain in CHAINS.values() for point in chain]
    assert len(points) == len(set(points)) >= 20
