"""Somebody else ends or stops worker processes, or leaves the service no descriptors: photos are not blamed for it."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

import pytest

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import eventually
from tests.chaos.conftest import Make, Wrong
from tests.chaos.outage import audit, some, stopped

ABOUT_S = 12


def scenario(make: Make, name: str) -> list[str]:
    with make() as place:
        return CASES[name](place)


def an_idle_worker_is_killed(place: Place) -> list[str]:
    service = place.start()
    [worker] = service.workers()
    os.kill(worker, signal.SIGKILL)
    # On a busy machine it may live on for a moment, and take a task: that would count as an attempt.
    eventually(lambda: worker not in service.workers(), lambda: "it is gone")
    added = place.add(some(6))
    place.until_ended(added)
    return invariants.broken(place.look(added), added)


def a_busy_worker_is_killed(place: Place) -> list[str]:
    """It costs its job an attempt at most, and no other job."""
    place.start()
    return kill_holders(place, times=1)


def the_next_one_too(place: Place) -> list[str]:
    """Twice, of three attempts: such a photo is no poison."""
    place.start()
    return kill_holders(place, times=2)


def kill_holders(place: Place, times: int) -> list[str]:
    service = next(iter(place.services))
    before = service.processes()
    added = []
    for attempt in range(1, times + 1):
        eventually(service.workers, lambda: "a worker")
        # The new one takes photos when it is ready.
        eventually(lambda: "fastproc_workers_alive 1.0" in service.get("/metrics")[1], lambda: service.lines)
        [worker] = service.workers()
        with stopped(worker):
            added = added or place.add(some(1, "held"), attempts=3, backoff={"type": "fixed", "delay": 6000})
            held = f"{added[0].id}:progress:{attempt}:25"
            eventually(lambda id=held: any(each["id"] == id for each in place.listener.events), place.locked)
            eventually(
                lambda: "fastproc_workers_busy 1.0" in service.get("/metrics")[1], lambda: service.lines
            )
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: not place.ids("active"), place.locked)
    others = place.add(some(6))
    place.until_ended([*added, *others])
    everything = [*added, *others]
    wrong = invariants.broken(place.look(everything), everything, counted={added[0].id})
    return wrong + invariants.bounded(before, service.processes())


def a_busy_worker_is_stopped(place: Place) -> list[str]:
    """It is killed at its deadline, and its job runs again."""
    service = place.start(JOB_TIMEOUT_S="2")
    [worker] = service.workers()
    os.kill(worker, signal.SIGSTOP)
    added = place.add(some(1, "held"), attempts=3)
    eventually(lambda: worker not in service.workers(), lambda: service.lines)
    others = place.add(some(6))
    place.until_ended([*added, *others])
    everything = [*added, *others]
    return invariants.broken(place.look(everything), everything, counted={added[0].id})


def no_descriptors(place: Place) -> list[str]:
    """For two seconds the supervisor can open nothing; its worker dies meanwhile, and jobs come."""
    service = place.start()
    added = place.add(some(2, "first"))
    place.until_ended(added)
    before = service.processes()
    limits = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    [worker] = service.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: worker not in service.workers(), lambda: "it is gone")
    added += place.add(some(8))
    time.sleep(2.0)
    resource.prlimit(service.pid, resource.RLIMIT_NOFILE, limits)
    place.until_ended(added)
    return audit(place, service, added, before)


CASES: dict[str, Callable[[Place], list[str]]] = {
    "an idle worker is killed": an_idle_worker_is_killed,
    "a busy worker is killed": a_busy_worker_is_killed,
    "a busy worker is killed twice": the_next_one_too,
    "a busy worker is stopped": a_busy_worker_is_stopped,
    "no descriptors for two seconds": no_descriptors,
}


@pytest.mark.parametrize("name", CASES)
def test_photos_are_not_blamed(name: str, wrong: Wrong) -> None:
    assert wrong(name) == []
