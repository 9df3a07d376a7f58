"""How fast a queue is worked off, and how many seconds what waits takes: every edge that an autoscaler meets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.pace import (
    APART_S,
    SHORTEST_S,
    WINDOW_S,
    Mark,
    Trend,
    age_s,
    backlog_s,
    due_ms,
    marked,
    pace,
    together,
)


def marks(*looks: tuple[float, int, bool]) -> tuple[Mark, ...]:
    return tuple(Mark(*look) for look in looks)


@pytest.mark.parametrize(
    ("looks", "now", "ended", "per_s"),
    [
        pytest.param((), 9, 5, None, id="no look"),
        pytest.param(((0, 0, True),), 10, 50, 5.0, id="since the first look"),
        pytest.param(((0, 0, True),), SHORTEST_S - 0.1, 50, None, id="too short"),
        pytest.param(((0, 0, True),), 10, 0, 0.0, id="nothing ends"),
        pytest.param(((0, 0, False), (10, 50, True)), 12, 60, None, id="idle before"),
        pytest.param(((0, 0, False), (10, 50, True)), 20, 150, 10.0, id="only while jobs waited"),
        pytest.param(((0, 0, True), (10, 30, False)), 20, 30, None, id="emptied between two looks"),
        pytest.param(
            ((0, 0, True), (10, 100, True), (20, 110, False), (30, 120, True)), 40, 220, 10.0, id="a gap"
        ),
    ],
)
def test_the_pace_is_that_of_times_in_which_jobs_waited(
    looks: tuple[tuple[float, int, bool], ...], now: float, ended: int, per_s: float | None
) -> None:
    assert pace(marks(*looks), now, ended) == per_s


def test_only_the_last_minute_is_kept_and_no_look_that_says_nothing_new() -> None:
    kept: tuple[Mark, ...] = ()
    for step in range(1000):
        kept = marked(kept, Mark(step / 2, step, True))
    assert kept[0].at >= kept[-1].at - WINDOW_S
    assert min(b.at - a.at for a, b in pairwise(kept)) >= APART_S
    stopped = marked(kept, Mark(kept[-1].at + 0.1, 5, False))
    assert stopped[-1] == Mark(kept[-1].at + 0.1, 5, False)


@pytest.mark.parametrize(
    ("waiting", "per_s", "stopped", "seconds"),
    [
        pytest.param(100, 10.0, False, 10.0, id="at work"),
        pytest.param(0, 10.0, False, 0.0, id="nothing waits"),
        pytest.param(0, None, False, 0.0, id="nothing waits, and nothing has ended"),
        pytest.param(0, 10.0, True, 0.0, id="nothing waits, paused"),
        pytest.param(100, None, False, None, id="nobody knows the pace"),
        pytest.param(100, 0.0, False, None, id="nothing ends"),
        pytest.param(100, 10.0, True, None, id="paused, or a neighbour is away"),
        pytest.param(None, 10.0, False, None, id="Redis is away"),
    ],
)
def test_what_waits_takes_so_long(
    waiting: int | None, per_s: float | None, stopped: bool, seconds: float | None
) -> None:
    assert backlog_s(waiting, per_s, stopped=stopped) == seconds


@given(st.integers(1, 10_000), st.lists(st.floats(0.01, 1000), min_size=1, max_size=9))
def test_services_side_by_side_need_what_their_paces_together_need(waiting: int, paces: list[float]) -> None:
    alone = [backlog_s(waiting, each) or 0.0 for each in paces]
    assert together(alone) == pytest.approx(waiting / sum(paces))


def test_where_one_service_sees_nothing_wait_nothing_waits() -> None:
    assert together([3.0, 0.0]) == 0.0
    assert together([3.0]) == 3.0


def test_a_job_waits_since_it_was_due_and_never_less_than_no_time() -> None:
    assert due_ms(1000, 500.0) == 1500
    assert due_ms(1000, -5) == 1000
    assert age_s(1500, 4000) == 2.5
    assert age_s(4000, 1500) == 0.0
    assert age_s(None, 4000) is None


def test_a_trend_is_the_change_a_second_and_needs_some_seconds() -> None:
    trend = Trend()
    assert [trend.of(number, now) for number, now in ((100, 0.0), (110, 5.0), (130, 10.0))] == [
        None,
        None,
        2.0,
    ]
    # The oldest look that counts is a minute old, and the second half has no look but this one.
    assert trend.of(70, 65.0) is None
    assert trend.of(70, 500.0) is None


@pytest.mark.parametrize(
    ("numbers", "change"),
    [
        pytest.param([0] * 15 + [150 - 2 * n for n in range(16)], -2.0, id="a burst that is worked off"),
        pytest.param([0] * 28 + [150] * 3, 0.0, id="a burst just now"),
        pytest.param([3 * n for n in range(31)], 3.0, id="growth"),
        pytest.param([max(n, 5 * n - 60) for n in range(31)], 1.0, id="growth that becomes faster"),
        pytest.param([90 - 3 * n for n in range(31)], -3.0, id="a fall"),
        pytest.param([90 - 3 * n for n in range(16)] + [45 + n for n in range(1, 16)], 0.0, id="a turn"),
    ],
)
def test_growth_is_what_goes_on_in_both_halves(numbers: list[int], change: float) -> None:
    trend = Trend()
    assert [trend.of(number, float(now)) for now, number in enumerate(numbers)][-1] == pytest.approx(change)
