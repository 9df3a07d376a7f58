"""Settings that change while the service runs: bounds, refusals that say what would do, what does not fit the host."""

from __future__ import annotations

import pytest

from fastproc.config import live
from fastproc.config.fit import Room
from fastproc.config.pool import PoolConfig
from fastproc.core.control import Refusal
from fastproc.core.rates import Rate


@pytest.mark.parametrize(
    ("text", "supervisors", "why"),
    [
        ("0", 1, "pause --host"),
        ("257", 1, "257 workers are out of bounds: 1 to 256"),
        ("1", 2, "1 is too few: each of 2 supervisors needs a worker"),
        ("-1", 1, "expected a whole number of workers, 1 to 256"),
        ("\u0663", 1, "expected a whole number"),
        ("9" * 5000, 1, "expected a whole number"),
        ("", 3, "expected a whole number of workers, 3 to 256"),
    ],
    ids=range(7),
)
def test_a_number_of_workers_that_cannot_be_is_refused(text: str, supervisors: int, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        live.pool(text, PoolConfig(), supervisors)


@pytest.mark.parametrize(
    ("prefetch", "workers", "in_hand"), [(None, 4, 8), (0, 4, 4), (8, 4, 12), (8, 1, 5)], ids=range(4)
)
def test_the_jobs_in_hand_follow_the_workers(prefetch: int | None, workers: int, in_hand: int) -> None:
    plan = live.pool(str(workers), PoolConfig(workers=2, prefetch=prefetch), 1)
    assert (plan.workers, plan.max_in_hand) == (workers, in_hand)
    assert plan.conflicts() == []


def test_what_does_not_fit_the_host_is_a_warning() -> None:
    room = Room(cores=2, memory_bytes=1 << 30)
    assert live.warnings(PoolConfig(workers=2), Room(cores=2), 1) == []
    found = live.warnings(PoolConfig(workers=8), room, 1)
    assert ["8 workers share 2 cores" in found[0], "8 busy workers need" in found[1]] == [True, True]


def test_a_rate_that_cannot_be_shared_is_refused_with_one_that_can() -> None:
    assert live.rate("10/s", 2) == Rate(10, 1000)
    assert live.rate("off", 9) == Rate()
    with pytest.raises(Refusal, match=r"each of 3 supervisors needs a part of it.*such as 120/min"):
        live.rate("2/s", 3)
    with pytest.raises(Refusal, match="600/min"):
        live.rate("fast", 1)


def test_a_level_is_one_of_four() -> None:
    assert [live.level(text) for text in ("debug", "INFO", "warning", "error")] == [
        "debug",
        "info",
        "warn",
        "error",
    ]
    with pytest.raises(Refusal, match="debug, info, warn, error"):
        live.level("loud")
