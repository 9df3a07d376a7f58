"""The course of an outage: jobs come at ten a second, a neighbour goes and returns, everything is audited."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fastproc.embedded.trial import invariants
from fastproc.embedded.trial.invariants import Added, Process
from fastproc.embedded.trial.place import Place, first_end
from fastproc.embedded.trial.process import Service, eventually
from tests.chaos.conftest import PHOTOS

#: Ten jobs a second.
EVERY_S = 0.1
#: A neighbour that is back is found within 5 s; a busy machine may add to that.
RECOVERY_S = 8.0
NOT_READY_S = 5.0


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
    jobs: int = 18,
    not_ready: str = "",
) -> list[str]:
    """Run the course; return what was wrong. `not_ready`: the condition of /ready that must fail meanwhile."""
    first = place.add(some(2, "first"))
    place.until_ended(first)
    before, lines, wrong = service.processes(), len(service.lines), []
    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(place.add, some(jobs), every_s=EVERY_S)
        time.sleep(3 * EVERY_S)
        began = time.monotonic()
        try:
            begin()
            if not_ready:
                wrong += says_not_ready(service, not_ready)
            time.sleep(max(0.0, began + seconds - time.monotonic()))
        finally:
            end()
        lifted, done = time.monotonic(), set(place.ids("completed"))
        added = adding.result()
    if left := [each for each in added if each.id not in done]:
        wrong += invariants.recovered(first_end(left, place, lifted), RECOVERY_S)
    place.until_ended(added)
    lasted = time.monotonic() - began
    return [
        *wrong,
        *invariants.quiet_log(service.lines[lines:], lasted),
        *audit(place, service, [*first, *added], before),
    ]


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
