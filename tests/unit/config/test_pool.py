"""The pool's settings: how many jobs are in hand at most."""

from __future__ import annotations

from fastproc.config.pool import PoolConfig
from fastproc.config.settings import load


def test_the_jobs_in_hand_are_one_a_worker_and_as_many_again_or_the_prefetch() -> None:
    assert load({}, 4).pool.max_in_hand == 8
    assert load({"PREFETCH": "0"}, 4).pool.max_in_hand == 4
    assert load({"PREFETCH": "1"}, 4).pool.max_in_hand == 5


def test_a_memory_limit_that_is_too_small_for_the_workers_is_said_with_both_numbers() -> None:
    assert PoolConfig(workers=2).shortage(0) == ""
    assert PoolConfig(workers=2).shortage(4 << 30) == ""
    words = PoolConfig(workers=4).shortage(512 << 20)
    assert words.startswith("the memory limit of 512 MiB is less than ")
    assert "4 busy workers" in words
    assert "WORKER_CONCURRENCY" in words
