"""Admission by memory: what fits together runs together, in the order of coming, and nobody waits without end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastproc.core import admission
from fastproc.core.admission import (
    FEW_S,
    QUIET_S,
    TASK_BYTES,
    Easing,
    Fewer,
    Need,
    admitted,
    most_workers,
    need_of,
)
from fastproc.core.header import Header

MB = 1 << 20


def needs(*megabytes: int) -> list[Need]:
    return [Need(each * MB) for each in megabytes]


@pytest.mark.parametrize(
    ("waiting", "running", "most", "count"),
    [
        ([], [], 4, 0),
        (needs(10, 10, 10), [], 4, 3),
        (needs(10, 10, 10), [], 2, 2),
        (needs(60, 60), [], 4, 1),
        (needs(60), needs(60), 4, 0),
        (needs(60, 10), needs(60), 4, 0),
        (needs(40, 70, 10), [], 4, 1),
        (needs(500, 10), [], 4, 1),
        (needs(500), needs(10), 4, 0),
        (needs(10, 500, 10), [], 4, 1),
        (needs(10), needs(500), 4, 0),
        ([Need(1, alone=True), Need(1)], [], 4, 1),
        ([Need(1, alone=True)], needs(1), 4, 0),
        (needs(1), [Need(1, alone=True)], 4, 0),
        (needs(1), needs(1), 1, 0),
    ],
)
def test_the_table(waiting: list[Need], running: list[Need], most: int, count: int) -> None:
    assert admitted(waiting, running, 100 * MB, most) == count


sizes = st.lists(st.builds(Need, st.integers(1, 300), alone=st.booleans()), min_size=1, max_size=12)


@given(sizes, st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_task_runs_in_the_end_and_the_budget_holds_but_for_those_that_run_alone(
    waiting: list[Need], most: int, dice: object
) -> None:
    left, running = list(waiting), list[Need]()
    for _ in waiting:
        count = admitted(left, running, 100, most)
        running += left[:count]
        del left[:count]
        assert running, "nothing runs while tasks wait"
        assert len(running) <= most
        assert len(running) == 1 or sum(need.bytes for need in running) <= 100
        assert len(running) == 1 or not any(need.alone for need in running)
        running.pop(dice.randrange(len(running)))  # type: ignore[attr-defined]
    assert left == running == []


def test_a_large_task_at_the_head_is_never_overtaken_by_what_would_keep_it_waiting() -> None:
    assert admitted([Need(90 * MB), Need(1 * MB)], needs(20), 100 * MB, 8) == 0


@pytest.mark.parametrize(
    ("megapixels", "progressive", "measured_mb"),
    [
        (12, False, 85),
        (24, False, 153),
        (40, False, 245),
        (12, True, 155),
        (24, True, 230),
        (40, True, 365),
        (90, False, 239),
    ],
)
def test_the_estimate_is_not_below_what_was_measured(
    megapixels: int, progressive: bool, measured_mb: int
) -> None:
    header = Header(
        format="jpeg",
        width=megapixels * 1000,
        height=1000,
        decoded_bytes=3_000_000 * megapixels if progressive else 0,
    )
    need = need_of(header, 10 * MB, 2 * MB)
    assert 0.9 * measured_mb * 1e6 <= need.bytes <= 2 * measured_mb * 1e6


def test_a_photo_without_a_header_or_a_copy_is_small() -> None:
    assert need_of(None, 10 * MB, 2 * MB) == Need(TASK_BYTES)
    assert need_of(Header(format="jpeg", width=4000, height=3000), MB, 2 * MB) == Need(TASK_BYTES)


def test_a_kill_halves_and_each_quiet_minute_gives_one_back() -> None:
    easing = Easing(8)
    assert easing.most(0.0) == 8
    easing.killed(100.0)
    assert [easing.most(100.0 + n * QUIET_S) for n in range(6)] == [4, 5, 6, 7, 8, 8]
    easing.killed(100.0 + 2 * QUIET_S)
    assert easing.most(100.0 + 2 * QUIET_S) == 3
    for _ in range(5):
        easing.killed(1000.0)
    assert easing.most(1000.0) == 1


@pytest.mark.parametrize("limit_mb", [0, 128, 512, 1024, 2048, 65536])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_a_budget_lets_any_task_run_and_all_parts_fit_into_the_limit(limit_mb: int, workers: int) -> None:
    limit = limit_mb * MB
    budget = admission.budget_bytes(limit, workers, 2 << 30, workers)
    assert budget >= TASK_BYTES
    if not limit:
        assert budget == workers * (2 << 30)
        assert admission.staged_bytes(limit, 7) == 7
    elif budget > TASK_BYTES:
        idle = admission.SUPERVISOR_BYTES + workers * (
            admission.WORKER_BYTES + admission.kept_bytes(limit, workers)
        )
        assert idle + budget + admission.staged_bytes(limit, 1 << 40) <= limit + 1


@pytest.mark.parametrize(
    ("need_mb", "limit_mb", "most"),
    # Four workers keep 8 MB each of 512 MB, 16 of 1 GB: idle 110 + n x 83, 110 + n x 91.
    [
        (40, 512, 4),
        (100, 512, 2),
        (150, 512, 1),
        (900, 512, 1),
        (40, 1024, 4),
        (290, 1024, 4),
        (310, 1024, 3),
    ],
)
def test_a_task_that_does_not_fit_beside_all_idle_workers_asks_for_fewer(
    need_mb: int, limit_mb: int, most: int
) -> None:
    def budget_of(alive: int) -> int:
        return admission.budget_bytes(limit_mb * MB, 4, 2 << 30, alive)

    assert most_workers(need_mb * MB, 4, budget_of) == most
    assert most == 1 or need_mb * MB <= budget_of(most)


def test_without_a_limit_nothing_asks_for_fewer_workers() -> None:
    def budget_of(alive: int) -> int:
        return admission.budget_bytes(0, 4, 2 << 30, alive)

    assert most_workers(7 << 30, 4, budget_of) == 4


def test_workers_stay_few_for_a_while_after_the_task_that_needed_it() -> None:
    fewer = Fewer(8)
    assert fewer.most(0.0, []) == 8
    assert fewer.most(1.0, [1 << 30, 3]) == 3
    assert fewer.most(2.0, [5]) == 3
    assert fewer.most(1.0 + FEW_S - 0.1, [5]) == 3
    assert fewer.most(1.0 + FEW_S, [5]) == 5
    assert fewer.most(20.0, [2]) == 2
    assert fewer.most(20.0 + FEW_S, []) == 8
