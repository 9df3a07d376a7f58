"""What is divided among supervisors adds up to the whole, and each gets something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core.limit import TokenBucket
from fastproc.core.shares import MASTER_BYTES, WHOLE, WORKERS_PER_SUPERVISOR, Share, supervisors

MIB = 1 << 20


def of(count: int) -> list[Share]:
    return [Share(number, count) for number in range(1, count + 1)]


@given(whole=st.integers(0, 10**12), count=st.integers(1, 64))
def test_the_parts_add_up_to_the_whole_and_differ_by_one_at_most(whole: int, count: int) -> None:
    parts = [share.part(whole) for share in of(count)]
    assert sum(parts) == whole
    assert max(parts) - min(parts) <= 1


@given(limit=st.integers(1 << 30, 1 << 40), count=st.integers(2, 64))
def test_the_masters_memory_is_left_over(limit: int, count: int) -> None:
    assert sum(share.memory(limit) for share in of(count)) == limit - MASTER_BYTES


def test_no_limit_stays_none_and_a_limit_that_is_too_small_does_not_become_none() -> None:
    assert [share.memory(0) for share in of(2)] == [0, 0]
    assert all(share.memory(MASTER_BYTES) > 0 for share in of(2))


def test_the_only_supervisor_has_everything() -> None:
    assert (WHOLE.part(7), WHOLE.memory(7), WHOLE.is_first) == (7, 7, True)


def test_one_speaks_for_all_and_only_once() -> None:
    assert [share.is_first for share in (*of(2), Share(1, 2, again=True))] == [True, False, False]


@pytest.mark.parametrize(
    ("workers", "rate", "inflight", "expected"),
    [
        (1, 0, 512, 1),
        (WORKERS_PER_SUPERVISOR, 0, 512, 1),
        (WORKERS_PER_SUPERVISOR + 1, 0, 512, 2),
        (3 * WORKERS_PER_SUPERVISOR, 0, 512, 3),
        (3 * WORKERS_PER_SUPERVISOR, 2, 512, 2),
        (3 * WORKERS_PER_SUPERVISOR, 0, 128, 2),
        (256, 0, 64, 1),
    ],
)
def test_there_is_one_for_each_group_of_workers_as_far_as_all_can_be_divided(
    workers: int, rate: int, inflight: int, expected: int
) -> None:
    assert supervisors(workers, rate, inflight * MIB, 64 * MIB) == expected


@pytest.mark.parametrize(("rate", "duration_s", "count"), [(10, 1.0, 3), (500, 1.0, 3), (7, 0.5, 7)])
def test_the_shares_of_a_rate_limit_let_as_much_through_as_the_whole(
    rate: int, duration_s: float, count: int
) -> None:
    """With jobs waiting all the time: 30 s by a clock of ms, each supervisor takes what it can."""
    buckets = [TokenBucket(share.part(rate), duration_s, 0.0) for share in of(count)]
    at_once = sum(1 for bucket in buckets for _ in range(2 * rate) if bucket.take(0.0) == 0.0)
    started = sum(1 for ms in range(1, 30_001) for bucket in buckets if bucket.take(ms / 1000) == 0.0)
    assert at_once == rate
    assert started == pytest.approx(30 * rate / duration_s, rel=0.02)
    assert started <= 30 * rate / duration_s + 1e-6


def test_a_bucket_may_begin_empty() -> None:
    bucket = TokenBucket(4, 1.0, 0.0, full=False)
    assert [bucket.take(0.0), bucket.take(0.25), bucket.take(0.25)] == [0.25, 0.0, 0.25]
