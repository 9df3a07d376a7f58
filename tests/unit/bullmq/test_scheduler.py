"""A scheduler's next job: its time, count, end and options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fastproc.bullmq.scheduler import following

NOW = int(datetime(2026, 3, 1, 12, 0, 0, 400_000, UTC).timestamp() * 1000)
NOON = NOW - 400
MINUTE = 60_000


def next_ms(repeat: dict[str, Any], **options: Any) -> int | None:
    found = following("s", "{}", {"repeat": repeat, **options}, NOW, UTC)
    return None if found is None else found.next_ms


def test_the_next_run_is_after_now_and_after_the_one_before() -> None:
    assert next_ms({"pattern": "* * * * *"}) == NOON + MINUTE
    assert next_ms({"pattern": "* * * * *"}, prevMillis=NOON + MINUTE) == NOON + 2 * MINUTE
    assert next_ms({"pattern": "* * * * *"}, prevMillis=NOON - 90 * MINUTE) == NOON + MINUTE


def test_no_run_is_before_the_start() -> None:
    assert next_ms({"pattern": "0 * * * *", "startDate": NOON + 90 * MINUTE}) == NOON + 120 * MINUTE


@pytest.mark.parametrize(
    ("end_ms", "expected"),
    [(NOON + MINUTE, NOON + MINUTE), (NOON + MINUTE - 1, None), (NOW - 1, None), (None, NOON + MINUTE)],
)
def test_no_run_is_after_the_end(end_ms: int | None, expected: int | None) -> None:
    assert next_ms({"pattern": "* * * * *", "endDate": end_ms}) == expected


def test_a_zone_may_be_named_in_any_way_that_node_knows() -> None:
    base = {"pattern": "0 9 * * *"}
    assert next_ms(base | {"tz": "Asia/Kathmandu"}) == NOON + 15 * 3_600_000 + 15 * MINUTE
    assert next_ms(base | {"tz": "utc+2"}) == NOON + 19 * 3_600_000
    assert next_ms(base | {"utc": True, "tz": "Asia/Kathmandu"}) == NOON + 21 * 3_600_000
    tokyo = following("s", "{}", {"repeat": base}, NOW, ZoneInfo("Asia/Tokyo"))
    assert tokyo is not None
    assert tokyo.next_ms == NOON + 12 * 3_600_000


def test_h_differs_from_scheduler_to_scheduler_and_stays() -> None:
    options = {"repeat": {"pattern": "H H * * *"}}
    found = {name: [following(name, "{}", options, NOW, UTC) for _ in range(2)] for name in "abcdef"}
    assert all(first == second for first, second in found.values())
    assert len({first.next_ms for first, _ in found.values() if first}) > 3


def test_a_pattern_that_names_no_time_any_more_is_an_error_and_no_end() -> None:
    late = int(datetime(9998, 6, 1, tzinfo=UTC).timestamp() * 1000)
    with pytest.raises(ValueError, match="names no time"):
        following("s", "{}", {"repeat": {"pattern": "0 0 1 1 *"}, "prevMillis": late}, NOW, UTC)


def test_the_next_jobs_options_are_those_of_this_one_with_its_own_time() -> None:
    repeat = {"pattern": "* * * * *", "count": 3, "limit": 9}
    found = following("s", "{}", {"repeat": repeat, "attempts": 4, "backoff": 50}, NOW, UTC)
    assert found is not None
    assert found.options == {
        "attempts": 4,
        "backoff": {"type": "fixed", "delay": 50},
        "timestamp": NOW,
        "repeatJobKey": "s",
        "repeat": {"pattern": "* * * * *", "count": 4, "limit": 9},
        "prevMillis": NOON + MINUTE,
        "jobId": f"repeat:s:{NOON + MINUTE}",
        "delay": timedelta(minutes=1) // timedelta(milliseconds=1) - 400,
    }
    assert following("s", "{}", {"repeat": repeat | {"count": 9}}, NOW, UTC) is None
