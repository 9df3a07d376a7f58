"""The token bucket: what it admits, how exact its waits are, what giving back may do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.limit import TokenBucket

RULES = st.tuples(st.integers(1, 1000), st.floats(0.001, 3600))
#: Seconds between calls; negative for a clock that goes backwards.
STEPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(-2, 0)), max_size=300)


@given(RULES, st.floats(0, 1e6), STEPS)
def test_a_bucket_never_admits_more_than_its_burst_and_its_rate_times_the_time(
    rules: tuple[int, float], start: float, steps: list[float]
) -> None:
    most, duration_s = rules
    bucket = TokenBucket(most, duration_s, start)
    now = latest = start
    admitted = 0
    for step in steps:
        now += step
        latest = max(latest, now)
        admitted += bucket.take(now) == 0.0
    assert admitted <= most + most / duration_s * (latest - start) + 1e-3


@given(RULES, st.floats(0, 1e6), st.integers(1, 200))
def test_after_the_returned_wait_there_is_always_a_token(
    rules: tuple[int, float], now: float, takes: int
) -> None:
    most, duration_s = rules
    bucket = TokenBucket(most, duration_s, now)
    for _ in range(takes):
        waits = 0
        while wait_s := bucket.take(now):
            assert 0 < wait_s <= duration_s / most + 1e-9
            waits += 1
            # As a sleep does: the clock moves by what was asked, and by its smallest step at least.
            now = max(now + wait_s, math.nextafter(now, math.inf))
        # A clock that rounds may cost a second, tiny wait; more would be a busy loop.
        assert waits <= 3


@given(RULES, st.floats(0, 1e6))
def test_a_wait_is_not_longer_than_it_must_be(rules: tuple[int, float], now: float) -> None:
    most, duration_s = rules
    bucket = TokenBucket(most, duration_s, now)
    for _ in range(most):
        assert bucket.take(now) == 0.0
    wait_s = bucket.take(now)
    assert wait_s == pytest.approx(duration_s / most)
    assert bucket.take(now + wait_s / 2) == pytest.approx(wait_s / 2, abs=1e-9 * max(1.0, now))


def test_no_token_comes_a_thousandth_early() -> None:
    bucket = TokenBucket(1, 1.0, 0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.999) == pytest.approx(0.001)
    assert bucket.take(1.0) == 0.0


def test_a_bucket_starts_full_and_refills_to_its_burst_and_no_further() -> None:
    bucket = TokenBucket(10, 1.0, 100.0)
    assert [bucket.take(100.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(100.0) == pytest.approx(0.1)
    later = 100.0 + 3600
    assert [bucket.take(later) for _ in range(10)] == [0.0] * 10
    assert bucket.take(later) > 0


def test_a_caller_that_waits_as_told_gets_the_rate_in_the_long_run() -> None:
    bucket, now, admitted = TokenBucket(10, 1.0, 0.0), 0.0, 0
    while now < 60.0:
        wait_s = bucket.take(now)
        admitted += wait_s == 0.0
        now += wait_s
    assert 605 <= admitted <= 611


def test_a_token_that_is_given_back_can_be_taken_again_at_once() -> None:
    bucket = TokenBucket(1, 60.0, 0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) > 0
    bucket.give_back(0.0)
    assert bucket.take(0.0) == 0.0


@given(st.integers(1, 20), st.integers(1, 100))
def test_giving_back_never_makes_a_bucket_larger(most: int, times: int) -> None:
    bucket = TokenBucket(most, 60.0, 0.0)
    for _ in range(times):
        bucket.give_back(0.0)
    assert sum(bucket.take(0.0) == 0.0 for _ in range(most + times)) == most


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket = TokenBucket(2, 1.0, 100.0)
    assert bucket.take(50.0) == 0.0
    assert bucket.take(99.0) == 0.0
    assert bucket.take(99.9) > 0
    assert bucket.take(100.5) == 0.0


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=60))
def test_in_any_window_no_more_start_than_the_burst_and_the_rate_allow_though_jobs_are_waited_for(
    most: int, jobs: list[tuple[float, float]]
) -> None:
    """Each job: seconds until somebody asks for a token, and seconds for which the token waits for its job."""
    bucket, now = TokenBucket(most, 1.0, 0.0), 0.0
    started: list[float] = []
    for pause_s, wait_s in jobs:
        now += pause_s
        while more_s := bucket.take(now):
            now += more_s
        now += wait_s
        bucket.renew(now)
        # All that may start at this moment does, as when a backlog comes.
        started.append(now)
        while bucket.take(now) == 0.0:
            started.append(now)
    for first, begin in enumerate(started):
        for last in range(first, len(started)):
            window_s = started[last] - begin
            assert last - first + 1 <= most + most * window_s + 1e-6


@pytest.mark.parametrize(("most", "duration_s"), [(10, 1.0), (500, 1.0), (5, 0.5), (1, 0.1)])
def test_over_any_30_s_a_backlog_gets_the_rate_to_the_job(most: int, duration_s: float) -> None:
    bucket, now = TokenBucket(most, duration_s, 0.0), 0.0
    started: list[float] = []
    while now < 91.0:
        wait_s = bucket.take(now)
        if not wait_s:
            started.append(now)
        now += wait_s
    for begin in (1.0, 31.0, 60.0):
        in_window = sum(begin <= at < begin + 30.0 for at in started)
        assert in_window == pytest.approx(30.0 * most / duration_s, abs=1)


def test_late_wakes_cost_no_rate_while_the_burst_has_room_for_them() -> None:
    """A sleep that ends 3 ms late, at 500 a second: the tokens of that time wait in the bucket."""
    bucket, now, count = TokenBucket(500, 1.0, 0.0), 0.0, 0
    while now < 61.0:
        wait_s = bucket.take(now)
        count += wait_s == 0.0
        now += wait_s + 0.003 * (wait_s > 0)
    assert count == pytest.approx(500 + 500 * 61, rel=0.0002)


@given(RULES, RULES, st.floats(0, 100), st.integers(0, 50))
def test_another_rate_begins_with_no_more_than_there_was_and_than_it_holds(
    old: tuple[int, float], new: tuple[int, float], waited: float, taken: int
) -> None:
    bucket = TokenBucket(*old, 0.0)
    for _ in range(taken):
        bucket.take(0.0)
    left = bucket._tokens
    other = bucket.replaced(*new, waited)
    at_once = 0
    while at_once < 2000 and other.take(waited) == 0.0:
        at_once += 1
    assert at_once <= min(new[0], left + waited * old[0] / old[1]) + 1e-6
    # In the long run it is the new rate, whatever was before.
    wait = other.take(waited)
    assert wait <= new[1] / new[0] + 1e-6


def test_looking_at_the_tokens_takes_none() -> None:
    bucket = TokenBucket(10, 1.0, now=0.0)
    for _ in range(4):
        assert bucket.take(0.0) == 0.0
    assert [bucket.tokens(now) for now in (0.0, 0.0, 0.2, 9.0, -1.0)] == [6.0, 6.0, 8.0, 10.0, 6.0]
