"""What of the plan does not fit into what the host gives: the variable, both numbers, and a value that does fit."""

from __future__ import annotations

import re

import pytest
from msgspec import structs

from fastproc.config.fit import Room, misfits
from fastproc.config.pool import PoolConfig

MB, GB = 1 << 20, 1 << 30
#: Room for anything that these tests plan.
WIDE = Room(cores=64, memory_bytes=256 * GB, tasks=100_000, descriptors=1 << 20)


def test_a_plan_that_fits_is_not_talked_about_and_neither_is_what_has_no_limit() -> None:
    assert misfits(PoolConfig(workers=64), WIDE) == []
    assert misfits(PoolConfig(workers=64), Room()) == []
    assert misfits(PoolConfig(workers=2), Room(cores=2, memory_bytes=GB, tasks=512, descriptors=1024)) == []


@pytest.mark.parametrize(
    ("plan", "room", "words"),
    [
        ({"workers": 8}, {"cores": 2}, ["8 workers share 2 cores", ": 2 fits"]),
        ({"workers": 4}, {"memory_bytes": 512 * MB}, ["4 busy workers", "is 512 MiB", "one after another"]),
        (
            {"workers": 60},
            {"memory_bytes": 16 * GB, "limited": False},
            ["the host's memory is 16384 MiB", "the kernel may kill"],
        ),
        ({"workers": 8}, {"tasks": 50}, ["88 threads", "pids.max leaves 50", "3 fits", "by 38"]),
        ({"workers": 8}, {"tasks": 10}, ["pids.max leaves 10", ": raise pids.max by 78"]),
        ({"workers": 64}, {"descriptors": 512}, ["880 descriptors", "limit is 512", "33 fits", "to 880"]),
        (
            {"workers": 8, "prefetch": 32},
            {"descriptors": 100},
            ["304 descriptors", ": raise the limit to 304"],
        ),
    ],
)
def test_what_does_not_fit_is_said_with_the_number_the_variable_and_a_value(
    plan: dict[str, int], room: dict[str, int], words: list[str]
) -> None:
    [warning] = misfits(structs.replace(PoolConfig(), **plan), structs.replace(WIDE, **room))
    assert warning.startswith("WORKER_CONCURRENCY: ")
    for each in words:
        assert each in warning


@pytest.mark.parametrize(
    "room",
    [{"cores": 3}, {"memory_bytes": 2 * GB}, {"tasks": 80}, {"descriptors": 200}, {"cores": 1, "tasks": 32}],
)
def test_the_number_of_workers_that_is_said_to_fit_does_and_one_more_does_not(room: dict[str, int]) -> None:
    narrow = structs.replace(WIDE, **room)
    fits = min(
        int(n) for words in misfits(PoolConfig(workers=48), narrow) for n in re.findall(r"(\d+) fits", words)
    )
    assert misfits(PoolConfig(workers=fits), narrow) == []
    assert misfits(PoolConfig(workers=fits + 1), narrow) != []


def test_photos_in_hand_need_room_in_shared_memory() -> None:
    plan = PoolConfig(workers=64, max_inflight_bytes=100 * MB)
    [words] = misfits(plan, WIDE)
    assert words.startswith("MAX_INFLIGHT_BYTES: 100 MiB for 128 jobs in hand are less than 384 MiB")
    [fits] = re.findall(r"(\d+) fits", words)
    assert misfits(structs.replace(plan, max_inflight_bytes=int(fits)), WIDE) == []


def test_photos_in_hand_that_a_quarter_of_the_limit_cannot_hold_need_a_larger_limit() -> None:
    warnings = misfits(PoolConfig(workers=64), structs.replace(WIDE, memory_bytes=1 * GB))
    [words] = [each for each in warnings if each.startswith("MAX_INFLIGHT_BYTES")]
    assert "256 MiB for 128 jobs" in words
    assert words.endswith("give 1536 MiB")


def test_a_number_of_bytes_that_is_not_used_is_said_but_the_default_is_not() -> None:
    small = structs.replace(WIDE, memory_bytes=1 * GB)
    [words] = misfits(PoolConfig(workers=2, max_inflight_bytes=1 * GB), small)
    assert words.startswith("MAX_INFLIGHT_BYTES: of 1024 MiB only 256 MiB are used")
    assert words.endswith(f": {256 * MB} fits")
    assert misfits(PoolConfig(workers=2), small) == []
    assert (
        misfits(PoolConfig(workers=2, max_inflight_bytes=1 * GB), structs.replace(small, limited=False)) == []
    )


def test_several_supervisors_have_descriptors_each_and_threads_in_common() -> None:
    pool = PoolConfig(workers=64)
    narrow = structs.replace(WIDE, descriptors=512)
    assert misfits(pool, narrow, 2) == []
    [words] = misfits(pool, structs.replace(WIDE, descriptors=300), 2)
    assert "496 descriptors in each supervisor, the limit is 300" in words
    assert "31 fits" in words
    assert misfits(pool, structs.replace(WIDE, tasks=584), 2) == []
    [words] = misfits(pool, structs.replace(WIDE, tasks=583), 2)
    assert "584 threads" in words
