"""Two services on one queue: one is killed, stopped for longer than its locks, or replaced; nothing is done twice."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise

import pytest

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.faults import Delay, Fault
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import Service, eventually
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import ENDED_S, EVERY_S, some, stopped

SHORT = {"LOCK_DURATION_MS": "1000", "STALLED_INTERVAL_MS": "500"}
#: Longer than a start, the lock and the sweep.
LATE_S = 5.0


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        return CASES[name](place)


def one_is_killed(place: Place) -> list[str]:
    """While it has jobs with its worker."""
    victim = place.start(**SHORT)
    with stopped(*victim.workers()):
        added = place.add(some(4, "his"))
        eventually(lambda: place.locked_at(25) == 2, place.locked)
        other = place.start(**SHORT)
        added += place.add(some(16))
        victim.kill()
        victim.wait()
    place.until_ended(added, ENDED_S)
    return invariants.broken(place.look(added, services=[other]), added)


def one_is_stopped_with_its_worker(place: Place) -> list[str]:
    """It has photos with its worker, is stopped until others have done its jobs, and goes on as if nothing were."""
    late = place.start(**SHORT)
    [worker] = late.workers()
    with stopped(worker):
        added = place.add(some(2, "his"))
        eventually(lambda: place.locked_at(25) == 2, place.locked)
        with stopped_outside_a_commit(place, late):
            place.start(**SHORT)
            place.until_ended(added, ENDED_S)
            heard = _heard(place, added)
    time.sleep(1.0)
    return _says_nothing_new(place, heard) + _goes_on(place, late, added)


def one_is_stopped_while_it_uploads(place: Place) -> list[str]:
    """The same, in the middle of its uploads; one of them reaches the store when somebody else has done the job."""
    late = place.start(**SHORT)
    hit: list[bytes] = []

    def rule(words: bytes) -> Fault | None:
        if not words.startswith(b"PUT ") or hit:
            return None
        hit.append(words)
        late.signal(signal.SIGSTOP)
        return Delay(LATE_S)

    place.s3_proxy.rule = rule
    added = place.add(some(1, "his"))
    eventually(lambda: hit, place.locked)
    began = time.monotonic()
    place.start(**SHORT)
    place.until_ended(added, ENDED_S)
    heard = _heard(place, added)
    time.sleep(max(0.0, began + LATE_S - time.monotonic()))
    late.signal(signal.SIGCONT)
    time.sleep(1.5)
    return _says_nothing_new(place, heard) + _goes_on(place, late, added)


def one_is_stopped_while_it_begins(place: Place) -> list[str]:
    """The write of its first row waits for another writer when it is stopped, and is done when it goes on."""
    late = place.start(**SHORT)
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        added = place.add(some(1, "his"))
        eventually(lambda: place.locked_at(10), place.locked)
        time.sleep(0.3)
        late.signal(signal.SIGSTOP)
        other.execute("ROLLBACK")
    place.start(**SHORT)
    place.until_ended(added, ENDED_S)
    late.signal(signal.SIGCONT)
    time.sleep(1.5)
    return _goes_on(place, late, added)


@contextmanager
def stopped_outside_a_commit(place: Place, service: Service) -> Iterator[None]:
    """Stop a service that does not write to the database: it would hold it for as long."""
    for _ in range(50):
        with stopped(service.pid), closing(sqlite3.connect(place.database, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
                other.rollback()
            except sqlite3.OperationalError:
                continue
            yield
            return
    raise AssertionError("the service writes without end")


def _heard(place: Place, added: list[invariants.Added]) -> int:
    """How many events there are when those of jobs that have ended have all come: a busy machine hears them later."""

    def told() -> bool:
        whole = {
            each["data"]["jobId"] for each in place.listener.events if each["data"].get("progress") == 100
        }
        return whole >= {each.id for each in added}

    eventually(told, lambda: place.listener.events[-5:])
    return len(place.listener.events)


def _says_nothing_new(place: Place, heard: int) -> list[str]:
    """A holder whose lock is lost may repeat an event, as any service may, and publishes none that is new."""
    known = {each["id"] for each in place.listener.events[:heard]}
    late = place.listener.events[heard:]
    return [f"it published {each['id']} without the lock" for each in late if each["id"] not in known]


def _goes_on(place: Place, late: Service, added: list[invariants.Added]) -> list[str]:
    """The late one reports the lost locks, and takes further jobs."""
    further = place.add(some(12, "further"))
    place.until_ended(further, ENDED_S)
    wrong = invariants.broken(place.look([*added, *further]), [*added, *further])
    if not any("lock lost" in line or "abandoned" in line for line in late.lines):
        wrong.append(f"the late one says nothing of its lost locks: {late.lines[-5:]}")
    if not any("outcome=completed" in line and "further" in line for line in late.lines):
        wrong.append("the late one takes no more jobs")
    return wrong


def replaced_one_by_one(place: Place) -> list[str]:
    """A rolling deployment: each service is asked to end when the next one is ready."""
    services = [place.start(**SHORT)]
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(place.add, some(50), every_s=EVERY_S / 2)
        for _ in range(2):
            services.append(place.start(**SHORT))
            services[-2].terminate()
        added = adding.result()
    place.until_ended(added, ENDED_S)
    codes = [old.wait() for old, _ in pairwise(services)]
    wrong = [f"exit codes {codes}"] if any(codes) else []
    return wrong + invariants.broken(place.look(added), added)


CASES: dict[str, Callable[[Place], list[str]]] = {
    "one is killed": one_is_killed,
    "one is stopped while its worker works": one_is_stopped_with_its_worker,
    "one is stopped while it uploads": one_is_stopped_while_it_uploads,
    "one is stopped while it begins": one_is_stopped_while_it_begins,
    "replaced one by one": replaced_one_by_one,
}


@pytest.mark.parametrize("name", CASES)
def test_no_job_is_lost_or_done_twice(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []
