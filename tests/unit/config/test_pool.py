"""The pool's settings: how many jobs are in hand at most."""

from __future__ import annotations

from fastproc.config.settings import load


def test_the_jobs_in_hand_are_one_a_worker_and_as_many_again_or_the_prefetch() -> None:
    assert load({}, 4).pool.max_in_hand == 8
    assert load({"PREFETCH": "0"}, 4).pool.max_in_hand == 4
    assert load({"PREFETCH": "1"}, 4).pool.max_in_hand == 5
