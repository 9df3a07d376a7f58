"""When jobs are due: rates that are kept, evenly or by chance, and what may be added now."""

from __future__ import annotations

import statistics
from itertools import pairwise
from random import Random

from fastproc.load.arrivals import Burst, Open, due_now, times


def test_a_burst_is_due_at_once() -> None:
    assert times(Burst(jobs=3), Random(1)) == [0.0, 0.0, 0.0]


def test_fixed_arrivals_are_evenly_apart() -> None:
    assert times(Open(rate=4, seconds=1.5, pattern="fixed"), Random(1)) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]


def test_arrivals_by_chance_keep_the_rate_and_are_as_irregular_as_those_of_many_users() -> None:
    due = times(Open(rate=50, seconds=200), Random(1))
    assert due == sorted(due)
    assert due[-1] < 200
    # A Poisson count of 10,000 lies within 1 % (its standard deviation) of it; three of them.
    assert abs(len(due) - 10_000) < 300
    gaps = [later - earlier for earlier, later in pairwise(due)]
    # Exponential gaps: their standard deviation is their mean.
    assert 0.95 < statistics.pstdev(gaps) / statistics.mean(gaps) < 1.05


def test_the_same_seed_gives_the_same_arrivals() -> None:
    load = Open(rate=5, seconds=4)
    assert times(load, Random(7)) == times(load, Random(7)) != times(load, Random(8))


def test_a_test_has_one_job_at_least() -> None:
    assert times(Open(rate=0.001, seconds=1), Random(1)) == [0.0]
    assert times(Open(rate=0.001, seconds=1, pattern="fixed"), Random(1)) == [0.0]


def test_what_is_due_may_be_added_whatever_is_not_ended_yet() -> None:
    due = [0.0, 0.1, 0.2, 0.3]
    assert due_now(due, 0, 0, 0.2, 0) == 3
    assert due_now(due, 3, 0, 0.2, 0) == 0
    assert due_now(due, 3, 0, 9.0, 0) == 1
    assert due_now(due, 4, 0, 9.0, 0) == 0


def test_no_more_are_outstanding_than_asked_for() -> None:
    due = [0.0] * 10
    assert due_now(due, 0, 0, 1.0, 3) == 3
    assert due_now(due, 3, 0, 1.0, 3) == 0
    assert due_now(due, 3, 2, 1.0, 3) == 2
    assert due_now(due, 9, 9, 1.0, 3) == 1
