"""How many supervisors the settings mean, and what each of them gets."""

from __future__ import annotations

import pytest

from fastproc.config.settings import load
from fastproc.config.sharing import every_share, shared, supervisors
from fastproc.core.errors import ConfigError
from fastproc.core.shares import WORKERS_PER_SUPERVISOR


@pytest.mark.parametrize(
    ("env", "cores", "expected"),
    [
        ({}, 1, 1),
        ({}, WORKERS_PER_SUPERVISOR + 1, 2),
        ({"SUPERVISORS": "1"}, 64, 1),
        ({"SUPERVISORS": "3"}, 4, 3),
        ({"RATE_LIMIT_MAX": "1"}, 64, 1),
    ],
)
def test_the_setting_counts_and_else_the_workers(env: dict[str, str], cores: int, expected: int) -> None:
    assert supervisors(load(env, cores)) == expected


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        (
            {"WORKER_CONCURRENCY": "2"},
            "SUPERVISORS: 3 is more than WORKER_CONCURRENCY (2): each needs a worker",
        ),
        ({"RATE_LIMIT_MAX": "2"}, "SUPERVISORS: 3 is more than RATE_LIMIT_MAX (2): each needs a part of it"),
        (
            {"MAX_INFLIGHT_BYTES": "134217728"},
            "SUPERVISORS: MAX_INFLIGHT_BYTES (134217728) divided by 3 is less than MAX_SOURCE_BYTES (67108864):"
            " a photo of that size could never be fetched",
        ),
    ],
)
def test_each_supervisor_needs_a_part_of_everything(env: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load({"SUPERVISORS": "3", **env}, 4)
    assert str(raised.value) == problem


def test_any_number_of_cores_works_with_the_defaults() -> None:
    for cores in range(1, 257):
        config = load({}, cores)
        assert load({"SUPERVISORS": str(supervisors(config))}, cores)


@pytest.mark.parametrize("prefetch", ["", "0", "7"])
def test_the_shares_add_up(prefetch: str) -> None:
    config = load({"SUPERVISORS": "3", "RATE_LIMIT_MAX": "10", "PREFETCH": prefetch}, 8)
    parts = [shared(config, share) for share in every_share(config)]
    assert sum(part.pool.workers for part in parts) == 8
    assert sum(part.pool.max_in_hand for part in parts) == config.pool.max_in_hand
    assert sum(part.pool.max_inflight_bytes for part in parts) == config.pool.max_inflight_bytes
    assert sum(part.limiter.max for part in parts) == 10
    assert {(part.http.port, part.log.health_s, supervisors(part)) for part in parts} == {(0, 0.0, 1)}


def test_no_limit_stays_no_limit() -> None:
    config = load({"SUPERVISORS": "2", "RATE_LIMIT_MAX": "0"}, 4)
    assert [shared(config, share).limiter.max for share in every_share(config)] == [0, 0]
