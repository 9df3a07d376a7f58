"""The course of an outage: jobs come at ten a second, a neighbour goes and returns, everything is audited."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.ground import first_end
from fastproc.embedded.trial.invariants import Added, Process
from fastproc.embedded.trial.place import Place
from fastproc.embedded.trial.process import Service, eventually
from tests.chaos.conftest import PHOTOS

#: Ten jobs a second.
EVERY_S, JOBS = 0.1, 18
#: A neighbour that is back is found within 5 s; a busy machine may add to that.
RECOVERY_S = 12.0
NOT_READY_S = 5.0
SETTLE_S = 0.4
#: From the first job that is completed after an outage to the end of the last one.
ENDED_S = 15.0


def some(count: int, prefix: str = "p") -> dict[str, str]:
    """So many photo ids, and the stored photo of each."""
    names = list(PHOTOS)
    return {f"{prefix}{n}": names[n % len(names)] for n in range(count)}


def endure(
    place: Place,
    service: Service,
    begin: Callable[[], object],
    end: Callable[[], object],
    *,
    seconds: float = 1.5,
    jobs: int = JOBS,
    waiting: int = 0,
    not_ready: str = "",
    calm: bool = False,
) -> list[str]:
    """Run the course; return what was wrong.

    `jobs` come at ten a second; `waiting`: in their place, so many are there before the outage, which those in hand
    meet as they come from their worker; `not_ready`: the condition of /ready that must fail meanwhile; `calm`: the
    service can do nothing meanwhile.
    """
    first = place.add(some(2, "first"))
    place.until_ended(first)
    before, lines = service.processes(), len(service.lines)
    with ThreadPoolExecutor(1) as thread:
        if waiting:
            added = add_and_begin(place, service, waiting, begin)
        else:
            adding = thread.submit(place.add, some(jobs), every_s=EVERY_S)
            time.sleep(3 * EVERY_S)
            begin()
        began = time.monotonic()
        try:
            wrong = during(service, seconds, not_ready, calm)
        finally:
            end()
        lifted, done = time.monotonic(), set(place.ids("completed"))
        added = added if waiting else adding.result()
    left = [each for each in added if each.id not in done]
    if left:
        took = first_end(left, place, lifted, RECOVERY_S)
        wrong += invariants.recovered(took, RECOVERY_S)
        if took is None:
            return [*wrong, f"{place.locked()} are locked; {service.lines[-4:]}"]
    elif calm:
        wrong.append("the outage held nothing up, so that it shows nothing")
    place.until_ended(added, ENDED_S + seconds)
    lasted = time.monotonic() - began
    return [
        *wrong,
        *invariants.quiet_log(service.lines[lines:], lasted),
        *audit(place, service, [*first, *added], before),
    ]


def add_and_begin(place: Place, service: Service, count: int, begin: Callable[[], object]) -> list[Added]:
    """Add jobs, and begin the outage when the first of them have their photos and wait for a worker."""
    with stopped(*service.workers()):
        added = place.add(some(count))
        fetched = [place.key(each.id) for each in added[:2]]
        eventually(lambda: all(place.redis.hget(key, "progress") == "25" for key in fetched), place.locked)
        begin()
    return added


def during(service: Service, seconds: float, not_ready: str, calm: bool) -> list[str]:
    """Let the outage last; return what was wrong meanwhile."""
    began = time.monotonic()
    wrong = says_not_ready(service, not_ready) if not_ready else []
    # What is in hand goes on for a moment.
    time.sleep(SETTLE_S)
    early = service.processes()[:1]
    left_s = max(SETTLE_S, began + seconds - time.monotonic())
    time.sleep(left_s)
    if calm and early and (late := service.processes()[:1]):
        wrong += invariants.calm(early[0], late[0], left_s)
    return wrong


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes, and let them go on at the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def audit(place: Place, service: Service, added: Sequence[Added], before: Sequence[Process]) -> list[str]:
    """The invariants of a world that is quiet again, and of the service that lived through it."""
    wrong = invariants.broken(place.look(added), added)
    if service.ended is not None:
        return [*wrong, f"the service has ended: {service.lines[-3:]}"]
    return wrong + invariants.bounded(before, service.processes())


def says_not_ready(service: Service, condition: str) -> list[str]:
    """/ready is 503 soon, and names the neighbour."""

    def says() -> bool:
        status, body = service.get("/ready")
        return status == 503 and json.loads(body).get(condition) is False

    try:
        eventually(says, str, NOT_READY_S)
    except AssertionError:
        return [f"/ready does not say in {NOT_READY_S:g} s that {condition!r} fails: {service.get('/ready')}"]
    return []
