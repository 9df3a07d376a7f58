"""Workers' waits are counted while there is work for them, and not while there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastproc.core.fleet import Fleet, Rules
from fastproc.supervisor.workers.idleness import Idleness
from fastproc.supervisor.workers.loans import Loans


class Bench:
    """Two workers that are ready, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fleet, self.loans = Fleet(2, Rules()), Loans(2, 1 << 20)
        self.idleness = Idleness(self.fleet, self.loans, lambda: self.now)
        self.fleet.tick(self.now)
        for slot in range(2):
            self.fleet.ready(slot, self.now)
        self.idleness.look()

    def passes(self, seconds: float) -> float:
        """Let time pass, and return the waits so far."""
        self.now += seconds
        return round(self.idleness.seconds, 6)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loans.close()


def test_one_worker_waits_for_each_photo_on_its_way(bench) -> None:
    assert bench.passes(10) == 0
    loans = [bench.loans.lend(0)]
    assert bench.passes(1) == 1
    bench.fleet.assign(0, 1, bench.now + 30, bench.now)
    bench.idleness.look()
    assert bench.passes(5) == 1  # The other worker is idle, and there is nothing for it.
    loans += [bench.loans.lend(1), bench.loans.lend(1)]
    assert bench.passes(1) == 2
    bench.fleet.assign(1, 2, bench.now + 30, bench.now)
    bench.idleness.look()
    assert bench.passes(10) == 2
    for loan in loans:
        bench.loans.take_back(loan)


def test_every_idle_worker_waits_while_the_service_has_no_place_for_further_jobs(bench) -> None:
    bench.idleness.is_full = lambda: True
    bench.idleness.look()
    assert bench.passes(1) == 2
    bench.fleet.assign(0, 1, bench.now + 30, bench.now)
    bench.idleness.look()
    assert bench.passes(1) == 3


def test_workers_of_a_service_that_ends_do_not_wait(bench) -> None:
    bench.idleness.is_full = lambda: True
    bench.fleet.draining = True
    bench.idleness.look()
    assert bench.passes(1) == 0
