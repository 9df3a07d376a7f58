"""Percentiles, rates, and from when on a job's latency counts."""

from __future__ import annotations

import pytest

from fastproc.load.figures import Course, code, figures, percentile, spread


def course(due: float, added: float, taken: float, ended: float, reason: str = "") -> Course:
    return Course(due_ms=due, added_ms=added, taken_ms=taken, ended_ms=ended, reason=reason)


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [
        # The textbook's example of nearest rank.
        ([15, 20, 35, 40, 50], 5, 15),
        ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 50, 35),
        ([15, 20, 35, 40, 50], 100, 50),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 101)), 50, 50),
        (list(range(1, 51)), 99, 50),
        ([7], 50, 7),
    ],
)
def test_a_percentile_is_the_value_at_nearest_rank(
    values: list[float], percent: float, wanted: float
) -> None:
    assert percentile(values, percent) == wanted


def test_a_spread_does_not_need_ordered_values() -> None:
    found = spread([30.0, 10.0, 20.0])
    assert found is not None
    assert (found.p50, found.p95, found.p99, found.mean, found.max) == (20, 30, 30, 20, 30)
    assert spread([]) is None


def test_latency_under_an_open_load_counts_from_the_planned_arrival() -> None:
    """The generator was held up for 900 ms: a user who came as planned has waited that long, too."""
    late = [course(1000, 1900, 1910, 2000), course(1500, 1900, 2000, 2100)]
    found = figures(late, (900, 1600))
    assert found.latency_ms is not None
    assert found.latency_ms.max == 1000
    assert found.late_ms == 900
    assert found.seconds == 1.2
    assert found.queue_ms is not None
    assert found.queue_ms.max == 100
    assert found.work_ms is not None
    assert found.work_ms.max == 100


def test_latency_of_a_burst_counts_from_when_a_job_was_added() -> None:
    found = figures([course(1000, 1040, 1050, 1100), course(1000, 1080, 1100, 1200)])
    assert found.latency_ms is not None
    assert (found.latency_ms.p50, found.latency_ms.max) == (60, 120)
    assert found.seconds == 0.16
    assert found.jobs_per_s == 12.5
    assert found.late_ms == 0


def test_failures_are_counted_by_code_and_are_in_no_percentile() -> None:
    courses = [
        course(0, 10, 20, 110),
        course(0, 10, 20, 5010, "FILE_CORRUPTED: half of it is missing"),
        course(0, 10, 20, 5010, "FILE_CORRUPTED: no end"),
        course(0, 10, 20, 5010, "job stalled more than allowable limit"),
        course(0, 10, 0, 0),
    ]
    found = figures(courses)
    assert (found.jobs, found.completed, found.failed, found.unfinished) == (5, 1, 3, 1)
    assert found.failures == {"FILE_CORRUPTED": 2, "OTHER": 1}
    assert found.latency_ms is not None
    assert found.latency_ms.max == 100
    # One photo was done in the time that all of it took.
    assert found.jobs_per_s == 0.2


def test_a_run_in_which_nothing_ended_has_no_times() -> None:
    found = figures([course(0, 10, 0, 0)], (0, 1000))
    assert (found.completed, found.jobs_per_s, found.latency_ms, found.queue_ms) == (0, 0.0, None, None)


def test_a_service_whose_clock_is_behind_is_noticed() -> None:
    assert figures([course(0, 100, 90, 200)]).clocks_differ
    assert not figures([course(0, 100, 100, 200)]).clocks_differ


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("WORKER_TIMEOUT: 20 s", "WORKER_TIMEOUT"),
        ("Error: no", "OTHER"),
        ("no colon", "OTHER"),
        ("", "OTHER"),
    ],
)
def test_a_code_is_what_a_reason_begins_with(reason: str, wanted: str) -> None:
    assert code(reason) == wanted


def test_the_time_of_an_open_load_is_that_in_which_jobs_could_arrive() -> None:
    """By chance two came late and within 100 ms: that was no rate of 20 a second."""
    courses = [course(1900, 1900, 1901, 1950), course(1950, 1950, 1951, 2000)]
    assert figures(courses, (0, 4000)).jobs_per_s == 0.5
    assert figures(courses, (0, 1000)).jobs_per_s == 1.0
